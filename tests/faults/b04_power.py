"""B4: the power is cut at every operation of a local disk, and the disk keeps of what was not fsynced this and that."""

from __future__ import annotations

import random
from collections.abc import Iterable

from faults.every_work import every_work
from faults.figure import Measured
from faults.power import Cut, Recording, RecordingDisk
from faults.trial import Trial
from faults.world import local_world

FIGURE = "B4"
WHAT = "after a power cut at every operation, what had returned is there, nothing is lost, and one re-run finishes"
RANDOM = 10_000  # further states for the large numbers, of all works together
SEED = 4


def record(trial: Trial) -> Recording:
    """What the disk is told by a work in which nothing breaks."""
    world = trial.world
    assert isinstance(world.disk, RecordingDisk)
    trial.begin()
    world.disk.record(world.snapshot())
    trial.work.do(world)
    return world.disk.stop()


def power_cuts(trial: Trial, cuts: Iterable[Cut], measured: Measured) -> None:
    """Judges each state once."""
    for cut in cuts:
        wrong = trial.cut(cut.tree, cut.returned)
        measured.case(*(f"{trial.name}, power cut after event {cut.at}, {cut.how}: {words}" for words in wrong))


def measure(long: bool) -> Measured:
    measured = Measured()
    chance = random.Random(SEED)
    works = every_work(long)
    prefixes = states = 0
    with local_world(records=True) as world:
        for work in works:
            trial = Trial(world, work)
            recording = record(trial)
            power_cuts(trial, recording.cuts(), measured)
            if long:
                further = (recording.random_cut(chance) for _ in range(RANDOM // len(works)))
                power_cuts(trial, further, measured)
            prefixes += len(recording)
            states += trial.states
    measured.detail = f"{states:,} different states after {prefixes:,} prefixes of {len(works)} works"
    if long:
        measured.detail += f", {RANDOM:,} random subsets among them, seed {SEED}"
    return measured
