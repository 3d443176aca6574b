"""A compiled pipeline whose table has spans: its schema, its windows, and what ExampleValidator gets."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from tfx.types import standard_artifacts

from checkpoint_gate.artifact_files.data_note import read_data_note
from checkpoint_gate.errors import ConfigError
from gated_pipelines.beam_args import BEAM_ARGS
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.kubeflow.compile.compiling import compile_pipeline
from gated_pipelines.kubeflow.lint.linting import lint_data
from gated_pipelines.pipeline import split_output
from gated_pipelines.table_example_gen.component import CsvExampleGen
from gated_pipelines.table_example_gen.executor import Executor
from gated_pipelines.tables.staging import NEWEST, PREVIOUS, stage_table

FLIGHTS = Path(__file__).parents[1] / "data" / "flights" / "pipeline.yaml"


@pytest.fixture(scope="module")
def spec():
    compiled = compile_pipeline(FLIGHTS, "registry.example/checkpoint-gate:0.1.0", "gs://your-bucket/flights")
    assert [sentence.partition(" ")[0] for sentence in compiled.without_effect] == ["push.keep", "disk"]
    return yaml.safe_load(compiled.text)


def constants(spec, task):
    parameters = spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
    return {name: one["runtimeValue"]["constant"] for name, one in parameters.items() if "runtimeValue" in one}


def test_the_curated_schema_travels_inside(spec):
    assert constants(spec, "ImportSchemaGen") == {"schema_text": FLIGHTS.with_name("schema.pbtxt").read_text()}
    assert "SchemaGen" not in spec["root"]["dag"]["tasks"]
    assert str(FLIGHTS.parent) not in json.dumps(spec)


def test_the_validator_looks_beside_the_examples(spec):
    task = spec["root"]["dag"]["tasks"]["ExampleValidator"]
    assert constants(spec, "ExampleValidator") == {"on_anomalies": "fail", "drift": 0.35, "skew": 0.3}
    assert task["inputs"]["artifacts"]["examples"]["taskOutputArtifact"]["producerTask"] == "CsvExampleGen"


def test_the_linter_finds_nothing(spec):
    assert lint_data(spec) == []


@pytest.fixture
def execute(tmp_path):
    def execute(span, table="data/flights-{SPAN}.csv", scheduled=None):
        config = load_config(FLIGHTS)
        component = CsvExampleGen(
            data=table,
            span=span,
            root=str(tmp_path),
            pipeline=FLIGHTS.read_text(),
            table=stage_table(config, tmp_path / "known").spec,
            output_config=split_output(config),
        )
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        context = Executor.Context(beam_pipeline_args=list(BEAM_ARGS), tmp_dir=str(tmp_path / "tmp"), unique_id="1")
        filled_in = {"scheduled": scheduled} if scheduled is not None else {}  # by the backend
        Executor(context).Do({}, {"examples": [examples]}, dict(component.exec_properties) | filled_in)
        return examples

    (tmp_path / "data").mkdir()
    for path in FLIGHTS.parent.glob("*.csv"):
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    return execute


def test_a_window_is_that_of_a_local_run(execute, tmp_path):
    examples = execute("201304")
    local = stage_table(load_config(FLIGHTS), tmp_path / "staged", span="201304")
    assert examples.span == 201304
    assert read_data_note(examples.uri) == {
        "table": local.digest,
        "data": f"{tmp_path}/data/flights-201304.csv",
        "rows": 750,
        "spans": [201302, 201303, 201304],
    }
    for name, rows in ((NEWEST, local.newest), (PREVIOUS, local.previous)):
        assert Path(examples.uri, name).read_bytes() == rows.read_bytes()


@pytest.mark.parametrize(
    ("span", "spans"),
    [
        pytest.param("%Y%m", [201302, 201303, 201304], id="the month for which it is scheduled"),
        pytest.param("%Y%m-1", [201301, 201302, 201303], id="the month before"),
    ],
)
def test_the_time_of_the_schedule_says_which_spans_are_read(execute, span, spans):
    examples = execute(span, scheduled="2013-04-01T03:00:00Z")
    assert (examples.span, read_data_note(examples.uri)["spans"]) == (spans[-1], spans)


def test_the_first_span_has_none_before_it(execute):
    examples = execute("201301")
    assert read_data_note(examples.uri)["spans"] == [201301]
    assert Path(examples.uri, NEWEST).is_file()
    assert not Path(examples.uri, PREVIOUS).exists()


def test_a_bad_cell_is_told_by_its_own_file(execute, tmp_path):
    place = tmp_path / "data" / "flights-201303.csv"
    rows = list(csv.reader(place.read_text().splitlines()))
    rows[5][rows[0].index("distance")] = "far"
    place.write_text("".join(",".join(row) + "\n" for row in rows))
    with pytest.raises(ConfigError) as raised:
        execute("201304")
    assert str(raised.value).startswith(f"{place}: the numeric feature 'distance' must hold numbers")
    assert str(raised.value).endswith("; row 5 has 'far'.")
