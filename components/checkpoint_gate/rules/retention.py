"""Which gated checkpoints stay in the store while training goes on. Pure: it names them, others delete.

Whatever the rules protect, the newest checkpoint stays when nothing else would.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rules.conditions import Mode
from checkpoint_gate.rules.records import At
from checkpoint_gate.rules.schedules import finite
from checkpoint_gate.rules.selection import rank_key


@dataclass(frozen=True, slots=True)
class Held:
    """A live checkpoint as retention sees it.

    Attributes:
      step, epoch, metrics, at: of its record.
      time: when it was saved, in seconds since 1970.
      size: in bytes.
    """

    step: int
    epoch: int
    metrics: Mapping[str, float]
    time: float
    size: int
    at: At = "epoch"


@dataclass(frozen=True, slots=True)
class Best:
    """The `n` best by `metric`; a value that is not finite is never among them, ties go to the later step."""

    metric: str
    mode: Mode
    n: int

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric.strip():
            raise RuleError(f"metric must be a name. Received: metric={self.metric!r}.")
        if self.mode not in ("min", "max"):
            raise RuleError(f"mode must be min or max. Received: mode={self.mode!r}.")
        _count(self.n, "n")

    def best(self, held: Sequence[Held]) -> list[Held]:
        """The best of `held`, best first."""
        finite = [h for h in held if math.isfinite(h.metrics.get(self.metric, math.nan))]
        return sorted(finite, key=lambda h: rank_key(h.metrics[self.metric], h.step, self.mode))[: self.n]


@dataclass(frozen=True, slots=True)
class Keep:
    """Retention: a union, each part protects what it names.

    Attributes:
      best: the n best by a metric.
      last: the newest so many.
      milestone: every so many epochs, for ever: (epoch + 1) is a multiple. A checkpoint saved between the ends of
        epochs, at a step, is none.
      within: seconds, to the microsecond; the checkpoints that are younger.
      budget: bytes. Without it the unprotected go at once; with it the oldest unprotected go, only while all
        checkpoints together take more than the budget. What is protected stays, even over the budget.

    Raises:
      RuleError: no part is given, or one is not above 0.
    """

    best: Best | None = None
    last: int | None = None
    milestone: int | None = None
    within: float | None = None
    budget: int | None = None

    def __post_init__(self) -> None:
        parts = (self.best, self.last, self.milestone, self.within, self.budget)
        if all(part is None for part in parts):
            raise RuleError("keep needs at least one of best, last, milestone, within, budget. Received: none.")
        if self.within is not None:
            object.__setattr__(self, "within", round(finite(self.within, "within"), 6))
            if self.within <= 0:
                raise RuleError(f"within must be a time above 0s. Received: within={self.within!r}.")
        for value, name in ((self.last, "last"), (self.milestone, "milestone"), (self.budget, "budget")):
            if value is not None:
                _count(value, name)

    def protected(self, held: Sequence[Held], now: float) -> dict[int, str]:
        """Step -> why that checkpoint stays."""
        reasons: dict[int, str] = {}
        for h in self.best.best(held) if self.best else ():
            assert self.best is not None
            reasons.setdefault(h.step, f"among the best {self.best.n} by {self.best.metric}")
        ordered = sorted(held, key=lambda h: h.step)
        for h in ordered[-self.last :] if self.last else ():
            reasons.setdefault(h.step, f"among the last {self.last}")
        for h in ordered:
            if self.milestone and h.at == "epoch" and (h.epoch + 1) % self.milestone == 0:
                reasons.setdefault(h.step, f"a milestone of every {self.milestone} epochs")
            if self.within is not None and now - h.time < self.within:
                reasons.setdefault(h.step, "younger than the time to keep")
        if ordered and not reasons:
            reasons[ordered[-1].step] = "the newest, and nothing else would stay"
        return reasons

    def surplus(self, held: Sequence[Held], now: float, also_stay: Container[int] = ()) -> dict[int, str]:
        """Step -> why that checkpoint may go now; empty while nothing has to. Steps in `also_stay` never do."""
        protected = self.protected(held, now)
        loose = [h for h in sorted(held, key=lambda h: h.step) if h.step not in protected and h.step not in also_stay]
        if self.budget is None:
            return {h.step: "no part of `keep` protects it" for h in loose}
        over = sum(h.size for h in held) - self.budget
        going: dict[int, str] = {}
        for h in loose:
            if over <= 0:
                break
            going[h.step] = "the budget is exceeded and no part of `keep` protects it"
            over -= h.size
        return going


def _count(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RuleError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}.")
