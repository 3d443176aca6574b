"""TFMA's EvalConfigs for a pipeline.yaml: one to choose the best survivor, one to bless it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.rules.selection import Selector
from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.config.sections import ChampionThreshold, Threshold
from gated_pipelines.config.spec import LABEL
from gated_pipelines.config.tfma_names import snake_case


def selector(config: PipelineConfig) -> Selector:
    """How the best survivor is chosen by what `selection_config` measures."""
    select = config.evaluate.select
    return Selector(select.metric, select.mode, select.ties, select.within_noise, select.worst_slice)


def selection_config(config: PipelineConfig) -> tfma.EvalConfig:
    """Metrics and slices of every survivor, with the thresholds that each must keep to be chosen."""
    select = config.evaluate.select
    measured = _config(config, _values(select.require))
    if select.within_noise:
        measured.options.compute_confidence_intervals.value = True
        measured.options.confidence_intervals.method = config_pb2.ConfidenceIntervalOptions.JACKKNIFE
    return measured


def blessing_config(config: PipelineConfig) -> tfma.EvalConfig:
    """Metrics and slices of the winner, with its thresholds on values, and on the change against the champion."""
    evaluate = config.evaluate
    thresholds = _values(evaluate.thresholds)
    thresholds.setdefault(evaluate.champion.metric, []).append(_change(evaluate.champion))
    return _config(config, thresholds)


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


# Thresholds say on which slices they bind: a plain threshold of TFMA would bind on every one that is measured.


def _values(bounds: Iterable[Threshold]) -> dict[str, list[Any]]:
    """Metric -> the thresholds on its value."""
    thresholds: dict[str, list[Any]] = {}
    for bound in bounds:
        threshold = config_pb2.MetricThreshold()
        if bound.at_least is not None:
            threshold.value_threshold.lower_bound.value = bound.at_least
        if bound.at_most is not None:
            threshold.value_threshold.upper_bound.value = bound.at_most
        slices = [config_pb2.SlicingSpec(), *(config_pb2.SlicingSpec(feature_keys=keys) for keys in bound.slices)]
        one = config_pb2.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)
        thresholds.setdefault(bound.metric, []).append(one)
    return thresholds


def _change(champion: ChampionThreshold) -> Any:
    threshold = config_pb2.MetricThreshold()
    change = threshold.change_threshold
    if champion.mode == "min":
        change.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
        change.absolute.value = champion.worse_by_at_most
    else:
        change.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        change.absolute.value = -champion.worse_by_at_most
    return config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
