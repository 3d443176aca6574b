"""A schema edited by a person: what it must be, and the draft that the command writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cli import cli
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.curated_schema import read_schema

PENGUINS = Path(__file__).parents[1] / "data" / "penguins"
SPEC = TabularSpec("price", "regression", ("length",), ("colour",), ())
GOOD = """
feature { name: "price" type: FLOAT }
feature { name: "length" type: FLOAT }
feature { name: "colour" type: BYTES }
"""


@pytest.fixture
def read(tmp_path):
    """The schema of a pipeline whose file has this text; None for no file."""

    def read(text):
        if text is not None:
            (tmp_path / "s.pbtxt").write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "pipeline.yaml").write_text(
            "name: t\ndata: {csv: t.csv, schema: s.pbtxt}\nlabel: price\ntask: regression\n"
            "rules: {save: {}, filter: {}}\n"
        )
        return read_schema(load_config(tmp_path / "pipeline.yaml"), SPEC)

    return read


def test_its_text_is_taken_as_it_is(read):
    assert read("# mine\n" + GOOD) == "# mine\n" + GOOD


def test_a_pipeline_without_one_has_none():
    assert read_schema(load_config(PENGUINS / "pipeline.yaml"), SPEC) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "pipeline.yaml line 2: there is no schema .*; `gated-pipeline schema` writes", id="no file"),
        pytest.param(b"\xff", "cannot be read: .*utf-8", id="not UTF-8"),
        pytest.param("feature {", "must be a Schema of TensorFlow Metadata as text: ", id="cut off"),
        pytest.param("column { }", "must be a Schema of TensorFlow Metadata as text: ", id="another message"),
        pytest.param("", "must have a feature 'price', which the pipeline reads", id="empty"),
        pytest.param(GOOD.replace("colour", "color"), "must have a feature 'colour'", id="a feature is missing"),
        pytest.param(
            GOOD.replace('"length" type: FLOAT', '"length" type: INT'),
            "must give 'length' the type FLOAT. Received: INT.",
            id="a number that is staged as a decimal",
        ),
        pytest.param(
            GOOD.replace("BYTES }", "BYTES shape { dim { size: 1 } } }"), "must not give 'colour' a shape", id="a shape"
        ),
    ],
)
def test_what_is_refused(read, text, words):
    with pytest.raises(ConfigError, match=words):
        read(text)


def test_the_command_drafts_one_that_fits(tmp_path):
    (tmp_path / "penguins.csv").write_bytes((PENGUINS / "penguins.csv").read_bytes())
    pipeline, file = tmp_path / "pipeline.yaml", tmp_path / "schema.pbtxt"
    pipeline.write_text((PENGUINS / "pipeline.yaml").read_text())
    arguments = ["schema", str(pipeline), "-o", str(file)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    text = file.read_text()
    assert text.startswith("# What the columns of penguins.csv may hold: inferred from 344 rows, to be edited")
    schema = text_format.Parse(text, schema_pb2.Schema())
    assert {f.name: schema_pb2.FeatureType.Name(f.type) for f in schema.feature} == {
        "species": "BYTES",
        "island": "BYTES",
        "bill_length_mm": "FLOAT",
        "bill_depth_mm": "FLOAT",
        "flipper_length_mm": "FLOAT",
        "body_mass_g": "FLOAT",
        "sex": "BYTES",
    }
    assert {f.name for f in schema.feature if f.HasField("value_count")} == {
        "species",
        "island",
    }  # others lack values
    pipeline.write_text(pipeline.read_text().replace("csv: penguins.csv", "csv: penguins.csv\n  schema: schema.pbtxt"))
    config = load_config(pipeline)
    spec = TabularSpec("species", "multiclass", config.features.numeric, config.features.categorical, ())
    assert read_schema(config, spec) == text
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, ConfigError)
    assert "is there already and stays as it is" in str(again.exception)
    assert file.read_text() == text
