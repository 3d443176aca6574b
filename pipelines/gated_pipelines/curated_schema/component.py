"""The component `ImportSchemaGen`."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from gated_pipelines.curated_schema import executor


class ImportSchemaGenSpec(ComponentSpec):
    """What goes in and out of ImportSchemaGen."""

    PARAMETERS = {"schema_text": ExecutionParameter(type=str)}
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}


class ImportSchemaGen(base_component.BaseComponent):
    """Brings a schema into a pipeline by its text.

    TFX's component of this name takes a path: TFX's cache would not see an edit, and a compiled pipeline not the file.
    """

    SPEC_CLASS = ImportSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, schema_text: str) -> None:
        """Wires the component.

        Args:
          schema_text: a Schema of TensorFlow Metadata, as text.
        """
        schema = channel.Channel(type=standard_artifacts.Schema)
        super().__init__(spec=ImportSchemaGenSpec(schema_text=schema_text, schema=schema))
