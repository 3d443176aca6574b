"""The EvalConfigs of an evaluation of many candidates, made from the one that a user wrote for one model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_model_analysis as tfma

from checkpoint_gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)


def named_config(eval_config: tfma.EvalConfig, names: Sequence[str]) -> tfma.EvalConfig:
    """The config with its one model spec repeated under each name, and defaults filled in for no baseline.

    Every metrics spec then holds for every name, whatever the model was called.

    Raises:
      EvaluationError: TFMA does not take the config.
    """
    config = tfma.EvalConfig()
    config.CopyFrom(eval_config)
    spec = eval_config.model_specs[0]
    del config.model_specs[:]
    for name in names:
        named = config.model_specs.add()
        named.CopyFrom(spec)
        named.name = name
        named.model_type = (
            spec.model_type or tfma.constants.TF_GENERIC
        )  # TFMA finds it out by loading the model as Keras
    for metrics in config.metrics_specs:
        del metrics.model_names[:]
    utils: Any = tfma.utils if hasattr(tfma, "utils") else tfma
    try:
        filled: tfma.EvalConfig = utils.update_eval_config_with_defaults(config, has_baseline=False, rubber_stamp=True)
        utils.verify_eval_config(filled)
    except ValueError as error:
        raise EvaluationError(f"TFMA does not take the eval_config: {error}") from error
    return filled


def warn_of_change_thresholds(eval_config: tfma.EvalConfig) -> None:
    """Says which thresholds `named_config` drops, since a change needs a baseline."""
    names = sorted(set(_with_change_threshold(eval_config)))
    if names:
        _LOG.warning(
            "the change thresholds of %s are not judged here, where there is no baseline: "
            "they belong to the Evaluator, which compares with the champion",
            ", ".join(names),
        )


def _with_change_threshold(eval_config: tfma.EvalConfig) -> Iterator[str]:
    """The metrics that have one."""
    for spec in eval_config.metrics_specs:
        held = [(metric.class_name, metric.threshold) for metric in spec.metrics]
        held += spec.thresholds.items()
        placed = [(m.class_name, p) for m in spec.metrics for p in (*m.per_slice_thresholds, *m.cross_slice_thresholds)]
        for by_name in (spec.per_slice_thresholds, spec.cross_slice_thresholds):
            placed += [(name, one) for name, several in by_name.items() for one in several.thresholds]
        held += [(name, one.threshold) for name, one in placed]
        yield from (name for name, threshold in held if threshold.HasField("change_threshold"))
