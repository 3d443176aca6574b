"""Ranking by one metric, and the choice of the best survivor with its reason. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkpoint_gate.errors import NoCandidate, RuleError
from checkpoint_gate.rules import Mode


@dataclass(frozen=True, slots=True)
class Candidate:
    """A survivor with its metrics; `name` is unique, `step` breaks ties."""

    name: str
    run: str
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen candidate and why.

    Attributes:
      winner: the chosen one.
      reason: one phrase with the numbers.
      candidates: all that were considered, in their order.
      excluded: name -> why it is out of the ranking.
    """

    winner: Candidate
    reason: str
    candidates: tuple[Candidate, ...]
    excluded: Mapping[str, str]


def rank_key(value: float, step: int, mode: Mode) -> tuple[float, int]:
    """Sorts the best first; ties rank by the later step first. `value` must be finite."""
    if not math.isfinite(value):
        raise ValueError(f"only finite values rank. Received: {value}")
    return (value if mode == "min" else -value, -step)


@dataclass(frozen=True, slots=True)
class Selector:
    """Takes the candidate with the best `metric`; `mode` is "min" or "max" and is never guessed."""

    metric: str
    mode: Mode

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise RuleError(f"mode must be min or max. Received: mode={self.mode!r}.")

    def choose(self, candidates: Sequence[Candidate]) -> Selection:
        """The best of `candidates`.

        Raises:
          NoCandidate: none has a finite `metric`; names the reason for each.
        """
        excluded = {c.name: reason for c in candidates if (reason := self._excluded(c))}
        ranked = sorted(
            (c for c in candidates if c.name not in excluded),
            key=lambda c: rank_key(c.metrics[self.metric], c.step, self.mode),
        )
        if not ranked:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in excluded.items()) or "there is none"
            raise NoCandidate(f"No survivor can be chosen by {self.metric}: {reasons}.")
        return Selection(ranked[0], self._reason(ranked), tuple(candidates), excluded)

    def _excluded(self, candidate: Candidate) -> str | None:
        value = candidate.metrics.get(self.metric)
        if value is None:
            return f"{self.metric} is missing; it has {', '.join(sorted(candidate.metrics)) or 'no metrics'}"
        return None if math.isfinite(value) else f"{self.metric} is {value}"

    def _reason(self, ranked: Sequence[Candidate]) -> str:
        best = ranked[0]
        value = best.metrics[self.metric]
        edge = "lowest" if self.mode == "min" else "highest"
        if len(ranked) == 1:
            return f"the only survivor in the ranking, {self.metric} {value:.6g}"
        second = ranked[1]
        other = second.metrics[self.metric]
        if other == value:
            return f"{edge} {self.metric} of {len(ranked)}: {value:.6g}, the same as {second.name}; the later step wins"
        return f"{edge} {self.metric} of {len(ranked)}: {value:.6g}, next is {second.name} with {other:.6g}"
