"""The rules: frozen values that judge a history of records and answer with a reason.

A rule holds no state. `start()` gives a judge that is fed the records one by one, so that the cost of a record does not
grow with the history; judging a history again from its start gives the same answers.

Everything that rules in Python are built of can be imported from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rules.averages import Average, CentredAverage, ExponentialAverage, Meter, MovingAverage
from checkpoint_gate.rules.judgement import Judge, Judgement, Rule, all_of, any_of, negate
from checkpoint_gate.rules.records import At, Record
from checkpoint_gate.rules.schedules import ChampionLimit, Limit, Schedule, finite, limit_text, limit_value
from checkpoint_gate.rules.user_rules import watched

__all__ = [
    "All",
    "Any",
    "CentredAverage",
    "ChampionLimit",
    "Every",
    "ExponentialAverage",
    "Improves",
    "Judge",
    "Judgement",
    "Mode",
    "MovingAverage",
    "Not",
    "Record",
    "Rule",
    "Schedule",
    "Threshold",
    "start",
]

Mode = Literal["min", "max"]


def start(rule: Rule, future: Sequence[Record] | None = None) -> Judge:
    """A fresh judge of `rule`; the judge of a rule of one's own is watched, see `user_rules`.

    Raises:
      RuleError: the rule cannot judge here, or its own code failed.
    """
    return rule.start(future) if type(rule) in BUILT_IN else watched(rule, future)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A metric, or an average of it, against a limit; equality passes.

    Attributes:
      metric: the metric's name as logged.
      at_most: upper limit, a number, a schedule or relative to the champion; exactly one of `at_most` and `at_least`
        is given.
      at_least: lower limit.
      average: what is compared, or None for the metric itself.

    Raises:
      RuleError: the metric has no name, or there is not one finite limit.
    """

    metric: str
    at_most: Limit | None = None
    at_least: Limit | None = None
    average: Average | None = None

    def __post_init__(self) -> None:
        _named(self.metric)
        if (self.at_most is None) == (self.at_least is None):
            raise RuleError(f"{self.metric!r} needs exactly one of at_most and at_least.")
        if not isinstance(self.limit, (Schedule, ChampionLimit)):
            side = "at_most" if self.at_most is not None else "at_least"
            object.__setattr__(self, side, finite(self.limit, f"The limit of {self.metric!r}"))

    @property
    def limit(self) -> Limit:
        limit = self.at_most if self.at_most is not None else self.at_least
        assert limit is not None
        return limit

    def metrics(self) -> frozenset[str]:
        return frozenset({self.metric})

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        return _ThresholdJudge(self, future)

    def __str__(self) -> str:
        what = f"{self.metric} ({self.average.words})" if self.average else self.metric
        return f"{what} {'at most' if self.at_most is not None else 'at least'} {limit_text(self.limit)}"


class _ThresholdJudge:
    def __init__(self, rule: Threshold, future: Sequence[Record] | None) -> None:
        self._metric = rule.metric
        self._average = rule.average
        self._limit = rule.limit
        self._upper = rule.at_most is not None
        self._bound = "at most" if self._upper else "at least"
        self._relative = f", {rule.limit}" if isinstance(rule.limit, ChampionLimit) else ""
        self._future = future
        self._meters: dict[At, Meter] = {}  # windows never mix epochs and steps
        self._clauses = (str(rule),)

    def judge(self, record: Record) -> Judgement:
        name = self._metric
        value = record.metric(name)
        if value is None:
            return self._unknown(f"{name} was not logged")
        if self._average is not None:
            reading = self._meter(record.at, self._average).read(value)
            if reading.value is None:
                return self._unknown(f"{name} {reading.words}")
            value, name = reading.value, f"{name}'s {reading.words}"
        if not math.isfinite(value):
            return self._unknown(f"{name} is {value}")
        limit = limit_value(self._limit, record)
        return self._unlimited(name, value) if limit is None else self._compare(name, value, limit)

    def _unlimited(self, name: str, value: float) -> Judgement:
        """What is said where the limit is the champion's, and its number is not there."""
        limit = self._limit
        assert isinstance(limit, ChampionLimit)
        if limit.champion == "unresolved":
            return self._unknown(f"the champion's {limit.metric} was not looked up")
        return Judgement("holds", f"{name} {value:.6g} has no limit, since there is no champion yet", self._clauses)

    def _compare(self, name: str, value: float, limit: float) -> Judgement:
        words = f"{self._bound} {limit:.6g}{self._relative}"
        if value <= limit if self._upper else value >= limit:
            return Judgement("holds", f"{name} {value:.6g} is {words}", self._clauses)
        over = value - limit if self._upper else limit - value
        shortfall = over / abs(limit) if limit else over
        return Judgement("fails", f"{name} {value:.6g} is not {words} (by {over:.3g})", self._clauses, shortfall)

    def _unknown(self, reason: str) -> Judgement:
        return Judgement("unknown", reason, self._clauses, math.inf)

    def _meter(self, at: At, average: Average) -> Meter:
        if at not in self._meters:
            series = None
            if self._future is not None:
                values = (r.metric(self._metric) for r in self._future if r.at == at)
                series = [v for v in values if v is not None]
            self._meters[at] = average.start(series)
        return self._meters[at]

    def learn(self, record: Record, saved: bool) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Improves:
    """A metric strictly better, by more than `min_delta`, than its best finite value among the saved records.

    Attributes:
      metric: the metric's name as logged.
      mode: "min" or "max"; never guessed from the name.
      min_delta: in the metric's unit, >= 0.

    Raises:
      RuleError: one of these does not hold.
    """

    metric: str
    mode: Mode
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise RuleError(f"improves must be min or max. Received: improves={self.mode!r}.")
        _named(self.metric)
        object.__setattr__(self, "min_delta", finite(self.min_delta, "min_delta"))
        if self.min_delta < 0:
            raise RuleError(f"min_delta must be at least 0. Received: {self.min_delta}.")

    def metrics(self) -> frozenset[str]:
        return frozenset({self.metric})

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        if future is not None:
            raise RuleError("improves compares with what was saved, so it can gate but not filter: use `top`.")
        return _ImprovesJudge(self)

    def __str__(self) -> str:
        return f"{self.metric} improves ({self.mode})"


class _ImprovesJudge:
    def __init__(self, rule: Improves) -> None:
        self._rule = rule
        self._best: float | None = None
        self._clauses = (str(rule),)

    def judge(self, record: Record) -> Judgement:
        rule = self._rule
        value = record.metric(rule.metric)
        if value is None or not math.isfinite(value):
            what = "was not logged" if value is None else f"is {value}"
            return Judgement("unknown", f"{rule.metric} {what}", self._clauses, math.inf)
        if self._best is None:
            return Judgement("holds", f"{rule.metric} {value:.6g} is the first to save", self._clauses)
        gain = self._best - value if rule.mode == "min" else value - self._best
        if gain > rule.min_delta:
            return Judgement("holds", f"{rule.metric} {value:.6g} improves on {self._best:.6g}", self._clauses)
        more = f" by more than {rule.min_delta:g}" if rule.min_delta else ""
        short = rule.min_delta - gain
        return Judgement(
            "fails",
            f"{rule.metric} {value:.6g} does not improve on {self._best:.6g}{more}",
            self._clauses,
            short / abs(self._best) if self._best else short,
        )

    def learn(self, record: Record, saved: bool) -> None:
        value = record.finite(self._rule.metric)
        if saved and value is not None:
            better = min if self._rule.mode == "min" else max
            self._best = value if self._best is None else better(self._best, value)


@dataclass(frozen=True, slots=True)
class Every:
    """Holds once a period.

    Attributes:
      period: how many `unit`s, > 0; a whole number of epochs or steps, seconds to the microsecond.
      unit: "epochs": when (epoch + 1) is a multiple; "steps": whenever the step reaches or passes a multiple;
        "seconds": when so much wall-clock time has passed since it last held, or since the first record.

    Raises:
      RuleError: one of these does not hold.
    """

    period: float
    unit: Literal["epochs", "steps", "seconds"] = "epochs"

    def __post_init__(self) -> None:
        if self.unit not in ("epochs", "steps", "seconds"):
            raise RuleError(f"every counts epochs, steps or seconds. Received: unit={self.unit!r}.")
        if self.unit == "seconds":
            object.__setattr__(self, "period", round(finite(self.period, "every"), 6))
        whole = isinstance(self.period, int) and not isinstance(self.period, bool)
        if not (whole or self.unit == "seconds") or self.period <= 0:
            raise RuleError(f"every must be a whole number of at least 1, or a time. Received: every={self.period!r}.")

    def metrics(self) -> frozenset[str]:
        return frozenset()

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        return _EveryJudge(self)

    def __str__(self) -> str:
        return f"every {self.period:g} {self.unit}"


class _EveryJudge:
    def __init__(self, rule: Every) -> None:
        self._rule = rule
        self._periods = 0
        self._since: float | None = None
        self._clauses = (str(rule),)

    def judge(self, record: Record) -> Judgement:
        rule = self._rule
        if rule.unit == "seconds" and record.time is None:
            return Judgement("unknown", "the record has no time", self._clauses, math.inf)
        if self._due(record):
            return Judgement("holds", f"{rule} is due", self._clauses)
        return Judgement("fails", f"{rule} is not due", self._clauses, math.inf)

    def _due(self, record: Record) -> bool:
        rule = self._rule
        if rule.unit == "epochs":
            return record.at == "epoch" and (record.epoch + 1) % int(rule.period) == 0
        if rule.unit == "steps":
            before, self._periods = self._periods, max(self._periods, record.step // int(rule.period))
            return self._periods > before
        assert record.time is not None
        if self._since is None:
            self._since = record.time
        if record.time - self._since < rule.period:
            return False
        self._since = record.time
        return True

    def learn(self, record: Record, saved: bool) -> None:
        pass


@dataclass(frozen=True, slots=True)
class All:
    """Holds when every one of `rules` holds; at least one. A list becomes a tuple."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", _rules(self.rules, "all"))

    def metrics(self) -> frozenset[str]:
        return frozenset().union(*(rule.metrics() for rule in self.rules))

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        return _AllJudge([start(rule, future) for rule in self.rules])


@dataclass(frozen=True, slots=True)
class Any:
    """Holds when one of `rules` holds; at least one. A list becomes a tuple."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", _rules(self.rules, "any"))

    def metrics(self) -> frozenset[str]:
        return frozenset().union(*(rule.metrics() for rule in self.rules))

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        return _AnyJudge([start(rule, future) for rule in self.rules])


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when `rule` fails; what cannot be judged stays so."""

    rule: Rule

    def __post_init__(self) -> None:
        _rules((self.rule,), "not")

    def metrics(self) -> frozenset[str]:
        return self.rule.metrics()

    def start(self, future: Sequence[Record] | None = None) -> Judge:
        return _NotJudge([start(self.rule, future)])


BUILT_IN = (Threshold, Improves, Every, All, Any, Not)


def _rules(rules: object, key: str) -> tuple[Rule, ...]:
    if not isinstance(rules, (list, tuple)):
        raise RuleError(f"{key} needs a list of rules. Received: {rules!r}.")
    if not rules:
        raise RuleError(f"{key} needs at least one rule. Received: none.")
    for rule in rules:
        if isinstance(rule, type) or not isinstance(rule, Rule):
            raise RuleError(f"{key} needs rules, which have start() and metrics(). Received: {rule!r}.")
    return tuple(rules)


def _named(metric: object) -> None:
    if not isinstance(metric, str) or not metric.strip():
        raise RuleError(f"metric must be a name. Received: metric={metric!r}.")


class _Composite:
    def __init__(self, judges: list[Judge]) -> None:
        self._judges = judges

    def learn(self, record: Record, saved: bool) -> None:
        for judge in self._judges:
            judge.learn(record, saved)


class _AllJudge(_Composite):
    def judge(self, record: Record) -> Judgement:
        # Every judge sees every record, whatever the others say: windows must not have holes.
        return all_of([judge.judge(record) for judge in self._judges])


class _AnyJudge(_Composite):
    def judge(self, record: Record) -> Judgement:
        return any_of([judge.judge(record) for judge in self._judges])


class _NotJudge(_Composite):
    def judge(self, record: Record) -> Judgement:
        return negate(self._judges[0].judge(record))
