"""B5: bugs put into the store's protocol, each of which the other figures have to catch."""

from __future__ import annotations

import collections
import contextlib

from faults.b01_kill import killed_everywhere
from faults.b03_errno import failing_everywhere
from faults.b04_power import power_cuts, record
from faults.b06_corruption import is_broken
from faults.bugs import BUGS, Bug
from faults.figure import Measured
from faults.reference import Reference
from faults.trial import Trial
from faults.world import World, bucket_world, local_world

FIGURE = "B5"
WHAT = "bugs seeded into the protocol are caught by the other figures"
SMALL = Reference(7, 2)


class Caught(Exception):
    """The first violation: one is enough."""


class _Alarm(Measured):
    """Stops at the first violation."""

    def case(self, *broken: str) -> None:
        if broken:
            raise Caught(broken[0])


def is_caught(bug: Bug) -> bool:
    """Whether the figure that has to catch a bug does so."""
    if bug.by == "B6":
        with bug.patch():
            return is_broken("index", 100)
    with _world(bug) as world:
        trial = Trial(world, bug.kind(SMALL))
        try:
            with bug.patch():
                _try(bug, trial)
        except Caught:
            return True
    return False


def _world(bug: Bug) -> contextlib.AbstractContextManager[World]:
    if bug.by == "B11":
        return bucket_world()
    return local_world(syncs=bug.by == "B3", records=bug.by == "B4")


def _try(bug: Bug, trial: Trial) -> None:
    if bug.by == "B4":
        power_cuts(trial, record(trial).cuts(), _Alarm())
    elif bug.by == "B3":
        failing_everywhere(trial, _Alarm())
    else:
        killed_everywhere(trial, _Alarm())


def measure(long: bool) -> Measured:
    measured = Measured()
    caught: collections.Counter[str] = collections.Counter()
    for bug in BUGS:
        found = is_caught(bug)
        caught[bug.by] += found
        measured.case(*(() if found else (f"{bug.by} does not catch: {bug.name}",)))
    measured.detail = "caught by " + ", ".join(f"{name}: {count}" for name, count in sorted(caught.items()))
    return measured
