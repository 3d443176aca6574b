"""A candidate held against the best version so far, by the thresholds on change. Pure: reads protos, writes words."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoint_gate.evaluator.comparison import binds
from checkpoint_gate.evaluator.measurements import (
    ALL_EXAMPLES,
    Measurements,
    Metric,
    bounds_in_words,
    metric_of,
    number,
    signed,
)
from checkpoint_gate.evaluator.verdict import Comparison

if TYPE_CHECKING:
    from checkpoint_gate.evaluator.eval_config import Threshold

Value = Callable[[str, Metric], float | None]


@dataclass(frozen=True, slots=True)
class Best:
    """The best version so far.

    Attributes:
        name: where it stands in the push folder.
        measured: its own evaluation, on the same examples; None where it is the champion, beside which the candidate
            was evaluated.
        incomparable: why it cannot be compared with; None when it can.
    """

    name: str
    measured: Measurements | None = None
    incomparable: str | None = None

    def value(self, beside: Measurements) -> Value:
        """Its metrics, `beside` being the evaluation of candidate and champion."""
        return beside.champion if self.measured is None else self.measured.challenger

    @property
    def version(self) -> str:
        return os.path.basename(self.name)


@dataclass(frozen=True, slots=True)
class Held:
    """How a candidate came out.

    Attributes:
        improves: whether it is at least as good in every metric that has a threshold on change.
        rows: a row for each of these thresholds on each slice that it binds on; none where the best is the champion.
        failures: one phrase for each that it does not keep.
    """

    improves: bool
    rows: tuple[Comparison, ...] = ()
    failures: tuple[str, ...] = ()


def hold_against(best: Best, thresholds: Sequence[Threshold], measured: Measurements) -> Held:
    """Holds the candidate of an evaluation against the best version so far.

    A metric that either lacks cannot be held against anything: its threshold fails.

    Args:
        thresholds: those that judge; only those on change count here.
        measured: the evaluation of candidate and champion.
    """
    value = best.value(measured)
    rows, failures, improves = [], [], True
    for where, metric, bound in _changes(thresholds, measured):
        ours, theirs = measured.challenger(where, metric), value(where, metric)
        improves &= _at_least_as_good(bound.change_threshold, ours, theirs)
        if best.measured is None:  # then TFMA has held the candidate against it
            continue
        holds = _keeps(bound.change_threshold, ours, theirs)
        required = f"a change of {bounds_in_words(bound)} against the best so far, version {best.version}"
        rows.append(Comparison(metric.name, where, ours, measured.champion(where, metric), required, holds, theirs))
        if not holds:
            failures.append(_failure(metric, where, ours, theirs, best) + f", required is {bounds_in_words(bound)}")
    return Held(improves, tuple(rows), tuple(failures))


def _changes(thresholds: Sequence[Threshold], measured: Measurements) -> Iterator[tuple[str, Metric, Any]]:
    slices = sorted(measured.slices.items(), key=lambda item: (item[0] != ALL_EXAMPLES, item[0]))
    for threshold in thresholds:
        if threshold.bound.HasField("change_threshold"):
            for where, columns in slices:
                if binds(threshold.spec, columns):
                    yield where, metric_of(threshold.key), threshold.bound


def _sign(change: Any) -> int:
    """1 where lower is better, -1 where higher is."""
    directions = change.DESCRIPTOR.fields_by_name["direction"].enum_type.values_by_name
    return 1 if change.direction == directions["LOWER_IS_BETTER"].number else -1


def _at_least_as_good(change: Any, ours: float | None, theirs: float | None) -> bool:
    return ours is not None and theirs is not None and _sign(change) * (ours - theirs) <= 0


def _keeps(change: Any, ours: float | None, theirs: float | None) -> bool:
    """As TFMA's metrics_validator: a bound on the difference, on its ratio to the other's value, or on both."""
    if ours is None or theirs is None:
        return False
    sign, difference = _sign(change), ours - theirs
    ratio = difference / theirs if theirs else math.nan
    bounds = [(difference, "absolute"), (ratio, "relative")]
    given = [(found, getattr(change, name).value) for found, name in bounds if change.HasField(name)]
    return not math.isnan(difference) and all(sign * found <= sign * bound for found, bound in given)


def _failure(metric: Metric, where: str, ours: float | None, theirs: float | None, best: Best) -> str:
    if ours is None or theirs is None:
        return f"no {metric.name} was computed on {where} for it and the best champion so far, version {best.version}"
    values = f"{metric.name} is {number(ours)} against {number(theirs)} of the best champion so far"
    return f"{values}, version {best.version}, on {where}, a change of {signed(ours - theirs)}"
