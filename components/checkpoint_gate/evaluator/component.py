"""TFX's Evaluator component with our executor."""

from __future__ import annotations

from tfx.components.evaluator import component as tfx_component
from tfx.dsl.components.base import executor_spec

from checkpoint_gate.evaluator import executor


class Evaluator(tfx_component.Evaluator):
    """TFX's Evaluator; it also understands models that are marked empty, and says why it blessed or did not.

    Arguments, inputs and outputs are TFX's. The class keeps its name because the component's id derives from it.
    Beside TFX's BLESSED or NOT_BLESSED, `blessing` holds a `verdict.json`; see `read_verdict`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
