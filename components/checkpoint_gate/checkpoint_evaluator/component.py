"""CheckpointEvaluator: the component's face."""

from __future__ import annotations

import json
from collections.abc import Sequence

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from checkpoint_gate.artifacts import CheckpointSet
from checkpoint_gate.checkpoint_evaluator.executor import Executor
from checkpoint_gate.errors import ConfigError
from checkpoint_gate.selection import Selector


class CheckpointEvaluatorSpec(ComponentSpec):
    """What goes in and out of CheckpointEvaluator."""

    PARAMETERS = {
        "eval_config": ExecutionParameter(type=str),
        "select": ExecutionParameter(type=str),
        "example_splits": ExecutionParameter(type=str),
    }
    INPUTS = {
        "survivors": ChannelParameter(type=CheckpointSet),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        # The constructor calls it `model`; TFX wants input and output names of a spec to differ.
        "trained_model": ChannelParameter(type=standard_artifacts.Model),
        "schema": ChannelParameter(type=standard_artifacts.Schema, optional=True),
    }
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class CheckpointEvaluator(base_beam_component.BaseBeamComponent):
    """Exports every survivor, evaluates them all by TFMA in one pass over the examples, and emits the best as `model`.

    The evaluation can be read with `tfma.load_eval_result(uri, model_name=...)`; the names are those of the survivors.
    `selection.json` beside it says which one won, why, and why others were out.
    """

    SPEC_CLASS = CheckpointEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        survivors: channel.BaseChannel,
        examples: channel.BaseChannel,
        model: channel.BaseChannel,
        eval_config: tfma.EvalConfig,
        select: Selector,
        *,
        schema: channel.BaseChannel | None = None,
        example_splits: Sequence[str] = ("eval",),
    ) -> None:
        """Wires the component.

        Args:
          survivors: a CheckpointSet, as CheckpointFilter emits it.
          examples: raw examples, as ExampleGen emits them.
          model: the Trainer's export. It gives graph and signatures; each survivor gives the weights. Its root has an
            attribute `model`, the Keras model whose checkpoints they are.
          eval_config: metrics and slices, with exactly one model spec, which every survivor gets.
          select: by which metric the best is chosen, and in which direction.
          schema: of the examples.
          example_splits: the splits to evaluate on; not those that bless.

        Raises:
          ConfigError: not exactly one model spec.
        """
        if len(eval_config.model_specs) != 1:
            raise ConfigError(
                f"eval_config must have exactly one model spec, which every survivor gets. "
                f"Received: {len(eval_config.model_specs)}."
            )
        spec = CheckpointEvaluatorSpec(
            survivors=survivors,
            examples=examples,
            trained_model=model,
            schema=schema,
            eval_config=json_format.MessageToJson(eval_config, sort_keys=True, preserving_proto_field_name=True),
            select=json.dumps({"metric": select.metric, "mode": select.mode}, sort_keys=True),
            example_splits=json.dumps(list(example_splits)),
            model=channel.Channel(type=standard_artifacts.Model),
            evaluation=channel.Channel(type=standard_artifacts.ModelEvaluation),
        )
        super().__init__(spec=spec)
