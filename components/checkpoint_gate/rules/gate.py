"""The gate: the rules that decide about saving while training goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from checkpoint_gate.errors import RuleError, UnknownMetricError
from checkpoint_gate.rules.conditions import Judge, Rule, start
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.spelling import name_a_logged_one

LOSS = "loss"


def broken_loss(record: Record) -> str | None:
    """The words for a training loss that is not finite, which no rule can outweigh; None when it is sound or absent."""
    loss = record.metric(LOSS)
    return None if loss is None or math.isfinite(loss) else f"{LOSS} is {loss}"


@dataclass(frozen=True, slots=True)
class Gate:
    """Saves only when `rule` holds, the warm-up is over and the training loss is finite.

    Attributes:
      rule: the rules under `save:`.
      after: warm-up: this many first epochs are refused, >= 0; their metrics still count in averages.
    """

    rule: Rule
    after: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.after, bool) or not isinstance(self.after, int) or self.after < 0:
            raise RuleError(f"after must be a whole number of epochs, at least 0. Received: after={self.after!r}.")

    def start(self, decided: Iterable[tuple[Record, bool]] = ()) -> RunningGate:
        """A gate that goes on after records it has `decided` about: each with whether it was saved."""
        running = RunningGate(self, start(self.rule))
        for record, saved in decided:
            running.recall(record, saved)
        return running

    def decide(self, history: Sequence[Record]) -> Decision:
        """The decision about the last record of `history` (not empty)."""
        return self.replay(history)[-1]

    def replay(self, history: Iterable[Record]) -> list[Decision]:
        """One decision a record, as they were, or would have been, taken while training."""
        running = self.start()
        return [running.decide(record) for record in history]


class RunningGate:
    """A gate within one history: the state that its rules keep is a function of the records decided so far."""

    def __init__(self, gate: Gate, judge: Judge) -> None:
        self._gate = gate
        self._judge = judge

    def decide(self, record: Record) -> Decision:
        """Takes the next record in and decides about it."""
        judgement = self._judge.judge(record)
        decision = self._refusal(record) or Decision(
            judgement.truth == "holds", judgement.reason, judgement.clauses, judgement.shortfall
        )
        self._judge.learn(record, decision.save)
        return decision

    def recall(self, record: Record, saved: bool) -> None:
        """Takes in a record that was decided before."""
        self._judge.judge(record)
        self._judge.learn(record, saved)

    def _refusal(self, record: Record) -> Decision | None:
        """What refuses before any rule is asked."""
        broken = broken_loss(record)
        if broken is not None:
            return Decision(False, broken, (f"{LOSS} not finite",), math.inf)
        if record.epoch < self._gate.after:
            reason = f"warm-up: epoch {record.epoch + 1} of the first {self._gate.after}"
            return Decision(False, reason, ("warm-up",), math.inf)
        return None


class MetricWatch:
    """Notices a metric that the rules name and training never logs, as early as that can be told.

    Names that begin with `val_` are due at the first epoch that logged any `val_` metric, or at the end (validation may
    run every few epochs only); the others at the end of the first epoch.
    """

    def __init__(self, metrics: Iterable[str]) -> None:
        self._missing = set(metrics)
        self._logged: set[str] = set()

    def recall(self, record: Record) -> None:
        """Takes the names of a record of an earlier training in; what it lacks may still come."""
        self._logged |= set(record.metrics)
        self._missing -= self._logged

    def see(self, record: Record) -> None:
        """Takes a record's names in.

        Raises:
          UnknownMetricError: a name was due and is in no record.
        """
        if not self._missing:
            return
        self.recall(record)
        if record.at != "epoch":
            return
        validated = any(name.startswith("val_") for name in record.metrics)
        self._raise_for(name for name in self._missing if validated or not name.startswith("val_"))

    def suspects(self, record: Record) -> list[str]:
        """Names that a record of this kind should bring, if any does, and that nothing has logged so far, sorted."""
        return sorted(name for name in self._missing if record.at == "epoch" or not name.startswith("val_"))

    def end(self) -> None:
        """At the end of training every name is due; the same error as `see`."""
        if self._logged:
            self._raise_for(self._missing)

    def _raise_for(self, names: Iterable[str]) -> None:
        late = sorted(names)
        if late:
            validated = any(name.startswith("val_") for name in self._logged)
            wanted = any(name.startswith("val_") for name in late)
            validation = ", or give fit validation_data" if wanted and not validated else ""
            raise UnknownMetricError(
                f"The rules name {', '.join(map(repr, late))}, which training never logged. "
                f"{name_a_logged_one(late, self._logged)}{validation}."
            )
