"""Numbers for proposed rules: of few digits, and with room on both sides of what was observed.

All of it looks downwards, as at a loss: less is better. For a metric that grows, callers turn the sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

_PARTS = tuple(part / 32 for part in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32))
_DIGITS = tuple(half / 2 for half in range(2, 20))  # 1.0, 1.5, … 9.5
_DECADES = 5


def between(low: float, high: float) -> float:
    """The number with the fewest digits above `low` and below `high`, near their middle; `low` where there is none."""
    middle = low / 2 + high / 2
    for digits in range(17):
        rounded = float(f"{middle:.{digits}e}")
        if low < rounded < high:
            return rounded
    return low


def looser(value: float) -> float:
    """A number of few digits above `value` by about a tenth of it; `value` itself where there is none, as for 0."""
    return between(value, value + abs(value) / 5)


def above(values: Iterable[float], need: float) -> list[float]:
    """`need`, and every different value above it, in order."""
    return [need, *sorted({value for value in values if value > need})]


def ladder(steps: Sequence[float]) -> list[float]:
    """Limits that let the first of the ascending `steps` through, the loosest first; each lies between two of them.

    They are close together near the first and far apart away from it, counted in steps and not in the metric's unit, so
    that no scale is assumed and a wild value has no weight. There are none between fewer than two steps.
    """
    places = sorted({round(part * max(len(steps) - 1, 0)) for part in _PARTS})
    limits = [between(steps[low], steps[high]) for low, high in pairwise(places)]
    return list(dict.fromkeys(reversed(limits)))


def falling(values: Iterable[float]) -> Iterator[float]:
    """The values that are below every one before them."""
    lowest = math.inf
    for value in values:
        if value < lowest:
            lowest = value
            yield value


def deltas(series: Iterable[Iterable[float]]) -> list[float]:
    """Smallest gains to ask for, from 0 upwards, of at most two digits: those that can tell the values apart.

    Args:
      series: for each history, its finite values in order.
    """
    gains: list[float] = []
    most = 0.0
    for values in series:
        lowest = list(falling(values))
        gains += [before - after for before, after in pairwise(lowest)]
        most = max(most, lowest[0] - lowest[-1]) if lowest else most
    if not gains or not math.isfinite(most):
        return [0.0]
    least = max(min(gains), most / 10**_DECADES)
    if not least:
        return [0.0]
    powers = range(math.floor(math.log10(least)), math.floor(math.log10(most)) + 1)
    numbers = [float(f"{digits}e{power}") for power in powers for digits in _DIGITS]
    return [0.0, *(number for number in numbers if least <= number <= most)]
