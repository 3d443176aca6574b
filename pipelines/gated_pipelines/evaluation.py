"""TFMA's EvalConfigs for a pipeline.yaml: one to choose the best survivor, one to bless it."""

from __future__ import annotations

from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from gated_pipelines.config import PipelineConfig
from gated_pipelines.sections import Evaluate
from gated_pipelines.spec import LABEL
from gated_pipelines.tfma_names import snake_case


def selection_config(config: PipelineConfig) -> tfma.EvalConfig:
    """Metrics and slices without thresholds: every survivor is measured, then one is chosen."""
    return _config(config, {})


def blessing_config(config: PipelineConfig) -> tfma.EvalConfig:
    """The same with thresholds: on the value, and on the change against the champion."""
    return _config(config, _thresholds(config.evaluate))


def _config(config: PipelineConfig, thresholds: dict[str, list[Any]]) -> tfma.EvalConfig:
    metrics = [
        config_pb2.MetricConfig(class_name=name, per_slice_thresholds=thresholds.get(snake_case(name)))
        for name in config.evaluate.metrics
    ]
    slices = [config_pb2.SlicingSpec(), *(config_pb2.SlicingSpec(feature_keys=keys) for keys in config.evaluate.slices)]
    spec = config_pb2.ModelSpec(
        signature_name="serving_default",
        label_key=LABEL,
        preprocessing_function_names=["transform_features"],
    )
    return config_pb2.EvalConfig(
        model_specs=[spec], metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)], slicing_specs=slices
    )


def _thresholds(evaluate: Evaluate) -> dict[str, list[Any]]:
    """Metric -> its thresholds, for the whole split only: a plain threshold of TFMA would bind every slice as well."""
    thresholds: dict[str, Any] = {}
    for bound in evaluate.thresholds:
        value = thresholds.setdefault(bound.metric, config_pb2.MetricThreshold()).value_threshold
        if bound.at_least is not None:
            value.lower_bound.value = bound.at_least
        if bound.at_most is not None:
            value.upper_bound.value = bound.at_most
    champion = evaluate.champion
    change = thresholds.setdefault(champion.metric, config_pb2.MetricThreshold()).change_threshold
    if champion.mode == "min":
        change.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
        change.absolute.value = champion.worse_by_at_most
    else:
        change.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        change.absolute.value = -champion.worse_by_at_most
    whole = [config_pb2.SlicingSpec()]
    return {
        metric: [config_pb2.PerSliceMetricThreshold(slicing_specs=whole, threshold=threshold)]
        for metric, threshold in thresholds.items()
    }
