"""B1: killed at every operation that changes the store."""

from __future__ import annotations

from faults.every_work import every_work
from faults.figure import Measured
from faults.trial import Trial
from faults.world import local_world

FIGURE = "B1"
WHAT = "killed at every changing operation, nothing is lost and one re-run finishes"


def killed_everywhere(trial: Trial, measured: Measured) -> None:
    """Kills a work at each of its operations."""
    for at in range(trial.operations):
        trial.begin()
        trial.kill(at)
        measured.case(*(f"{trial.name}, killed at operation {at}: {wrong}" for wrong in trial.verdict()))


def measure(long: bool) -> Measured:
    measured = Measured()
    counts = []
    with local_world() as world:
        for work in every_work(True):
            trial = Trial(world, work)
            killed_everywhere(trial, measured)
            counts.append(f"{work.name} {trial.operations}")
    measured.detail = ", ".join(counts)
    return measured
