"""Examples as they reach a metric, one or many at a time, and how they become one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types

KEYS = (constants.LABELS_KEY, constants.PREDICTIONS_KEY, constants.EXAMPLE_WEIGHTS_KEY)


class NotBatchwise(ValueError):
    """Examples are not of the plain kind that is measured batch by batch; TFMA itself may be able to."""


@dataclass(frozen=True)
class Rows:
    """Rows of a batch of extracts, which stand in the place of labels, predictions and weights.

    Attributes:
      batch: labels, predictions and example weights (each an array, or arrays by name, with a row for each example).
      only: the number of the one row that is meant; None for all.
    """

    batch: Mapping[str, Any]
    only: int | None = None

    def __len__(self) -> int:
        return 1 if self.only is not None else rows_in(self.batch)

    def __reduce__(self) -> Any:
        # A runner that sends a row elsewhere shall not send the whole batch with each.
        batch = self.batch if self.only is None else take(self.batch, [self.only])
        return Rows, (batch,)


def extracts_of(rows: Rows) -> dict[str, Any]:
    """Extracts for TFMA's evaluator that hold `rows`."""
    return {key: rows for key in KEYS if key in rows.batch}


def rows_in(tree: Any) -> int:
    """How many rows the arrays in a tree of dicts have."""
    while isinstance(tree, Mapping):
        tree = next(value for value in tree.values() if value is not None)
    return len(tree)


def take(tree: Any, index: Any) -> Any:
    """Some rows of every array in a tree of dicts."""
    return _merged([tree], lambda arrays: arrays[0][index])


def length_of(inputs: metric_types.StandardMetricInputs) -> int:
    """How many examples an input of a metric stands for."""
    rows = inputs.get(KEYS[0])
    return len(rows) if isinstance(rows, Rows) else 1


def batch_of(inputs: Sequence[metric_types.StandardMetricInputs]) -> metric_types.StandardMetricInputs:
    """Inputs of a metric, which hold `Rows` or are an example each, as one with a row for each example.

    Raises:
      NotBatchwise: they are not all dense arrays of the same shape.
    """
    batches = [_batch(list(alike)) for _, alike in groupby(inputs, origin_of)]
    return metric_types.StandardMetricInputs(_merged(batches, np.concatenate))


def origin_of(inputs: metric_types.StandardMetricInputs) -> int:
    """The same for inputs that are rows of the same batch, and for all that are an example each."""
    rows = inputs.get(KEYS[0])
    return id(rows.batch) if isinstance(rows, Rows) else 0


def _batch(alike: Sequence[metric_types.StandardMetricInputs]) -> Any:
    first = alike[0].get(KEYS[0])
    if not isinstance(first, Rows):
        return _merged([{key: one[key] for key in KEYS if key in one} for one in alike], np.stack)
    if first.only is None:
        return first.batch if len(alike) == 1 else _merged([first.batch] * len(alike), np.concatenate)
    return take(first.batch, [one[KEYS[0]].only for one in alike])


def _merged(trees: Sequence[Any], function: Callable[[list[Any]], Any]) -> Any:
    """Trees of dicts as one, which has in the place of their arrays what `function` makes of them."""
    first = trees[0]
    if isinstance(first, Mapping):
        if any(not isinstance(tree, Mapping) or tree.keys() != first.keys() for tree in trees):
            raise NotBatchwise("Labels, predictions and weights must have the same names in every example.")
        return {key: _merged([tree[key] for tree in trees], function) for key in first}
    if all(tree is None for tree in trees):
        return None
    if not all(isinstance(tree, np.ndarray) for tree in trees):
        raise NotBatchwise(f"Labels, predictions and weights must be dense arrays. Received: {type(first).__name__}.")
    try:
        return function(list(trees))
    except ValueError as error:
        raise NotBatchwise("Labels, predictions and weights must have the same shape in every example.") from error
