"""Records and their strict JSON: what is read, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import MetricValueError, StoreError
from checkpoint_gate.rules.records import (
    Record,
    decode_metrics,
    dump_json,
    encode_metrics,
    load_json,
    metrics_from_logs,
    read_history,
    record_from_json,
    record_to_json,
)

NAN, INF = math.nan, math.inf


class Tensor:
    """What a 0-d tensor of TensorFlow looks like from outside."""

    shape = ()
    dtype = "float32"

    def __float__(self):
        return 0.5


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(1, 1.0, id="a whole number"),
        pytest.param(0.25, 0.25, id="a number"),
        pytest.param(np.float32(0.5), 0.5, id="a numpy scalar"),
        pytest.param(np.array(0.5), 0.5, id="a 0-d array"),
        pytest.param(np.int64(3), 3.0, id="a numpy whole number"),
        pytest.param(Tensor(), 0.5, id="a 0-d tensor"),
        pytest.param(INF, INF, id="infinity"),
        pytest.param(10**400, INF, id="a whole number beyond the largest double"),
        pytest.param(-(10**400), -INF, id="a whole number below the lowest double"),
    ],
)
def test_a_metric_is_taken_from_logs(value, number):
    metrics = metrics_from_logs({"loss": value})
    assert metrics == {"loss": number}
    assert type(metrics["loss"]) is float


@pytest.mark.parametrize(
    ("value", "received"),
    [
        pytest.param(True, "True", id="a bool"),
        pytest.param(np.bool_(True), r"(np\.)?True_?", id="a numpy bool"),
        pytest.param("0.5", "'0.5'", id="text"),
        pytest.param(b"1", "b'1'", id="bytes"),
        pytest.param(None, "None", id="nothing"),
        pytest.param([0.5], r"\[0\.5\]", id="a list"),
        pytest.param(np.array([0.5]), r"an array of shape \(1,\)", id="an array of one"),
        pytest.param(np.zeros((2, 3)), r"an array of shape \(2, 3\)", id="an array"),
        pytest.param({"slice": 0.5}, r"\{'slice': 0\.5\}", id="numbers by slice"),
        pytest.param(1j, "1j", id="a complex number"),
    ],
)
def test_what_is_no_single_number_is_refused_by_name(value, received):
    with pytest.raises(MetricValueError, match=rf"^Metric 'auc' must be a single number\. Received: {received}\.$"):
        metrics_from_logs({"loss": 0.5, "auc": value})


def test_a_metric_that_is_not_finite_is_written_as_text():
    encoded = encode_metrics({"a": NAN, "b": INF, "c": -INF, "d": 0.5})
    assert encoded == {"a": "nan", "b": "inf", "c": "-inf", "d": 0.5}
    assert str(decode_metrics(encoded)) == str({"a": NAN, "b": INF, "c": -INF, "d": 0.5})


@pytest.mark.parametrize("value", ["NaN", "infinity", "+inf", "", "0.5", True, None, [1.0], {}])
def test_other_values_are_no_metrics(value):
    with pytest.raises(ValueError, match=r"metric 'loss' must be a number, \"nan\", \"inf\" or \"-inf\". Received: "):
        decode_metrics({"loss": value})


records = st.builds(
    Record,
    step=st.integers(0, 10**18),
    epoch=st.integers(0, 10**6),
    metrics=st.dictionaries(st.text(max_size=8), st.floats(), max_size=4),
    at=st.sampled_from(["epoch", "step"]),
    time=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(records)
def test_a_record_is_read_back_as_it_was_written(record):
    line = dump_json(record_to_json(record))
    assert "\n" not in line
    again = record_from_json(load_json(line))
    assert dump_json(record_to_json(again)) == line
    assert (again.step, again.epoch, again.at, again.time) == (record.step, record.epoch, record.at, record.time)
    assert repr(sorted(again.metrics.items())) == repr(sorted(record.metrics.items()))


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(st.lists(records, max_size=5))
def test_a_history_is_read_back_whatever_its_names_hold(history):
    text = "".join(dump_json(record_to_json(record)) + "\n" for record in history)
    assert [record_to_json(record) for record in read_history(text, "h")] == [record_to_json(r) for r in history]


def test_at_defaults_to_epoch_and_other_keys_are_left_alone():
    record = record_from_json({"step": 7, "epoch": 6, "metrics": {"loss": 0.4}, "save": True, "more": [1]})
    assert record == Record(7, 6, {"loss": 0.4})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"step": -1}, "step must be a whole number of at least 0. Received: step=-1", id="a negative step"
        ),
        pytest.param({"step": 1.5}, "step must be a whole number of at least 0. Received: step=1.5", id="half a step"),
        pytest.param(
            {"step": True}, "step must be a whole number of at least 0. Received: step=True", id="a step of yes"
        ),
        pytest.param(
            {"epoch": "1"}, "epoch must be a whole number of at least 0. Received: epoch='1'", id="text as epoch"
        ),
        pytest.param({"at": "batch"}, "at must be 'epoch' or 'step'. Received: at='batch'", id="at something else"),
        pytest.param({"time": "noon"}, "time must be seconds since 1970. Received: 'noon'", id="a time that is text"),
        pytest.param({"time": True}, "time must be seconds since 1970. Received: True", id="a time of yes"),
        pytest.param({"time": INF}, "time must be finite seconds since 1970. Received: time=inf", id="the end of time"),
        pytest.param({"metrics": [1]}, r"metrics must be an object. Received: \[1\]", id="metrics that are a list"),
        pytest.param({"metrics": {"loss": "low"}}, "metric 'loss' must be a number", id="a metric that is text"),
    ],
)
def test_a_wrong_record_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        record_from_json({"step": 1, "epoch": 0, "metrics": {}} | change)


@pytest.mark.parametrize("key", ["step", "epoch", "metrics"])
def test_a_record_needs_its_keys(key):
    line = {"step": 1, "epoch": 0, "metrics": {}}
    del line[key]
    with pytest.raises(ValueError, match=f"a record needs the key '{key}'. Received: "):
        record_from_json(line)


def test_a_record_cannot_be_changed():
    metrics = {"loss": 0.5}
    record = Record(1, 0, metrics)
    metrics["loss"] = 0.1
    assert record.metrics["loss"] == 0.5
    with pytest.raises(TypeError):
        record.metrics["loss"] = 0.1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('{"a": 1, "a": 2}', "duplicate key 'a'", id="a key twice"),
        pytest.param('{"a": {"b": 1, "b": 1}}', "duplicate key 'b'", id="a key twice, further in"),
        pytest.param('{"a": NaN}', "NaN is not strict JSON", id="NaN"),
        pytest.param('{"a": -Infinity}', "-Infinity is not strict JSON", id="minus infinity"),
        pytest.param("[" * 100_000, "nested too deeply", id="nested too deeply"),
        pytest.param("{'a': 1}", "Expecting property name", id="single quotes"),
        pytest.param('{"a": 1} x', "Extra data", id="something after the end"),
        pytest.param("", "Expecting value", id="nothing"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "Exceeds the limit", id="a number of 5000 digits"),
        pytest.param(b'{"a": "\xff"}', "utf-8", id="bytes that are not UTF-8"),
    ],
)
def test_what_is_not_strict_json_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        load_json(text)


def test_the_same_value_always_gives_the_same_text():
    assert dump_json({"b": 1, "a": "µ"}) == dump_json({"a": "µ", "b": 1}) == '{"a": "µ", "b": 1}'
    with pytest.raises(ValueError, match="Out of range float values"):
        dump_json({"a": NAN})


def lines(*values):
    return "".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values)


def record(step, **more):
    return {"step": step, "epoch": step, "metrics": {"loss": 0.5}} | more


def test_a_history_may_hold_blank_lines_events_and_no_last_line_end():
    text = "\n" + lines(record(1), "", {"event": "finished", "epochs": 1}) + json.dumps(record(2))
    assert [r.step for r in read_history(text, "h")] == [1, 2]


def test_a_resumed_line_supersedes_the_records_after_its_step():
    text = lines(record(1), record(2), record(3), {"event": "resumed", "after_step": 1}, record(2), record(3))
    assert [r.step for r in read_history(text, "h")] == [1, 2, 3]
    text += lines({"event": "resumed", "after_step": -1})
    assert read_history(text, "h") == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param("{", r"^h\.jsonl line 2 is damaged: Expecting property name", id="no JSON"),
        pytest.param("[1]", r"^h\.jsonl line 2 is damaged: must be an object\. Received: '\[1\]'", id="no object"),
        pytest.param(
            '{"step": 2}', r"^h\.jsonl line 2 is not a record: a record needs the key 'epoch'", id="half a record"
        ),
        pytest.param(
            '{"event": "resumed"}',
            r"^h\.jsonl line 2 is not a record: a resumed line needs a whole number",
            id="no step",
        ),
        pytest.param('{"a": "\udcff"}', r"^h\.jsonl line 2 is damaged: .*utf-8", id="bytes that are not UTF-8"),
    ],
)
def test_a_damaged_line_is_named(bad, words):
    with pytest.raises(StoreError, match=words):
        read_history(lines(record(1), bad, record(3)), "h.jsonl")
