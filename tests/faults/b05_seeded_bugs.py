"""B5: bugs put into the store's protocol, each of which the other figures have to catch; in the long run mutants."""

from __future__ import annotations

import collections
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.alarm import Alarm, Caught
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
MUTANTS = 260  # drawn at random from all there are
SCORE = 0.9  # at least so large a part of them is noticed; some are no worse than what they stand for


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
        power_cuts(trial, record(trial).cuts(), Alarm())
    elif bug.by == "B3":
        failing_everywhere(trial, Alarm())
    else:
        killed_everywhere(trial, Alarm())


def measure(long: bool) -> Measured:
    measured = Measured()
    caught: collections.Counter[str] = collections.Counter()
    for bug in BUGS:
        found = is_caught(bug)
        caught[bug.by] += found
        measured.case(*(() if found else (f"{bug.by} does not catch: {bug.name}",)))
    measured.detail = "caught by " + ", ".join(f"{name}: {count}" for name, count in sorted(caught.items()))
    if long:
        _try_mutants(measured)
    return measured


def _try_mutants(measured: Measured) -> None:
    """Counts the mutants as cases; that too few are noticed is one violation.

    A process of its own tries them, which has imported nothing of the package; it prints those that nobody notices.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "tried.jsonl")
        command = [sys.executable, "-m", "faults.mutation", "--of", str(MUTANTS), "--json", str(told)]
        subprocess.run(command, cwd=Path(__file__).parents[1], check=True)
        who = collections.Counter(json.loads(line)["by"] for line in told.read_text().splitlines())
    unnoticed = who.pop(None, 0)
    noticed = who.total()
    score = noticed / (noticed + unnoticed)
    measured.n += noticed + unnoticed
    if score < SCORE:
        measured.violations.append(f"Of {noticed + unnoticed} mutants only {noticed} are noticed.")
    by = ", ".join(f"{name}: {count}" for name, count in sorted(who.items()))
    measured.detail += f"; {noticed} of {noticed + unnoticed} mutants noticed ({score:.0%}), by {by}"
