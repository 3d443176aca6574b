"""The uniform average of the weights of several checkpoints of one training run.

After M. Wortsman et al., "Model soups" (ICML 2022), uniform soup; of one run's checkpoints as in P. Izmailov et al.,
"Averaging Weights Leads to Wider Optima and Better Generalization" (UAI 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from checkpoint_gate.errors import AverageRefused
from checkpoint_gate.models.exporting import restore, state_beside_variables, weights_of, weights_used

Part = Literal["averaged", "constant", "unused"]
"""How a variable enters: its mean is taken; it must be the same everywhere; or predictions do not depend on it."""


class UniformAverage:
    """Averages sets of values that are given one after the other, holding one set of sums and nothing else.

    Args:
      parts: name -> how the variable of that name enters.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self._count = 0
        self._sums: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Adds one set: name -> array, of the same shapes and dtypes each time.

        Raises:
          AverageRefused: a constant differs from that of an earlier set.
        """
        for name, part in self._parts.items():
            value = np.asarray(values[name])
            if part == "averaged":
                wide = value.astype(np.result_type(np.float64, value.dtype) if value.dtype.kind == "c" else np.float64)
                self._sums[name] = self._sums[name] + wide if self._count else wide
            elif part == "constant" and self._count and value.tobytes() != self._last[name].tobytes():
                raise AverageRefused(
                    f"{name} is not trained and differs between the survivors, as a running statistic does; "
                    "the mean of such values does not belong to the mean of the weights"
                )
            self._last[name] = value
        self._count += 1

    def values(self) -> dict[str, Any]:
        """Name -> the mean, summed in float64 and cast back; of what is not averaged, the value that came last."""
        means = {name: (total / self._count).astype(self._last[name].dtype) for name, total in self._sums.items()}
        return self._last | means


def average_checkpoints(loaded: Any, signature: str, prefixes: Sequence[str], written: str) -> None:
    """Writes the uniform average of checkpoints as a checkpoint.

    Args:
      loaded: the Trainer's export as `load_trained` gives it; holds the average afterwards.
      signature: the one that predicts. Variables that it does not read need not agree.
      prefixes: of the checkpoints, oldest first.
      written: prefix of the checkpoint to write.

    Raises:
      AverageRefused: what predicts cannot be averaged; the reason completes "the survivors are not averaged: ".
      ModelError: a checkpoint is of another model.
    """
    hidden = state_beside_variables(prefixes[0])
    if hidden is not None:
        raise AverageRefused(f"the model keeps state that is no variable, {hidden}")
    weights = weights_of(loaded)
    used = weights_used(loaded, loaded.signatures[signature])
    average = UniformAverage({path: _part(weight, path in used) for path, weight in weights.items()})
    for prefix in prefixes:
        restore(loaded, prefix)
        average.add({path: weight.numpy() for path, weight in weights.items()})
    for path, value in average.values().items():
        weights[path].assign(value)
    tf.train.Checkpoint(model=loaded.model).write(written)


def _part(weight: tf.Variable, used: bool) -> Part:
    if weight.trainable and (weight.dtype.is_floating or weight.dtype.is_complex):
        return "averaged"
    return "constant" if used else "unused"
