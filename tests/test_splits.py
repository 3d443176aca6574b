"""What is told of the rows that each split got."""

from __future__ import annotations

import io
from collections import Counter

import pytest
import tensorflow as tf
from rich.console import Console

from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.store.ledger import History
from gated_pipelines.reporting.report import render
from gated_pipelines.reporting.splits import read_splits, told_of
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.reporting.words import tell

MANY = {"train": {"a": 90, "b": 90}, "eval": {"a": 30, "b": 30}, "test": {"a": 30, "b": 30}}


@pytest.mark.parametrize(
    ("changes", "classes", "words"),
    [
        pytest.param({}, "ab", [], id="nothing where each split has each class"),
        pytest.param(
            {"test": {"a": 30, "rare": 1}},
            ["a", "rare"],
            ["class 'rare' has 0 rows in train, 0 in eval, 1 in test"],
            id="a class that training never sees",
        ),
        pytest.param(
            {"eval": {"a": 1}},
            "a",
            ["eval has 1 row: of fewer than 30, a metric is mostly chance"],
            id="a split of one row",
        ),
        pytest.param(
            {"train": {"": 9}, "eval": {"": 30}, "test": {"": 29}},
            "",
            ["test has 29 rows: of fewer than 30, a metric is mostly chance"],
            id="a regression has no classes",
        ),
        pytest.param(
            {},
            "abcdefgh",
            [f"class '{name}' has 0 rows in train, 0 in eval, 0 in test" for name in "cdefg"]
            + ["1 more class has no row in some split"],
            id="five classes are named",
        ),
    ],
)
def test_what_is_too_little_is_told(changes, classes, words):
    assert list(told_of({**MANY, **changes}, classes)) == words


def texts(text):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))


def whole(text):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(text)]))


def decimals(text):
    return tf.train.Feature(float_list=tf.train.FloatList(value=[float(text)]))


@pytest.mark.parametrize(
    ("classes", "feature", "of"),
    [
        pytest.param(["é", "b"], texts, ["é", "é", "b", "é"], id="texts"),
        pytest.param(["0", "-1"], whole, ["0", "-1"], id="whole numbers"),
        pytest.param([], decimals, ["1.5", "2.5"], id="a regression"),
    ],
)
def test_the_rows_of_each_split_are_counted_by_class(classes, feature, of, tmp_path):
    (tmp_path / "Split-train").mkdir()
    path = str(tmp_path / "Split-train" / "data_tfrecord-00000-of-00001.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as file:
        for text in of:
            features = tf.train.Features(feature={"y": feature(text)})
            file.write(tf.train.Example(features=features).SerializeToString())
    expected = Counter(of if classes else [""] * len(of))
    assert read_splits(tmp_path, "y", classes) == {"train": expected, "eval": Counter(), "test": Counter()}


def test_summary_and_report_tell_of_the_rows():
    summary = Summary(rows={"train": 1206, "eval": 64, "test": 12}, warnings=["test has 12 rows: few"])
    out = io.StringIO()
    tell(summary, Console(file=out, width=200))
    page = render(summary, History((), ()), "penguins", RuleSet(), None)
    for text in (out.getvalue(), page):
        assert "1,206 rows in train, 64 in eval, 12 in test" in text
        assert "test has 12 rows: few" in text
