"""TFMA's extractors for candidates that are stacked into one model.

To the extractors there is one model: they parse, transform and look up labels and weights once a batch. To what
comes after them there are as many as there are candidates.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx_bsl.tfxio import tensor_adapter

from checkpoint_gate.checkpoint_evaluator.configuring import named_config
from checkpoint_gate.checkpoint_evaluator.stacking import Stack, by_candidate

STAGE = "SpreadOverCandidates"
"""Evaluators run after it."""

_ALIKE = (tfma.constants.LABELS_KEY, tfma.constants.EXAMPLE_WEIGHTS_KEY, tfma.constants.TRANSFORMED_FEATURES_KEY)
UNBATCH = tfma.extractors.UnbatchExtractor().stage_name


def stacked_extractors(
    stack: Stack, eval_config: tfma.EvalConfig, adapter: tensor_adapter.TensorAdapterConfig | None
) -> list[Any]:
    """The default extractors over the stacked model, and then, by `STAGE`, extracts as several models give them.

    Args:
      stack: the candidates.
      eval_config: as the user wrote it, with one model spec.
      adapter: how tensors are made of the Arrow columns.
    """
    model = tfma.EvalSharedModel(
        model_path=stack.plan.trained, model_type=tfma.constants.TF_GENERIC, construct_fn=stack
    )
    config = named_config(eval_config, [""])
    config.model_specs[0].signature_name = stack.plan.signature
    extractors = tfma.default_extractors(eval_shared_model=model, eval_config=config, tensor_adapter_config=adapter)
    names = tuple(name for name, _ in stack.checkpoints)
    nest = tfma.extractors.Extractor(stage_name="NestPredictions", ptransform=beam.Map(_nest))
    spread = tfma.extractors.Extractor(stage_name=STAGE, ptransform=beam.Map(_spread, names))
    return [*before_unbatching(extractors, nest), spread]


def before_unbatching(extractors: Sequence[Any], extractor: Any) -> list[Any]:
    """The extractors with another one where examples are still in batches and predictions are there."""
    place = next(place for place, one in enumerate(extractors) if one.stage_name == UNBATCH)
    return [*extractors[:place], extractor, *extractors[place:]]


def _nest(extracts: Any) -> Any:
    nested = copy.copy(extracts)
    nested[tfma.constants.PREDICTIONS_KEY] = by_candidate(extracts[tfma.constants.PREDICTIONS_KEY])
    return nested


def _spread(extracts: Any, names: tuple[str, ...]) -> Any:
    spread = copy.copy(extracts)
    for key in _ALIKE:
        if key in extracts:
            spread[key] = dict.fromkeys(names, extracts[key])
    return spread
