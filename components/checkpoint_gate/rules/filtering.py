"""The filter: judges saved checkpoints over the whole history of their runs, with hindsight. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rules.conditions import Rule, start
from checkpoint_gate.rules.gate import broken_loss
from checkpoint_gate.rules.judgement import Judgement
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.retention import Best, Keep
from checkpoint_gate.rules.selection import rank_key

Outcome = Literal["keep", "reject", "quarantine"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the filter says of one checkpoint.

    Attributes:
      run, step, epoch: which checkpoint.
      outcome: "keep" (a survivor), "reject", or "quarantine" (its bytes do not match its manifest).
      reason: one phrase with the numbers.
      shortfall: how far from being kept, relative to the limits; 0 when kept, inf when that can't be said.
      metrics: the raw metrics of its record.
    """

    run: str
    step: int
    epoch: int
    outcome: Outcome
    reason: str
    shortfall: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """How the rejected are removed.

    Attributes:
      grace: seconds that a checkpoint stays in the trash, from where it can be brought back; default 24 h.
      keep_last: so many of the newest checkpoints of a run are never pruned, >= 1.
      max_fraction: pruning is refused when more than this part of a run's live checkpoints would go, in (0, 1].
      within: seconds, > 0; younger checkpoints are never pruned. None for any age.
      budget: bytes, >= 1; the rejected stay while all checkpoints of a run together take no more, and beyond it the
        oldest of them go. None for none of them.
    """

    grace: float = 86400.0
    keep_last: int = 1
    max_fraction: float = 0.95
    within: float | None = None
    budget: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.grace) and self.grace >= 0):
            raise RuleError(f"grace must be a time of at least 0s. Received: grace={self.grace!r}.")
        if isinstance(self.keep_last, bool) or not isinstance(self.keep_last, int) or self.keep_last < 1:
            raise RuleError(f"keep_last must be a whole number of at least 1. Received: keep_last={self.keep_last!r}.")
        if not 0 < self.max_fraction <= 1:
            raise RuleError(f"max_fraction must be above 0 and at most 1. Received: max_fraction={self.max_fraction}.")
        object.__setattr__(self, "within", self.floor.within)

    @property
    def floor(self) -> Keep:
        """What stays whatever the filter says; raises RuleError where a part of it is out of range."""
        return Keep(last=self.keep_last, within=self.within, budget=self.budget)


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved checkpoint as the filter sees it; `damage` tells what does not verify, None when all does."""

    run: str
    record: Record
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Keeps the checkpoints for which `rule` holds; of these, with `top`, the best n over all runs.

    At least one of the two is given. `top` ranks the verified by the raw metric: the next one takes a damaged one's
    place.
    """

    rule: Rule | None = None
    top: Best | None = None

    def __post_init__(self) -> None:
        if self.rule is None and self.top is None:
            raise RuleError("filter needs rules or top. Received: neither.")

    def judge(self, histories: Mapping[str, Sequence[Record]], saved: Sequence[Saved]) -> list[Verdict]:
        """One verdict for each of `saved`, in its order.

        Args:
          histories: run -> every record of it in order, the refused ones too: they count in averages.
          saved: the checkpoints to judge; the record of each is one of its run's history.
        """
        judgements = {run: self._judgements(history) for run, history in histories.items()}
        verdicts = []
        for checkpoint in saved:
            judgement = judgements[checkpoint.run].get(_place(checkpoint.record))
            verdicts.append(self._verdict(checkpoint, judgement))
        return self._ranked(verdicts) if self.top else verdicts

    def replay(self, history: Sequence[Record], run: str = "history") -> list[Verdict]:
        """One verdict a record, as if each had a checkpoint."""
        pairs = zip(history, self._each(history), strict=True)
        verdicts = [self._verdict(Saved(run, record), judgement) for record, judgement in pairs]
        return self._ranked(verdicts) if self.top else verdicts

    def _each(self, history: Sequence[Record]) -> list[Judgement]:
        if self.rule is None:
            return [Judgement("holds", "no rules but top") for _ in history]
        judge = start(self.rule, history)
        return [judge.judge(record) for record in history]

    def _judgements(self, history: Sequence[Record]) -> dict[tuple[int, str], Judgement]:
        return {_place(record): judgement for record, judgement in zip(history, self._each(history), strict=True)}

    def _verdict(self, saved: Saved, judgement: Judgement | None) -> Verdict:
        record = saved.record
        if saved.damage is not None:
            return Verdict(saved.run, record.step, record.epoch, "quarantine", saved.damage, math.inf, record.metrics)
        reason = "the ledger has no record of it, so it cannot be judged" if judgement is None else broken_loss(record)
        if judgement is None or reason is not None:
            return Verdict(saved.run, record.step, record.epoch, "reject", str(reason), math.inf, record.metrics)
        outcome: Outcome = "keep" if judgement.truth == "holds" else "reject"
        return Verdict(
            saved.run, record.step, record.epoch, outcome, judgement.reason, judgement.shortfall, record.metrics
        )

    def _ranked(self, verdicts: list[Verdict]) -> list[Verdict]:
        assert self.top is not None
        top = self.top
        kept = [i for i, v in enumerate(verdicts) if v.outcome == "keep"]
        finite = [i for i in kept if math.isfinite(verdicts[i].metrics.get(top.metric, math.nan))]
        ranked = sorted(finite, key=lambda i: rank_key(verdicts[i].metrics[top.metric], verdicts[i].step, top.mode))
        places = {i: place for place, i in enumerate(ranked, 1)}
        order = [verdicts[i] for i in ranked]
        return [self._placed(v, places.get(i), order) if v.outcome == "keep" else v for i, v in enumerate(verdicts)]

    def _placed(self, verdict: Verdict, place: int | None, order: Sequence[Verdict]) -> Verdict:
        assert self.top is not None
        name = self.top.metric
        if place is None:
            value = verdict.metrics.get(name)
            reason = f"{name} {'was not logged' if value is None else f'is {value}'}, so it cannot be ranked"
            return _rejected(verdict, reason, math.inf)
        value = verdict.metrics[name]
        if place <= self.top.n:
            reason = f"{verdict.reason}; number {place} of {len(order)} by {name}, {value:.6g}"
            return Verdict(verdict.run, verdict.step, verdict.epoch, "keep", reason, 0.0, verdict.metrics)
        last = order[self.top.n - 1].metrics[name]
        short = abs(value - last) / abs(last) if last else abs(value - last)
        reason = f"number {place} of {len(order)} by {name}, {value:.6g}; the top {self.top.n} end at {last:.6g}"
        return _rejected(verdict, reason, short)


def closest_misses(verdicts: Sequence[Verdict], n: int = 3) -> list[Verdict]:
    """The rejected that came nearest to being kept, nearest first."""
    misses = [v for v in verdicts if v.outcome == "reject"]
    return sorted(misses, key=lambda v: (v.shortfall, -v.step))[:n]


def _rejected(verdict: Verdict, reason: str, shortfall: float) -> Verdict:
    return Verdict(verdict.run, verdict.step, verdict.epoch, "reject", reason, shortfall, verdict.metrics)


def _place(record: Record) -> tuple[int, str]:
    return record.step, record.at
