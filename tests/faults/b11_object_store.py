"""B11: what B1, B2 and B3 count, in a bucket without a rename whose listings may be late."""

from __future__ import annotations

import random

from faults.b01_kill import killed_everywhere
from faults.b02_kill_twice import killed_twice
from faults.b03_errno import failing_everywhere
from faults.figure import Measured
from faults.trial import Trial
from faults.works import works_on_store
from faults.world import bucket_world

FIGURE = "B11"
WHAT = "the same as B1, B2 and B3 on an object store without rename"
LATE = (0, 2, 5)
STRIDE = 16  # of the operations at which an errno is tried; each errno at others
FIRST_KILLS = 3  # of each work and lateness, with some second kills each
SEED = 11


def measure(long: bool) -> Measured:
    kills, pairs, errors = Measured(), Measured(), Measured()
    chance = random.Random(SEED)
    for late in LATE:
        with bucket_world(late) as world:
            for work in works_on_store(long):
                trial = Trial(world, work)
                killed_everywhere(trial, kills)
                operations = range(trial.operations)
                for at in operations if long else chance.sample(operations, FIRST_KILLS):
                    killed_twice(trial, at, pairs, chance)
                failing_everywhere(trial, errors, 1 if long else STRIDE)
    detail = f"{kills.n:,} kills, {pairs.n:,} second kills, {errors.n:,} errnos; listings {LATE} operations late"
    violations = [*kills.violations, *pairs.violations, *errors.violations]
    return Measured(kills.n + pairs.n + errors.n, violations, detail)
