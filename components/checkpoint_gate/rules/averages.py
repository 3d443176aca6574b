"""Averages over the history of one metric.

Each average is a frozen value; `start()` gives a meter that is fed every record's value in order and answers with the
average up to and including it. The numbers are those of numpy.mean over the same window, to the last bit, so that a
decision on the limit itself can be checked from outside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from checkpoint_gate.errors import RuleError


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that may be judged, or None with the reason why not."""

    value: float | None
    words: str


class Meter(Protocol):
    """Follows one metric of one kind of record."""

    def read(self, value: float) -> Reading:
        """Takes the next logged value in, and answers with the average so far."""
        ...


class Average(Protocol):
    """A way to average; `words` names it in reasons."""

    @property
    def words(self) -> str: ...

    def start(self, future: Sequence[float] | None = None) -> Meter:
        """A fresh meter; `future` is the whole series, where it is known beforehand."""
        ...


def mean(values: Sequence[float]) -> float:
    """The mean as numpy.mean gives it: pairwise summation, then one division."""
    return _pairwise_sum(values, 0, len(values)) / len(values)


def _pairwise_sum(values: Sequence[float], low: int, count: int) -> float:
    # The order of additions of numpy's pairwise sum (blocks of 128, eight partial sums within a block).
    if count < 8:
        total = 0.0
        for i in range(low, low + count):
            total += values[i]
        return total
    if count <= 128:
        parts = [values[low + i] for i in range(8)]
        full = count - count % 8
        for i in range(8, full, 8):
            for j in range(8):
                parts[j] += values[low + i + j]
        total = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]))
        for i in range(full, count):
            total += values[low + i]
        return total
    half = count // 2
    half -= half % 8
    return _pairwise_sum(values, low, half) + _pairwise_sum(values, low + half, count - half)


def _window(size: int, name: str) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise RuleError(f"{name} must be a whole number of at least 1. Received: {name}={size!r}.")


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """The mean of the last `window` values, the current one included."""

    window: int

    def __post_init__(self) -> None:
        _window(self.window, "moving_average")

    @property
    def words(self) -> str:
        return f"mean of the last {self.window}"

    def start(self, future: Sequence[float] | None = None) -> Meter:
        return _MovingMeter(self.window, self.words)


class _MovingMeter:
    def __init__(self, window: int, words: str) -> None:
        self._values: deque[float] = deque(maxlen=window)
        self._window = window
        self._words = words

    def read(self, value: float) -> Reading:
        self._values.append(value)
        if len(self._values) < self._window:
            return Reading(None, f"has {len(self._values)} of the {self._window} values its mean needs")
        values = list(self._values)
        if not all(map(math.isfinite, values)):
            return Reading(None, f"is not finite within the last {self._window} values")
        return _finite(mean(values), self._words)


@dataclass(frozen=True, slots=True)
class ExponentialAverage:
    """The exponential average of span n: alpha = 2 / (n + 1), seeded with the mean of the first n values.

    It restarts after a value, or a seed, that is not finite. The definition is that of pandas'
    `ewm(span=n, adjust=False)` but for the seed.
    """

    span: int

    def __post_init__(self) -> None:
        _window(self.span, "exponential_average")

    @property
    def words(self) -> str:
        return f"exponential average of span {self.span}"

    def start(self, future: Sequence[float] | None = None) -> Meter:
        return _ExponentialMeter(self.span, self.words)


class _ExponentialMeter:
    def __init__(self, span: int, words: str) -> None:
        self._span = span
        self._words = words
        self._seed: list[float] = []
        self._value: float | None = None

    def read(self, value: float) -> Reading:
        if not math.isfinite(value):
            self._seed, self._value = [], None
            return Reading(None, f"is {value}, its exponential average starts again")
        if self._value is None:
            return self._read_seed(value)
        if value != self._value:  # as pandas does, so that equal values stay exactly what they are
            alpha = 2.0 / (self._span + 1)
            self._value = alpha * value + (1.0 - alpha) * self._value
        return Reading(self._value, self._words)

    def _read_seed(self, value: float) -> Reading:
        self._seed.append(value)
        if len(self._seed) < self._span:
            return Reading(None, f"has {len(self._seed)} of the {self._span} values its exponential average needs")
        reading = _finite(mean(self._seed), self._words)
        self._seed, self._value = [], reading.value
        return reading


@dataclass(frozen=True, slots=True)
class CentredAverage:
    """The mean of `window` values with the current one in the middle; needs hindsight, so it only filters.

    Near the ends the existing neighbours are taken, at least (window + 1) / 2 of them, and the reason says how many.
    """

    window: int

    def __post_init__(self) -> None:
        _window(self.window, "centred_average")
        if self.window % 2 == 0:
            raise RuleError(f"centred_average must be odd. Received: centred_average={self.window}.")

    @property
    def words(self) -> str:
        return f"centred mean of {self.window}"

    def start(self, future: Sequence[float] | None = None) -> Meter:
        if future is None:
            raise RuleError("centred_average looks ahead, so it can filter but not gate: move it to `filter`.")
        return _CentredMeter(self.window, future)


class _CentredMeter:
    def __init__(self, window: int, series: Sequence[float]) -> None:
        self._half = window // 2
        self._series = series
        self._at = -1

    def read(self, value: float) -> Reading:
        self._at += 1
        values = list(self._series[max(0, self._at - self._half) : self._at + self._half + 1])
        words = f"centred mean of {len(values)}"
        if len(values) < self._half + 1:
            return Reading(None, f"has {len(values)} of the {self._half + 1} values its centred mean needs")
        if not all(map(math.isfinite, values)):
            return Reading(None, f"is not finite within its {words}")
        return _finite(mean(values), words)


def _finite(value: float, words: str) -> Reading:
    if math.isfinite(value):
        return Reading(value, words)
    article = "an" if words.startswith("e") else "a"
    return Reading(None, f"has {article} {words} beyond the largest number")
