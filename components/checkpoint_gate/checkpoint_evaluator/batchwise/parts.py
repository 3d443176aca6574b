"""What a metric sums up over batches, for one model and one of its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tensorflow_model_analysis.metrics import metric_types, multi_class_confusion_matrix_metrics

from checkpoint_gate.checkpoint_evaluator.batchwise.columns import Batch, Columns, Source
from checkpoint_gate.checkpoint_evaluator.batchwise.means import MEANS
from checkpoint_gate.checkpoint_evaluator.batchwise.rows import NotBatchwise
from checkpoint_gate.checkpoint_evaluator.batchwise.sparse import SparseSums

BUCKETS = 10_000  # of TFMA's default histogram of predictions from 0 to 1; two more are for what is beyond
_NO_CLASS = multi_class_confusion_matrix_metrics.NO_PREDICTED_CLASS_ID
_CLASSES = 2**31  # more than there are


class Part(Protocol):
    """Adds up over examples. Sums of different batches are added by `+` and never changed."""

    @property
    def key(self) -> metric_types.MetricKey:
        """Under which `value` goes to TFMA."""

    @property
    def source(self) -> Source:
        """Where the columns are taken from."""

    def sums(self, batch: Batch) -> Any:
        """The sums of one batch."""

    def value(self, sums: Any) -> Any:
        """What the sums of all examples amount to; None for no example."""


@dataclass(frozen=True)
class Count:
    """The number of examples, or the sum of their weights."""

    key: metric_types.MetricKey
    source: Source

    def sums(self, batch: Batch) -> Any:
        return batch.weights(self.source).sum()

    def value(self, sums: Any) -> float:
        return 0.0 if sums is None else float(sums)


@dataclass(frozen=True)
class Quotient:
    """A metric of `MEANS`, by the name of its class."""

    key: metric_types.MetricKey
    source: Source
    metric: str

    def sums(self, batch: Batch) -> Any:
        return np.array(MEANS[self.metric].sums(batch.columns(self.source)))

    def value(self, sums: Any) -> float:
        return float(MEANS[self.metric].quotient(*((0.0, 0.0) if sums is None else map(float, sums))))


@dataclass(frozen=True)
class Histogram:
    """Positive weight and whole weight by bucket of the prediction; the value is a `SparseSums`."""

    key: metric_types.MetricKey
    source: Source

    def sums(self, batch: Batch) -> SparseSums:
        positive, prediction, weight = _binary(batch.columns(self.source))
        if np.isnan(prediction).any():
            raise NotBatchwise("A histogram needs predictions that are numbers. Received: NaN.")
        bucket = np.clip(prediction * BUCKETS + 1, 0, BUCKETS + 1).astype(np.int64)
        return SparseSums.of(bucket, positive, weight)

    def value(self, sums: Any) -> SparseSums:
        return SparseSums(np.zeros(0, np.int64), np.zeros((2, 0))) if sums is None else sums


@dataclass(frozen=True)
class AtThresholds:
    """True positives, true negatives, false positives and false negatives, shape (4, thresholds)."""

    key: metric_types.MetricKey
    source: Source
    thresholds: tuple[float, ...]

    def sums(self, batch: Batch) -> Any:
        positive, prediction, weight = _binary(batch.columns(self.source))
        negative = weight - positive
        over = [prediction > threshold for threshold in self.thresholds]
        return np.array(
            [
                [positive[above].sum() for above in over],
                [negative[~above].sum() for above in over],
                [negative[above].sum() for above in over],
                [positive[~above].sum() for above in over],
            ]
        )

    def value(self, sums: Any) -> Any:
        # In a tuple, since TFMA would compute confidence intervals of an array, which nobody reads.
        return (np.zeros((4, len(self.thresholds))) if sums is None else sums,)


@dataclass(frozen=True)
class Confusion:
    """The weight of each pair of true and predicted class: none where its prediction is not over `threshold`."""

    key: metric_types.MetricKey
    source: Source
    threshold: float

    def sums(self, batch: Batch) -> SparseSums:
        found = batch.columns(self.source)
        if found.prediction.shape[1] < 2:
            raise NotBatchwise("Predictions must be of two classes or more. Received: one.")
        if not np.isfinite(found.label).all():
            raise NotBatchwise("Labels must be finite.")
        actual = found.label.argmax(axis=1) if found.label.shape[1] > 1 else found.label[:, 0].astype(np.int64)
        predicted = found.prediction.argmax(axis=1)
        top = found.prediction[np.arange(len(predicted)), predicted].astype(np.float64)
        predicted = np.where(top <= self.threshold, _NO_CLASS, predicted)
        return SparseSums.of(actual * _CLASSES + predicted - _NO_CLASS, found.weight)

    def value(self, sums: Any) -> multi_class_confusion_matrix_metrics.Matrices:
        matrices = multi_class_confusion_matrix_metrics.Matrices()
        if sums is not None:
            entry = multi_class_confusion_matrix_metrics.MatrixEntryKey
            matrices[self.threshold] = {
                entry(int(number // _CLASSES), int(number % _CLASSES + _NO_CLASS)): float(weight)
                for number, weight in zip(sums.numbers, sums.sums[0], strict=True)
            }
        return matrices


def _binary(columns: Columns) -> tuple[Any, Any, Any]:
    """Positive weight, prediction and weight of every example that has a weight; labels may be fractions."""
    label, prediction, weight = columns.flat()
    if not ((label >= 0) & (label <= 1)).all():
        raise NotBatchwise("Labels must be within [0, 1].")
    counts = weight != 0
    weight = weight[counts]
    return weight * label[counts], prediction[counts].astype(np.float64), weight
