"""Which metrics of an EvalConfig are computed batch by batch, and which are left to TFMA."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.checkpoint_evaluator.batchwise.columns import Source
from checkpoint_gate.checkpoint_evaluator.batchwise.computing import CONFUSIONS, Wanted, find
from checkpoint_gate.checkpoint_evaluator.batchwise.metric import Batchwise

_LOG = logging.getLogger(__name__)
_ANY = Source("", "", False)


@dataclass(frozen=True)
class Choice:
    """Who computes what.

    Attributes:
      config: where `Batchwise` stands in the place of what it computes.
      batchwise, others: names of metrics, in their order.
    """

    config: config_pb2.EvalConfig
    batchwise: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def takes_batches(self) -> bool:
        """Whether no metric needs its examples as TFMA hands them on."""
        return bool(self.batchwise) and not self.others

    @property
    def each_alone(self) -> bool:
        """Whether TFMA must count or draw examples one by one, for confidence intervals or a least size of slices."""
        options = self.config.options
        return bool(options.compute_confidence_intervals.value or options.min_slice_size.value > 1)


def choose(config: config_pb2.EvalConfig) -> Choice:
    """Puts `Batchwise` in the place of every metric that it computes as TFMA does.

    Args:
      config: with defaults filled in.
    """
    chosen = config_pb2.EvalConfig()
    chosen.CopyFrom(config)
    batchwise: list[str] = []
    others: list[str] = []
    # TFMA gives the matrices of all of these one key, whatever their thresholds.
    confusions = sum(metric.class_name in CONFUSIONS for spec in chosen.metrics_specs for metric in spec.metrics)
    for spec in chosen.metrics_specs:
        names = Counter(metric_specs.metric_instance(metric).name for metric in spec.metrics)
        for metric in spec.metrics:
            name = metric_specs.metric_instance(metric).name
            alone = names[name] == 1 and (confusions < 2 or metric.class_name not in CONFUSIONS)
            if alone and _is_plain(config, spec) and _replace(metric, name):
                batchwise.append(name)
            else:
                others.append(name)
    return Choice(chosen, tuple(batchwise), tuple(others))


def say(choice: Choice) -> None:
    """Says in the log who computes what."""
    others = ", ".join(sorted(set(choice.others))) or "none"
    _LOG.info("%d metrics are computed batch by batch; by TFMA itself: %s", len(choice.batchwise), others)


def _is_plain(config: config_pb2.EvalConfig, spec: config_pb2.MetricsSpec) -> bool:
    """Whether a metrics spec takes each output of each model as it is."""
    special = [spec.HasField("binarize"), spec.HasField("aggregate"), spec.query_key, spec.output_weights]
    special += [config.cross_slicing_specs, any(s.slice_keys_sql for s in config.slicing_specs)]
    # Models of tf_keras bring metrics of their own; padding makes rows of other lengths.
    special += [m.model_type == tfma.constants.TF_KERAS or m.HasField("padding_options") for m in config.model_specs]
    return not any(special)


def _replace(metric: config_pb2.MetricConfig, name: str) -> bool:
    """Makes a metric's config that of `Batchwise`, where that computes it; whether it does."""
    options = _options(metric)
    if metric.module and not (metric_types.is_registered_metric(metric.class_name) or _is_of_keras(metric)):
        return False  # somebody's own
    if options is None or find(Wanted(metric.class_name, name, json.dumps(options), _ANY)) is None:
        return False
    made = {"name": name, "metric": metric.class_name, "options": options}
    metric.class_name, metric.module = Batchwise.__name__, Batchwise.__module__
    metric.config = json.dumps(made, sort_keys=True)
    return True


def _options(metric: config_pb2.MetricConfig) -> dict[str, Any] | None:
    """What a metric is made with beside its name."""
    text = metric.config.strip()
    options: dict[str, Any] = json.loads(text if text.startswith("{") else f"{{{text}}}")
    options.pop("name", None)
    return options


def _is_of_keras(metric: config_pb2.MetricConfig) -> bool:
    return metric.module.startswith("tf_keras.") and ".metrics" in metric.module
