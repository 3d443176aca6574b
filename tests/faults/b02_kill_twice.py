"""B2: killed at every operation, and again in the run that finishes it."""

from __future__ import annotations

import random

from faults.every_work import every_work
from faults.figure import Measured
from faults.trial import Trial
from faults.world import local_world

FIGURE = "B2"
WHAT = "killed, and killed again while finishing, nothing is lost and one further re-run finishes"
PAIRS = 540  # at least; for the large numbers all of them
AGAIN = 4  # second kills after the same first one, where not all are tried
SEED = 2


def killed_twice(trial: Trial, at: int, measured: Measured, chance: random.Random | None) -> None:
    """Kills a work at an operation, and its re-run at each of its own or, with `chance`, at a few of them."""
    trial.begin()
    trial.kill(at)
    after = trial.leave()
    trial.find(after)
    trial.work.do(trial.world)
    operations = range(trial.world.fuse.done)
    chosen = operations if chance is None else chance.sample(operations, min(AGAIN, len(operations)))
    for again in chosen:
        trial.find(after)
        trial.kill(again)
        how = f"killed at operation {at} and then at {again}"
        measured.case(*(f"{trial.name}, {how}: {wrong}" for wrong in trial.verdict()))


def measure(long: bool) -> Measured:
    measured = Measured()
    chance = random.Random(SEED)
    with local_world() as world:
        trials = [Trial(world, work) for work in every_work(True)]
        points = [(trial, at) for trial in trials for at in range(trial.operations)]
        chance.shuffle(points)
        for trial, at in points:
            if not long and measured.n >= PAIRS:
                break
            killed_twice(trial, at, measured, None if long else chance)
    measured.detail = "all pairs" if long else f"a sample of all pairs of the reference store, seed {SEED}"
    return measured
