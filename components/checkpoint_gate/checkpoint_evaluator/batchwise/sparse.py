"""Sums of which only those that are not empty are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SparseSums:
    """Sums by number: a histogram of 10,000 buckets takes as much memory as buckets are in use.

    Attributes:
      numbers: shape (m,), int64, ascending.
      sums: shape (k, m), float64: k sums for each number.
    """

    numbers: Any
    sums: Any

    @classmethod
    def of(cls, numbers: Any, *values: Any) -> SparseSums:
        """The sums of k values, each of shape (n,), over equal ones of n numbers."""
        distinct, place = np.unique(numbers, return_inverse=True)
        sums = [np.bincount(place.reshape(-1), weights=value, minlength=len(distinct)) for value in values]
        return cls(distinct, np.array(sums))

    def __add__(self, other: SparseSums) -> SparseSums:
        numbers = np.concatenate([self.numbers, other.numbers])
        return SparseSums.of(numbers, *np.concatenate([self.sums, other.sums], axis=1))
