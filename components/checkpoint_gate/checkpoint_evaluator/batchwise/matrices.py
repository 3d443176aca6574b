"""TFMA's binary confusion matrices at thresholds, out of sums over batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import binary_confusion_matrices

from checkpoint_gate.checkpoint_evaluator.batchwise.parts import BUCKETS
from checkpoint_gate.checkpoint_evaluator.batchwise.sparse import SparseSums

_EPSILON = 1e-7  # binary_confusion_matrices._EPSILON: by so much a prediction must be over a threshold


def matrices_at(thresholds: Sequence[float], counts: Any) -> Any:
    """TFMA's `Matrices` of counts as `AtThresholds` gives them."""
    return binary_confusion_matrices.Matrices(list(thresholds), *(row.tolist() for row in counts[0]))


def matrices_of(thresholds: Sequence[float], histogram: SparseSums) -> Any:
    """TFMA's `Matrices` of a histogram of predictions, as `binary_confusion_matrices` derives them from its own.

    Args:
      thresholds: ascending, as that function completes them.
      histogram: positive weight and whole weight by bucket.
    """
    starts = [threshold + _EPSILON if threshold else threshold for threshold in thresholds]
    before = [-_EPSILON] if thresholds[0] >= 0 else []  # what is under the first threshold
    after = [1 + _EPSILON] if thresholds[-1] < 1 else []  # what is over every threshold
    edges = np.array([*before, *starts, *after])
    left = np.select(
        [histogram.numbers == 0, histogram.numbers == BUCKETS + 1],
        [-np.inf, np.inf],
        (histogram.numbers - 1) / BUCKETS,
    )
    place = np.maximum(np.searchsorted(edges, left, side="right") - 1, 0)
    positive, weight = (np.bincount(place, weights=sums, minlength=len(edges)) for sums in histogram.sums)
    first = 1 if (thresholds[0] >= 0 or len(thresholds) == 1) and len(edges) > 1 else 0
    wanted = slice(first, first + len(thresholds))
    (tp, fn), (fp, tn) = (_sides(sums, wanted) for sums in (positive, weight - positive))
    beyond = np.array(thresholds) >= 1 + _EPSILON
    tp[beyond], fp[beyond] = 0, 0
    fn[beyond], tn[beyond] = tp[0], fp[0]
    return binary_confusion_matrices.Matrices(list(thresholds), *(side.tolist() for side in (tp, tn, fp, fn)))


def _sides(sums: Any, wanted: slice) -> tuple[Any, Any]:
    """At each edge, what is from there on, and what is before."""
    from_here = np.cumsum(sums[::-1])[::-1]
    before = np.concatenate([[0.0], np.cumsum(sums[:-1])])
    return from_here[wanted].copy(), before[wanted].copy()
