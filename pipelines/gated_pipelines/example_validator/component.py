"""The component `ExampleValidator`."""

from __future__ import annotations

from typing import Literal

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from gated_pipelines.example_validator import executor


class ExampleValidatorSpec(ComponentSpec):
    """What goes in and out of ExampleValidator."""

    PARAMETERS = {
        "on_anomalies": ExecutionParameter(type=str),
        "drift": ExecutionParameter(type=float, optional=True),
        "skew": ExecutionParameter(type=float, optional=True),
        "newest": ExecutionParameter(type=str, optional=True),
        "previous": ExecutionParameter(type=str, optional=True),
        "spans": ExecutionParameter(type=int, optional=True),
    }
    INPUTS = {
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class ExampleValidator(base_component.BaseComponent):
    """Validates each split's statistics as TFX's, and compares the newest span with the one before and with the window.

    The class keeps its name because the component's id derives from it.
    """

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        statistics: BaseChannel,
        schema: BaseChannel,
        on_anomalies: Literal["warn", "fail"] = "warn",
        drift: float | None = None,
        skew: float | None = None,
        newest: str | None = None,
        previous: str | None = None,
        spans: int | None = None,
        examples: BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
          statistics: of each split, by StatisticsGen.
          schema: what the columns may hold. A drift_comparator or skew_comparator of a feature stands above `drift` and
            `skew`.
          on_anomalies: whether anomalies are told and the run goes on, or it ends with DataAnomalies.
          drift: the largest Jensen-Shannon divergence, in (0, 1], of a feature in the newest span from that before it;
            None compares only features whose comparator the schema has.
          skew: the same, of the train split from the newest span.
          newest, previous: CSVs of the rows of the newest span, and of the one before it; None where there is none.
          spans: the number of spans in the examples; skew needs two.
          examples: those that have these CSVs beside them, and say how many spans; in place of the three above.
        """
        given = {"drift": drift, "skew": skew, "newest": newest, "previous": previous, "spans": spans}
        spec = ExampleValidatorSpec(
            statistics=statistics,
            schema=schema,
            on_anomalies=on_anomalies,
            anomalies=channel.Channel(type=standard_artifacts.ExampleAnomalies),
            **({"examples": examples} if examples is not None else {}),
            **{name: value for name, value in given.items() if value is not None},
        )
        super().__init__(spec=spec)
