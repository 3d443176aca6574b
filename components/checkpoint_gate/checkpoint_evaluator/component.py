"""CheckpointEvaluator: the component's face."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from checkpoint_gate.artifacts import CheckpointSet
from checkpoint_gate.checkpoint_evaluator.executor import Executor
from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rules.selection import Selector

_MODEL_TYPES = ("", tfma.constants.TF_GENERIC, tfma.constants.TF_KERAS)  # those that a SavedModel can have


class CheckpointEvaluatorSpec(ComponentSpec):
    """What goes in and out of CheckpointEvaluator."""

    PARAMETERS = {
        "eval_config": ExecutionParameter(type=str),
        "select": ExecutionParameter(type=str),
        "example_splits": ExecutionParameter(type=str),
        "on_no_candidate": ExecutionParameter(type=str),
        "about": ExecutionParameter(type=str, optional=True),
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
    """Evaluates all survivors by TFMA in one pass over the examples, and emits the best as `model`.

    The evaluation can be read with `tfma.load_eval_result(uri, model_name=...)`; the names are those of the survivors,
    of a lone one too. A survivor whose prediction is NaN or infinite for any example is out.
    `selection.json` beside it says which one won, why, how the others ranked, and why some were out.
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
        average: bool = False,
        on_no_candidate: Literal["fail", "keep_champion"] = "fail",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Wires the component.

        Args:
          survivors: a CheckpointSet, as CheckpointFilter emits it.
          examples: raw examples, as ExampleGen emits them.
          model: the Trainer's export. It gives graph and signatures; each survivor gives the weights. Its root has an
            attribute `model`, the Keras model whose checkpoints they are.
          eval_config: metrics and slices, with exactly one model spec, which every survivor gets. A survivor that fails
            one of its value thresholds is out; change thresholds do not count, since there is no baseline.
          select: by which metric the best is chosen, in which direction, and by which rules.
          schema: of the examples.
          example_splits: the splits to evaluate on; not those that bless.
          average: let the uniform average of the survivors' weights compete as well, under the name "average". There
            is none of fewer than two survivors, of several runs, or where predictions depend on state that is not
            trained and differs between survivors, as the running statistics of BatchNormalization do; selection.json
            and the log then say why.
          on_no_candidate: when every survivor is out, "fail" raises NoCandidate; "keep_champion" marks the model empty
            and goes on.
          about: what the model's papers shall say of its data: `table`, the sha256 of a table in hex; `spans`, the
            numbers of those that its rows are of; `classes`, the labels in the order of the outputs, a list of texts.
            Each may be left out. A data.json beside the examples overrides it.

        Raises:
          ConfigError: not exactly one model spec, one that is not of a SavedModel and a candidate, or `select` needs
            what `eval_config` does not measure.
        """
        if len(eval_config.model_specs) != 1:
            raise ConfigError(
                f"eval_config must have exactly one model spec, which every survivor gets. "
                f"Received: {len(eval_config.model_specs)}."
            )
        only = eval_config.model_specs[0]
        if only.is_baseline or only.model_type not in _MODEL_TYPES:
            raise ConfigError(
                "The model spec of eval_config must be of a candidate, not of a baseline, with a model_type out of "
                f"{', '.join(filter(None, _MODEL_TYPES))} or none. "
                f"Received: is_baseline={only.is_baseline}, model_type={only.model_type!r}."
            )
        _check_measures(eval_config, select)
        if on_no_candidate not in ("fail", "keep_champion"):
            raise ConfigError(f"on_no_candidate must be fail or keep_champion. Received: {on_no_candidate!r}.")
        spec = CheckpointEvaluatorSpec(
            survivors=survivors,
            examples=examples,
            trained_model=model,
            schema=schema,
            eval_config=json_format.MessageToJson(eval_config, sort_keys=True, preserving_proto_field_name=True),
            select=json.dumps(dataclasses.asdict(select) | {"average": average}, sort_keys=True),
            example_splits=json.dumps(list(example_splits)),
            on_no_candidate=on_no_candidate,
            about=json.dumps(dict(about or {}), sort_keys=True),
            model=channel.Channel(type=standard_artifacts.Model),
            evaluation=channel.Channel(type=standard_artifacts.ModelEvaluation),
        )
        super().__init__(spec=spec)


def _check_measures(eval_config: tfma.EvalConfig, select: Selector) -> None:
    if select.within_noise and not eval_config.options.compute_confidence_intervals.value:
        raise ConfigError(
            "within_noise needs confidence intervals: set options.compute_confidence_intervals in eval_config."
        )
    if select.worst_slice and not any(s.feature_keys or s.feature_values for s in eval_config.slicing_specs):
        raise ConfigError("worst_slice needs slices: give eval_config slicing_specs that have columns.")
