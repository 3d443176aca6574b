"""The component `CsvExampleGen` of compiled pipelines."""

from __future__ import annotations

from google.protobuf import json_format
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import example_gen_pb2
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.table_example_gen import executor

# Filled in by the backend with the time for which the run is scheduled, or else at which it was made.
SCHEDULED = "{{$.pipeline_job_schedule_time_utc}}"


class CsvExampleGenSpec(ComponentSpec):
    """What goes in and out of CsvExampleGen."""

    PARAMETERS = {
        "data": ExecutionParameter(type=str),
        "span": ExecutionParameter(type=str),
        "scheduled": ExecutionParameter(type=str),
        "root": ExecutionParameter(type=str),
        "pipeline": ExecutionParameter(type=str),
        "table": ExecutionParameter(type=str),
        "output_config": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class CsvExampleGen(base_beam_component.BaseBeamComponent):
    """Reads the table as `gated-pipeline run` does, and makes examples of it by TFX's CsvExampleGen.

    It looks at the data whenever it is executed, and has no driver: open-source Kubeflow runs none. The class is named
    as TFX's because the component's id derives from it.
    """

    SPEC_CLASS = CsvExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        *,
        data: str | RuntimeParameter,
        span: str | RuntimeParameter,
        root: str | RuntimeParameter,
        pipeline: str,
        table: TabularSpec,
        output_config: example_gen_pb2.Output,
    ) -> None:
        """Wires the component.

        Args:
          data: a CSV, by path or URL; a relative one is below `root`. `{SPAN}` in it stands for a whole number.
          span: that number; or a time, as "%Y%m", for the newest span that is not later than the time for which the run
            is scheduled, or as "%Y%m-1" than a month before; "" takes the largest there is.
          root: a path or a URL.
          pipeline: the text of the pipeline.yaml.
          table: the columns and classes that the pipeline is compiled for.
          output_config: the splits.
        """
        spec = CsvExampleGenSpec(
            data=data,
            span=span,
            scheduled=SCHEDULED,
            root=root,
            pipeline=pipeline,
            table=table.to_json(),
            output_config=json_format.MessageToJson(output_config, sort_keys=True, preserving_proto_field_name=True),
            examples=channel.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
