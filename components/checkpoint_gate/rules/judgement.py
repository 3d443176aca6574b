"""What a rule is, its three-valued answer, and how answers combine.

Combination is Kleene's strong three-valued logic (S. C. Kleene, Introduction to Metamathematics, 1952, section 64):
an `unknown` never counts as a yes, and `not` of it stays unknown, so a metric that is NaN or absent can't open a gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from checkpoint_gate.rules.records import Record

Truth = Literal["holds", "fails", "unknown"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says of one record.

    Attributes:
      truth: "holds", "fails", or "unknown" where it cannot be judged.
      reason: one phrase with the numbers, for a log reader.
      clauses: the clauses that decided, without numbers of the record, so that equal causes count as one.
      shortfall: how far from holding, relative to the limit (0 when it holds, inf when that can't be said).
    """

    truth: Truth
    reason: str
    clauses: tuple[str, ...] = ()
    shortfall: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to save, and why.

    Attributes:
      save: True only when the rules hold.
      reason: one phrase with the numbers.
      clauses: what decided, in words that do not change from record to record.
      shortfall: how far from being saved, relative to the limits; 0 when saved, inf when that can't be said.
    """

    save: bool
    reason: str
    clauses: tuple[str, ...] = ()
    shortfall: float = 0.0


class Judge(Protocol):
    """Follows one history. `judge` is called once a record, in order; `learn` after the gate has decided."""

    def judge(self, record: Record) -> Judgement:
        """What the rule says of `record`, given those before it."""
        ...

    def learn(self, record: Record, saved: bool) -> None:
        """Hears whether the record just judged was saved; never called in a filter."""
        ...


@runtime_checkable
class Rule(Protocol):
    """Judges records. A value without state: the same history always gets the same answers."""

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        """A fresh judge; `future` is the whole history, where it is known beforehand (in a filter)."""
        ...

    def metrics(self) -> frozenset[str]:
        """Names of the metrics that the rule reads."""
        ...


def all_of(judgements: Sequence[Judgement]) -> Judgement:
    """Fails when one fails, else unknown when one is, else holds."""
    blocking = [j for j in judgements if j.truth != "holds"]
    if not blocking:
        return _merge("holds", judgements, "; ", 0.0)
    truth: Truth = "fails" if any(j.truth == "fails" for j in blocking) else "unknown"
    return _merge(truth, blocking, "; ", max(j.shortfall for j in blocking))


def any_of(judgements: Sequence[Judgement]) -> Judgement:
    """Holds when one holds, else unknown when one is, else fails."""
    holding = [j for j in judgements if j.truth == "holds"]
    if holding:
        return _merge("holds", holding, "; ", 0.0)
    truth: Truth = "unknown" if any(j.truth == "unknown" for j in judgements) else "fails"
    return _merge(truth, judgements, " and ", min(j.shortfall for j in judgements))


def negate(judgement: Judgement) -> Judgement:
    """Turns holds and fails round; unknown stays unknown."""
    turned: dict[Truth, Truth] = {"holds": "fails", "fails": "holds", "unknown": "unknown"}
    truth = turned[judgement.truth]
    return Judgement(
        truth,
        f"not ({judgement.reason})" if truth != "unknown" else judgement.reason,
        tuple(f"not ({clause})" for clause in judgement.clauses),
        0.0 if truth == "holds" else float("inf"),
    )


def _merge(truth: Truth, judgements: Sequence[Judgement], between: str, shortfall: float) -> Judgement:
    clauses = tuple(dict.fromkeys(clause for j in judgements for clause in j.clauses))
    return Judgement(truth, between.join(dict.fromkeys(j.reason for j in judgements)), clauses, shortfall)
