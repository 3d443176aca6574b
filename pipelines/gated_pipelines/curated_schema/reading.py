"""The text of a curated schema, checked against the table that it describes. Needs no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from checkpoint_gate.errors import ConfigError
from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.config.spec import TabularSpec


def read_schema(config: PipelineConfig, table: TabularSpec) -> str | None:
    """The text of the file that `data.schema` names; None where it names none.

    Raises:
      ConfigError: the file cannot be read, is no schema, lacks a column that the pipeline reads, or gives one a type or
        a shape that it cannot have.
    """
    path = config.schema_file
    if path is None:
        return None
    try:
        text = path.read_text("utf-8")
        schema = text_format.Parse(text, schema_pb2.Schema())
    except FileNotFoundError:
        raise ConfigError(
            f"{config.where('data', 'schema')}: there is no schema {path}; `gated-pipeline schema` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The schema {path} cannot be read: {error}.") from error
    except text_format.ParseError as error:
        raise ConfigError(f"The schema {path} must be a Schema of TensorFlow Metadata as text: {error}.") from error
    _check(path, schema, config, table)
    return text


def _check(path: Path, schema: schema_pb2.Schema, config: PipelineConfig, table: TabularSpec) -> None:
    features = {feature.name: feature for feature in schema.feature}
    decimals = {*table.numeric, *([config.label] if config.task == "regression" else [])}
    for name in (config.label, *table.numeric, *table.categorical, *config.slice_columns):
        feature = features.get(name)
        if feature is None:
            raise ConfigError(f"The schema {path} must have a feature {name!r}, which the pipeline reads.")
        if name in decimals and feature.type != schema_pb2.FLOAT:
            kind = schema_pb2.FeatureType.Name(feature.type)
            raise ConfigError(f"The schema {path} must give {name!r} the type FLOAT. Received: {kind}.")
        if feature.HasField("shape"):
            raise ConfigError(
                f"The schema {path} must not give {name!r} a shape, since any value may be missing in a request; "
                "value_count and presence say what the table must have."
            )
