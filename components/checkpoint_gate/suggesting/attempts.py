"""Which rules are tried together, and in which order. `suggesting` says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from checkpoint_gate.rules.conditions import Improves, Rule
from checkpoint_gate.suggesting.candidates import Candidates

_LEVELS = 10  # of tightness of the limits on the training loss and on its average


@dataclass(frozen=True, slots=True)
class Attempt:
    """Rules to try.

    Attributes:
      rules: all of them must hold.
      gains: one of these goes with them; the rules stand alone when there are none.
      after: the warm-up, in epochs.
    """

    rules: tuple[Rule, ...]
    gains: tuple[Improves, ...] = ()
    after: int = 0


def stages(choice: Candidates, guards: Callable[[int], tuple[Rule, ...]]) -> Iterator[Iterator[Attempt]]:
    """What to try; a stage is for when none before it came near enough.

    Args:
      choice: what to combine.
      guards: limits on the training loss and on an average, as tight as a number from 0 up says.
    """
    loose = guards(0)
    limits = (*choice.tightening, *choice.fixed)
    any_gain = choice.gains[:1]
    yield (Attempt((*loose, limit), choice.gains) for limit in choice.tightening)
    levels = dict.fromkeys(map(guards, range(_LEVELS)))
    yield (Attempt((*level, limit), choice.gains) for level in levels for limit in limits)
    yield (
        Attempt((*loose, limit, period), gains)
        for period in choice.periods
        for limit in limits
        for gains in (any_gain, ())
    )
    yield (Attempt((*level, limit)) for level in levels for limit in limits)
    yield (
        Attempt((*loose, limit, *period), gains, after)
        for period in ((), *((period,) for period in choice.periods))
        for after in choice.warm_ups
        for limit in limits
        for gains in (any_gain, ())
    )
    yield _bare(choice)


def _bare(choice: Candidates) -> Iterator[Attempt]:
    yield Attempt((), choice.gains)
    for limit in (*choice.fixed, choice.everything, choice.exactly):
        yield Attempt((limit,), choice.gains)
        yield Attempt((limit,))
    for period in choice.periods:
        yield Attempt((period,))
    for after in choice.warm_ups:
        yield Attempt((choice.everything,), after=after)
        yield Attempt((choice.exactly,), after=after)
