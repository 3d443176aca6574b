"""Metrics that are a quotient of two sums over examples, as TFMA and the Keras metrics that it takes define them.

Keras computes in float32; so do these, example by example, while their sums are in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkpoint_gate.checkpoint_evaluator.batchwise.columns import Columns, class_of
from checkpoint_gate.checkpoint_evaluator.batchwise.rows import NotBatchwise

_EPSILON = np.float32(1e-7)  # keras.backend.epsilon()
_ONE = np.float32(1)

Sums = tuple[float, float]


@dataclass(frozen=True)
class Mean:
    """How a metric is computed.

    Attributes:
      sums: columns -> numerator and denominator.
      quotient: what becomes of the two of all examples.
      neutral: options of the metric -> the value at which this definition holds; other options are not computed here.
    """

    sums: Callable[[Columns], Sums]
    quotient: Callable[[float, float], float]
    neutral: Mapping[str, Any] = field(default_factory=dict)


def _or_zero(total: float, weight: float) -> float:
    return total / weight if weight else 0.0


def _or_nan(total: float, weight: float) -> float:
    return total / weight if weight else math.nan


def _or_nan_near_zero(total: float, weight: float) -> float:
    return math.nan if np.isclose(weight, 0.0) else total / weight


def _weighted(value: Callable[[Any, Any], Any]) -> Callable[[Columns], Sums]:
    """The weighted sum of a value of each example, as Keras' means take it."""

    def sums(columns: Columns) -> Sums:
        with np.errstate(all="ignore"):  # of NaN comes NaN
            values = value(columns.label, columns.prediction.astype(np.float32)).astype(np.float64)
        return float((values * columns.weight).sum()), float(columns.weight.sum())

    return sums


def _binary_crossentropy(label: Any, prediction: Any) -> Any:
    if label.shape != prediction.shape:
        raise NotBatchwise(f"Labels must be like predictions. Received: {label.shape} and {prediction.shape}.")
    y, p = label.astype(np.float32), np.clip(prediction, _EPSILON, _ONE - _EPSILON)
    return -(y * np.log(p + _EPSILON) + (_ONE - y) * np.log(_ONE - p + _EPSILON)).mean(axis=1)


def _categorical_crossentropy(label: Any, prediction: Any) -> Any:
    if label.shape != prediction.shape or label.shape[1] < 2:
        raise NotBatchwise(f"Labels must be like predictions. Received: {label.shape} and {prediction.shape}.")
    p = prediction / prediction.sum(axis=1, keepdims=True)
    return -(label.astype(np.float32) * np.log(np.clip(p, _EPSILON, _ONE - _EPSILON))).sum(axis=1)


def _sparse_categorical_crossentropy(label: Any, prediction: Any) -> Any:
    number = class_of(label, prediction.shape[1])
    p = np.clip(prediction, _EPSILON, _ONE - _EPSILON).astype(np.float64)
    return np.log(p.sum(axis=1)) - np.log(p[np.arange(len(p)), number])


def _sparse_categorical_accuracy(label: Any, prediction: Any) -> Any:
    return class_of(label, prediction.shape[1]) == _largest(prediction)


def _categorical_accuracy(label: Any, prediction: Any) -> Any:
    if label.shape != prediction.shape or label.shape[1] < 2:
        raise NotBatchwise(f"Labels must be like predictions. Received: {label.shape} and {prediction.shape}.")
    return _largest(label.astype(np.float32)) == _largest(prediction)


def _largest(values: Any) -> Any:
    """The first of the largest of each row, as tf.argmax takes it: a NaN is larger than nothing."""
    return np.where(np.isnan(values), -np.inf, values).argmax(axis=1)


def _root_mean_square(total: float, weight: float) -> float:
    return math.sqrt(_or_zero(total, weight))


def _squared(label: Any, prediction: Any) -> Any:
    if label.shape != prediction.shape or label.shape[1] != 1:
        raise NotBatchwise(f"Labels must be like predictions. Received: {label.shape} and {prediction.shape}.")
    return np.square(prediction - label.astype(np.float32))[:, 0]


def _errors(error: Callable[[Any, Any], Any]) -> Callable[[Columns], Sums]:
    """The weighted sum of an error of each output, without those that are NaN: they count for TFMA as not there."""

    def sums(columns: Columns) -> Sums:
        label, prediction, weight = columns.flat()
        with np.errstate(all="ignore"):
            values = error(label, prediction).astype(np.float64)
        known = ~np.isnan(values)
        return float((values[known] * weight[known]).sum()), float(weight[known].sum())

    return sums


def _percentage(label: Any, prediction: Any) -> Any:
    return np.where(label == 0, np.nan, 100 * np.abs((label - prediction) / label))


def _logarithmic(label: Any, prediction: Any) -> Any:
    return (np.log(label + 1) - np.log(prediction + 1)) ** 2


def _sums_of_labels(columns: Columns) -> Sums:
    label, _, weight = columns.flat()
    return float((label * weight).sum()), float(weight.sum())


def _sums_of_predictions(columns: Columns) -> Sums:
    _, prediction, weight = columns.flat()
    return float((prediction * weight).sum()), float(weight.sum())


def _predictions_by_labels(columns: Columns) -> Sums:
    label, prediction, weight = columns.flat()
    return float((prediction * weight).sum()), float((label * weight).sum())


_KERAS = {"dtype": "float32"}
_LOSS = _KERAS | {"from_logits": False, "label_smoothing": 0}

MEANS: Mapping[str, Mean] = {
    "BinaryCrossentropy": Mean(_weighted(_binary_crossentropy), _or_zero, _LOSS),
    "CategoricalCrossentropy": Mean(_weighted(_categorical_crossentropy), _or_zero, _LOSS | {"axis": -1}),
    "SparseCategoricalCrossentropy": Mean(
        _weighted(_sparse_categorical_crossentropy),
        _or_zero,
        _KERAS | {"from_logits": False, "axis": -1, "ignore_class": None},
    ),
    "CategoricalAccuracy": Mean(_weighted(_categorical_accuracy), _or_zero, _KERAS),
    "SparseCategoricalAccuracy": Mean(_weighted(_sparse_categorical_accuracy), _or_zero, _KERAS),
    "RootMeanSquaredError": Mean(_weighted(_squared), _root_mean_square, _KERAS),
    "MeanSquaredError": Mean(_errors(lambda label, prediction: np.abs(label - prediction) ** 2), _or_nan),
    "MeanAbsoluteError": Mean(_errors(lambda label, prediction: np.abs(label - prediction)), _or_nan),
    "MeanAbsolutePercentageError": Mean(_errors(_percentage), _or_nan),
    "MeanSquaredLogarithmicError": Mean(_errors(_logarithmic), _or_nan),
    "MeanLabel": Mean(_sums_of_labels, _or_nan_near_zero),
    "MeanPrediction": Mean(_sums_of_predictions, _or_nan_near_zero),
    "Calibration": Mean(_predictions_by_labels, _or_nan_near_zero),
}
"""Name of a metric's class, in TFMA or in Keras -> how it is computed."""
