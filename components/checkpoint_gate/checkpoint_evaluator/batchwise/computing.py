"""How the metrics that are known here are computed: which sums over examples, and what is derived of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    calibration_histogram,
    metric_types,
    multi_class_confusion_matrix_metrics,
)

from checkpoint_gate.checkpoint_evaluator.batchwise.columns import Source
from checkpoint_gate.checkpoint_evaluator.batchwise.matrices import matrices_at, matrices_of
from checkpoint_gate.checkpoint_evaluator.batchwise.means import MEANS
from checkpoint_gate.checkpoint_evaluator.batchwise.parts import (
    AtThresholds,
    Confusion,
    Count,
    Histogram,
    Part,
    Quotient,
)

COUNTS = ("ExampleCount", "WeightedExampleCount")
CONFUSIONS = {"MultiClassConfusionMatrixPlot": 0.0, "MultiClassConfusionMatrixAtThresholds": 0.5}
"""Class -> its default threshold."""


@dataclass(frozen=True)
class Wanted:
    """A metric, and of what.

    Attributes:
      metric: the name of its class, in TFMA or in Keras.
      name: of the metric.
      options: what it is made with beside the name, as JSON.
      source: what it is computed of.
    """

    metric: str
    name: str
    options: str
    source: Source


@dataclass(frozen=True)
class Computed:
    """What is summed up for a metric, and what is derived of that in the end.

    Attributes:
      part: what is summed up.
      keys, result: of what is derived of all values; no keys where the value of the part is the metric.
    """

    part: Part
    keys: tuple[metric_types.MetricKey, ...] = ()
    result: Callable[[Mapping[metric_types.MetricKey, Any]], Any] = dict


@dataclass(frozen=True)
class Derivation:
    """What is derived of a metric's sums; made anew where it is needed.

    Beam sends it to every stage that derives metrics, of which confidence intervals have twenty: as a name, not as the
    closures of TFMA with their thousands of thresholds, which costs more than all the rest.
    """

    wanted: Wanted

    def __call__(self, metrics: Mapping[metric_types.MetricKey, Any]) -> Any:
        return computed_of(self.wanted).result(metrics)


def computed_of(wanted: Wanted) -> Computed:
    """How a metric is computed that is known here.

    Raises:
      ValueError: it is not.
    """
    computed = find(wanted)
    if computed is None:
        raise ValueError(f"A batch-wise metric must be known. Received: {wanted}.")
    return computed


@lru_cache(maxsize=4096)  # asked for by each metric for all
def find(wanted: Wanted) -> Computed | None:
    """How a metric is computed here; None for one that is not."""
    options = json.loads(wanted.options)
    if wanted.metric in COUNTS:
        return None if options else Computed(Count(_key(wanted, wanted.name), wanted.source))
    if wanted.metric in MEANS:
        neutral = MEANS[wanted.metric].neutral
        if any(option not in neutral or value != neutral[option] for option, value in options.items()):
            return None
        return Computed(Quotient(_key(wanted, wanted.name), wanted.source, wanted.metric))
    if wanted.metric in CONFUSIONS:
        return _confusion(wanted, options)
    return _of_binary_matrices(wanted, options)


def _confusion(wanted: Wanted, options: Mapping[str, Any]) -> Computed | None:
    """Of one threshold; TFMA takes the classes of several from each other."""
    thresholds = options.get("thresholds") or [CONFUSIONS[wanted.metric]]
    if set(options) - {"thresholds"} or len(thresholds) != 1:
        return None
    stock = _stock(wanted, options)
    if stock is None or len(stock) != 2:
        return None
    key = stock[0].keys[0]
    if key.name != multi_class_confusion_matrix_metrics.MULTI_CLASS_CONFUSION_MATRICES:
        return None
    return Computed(Confusion(key, wanted.source, float(thresholds[0])), tuple(stock[1].keys), stock[1].result)


def _of_binary_matrices(wanted: Wanted, options: Mapping[str, Any]) -> Computed | None:
    """Whatever TFMA derives of binary confusion matrices alone: the matrices are ours, the rest is its own."""
    stock = _stock(wanted, options)
    if stock is None or len(stock) != 3 or not isinstance(stock[0], metric_types.MetricComputation):
        return None
    base, matrices, last = stock
    place = {
        "model_name": wanted.source.model,
        "output_name": wanted.source.output,
        "example_weighted": wanted.source.weighted,
    }
    (histogram,) = calibration_histogram.calibration_histogram(**place)
    if base == histogram:
        thresholds = tuple(_only(matrices.result({base.keys[0]: []})).thresholds)
        part: Part = Histogram(_key(wanted, "_batchwise_histogram"), wanted.source)
        make: Callable[[Sequence[float], Any], Any] = matrices_of
    else:
        thresholds = tuple(_only(base.combiner.extract_output(base.combiner.create_accumulator())))
        stated = binary_confusion_matrices.binary_confusion_matrices(thresholds=list(thresholds), **place)[0]
        known = base == stated  # of key and kind; != would compare the combiners themselves
        if not known:
            return None
        part = AtThresholds(_key(wanted, f"_batchwise_at_{thresholds}"), wanted.source, thresholds)
        make = matrices_at

    def result(metrics: Mapping[metric_types.MetricKey, Any]) -> Any:
        return last.result({matrices.keys[-1]: make(thresholds, metrics[part.key])})

    return Computed(part, tuple(last.keys), result)


def _stock(wanted: Wanted, options: Mapping[str, Any]) -> metric_types.MetricComputations | None:
    """TFMA's own computations; None for what is no metric of TFMA."""
    classes = metric_types.registered_metrics()
    if wanted.metric not in classes:
        return None
    source = wanted.source
    computations: metric_types.MetricComputations = classes[wanted.metric](name=wanted.name, **options).computations(
        model_names=[source.model], output_names=[source.output], example_weighted=source.weighted
    )
    return computations


def _key(wanted: Wanted, name: str) -> metric_types.MetricKey:
    source = wanted.source
    return metric_types.MetricKey(
        name, model_name=source.model, output_name=source.output, example_weighted=source.weighted
    )


def _only(values: Mapping[Any, Any]) -> Any:
    (value,) = values.values()
    return value
