"""The search for rules that save about so many records a run, the best of every run among them.

Thousands of sets of rules are tried, on long histories too. So what a limit lets through is looked up once, and rules
under `all:` let through what each of them does. Only `improves` remembers what was saved: of what the others let
through it can only save a record that is better than all before it, and of these it saves the next one that gains more
than `min_delta` on the last. `suggesting` has the real gate replay what is chosen here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import compress, count
from operator import and_

from checkpoint_gate.rules.conditions import All, Improves, Rule, Threshold
from checkpoint_gate.rules.gate import Gate, broken_loss
from checkpoint_gate.rules.schedules import ChampionLimit, absolute_value
from checkpoint_gate.suggesting.attempts import Attempt, stages
from checkpoint_gate.suggesting.candidates import Candidates, Measured, Ranked, negative

_NEAR = 0.5  # checkpoints a run: so near to what was asked counts as reached
_FAR = 4  # times as many as asked for are not worth counting

Readings = Sequence[float | None]
"""A value for each record of a run, turned so that less is better; None where it cannot be judged."""

Sets = tuple[int, ...]
"""For each run some of its records: the bits that are set in a number are their places."""

Series = tuple[tuple[float, ...], ...]
"""For each run, falling values of the ranking metric."""


@dataclass(frozen=True, slots=True)
class Found:
    """The chosen gate, how many records of each run it saves, and how many sets of rules were tried."""

    gate: Gate
    counts: tuple[int, ...]
    tried: int


def search(runs: Sequence[Ranked], choice: Candidates, keep: int, tell: Callable[[int], None]) -> Found:
    """The rules that come nearest to saving `keep` records a run, the best of every run among them.

    Args:
      runs: at least one.
      choice: what to combine.
      keep: records a run, on average over the runs; >= 1.
      tell: is called after each limit or set of limits with the number of sets of rules tried so far.
    """
    trial = _Trial(runs, choice, keep, tell)
    for stage in stages(choice, trial.guards):
        trial.stage += 1
        for attempt in stage:
            trial.make(attempt)
        if trial.miss < _NEAR:
            break
    assert trial.chosen is not None  # the last stage has a limit that every best record meets
    return Found(trial.chosen, trial.counts, trial.tried)


class _Trial:
    """Attempts made on the runs, and the best so far."""

    def __init__(self, runs: Sequence[Ranked], choice: Candidates, keep: int, tell: Callable[[int], None]) -> None:
        self._runs = runs
        self._choice = choice
        self._keep = keep
        self._tell = tell
        self._sound = tuple(_set(broken_loss(record) is None for record in run.records) for run in runs)
        self._ranking = tuple(choice.ranking.readings(run) for run in runs)
        self._readings: dict[Measured, tuple[Readings, ...]] = {}
        self._passed: dict[Rule, Sets | None] = {}
        self._late: dict[int, Sets] = {}
        self._thinned: dict[tuple[Series, tuple[Improves, ...]], list[tuple[Improves, list[int]]]] = {}
        self._rank: tuple[float, ...] = (math.inf,)
        self.chosen: Gate | None = None
        self.counts: tuple[int, ...] = ()
        self.stage = 0
        self.tried = 0

    @property
    def miss(self) -> float:
        """How far the chosen rules are from what was asked for, in records a run; 0 when near enough."""
        return self._rank[0]

    def guards(self, level: int) -> tuple[Rule, ...]:
        """Limits on the training loss and on an average, the loosest at level 0; as far as there are any."""
        ladders = [self._choice.losses, next(filter(self._usable, self._choice.averages), ())]
        usable = [rules for rules in map(self._usable, ladders) if rules]
        return tuple(rules[min(level, len(rules) - 1)] for rules in usable)

    def _usable(self, rules: Sequence[Rule]) -> tuple[Rule, ...]:
        return tuple(rule for rule in rules if self._passing(rule) is not None)

    def _passing(self, rule: Rule) -> Sets | None:
        """What the rule lets through, None when that lacks the best record of a run."""
        if rule not in self._passed:
            if isinstance(rule, Threshold):
                passing = self._within(rule)
            else:
                passing = tuple(_set(d.save for d in Gate(rule).replay(run.records)) for run in self._runs)
            holds = all(places >> run.best & 1 for run, places in zip(self._runs, passing, strict=True))
            self._passed[rule] = passing if holds else None
            self._tell(self.tried)
        return self._passed[rule]

    def _within(self, rule: Threshold) -> Sets:
        measured = Measured(rule.metric, "min" if rule.at_most is not None else "max", rule.average)
        if measured not in self._readings:
            self._readings[measured] = tuple(measured.readings(run) for run in self._runs)
        assert not isinstance(rule.limit, ChampionLimit)
        limit = rule.limit if rule.at_most is not None else negative(rule.limit)
        return tuple(
            _set(
                value is not None and value <= absolute_value(limit, record)
                for record, value in zip(run.records, readings, strict=True)
            )
            for run, readings in zip(self._runs, self._readings[measured], strict=True)
        )

    def make(self, attempt: Attempt) -> None:
        """Tries the rules, and chooses them if they are better than those before."""
        passing = self._together(attempt)
        if passing is None or self._too_few(_size(passing)):
            return
        if not attempt.gains:
            self._offer(attempt.rules, attempt.after, [places.bit_count() for places in passing])
            return
        series = tuple(self._falling(*of_run) for of_run in zip(self._runs, self._ranking, passing, strict=True))
        if all(series):
            key = series, attempt.gains
            if key not in self._thinned:
                self._thinned[key] = list(self._thin(*key))
            for gain, counts in self._thinned[key]:
                self._offer((*attempt.rules, gain), attempt.after, counts)
        self._tell(self.tried)

    def _thin(self, series: Series, gains: Sequence[Improves]) -> Iterator[tuple[Improves, list[int]]]:
        """How many of each run's falling values each gain saves, where that is near and each run's last is saved."""
        for gain in gains:
            if self._too_few(sum(_most_saved(values, gain.min_delta) for values in series)):
                break  # and of larger gains there are fewer
            if counts := self._counts(series, gain.min_delta):
                yield gain, counts

    def _too_few(self, total: float) -> bool:
        """Whether no more records than that in all cannot be better than what was found."""
        short = self._keep - total / len(self._runs)
        return short > self.miss and short >= _NEAR

    def _together(self, attempt: Attempt) -> Sets | None:
        """What all the rules let through; None when they cannot be better than what was found."""
        passing = [self._sound]
        for rule in attempt.rules:
            of_rule = self._passing(rule)
            if of_rule is None or self._too_few(_size(of_rule)):
                return None
            passing.append(of_rule)
        if attempt.after:
            passing.append(self._from(attempt.after))
        return tuple(reduce(and_, sets) for sets in zip(*passing, strict=True))

    def _from(self, epoch: int) -> Sets:
        if epoch not in self._late:
            self._late[epoch] = tuple(_set(record.epoch >= epoch for record in run.records) for run in self._runs)
        return self._late[epoch]

    def _falling(self, run: Ranked, values: Readings, places: int) -> tuple[float, ...]:
        """The values at the places that are better than all before; empty when the last is not that of the best record.

        The last of them is what `improves` saves last, if it saves the best of them at all.
        """
        falling: list[float] = []
        last = None
        for place in _places(places):
            value = values[place]
            if value is not None and (not falling or value < falling[-1]):
                falling.append(value)
                last = place
        return tuple(falling) if last == run.best else ()

    def _counts(self, series: Sequence[Sequence[float]], min_delta: float) -> list[int] | None:
        """How many of each falling series `improves` saves; None when a last, best one is not, or when too many are."""
        most = (self._keep + max(min(self.miss, _FAR * self._keep), _NEAR)) * len(series)
        counts = []
        for values in series:
            at, saved = 0, 1
            while (after := _next(values, at, min_delta)) < len(values):
                at, saved = after, saved + 1
                if saved > most:
                    return None
            if at != len(values) - 1:
                return None
            counts.append(saved)
        return counts

    def _offer(self, rules: tuple[Rule, ...], after: int, counts: Sequence[int]) -> None:
        self.tried += 1
        miss = abs(sum(counts) / len(counts) - self._keep)
        uneven = sum(abs(count - self._keep) for count in counts) / len(counts)
        rank = (miss if miss >= _NEAR else 0.0, self.stage, uneven, self._choice.risk(rules))
        if rank < self._rank:
            self._rank = rank
            self.chosen = Gate(All(rules), after)
            self.counts = tuple(counts)


def _set(chosen: Iterable[bool]) -> int:
    """The places at which it is true."""
    return int("0" + "".join("1" if one else "0" for one in chosen)[::-1], 2)


def _places(places: int) -> Iterator[int]:
    return compress(count(), map("1".__eq__, reversed(f"{places:b}")))


def _size(sets: Sets) -> int:
    return sum(places.bit_count() for places in sets)


def _next(values: Sequence[float], at: int, min_delta: float) -> int:
    """The place of the first of the falling values that gains more than `min_delta` on the one at `at`."""
    last = values[at]
    return bisect_right(values, min_delta, lo=at + 1, key=lambda value: last - value)


def _most_saved(values: Sequence[float], min_delta: float) -> float:
    """No more of the falling values can be saved."""
    steps = (values[0] - values[-1]) / min_delta if min_delta else math.inf
    return min(len(values), 1 + steps)
