"""ExampleValidator: what it compares, what it tells, and when it ends a run. Real statistics, real executor."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import standard_artifacts

from checkpoint_gate.artifact_files.data_note import write_data_note
from checkpoint_gate.errors import DataAnomalies
from gated_pipelines.example_validator.component import ExampleValidator
from gated_pipelines.example_validator.executor import Executor
from gated_pipelines.reporting.anomalies import read_anomalies
from gated_pipelines.tables.span_statistics import statistics_of
from gated_pipelines.tables.staging import NEWEST, PREVIOUS

SCHEMA = """
feature { name: "x" type: FLOAT }
feature { name: "n" type: INT }
feature { name: "kind" type: BYTES domain: "kind" }
feature { name: "y" type: FLOAT }
string_domain { name: "kind" value: "ash" value: "birch" value: "cedar" }
"""


def span(path, seed=1, rows=400, **changed):
    """A staged span of random rows; `changed` replaces columns, by a function of the random numbers."""
    random = np.random.default_rng(seed)
    columns = {
        "x": [repr(float(value)) for value in random.normal(size=rows)],
        "n": [str(value) for value in random.integers(0, 50, rows)],
        "kind": [str(value) for value in random.choice(["ash", "birch", "cedar"], rows)],
        "y": [repr(float(value)) for value in random.normal(size=rows)],
    }
    columns |= {name: [str(make(i)) for i in range(rows)] for name, make in changed.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *zip(*columns.values(), strict=True)])
    return path


@pytest.fixture
def validate(tmp_path):
    """Runs the executor on the statistics of a table; answers with the anomalies it wrote."""

    def validate(table, schema=SCHEMA, examples=None, **settings):
        folders = {name: tmp_path / name for name in ("statistics", "schema", "anomalies")}
        statistics = statistics_of(table, text_format.Parse(schema, schema_pb2.Schema()))
        (folders["statistics"] / "Split-train").mkdir(parents=True, exist_ok=True)
        (folders["statistics"] / "Split-train" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
        folders["schema"].mkdir(exist_ok=True)
        (folders["schema"] / "schema.pbtxt").write_text(schema)
        artifacts = {
            "statistics": standard_artifacts.ExampleStatistics(),
            "schema": standard_artifacts.Schema(),
            "anomalies": standard_artifacts.ExampleAnomalies(),
        }
        for name, artifact in artifacts.items():
            artifact.uri = str(folders[name])
        artifacts["statistics"].split_names = json.dumps(["train"])
        inputs = {name: [artifacts[name]] for name in ("statistics", "schema")}
        if examples is not None:
            inputs["examples"] = [standard_artifacts.Examples()]
            inputs["examples"][0].uri = str(examples)
        Executor().Do(inputs, {"anomalies": [artifacts["anomalies"]]}, {"on_anomalies": "fail"} | settings)
        return read_anomalies(folders["anomalies"])

    return validate


SAME, COLD = {}, {"x": lambda i: 6.0 + i / 400}


@pytest.mark.parametrize(
    ("newest", "previous", "settings", "words"),
    [
        pytest.param(SAME, SAME, {"drift": 0.1, "skew": 0.1}, None, id="spans alike are fine"),
        pytest.param(COLD, SAME, {}, None, id="nothing is compared that nobody asked for"),
        pytest.param(
            COLD,
            SAME,
            {"drift": 0.1},
            r"'x': drift of [01][.\d]* from the span before, above 0\.1\.$",
            id="a number",
        ),
        pytest.param(
            COLD, SAME, {"skew": 0.1}, r"'x': skew of [01][.\d]* from the span that is served, above 0\.1\.$", id="skew"
        ),
        pytest.param(COLD, COLD, {"drift": 0.1}, None, id="it is compared with the span before, not with the window"),
        pytest.param(
            {"kind": lambda i: "ash"}, SAME, {"drift": 0.1}, r"'kind': drift of 0\.\d+ from the span", id="a category"
        ),
        pytest.param({"n": lambda i: 49}, SAME, {"drift": 0.1}, r"'n': drift of 1 from the span", id="an integer"),
        pytest.param({"y": lambda i: 9 + i}, SAME, {"drift": 0.1}, r"'y': drift of 1 from the span", id="the label"),
        pytest.param(
            {"x": lambda i: ""},
            SAME,
            {"drift": 0.1},
            r"'x': 100% of the values are missing, there 0% \(drift\)",
            id="all missing",
        ),
        pytest.param(
            {"kind": lambda i: ""}, SAME, {"skew": 0.1}, r"'kind': 0% .* missing, there 100% \(skew\)", id="all here"
        ),
        pytest.param(
            {"x": lambda i: "" if i % 10 else "0.1"},
            {"x": lambda i: "" if i % 9 else "0.1"},
            {"drift": 0.1},
            None,
            id="missing before too",
        ),
        pytest.param(
            {name: (lambda i: 7) for name in ("x", "n", "y")},
            SAME,
            {"drift": 0.01},
            "'n': drift .*; 'x': drift .*; 'y': drift ",
            id="several columns",
        ),
    ],
)
def test_comparing(validate, tmp_path, newest, previous, settings, words):
    table = span(tmp_path / "window.csv", seed=3)
    places = {"newest": span(tmp_path / "new.csv", 2, **newest), "previous": span(tmp_path / "old.csv", 1, **previous)}
    given = {name: str(path) for name, path in places.items()} | {"spans": 2} | settings
    if words is None:
        assert validate(table, **given) == []
        return
    with pytest.raises(DataAnomalies, match=words) as raised:
        validate(table, **given)
    assert {one["where"] for one in raised.value.anomalies} <= {"drift", "skew"}


def test_the_same_is_found_beside_the_examples_of_a_compiled_pipeline(validate, tmp_path):
    table = span(tmp_path / "window.csv", seed=3)
    span(tmp_path / "examples" / NEWEST, 2, **COLD)
    span(tmp_path / "examples" / PREVIOUS, 1)
    write_data_note(str(tmp_path / "examples"), {"spans": [1, 2]})
    with pytest.raises(DataAnomalies, match=r"'x': drift of .* from the span before.*, skew of .* that is served"):
        validate(table, examples=tmp_path / "examples", drift=0.1, skew=0.1)


def test_examples_without_spans_are_compared_with_nothing(validate, tmp_path):
    (tmp_path / "examples").mkdir()
    assert validate(span(tmp_path / "t.csv"), examples=tmp_path / "examples", drift=0.1, skew=0.1) == []


def test_a_window_of_one_span_is_not_compared_with_itself(validate, tmp_path):
    table = span(tmp_path / "window.csv", seed=3)
    newest = str(span(tmp_path / "new.csv", 2, **COLD))
    assert validate(table, newest=newest, spans=1, drift=0.1, skew=0.1) == []


def test_what_the_schema_says_of_a_column_stands_above_the_settings(validate, tmp_path):
    own = "type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 1.0 } } }"
    schema = SCHEMA.replace('"x" type: FLOAT }', f'"x" {own}')
    places = {"newest": str(span(tmp_path / "new.csv", 2, **COLD)), "previous": str(span(tmp_path / "old.csv", 1))}
    assert validate(span(tmp_path / "t.csv", 3), schema, **places, drift=0.1) == []
    strict = schema.replace("1.0", "0.1")
    with pytest.raises(DataAnomalies, match="'x': drift of "):
        validate(span(tmp_path / "t.csv", 3), strict, **places)


def test_the_splits_are_validated_as_by_the_stock_component(validate, tmp_path):
    table = span(tmp_path / "t.csv", kind=lambda i: "oak" if i % 2 else "ash")
    with pytest.raises(DataAnomalies, match=r"^The data have anomalies: 'kind': .+ \(train\)\.$") as raised:
        validate(table)
    [one] = raised.value.anomalies
    assert (one["feature"], one["where"]) == ("kind", "train")
    assert "oak" in one["long"]


def test_a_warning_is_the_same_sentence_and_writes_what_was_found(validate, tmp_path, caplog):
    table = span(tmp_path / "window.csv", seed=3, kind=lambda i: "oak")
    places = {"newest": str(span(tmp_path / "new.csv", 2, **COLD)), "previous": str(span(tmp_path / "old.csv", 1))}
    with pytest.raises(DataAnomalies) as raised:
        validate(table, **places, drift=0.1)
    with caplog.at_level(logging.WARNING):
        found = validate(table, **places, drift=0.1, on_anomalies="warn")
    assert str(raised.value) in caplog.messages
    assert [one.to_json() for one in found] == list(raised.value.anomalies)
    assert [(one.feature, one.where) for one in found] == [("kind", "train"), ("x", "drift")]


def test_of_the_newest_span_only_what_was_compared_is_told(validate, tmp_path):
    """The splits are validated against the schema; they hold its rows."""
    newest = span(tmp_path / "new.csv", 2, kind=lambda i: "oak" if i % 20 == 0 else ["ash", "birch", "cedar"][i % 3])
    places = {"newest": str(newest), "previous": str(span(tmp_path / "old.csv", 1))}
    assert validate(span(tmp_path / "t.csv", 3), **places, drift=0.5, skew=0.5, spans=2) == []


def test_its_id_is_that_of_the_stock_component():
    from tfx.types import channel

    statistics = channel.Channel(type=standard_artifacts.ExampleStatistics)
    component = ExampleValidator(statistics=statistics, schema=channel.Channel(type=standard_artifacts.Schema))
    assert component.id == "ExampleValidator"


def test_nothing_is_transformed_before_the_data_are_validated():
    compiled = (Path(__file__).parents[1] / "kubeflow" / "gated-penguins.yaml").read_text()
    import yaml

    tasks = yaml.safe_load(compiled)["root"]["dag"]["tasks"]
    assert "ExampleValidator" in tasks["Transform"]["dependentTasks"]
    assert "Transform" in tasks["Trainer"]["dependentTasks"]
