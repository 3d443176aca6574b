"""Ranking by one metric, and the choice of the best candidate with its reason. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from checkpoint_gate.errors import NoCandidate, RuleError
from checkpoint_gate.rules.conditions import Mode

Interval = tuple[float, float]
Ties = Literal["latest", "earliest"]
AVERAGE = "average"  # the name of the candidate that is the average of the survivors' weights

_SHOWN = 3  # thresholds of a candidate that are spelled out; more of them would bury the first
_NAMED = 5  # candidates that the sentence names when none is left


@dataclass(frozen=True, slots=True)
class Failure:
    """A threshold that a candidate does not keep.

    Attributes:
      reason: one phrase with metric, slice, value and bound.
      missed_by: how far the value is from the bound, in the metric's own units; inf when it is missing or not finite.
      shortfall: the same relative to the bound, so that metrics can be compared; inf when that can't be said.
    """

    reason: str
    missed_by: float
    shortfall: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A survivor with what was measured of it; `name` is unique, `step` breaks ties.

    Attributes:
      metrics: over all examples.
      slices: slice, such as "island:Dream" -> metric -> value.
      intervals: metric -> 95 % confidence bounds over all examples, low before high, both finite.
      slice_intervals: slice -> metric -> the same.
      failures: the thresholds that it does not keep.
      averaged: (run, step) of the checkpoints whose weights it is the average of, oldest first; empty for a checkpoint.
      fault: why it is out whatever its metrics; None when nothing is wrong with it.
    """

    name: str
    run: str
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    slice_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    averaged: tuple[tuple[str, int], ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """What a candidate is ranked by.

    Attributes:
      value: of the metric, finite.
      interval: its 95 % confidence bounds; None where none were computed.
      where: the worst slice, whose value it is; None for all examples.
    """

    value: float
    interval: Interval | None = None
    where: str | None = None

    def __str__(self) -> str:
        where = f" on {self.where}" if self.where is not None else ""
        return f"{self.value:.6g}{where}"

    @property
    def with_interval(self) -> str:
        """The words for value and interval."""
        bounds = f"{self.interval[0]:.6g} to {self.interval[1]:.6g}" if self.interval else "no interval"
        return f"{self} ({bounds})"

    def overlaps(self, other: Score) -> bool:
        """Whether the intervals have a point in common; a score without one counts as its value alone."""
        low, high = self.interval or (self.value, self.value)
        other_low, other_high = other.interval or (other.value, other.value)
        return low <= other_high and other_low <= high


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen candidate and why.

    Attributes:
      winner: the chosen one.
      reason: one phrase with the numbers.
      candidates: all that were considered, in their order.
      excluded: name -> why it is out of the ranking.
      ranking: names of the others, best first.
      scores: name -> what it was ranked by, of those in the ranking.
    """

    winner: Candidate
    reason: str
    candidates: tuple[Candidate, ...]
    excluded: Mapping[str, str]
    ranking: tuple[str, ...]
    scores: Mapping[str, Score]


def rank_key(value: float, step: int, mode: Mode) -> tuple[float, int]:
    """Sorts the best first; ties rank by the later step first. `value` must be finite."""
    if not math.isfinite(value):
        raise ValueError(f"only finite values rank. Received: {value}")
    return (value if mode == "min" else -value, -step)


@dataclass(frozen=True, slots=True)
class Selector:
    """Chooses by one metric, in a direction that is never guessed.

    Candidates that fail a threshold, or whose metric is missing or not finite, are out of the ranking.

    Attributes:
      metric: its name in the evaluation.
      mode: "min" or "max".
      ties: which of equal candidates goes first, the one with the "latest" or the "earliest" step. A checkpoint goes
        before an average of checkpoints.
      within_noise: of all whose 95 % confidence interval overlaps that of the best, take the earliest: the difference
        is noise. An average of checkpoints counts as later than all of them.
      worst_slice: rank by the slice where the metric is worst, instead of by all examples.
    """

    metric: str
    mode: Mode
    ties: Ties = "latest"
    within_noise: bool = False
    worst_slice: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise RuleError(f"mode must be min or max. Received: mode={self.mode!r}.")
        if self.ties not in ("latest", "earliest"):
            raise RuleError(f"ties must be latest or earliest. Received: ties={self.ties!r}.")

    def choose(self, candidates: Sequence[Candidate]) -> Selection:
        """The best of `candidates`.

        Raises:
          NoCandidate: all are out; names the reason for each, the closest misses first.
        """
        excluded = self.excluded(candidates)
        scores = {c.name: self._score(c) for c in candidates if c.name not in excluded}
        ranked = sorted((c for c in candidates if c.name in scores), key=lambda c: self._key(c, scores[c.name]))
        if not ranked:
            raise NoCandidate(f"No survivor can be chosen by {self._by}: {_all_out(candidates, excluded)}.")
        near = [c for c in ranked if scores[c.name].overlaps(scores[ranked[0].name])] if self.within_noise else []
        winner = min(near, key=lambda c: (bool(c.averaged), c.step)) if near else ranked[0]
        return Selection(
            winner=winner,
            reason=self._reason(winner, ranked, len(near), scores),
            candidates=tuple(candidates),
            excluded=excluded,
            ranking=tuple(c.name for c in ranked),
            scores=scores,
        )

    def excluded(self, candidates: Sequence[Candidate]) -> dict[str, str]:
        """Name -> why the candidate is out of the ranking, of those that are, in their order."""
        slices = sorted({name for candidate in candidates for name in candidate.slices})
        return {c.name: reason for c in candidates if (reason := self._why_out(c, slices))}

    @property
    def _by(self) -> str:
        return f"{self.metric} on the worst slice" if self.worst_slice else self.metric

    def _why_out(self, candidate: Candidate, slices: Sequence[str]) -> str | None:
        reason = candidate.fault or self._unranked(candidate.metrics, "")
        if reason is None and self.worst_slice:
            if not slices:
                return "no slice was measured, so that none is the worst"
            reasons = (self._unranked(candidate.slices.get(name, {}), f" on slice {name}") for name in slices)
            reason = next((reason for reason in reasons if reason is not None), None)
        return reason or _failed(candidate)

    def _unranked(self, metrics: Mapping[str, float], where: str) -> str | None:
        value = metrics.get(self.metric)
        if value is None:
            return f"{self.metric} is missing{where}; it has {', '.join(sorted(metrics)) or 'no metrics'}"
        return None if math.isfinite(value) else f"{self.metric} is {value}{where}"

    def _score(self, candidate: Candidate) -> Score:
        if not self.worst_slice:
            return Score(candidate.metrics[self.metric], candidate.intervals.get(self.metric))
        values = {name: metrics[self.metric] for name, metrics in candidate.slices.items()}
        worst = min(values, key=lambda name: (-values[name] if self.mode == "min" else values[name], name))
        return Score(values[worst], candidate.slice_intervals.get(worst, {}).get(self.metric), worst)

    def _key(self, candidate: Candidate, score: Score) -> tuple[float, bool, int, str, str]:
        value, later_first = rank_key(score.value, candidate.step, self.mode)
        step = later_first if self.ties == "latest" else candidate.step
        return value, bool(candidate.averaged), step, candidate.run, candidate.name

    def _reason(self, winner: Candidate, ranked: Sequence[Candidate], near: int, scores: Mapping[str, Score]) -> str:
        score = scores[winner.name]
        edge = f"{'lowest' if self.mode == 'min' else 'highest'} {self._by} of {len(ranked)}"
        if len(ranked) == 1:
            return f"the only survivor in the ranking, {self._by} {score}"
        if near:
            return self._reason_within_noise(winner, ranked, near, scores, edge)
        second = ranked[1]
        other = scores[second.name]
        if other.value == score.value:
            return f"{edge}: {score}, the same as {second.name}; {self._tie(winner, second)}"
        return f"{edge}: {score}, next is {second.name} with {other}"

    def _reason_within_noise(
        self, winner: Candidate, ranked: Sequence[Candidate], near: int, scores: Mapping[str, Score], edge: str
    ) -> str:
        best = ranked[0]
        score = scores[winner.name].with_interval
        if winner is not best:
            return (
                f"{self._by} {score}, within noise of the {edge}, {best.name} with {scores[best.name].with_interval}; "
                f"of the {near} whose intervals overlap it is the earliest"
            )
        second = f"{ranked[1].name} with {scores[ranked[1].name].with_interval}"
        if near == 1:
            return f"{edge}: {score}, beyond noise; next is {second}"
        return f"{edge}: {score}, next is {second}; of the {near} whose intervals overlap it is the earliest"

    def _tie(self, winner: Candidate, second: Candidate) -> str:
        if bool(winner.averaged) != bool(second.averaged):
            return "a checkpoint goes before an average"
        if winner.step == second.step:
            return "of equal steps the first by name wins"
        return "the later step wins" if self.ties == "latest" else "the earlier step wins"


def _failed(candidate: Candidate) -> str | None:
    """The thresholds that the candidate fails, the farthest first."""
    failures = sorted(candidate.failures, key=lambda failure: -failure.shortfall)
    if not failures:
        return None
    words = [f.reason + (f", missed by {f.missed_by:.3g}" if math.isfinite(f.missed_by) else "") for f in failures]
    more = len(words) - _SHOWN
    return "; ".join(words[:_SHOWN]) + (f"; and {more} more thresholds failed" if more > 0 else "")


def _all_out(candidates: Sequence[Candidate], excluded: Mapping[str, str]) -> str:
    """The reason for each, the closest misses first."""
    if not candidates:
        return "there is none"
    misses = {c.name: max((f.shortfall for f in c.failures), default=math.inf) for c in candidates}
    closest = sorted(excluded, key=lambda name: misses[name])
    more = len(closest) - _NAMED
    words = "; ".join(f"{name}: {excluded[name]}" for name in closest[:_NAMED])
    return words + (f"; and {more} more, which the log names" if more > 0 else "")
