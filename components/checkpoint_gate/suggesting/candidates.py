"""The rules that are worth trying on recorded runs, of each kind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from checkpoint_gate.rules.averages import Average, Meter, MovingAverage
from checkpoint_gate.rules.conditions import Every, Improves, Mode, Rule, Threshold
from checkpoint_gate.rules.gate import LOSS
from checkpoint_gate.rules.records import At, Record
from checkpoint_gate.rules.schedules import AbsoluteLimit, ChampionLimit, Schedule
from checkpoint_gate.suggesting.numbers import above, deltas, ladder, looser

_WINDOWS = (5, 3)
_MOST_PERIODS = 200
_WARM_UPS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100)
_MOST_WARM_UPS = 20
_FEWEST = 2  # epochs or steps that a schedule is worth
_MOST = 10**15  # epochs or steps that a rule text can say
_ROOM = 0.1  # see `Candidates.risk`


@dataclass(frozen=True, slots=True)
class Ranked:
    """A recorded run and its best record.

    Attributes:
      name: how the run is called in answers.
      records: those that count, in order; at least one.
      best: the place of the best record among them.
    """

    name: str
    records: tuple[Record, ...]
    best: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric, or an average of it, turned so that less is better."""

    metric: str
    mode: Mode
    average: Average | None = None

    def value(self, record: Record) -> float | None:
        """The metric itself; None when it was not logged or is not finite."""
        return self._turned(record.finite(self.metric))

    def readings(self, run: Ranked) -> list[float | None]:
        """What a limit is compared with at each record; None where it cannot be."""
        if self.average is None:
            return [self.value(record) for record in run.records]
        meters: dict[At, Meter] = {}
        readings: list[float | None] = []
        for record in run.records:
            value = record.metric(self.metric)
            if value is not None:
                if record.at not in meters:  # windows never mix epochs and steps
                    meters[record.at] = self.average.start()
                value = meters[record.at].read(value).value
            readings.append(self._turned(value))
        return readings

    def _turned(self, value: float | None) -> float | None:
        return value if value is None or self.mode == "min" else -value

    def series(self, run: Ranked, kind: At) -> list[float]:
        """The readings of the records of one kind that have one."""
        pairs = zip(run.records, self.readings(run), strict=True)
        return [value for record, value in pairs if value is not None and record.at == kind]

    def steps(self, runs: Sequence[Ranked], kind: At) -> list[float]:
        """What a limit has to let through for the best records, and the readings above; empty if one has none."""
        needs = [self.readings(run)[run.best] for run in runs]
        known = [need for need in needs if need is not None]
        if len(known) < len(needs):
            return []
        return above((value for run in runs for value in self.series(run, kind)), max(known))

    def threshold(self, limit: AbsoluteLimit) -> Threshold:
        """The rule with this limit, turned back."""
        if self.mode == "min":
            return Threshold(self.metric, at_most=limit, average=self.average)
        return Threshold(self.metric, at_least=negative(limit), average=self.average)

    def thresholds(self, runs: Sequence[Ranked], kind: At) -> tuple[Threshold, ...]:
        """Rules that let the best records through, the loosest first."""
        return tuple(self.threshold(limit) for limit in _limits(self.steps(runs, kind)))


def negative(limit: AbsoluteLimit) -> AbsoluteLimit:
    """The limit with its sign turned."""
    if isinstance(limit, Schedule):
        return replace(limit, start=-limit.start, end=-limit.end)
    return -limit


def _limits(steps: Sequence[float]) -> list[float]:
    return ladder(steps) or [looser(need) for need in steps[:1]]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rules to combine.

    Attributes:
      ranking: the ranking metric.
      need: what a limit on it has to let through; turned so that less is better, as `scale`.
      scale: how far above `need` the better three quarters of the values go, >= 0.
      tightening: limits on it that tighten as training goes on.
      fixed: limits on it that stay, the loosest first.
      losses: limits on the training loss, the loosest first; empty when that is the ranking metric.
      averages: limits on moving averages, of each window the loosest first.
      gains: `improves` on the ranking metric, the smallest `min_delta`, 0, first.
      periods: `every` so many epochs or steps, so that each best record is at the end of one; the longest first.
      warm_ups: numbers of first epochs to refuse, ascending, none as far as a best record.
      everything: a limit on the ranking metric that no value seen exceeds.
      exactly: the limit on it that is `need`.
    """

    ranking: Measured
    need: float
    scale: float
    tightening: tuple[Threshold, ...]
    fixed: tuple[Threshold, ...]
    losses: tuple[Threshold, ...]
    averages: tuple[tuple[Threshold, ...], ...]
    gains: tuple[Improves, ...]
    periods: tuple[Every, ...]
    warm_ups: tuple[int, ...]
    everything: Threshold
    exactly: Threshold

    def risk(self, rules: Sequence[Rule]) -> float:
        """How much worse another run may fare under the rules than the recorded ones, in units of `scale`.

        A `min_delta` may cost as much of the best value. A limit near the best value may leave a run that ends a little
        worse without any checkpoint: the nearer it is, the more that weighs.
        """
        if not 0 < self.scale < math.inf:
            return 0.0
        risk = 0.0
        for rule in rules:
            if isinstance(rule, Improves):
                risk += rule.min_delta / self.scale
            elif isinstance(rule, Threshold) and (rule.metric, rule.average) == (self.ranking.metric, None):
                assert not isinstance(rule.limit, ChampionLimit)
                end = rule.limit.end if isinstance(rule.limit, Schedule) else rule.limit
                room = (end if self.ranking.mode == "min" else -end) - self.need
                risk += _ROOM * self.scale / room if room > 0 else math.inf
        return risk


def candidates(runs: Sequence[Ranked], metric: str, mode: Mode, keep: int) -> Candidates:
    """What is worth trying so that about `keep` records a run are saved, the best of each among them."""
    kind = _kind(runs, metric)
    ranking = Measured(metric, mode)
    loss = Measured(LOSS, "min")
    has_loss = metric != LOSS and bool(loss.steps(runs, kind))
    averaged = loss if has_loss else ranking
    averages = [Measured(averaged.metric, averaged.mode, MovingAverage(window)) for window in _WINDOWS]
    steps = ranking.steps(runs, kind)
    return Candidates(
        ranking=ranking,
        need=steps[0],
        scale=steps[len(steps) * 3 // 4] - steps[0],
        tightening=tuple(map(ranking.threshold, _tightening(runs, ranking, kind))),
        fixed=ranking.thresholds(runs, kind),
        losses=loss.thresholds(runs, kind) if has_loss else (),
        averages=tuple(average.thresholds(runs, kind) for average in averages),
        gains=tuple(Improves(metric, mode, gain) for gain in deltas(ranking.series(run, kind) for run in runs)),
        periods=tuple(_periods(runs, kind)),
        warm_ups=_warm_ups(runs, keep),
        everything=ranking.threshold(looser(steps[-1])),
        exactly=ranking.threshold(steps[0]),
    )


def _kind(runs: Sequence[Ranked], metric: str) -> At:
    """The kind of records that carries the metric most."""
    kinds = [record.at for run in runs for record in run.records if record.finite(metric) is not None]
    return "step" if kinds.count("step") > kinds.count("epoch") else "epoch"


def _tightening(runs: Sequence[Ranked], ranking: Measured, kind: At) -> Iterator[Schedule]:
    """From an early value, or a limit as loose, to each limit; over the shortest run, or over its first half."""
    epochs = min(max(record.epoch for record in run.records) for run in runs)
    steps = min(max(record.step for record in run.records) for run in runs)
    over = steps if kind == "step" else epochs
    limits = ladder(ranking.steps(runs, kind))
    early = max(series[0] for run in runs if (series := ranking.series(run, kind)))
    if not _FEWEST <= over <= _MOST:
        return
    for end, start, part in product(limits, (looser(early), *limits[:2]), (1, 2)):
        if start > end and math.isfinite(start - end):
            yield Schedule(start, end, math.ceil(over / part), "steps" if kind == "step" else "epochs")


def _periods(runs: Sequence[Ranked], kind: At) -> Iterator[Every]:
    """Periods of which a whole number, not too large, ends at each best record."""
    best = [run.records[run.best] for run in runs]
    common = math.gcd(*(record.step if kind == "step" else record.epoch + 1 for record in best))
    for count in range(1, _MOST_PERIODS + 1):
        if common % count == 0 and 1 < common // count <= _MOST:
            yield Every(common // count, "steps" if kind == "step" else "epochs")


def _warm_ups(runs: Sequence[Ranked], keep: int) -> tuple[int, ...]:
    """A few usual numbers, and those that leave about `keep` epochs before the earliest best record."""
    most = min(min(run.records[run.best].epoch for run in runs), _MOST)
    near = range(most - 2 * min(keep, _MOST_WARM_UPS), most + 1)
    return tuple(sorted({number for number in (*_WARM_UPS, *near) if 0 < number <= most}))
