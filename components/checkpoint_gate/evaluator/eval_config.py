"""An EvalConfig as TFMA reads it: its thresholds, and what it asks of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

_SERVING = "serving_default"


class Threshold(NamedTuple):
    """One bound on a metric.

    Attributes:
        key: TFMA's `MetricKey` proto.
        spec: the `SlicingSpec`, or the `CrossSlicingSpec`, that it binds on; None where it binds on every slice.
        bound: a `MetricThreshold` with either a value threshold or a change threshold.
    """

    key: Any
    spec: Any
    bound: Any


def read_config(exec_properties: Mapping[str, Any]) -> tfma.EvalConfig:
    """The `eval_config` of an Evaluator; an empty one where it has none."""
    config = config_pb2.EvalConfig()
    text = exec_properties.get(standard_component_specs.EVAL_CONFIG_KEY)
    return proto_utils.json_to_proto(text, config) if text else config


def thresholds(config: tfma.EvalConfig, *, has_baseline: bool) -> list[Threshold]:
    """The thresholds that judge a candidate; change thresholds only where there is a baseline."""
    utils: Any = tfma.utils if hasattr(tfma, "utils") else tfma
    filled = utils.update_eval_config_with_defaults(config, has_baseline=has_baseline, rubber_stamp=True)
    baselines = {spec.name for spec in filled.model_specs if spec.is_baseline}
    by_metric = tfma.metrics.metric_thresholds_from_metrics_specs(filled.metrics_specs, filled)
    return [one for key, found in by_metric.items() if key.model_name not in baselines for one in _of(key, found)]


def serving_signature(config: tfma.EvalConfig) -> str:
    """The signature that predicts."""
    return next((spec.signature_name for spec in config.model_specs if spec.signature_name), _SERVING)


def preprocessing_signatures(config: tfma.EvalConfig) -> list[str]:
    """The signatures that are asked before the one that predicts."""
    return [name for spec in config.model_specs for name in spec.preprocessing_function_names]


def _of(key: Any, found: Any) -> Iterator[Threshold]:
    for spec, threshold in found:
        bound = config_pb2.MetricThreshold()
        if isinstance(threshold, config_pb2.GenericValueThreshold):
            bound.value_threshold.CopyFrom(threshold)
        else:
            bound.change_threshold.CopyFrom(threshold)
        yield Threshold(key.to_proto(), spec, bound)
