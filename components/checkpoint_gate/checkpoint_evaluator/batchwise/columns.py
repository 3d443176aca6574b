"""Labels, predictions and weights of a batch, of one model and one of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.checkpoint_evaluator.batchwise.rows import KEYS, NotBatchwise, rows_in

_NUMBERS = "biuf"


@dataclass(frozen=True)
class Columns:
    """Labels, predictions and weights of n examples.

    Attributes:
      label: shape (n, l), numbers.
      prediction: shape (n, p), numbers.
      weight: shape (n,), float64.
    """

    label: Any
    prediction: Any
    weight: Any

    def flat(self) -> tuple[Any, Any, Any]:
        """Label, prediction and weight of each output of each example, all of shape (n·p,); labels as one-hot.

        Raises:
          NotBatchwise: labels and predictions cannot be paired.
        """
        label, outputs = self.label, self.prediction.shape[1]
        if label.shape[1] != outputs:
            label = one_hot(class_of(label, outputs), outputs)
        return label.reshape(-1), self.prediction.reshape(-1), np.repeat(self.weight, outputs)


@dataclass(frozen=True)
class Source:
    """Where a metric takes its columns from.

    Attributes:
      model, output: names; "" where there is only one.
      weighted: whether example weights count.
    """

    model: str
    output: str
    weighted: bool


class Batch:
    """A batch of examples; what is looked up for one metric serves all.

    Args:
      inputs: with a row for each example, see `batch_of`.
      config: with model specs, whose label and prediction keys hold.

    Raises:
      NotBatchwise: something is no number.
    """

    def __init__(self, inputs: metric_types.StandardMetricInputs, config: config_pb2.EvalConfig) -> None:
        for key in KEYS:
            _require_numbers(inputs.get(key))
        self._inputs = inputs
        self._config = config
        self._columns: dict[Source, Columns] = {}

    def columns(self, source: Source) -> Columns:
        """The columns of a source.

        Raises:
          NotBatchwise: they are not of one or two dimensions.
        """
        if source not in self._columns:
            self._columns[source] = self._look_up(source)
        return self._columns[source]

    def weights(self, source: Source) -> Any:
        """The weights alone, shape (n,): they may be there where predictions are by output."""
        weight = self._inputs.get(KEYS[2]) if source.weighted else None
        for name in (source.model, source.output):
            if isinstance(weight, Mapping) and name in weight:
                weight = weight[name]
        if isinstance(weight, Mapping):
            raise NotBatchwise(f"Example weights must be of one output. Received: {', '.join(weight)}.")
        rows = rows_in(self._inputs)
        return np.ones(rows) if weight is None else _weights(weight, rows)

    def _look_up(self, source: Source) -> Columns:
        # TFMA's own look-up by label key, model, output and prediction key, which holds for a batch as for an example.
        label, prediction, weight = next(
            metric_util.to_label_prediction_example_weight(
                self._inputs,
                eval_config=self._config,
                model_name=source.model,
                output_name=source.output,
                example_weighted=source.weighted,
                flatten=False,
                squeeze=False,
            )
        )
        rows = len(prediction)
        return Columns(_wide(label, rows), _wide(prediction, rows), _weights(weight, rows))


def class_of(label: Any, classes: int) -> Any:
    """The number of the class of each example, shape (n,).

    Raises:
      NotBatchwise: labels of shape (n, l) are no numbers of classes.
    """
    if label.shape[1] != 1 or classes < 2:
        raise NotBatchwise(f"Labels must be one number of a class. Received: {label.shape[1]} of {classes} classes.")
    with np.errstate(invalid="ignore"):
        number = label[:, 0].astype(np.int64)
    if ((number < 0) | (number >= classes) | (number != label[:, 0])).any():
        raise NotBatchwise(f"Labels must be numbers of classes from 0 to {classes - 1}.")
    return number


def one_hot(number: Any, classes: int) -> Any:
    return (number[:, None] == np.arange(classes)).astype(np.float64)


def _require_numbers(tree: Any) -> None:
    if isinstance(tree, Mapping):
        for value in tree.values():
            _require_numbers(value)
    elif tree is not None and tree.dtype.kind not in _NUMBERS:
        raise NotBatchwise(f"Labels, predictions and weights must be numbers. Received: {tree.dtype}.")


def _wide(values: Any, rows: int) -> Any:
    if values.ndim not in (1, 2) or len(values) != rows or not values.size:
        raise NotBatchwise(f"Labels and predictions must be of shape (n,) or (n, m). Received: {values.shape}.")
    return values.reshape(rows, -1)


def _weights(values: Any, rows: int) -> Any:
    if values.size == 1 and values.ndim <= 1:
        return np.full(rows, float(values.reshape(())))
    if values.size != rows:
        raise NotBatchwise(f"Example weights must be one number each. Received: shape {values.shape}.")
    return values.reshape(rows).astype(np.float64)
