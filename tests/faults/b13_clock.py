"""The clock is wrong, or jumps while a pruning or a sweep is at work: nothing leaves the trash too early.

Time itself is kept apart from what the machine's clock says of it. A case is one clock: where it jumps, how far, and
what happens afterwards. Files of a time 0 lie in every store.

In a random walk both witnesses can lie: the clock is set ahead twice, over restarts, and says at every sweep what a
right clock says on a machine that was off meanwhile. Nobody can tell the two apart; such walks are counted apart, and
told beside the figure.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, sweep
from checkpoint_gate.store.trash import trashed
from faults.clocks import Machine
from faults.crowd import Crowd
from faults.figure import Measured
from faults.memory import memory_folder
from faults.recording import copied, without_fsync

FIGURE = "B13"
WHAT = "the clock ten years off, jumping within a pruning or a sweep, or files of the time 0: early sweeps"

HOUR, DAY = 3600.0, 86400.0
YEARS = 10 * 365 * DAY
JUMPS = (YEARS, -YEARS, 2 * DAY, -2 * DAY, 25 * HOUR, HOUR, -HOUR)
READINGS = 8  # of the clock, within a pruning and within a sweep
POLICY = PrunePolicy(grace=DAY)
SKEW = 60.0
NIGHTS = 5  # of a right clock, after which nothing is left

Step = tuple[str, float]

# Walks that once freed something too early: "jump" in days, "wait" in hours, "right" sets the clock right.
FOUND = (
    "restart sweep wait:1 jump:2516 sweep right restart jump:1760 sweep",
    "restart jump:2673 sweep jump:3474 sweep right restart sweep restart jump:1187 sweep",
    "restart jump:860 sweep right restart wait:12 sweep jump:1715 sweep",
    "sweep restart jump:961 sweep right restart sweep jump:-1774 sweep jump:2066 sweep",
    "restart sweep jump:3224 sweep right restart jump:3226 wait:6 sweep sweep",
    "restart sweep jump:1532 sweep right sweep restart jump:1513 sweep",
    "restart sweep jump:1313 sweep right wait:1 restart jump:1362 sweep",
    "wait:1 sweep restart jump:3315 sweep jump:3518 right restart jump:353 sweep",
    "sweep restart jump:-1259 wait:1 right jump:843 sweep right sweep restart jump:2014 sweep",
    "restart sweep jump:2510 sweep right restart jump:2900 jump:1138 sweep",
    "restart jump:846 wait:1 sweep jump:2016 right sweep restart jump:2840 sweep",
    "restart sweep jump:2405 sweep right restart jump:1088 sweep wait:7 sweep",
    "restart jump:900 sweep restart wait:1 sweep",  # an error that lasts over a restart
)
BEHIND = "right restart wait:1 sweep restart wait:1 sweep"  # after a pruning under a clock that was years behind


class Jumping(Machine):
    """A machine whose clock jumps by itself after so many more readings."""

    def __init__(self) -> None:
        super().__init__()
        self.true = 0.0  # seconds that have passed
        self._left: int | None = None
        self._by = 0.0

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self.true += seconds

    def jump_after(self, readings: int, by: float) -> None:
        self._left, self._by = readings, by

    def __call__(self) -> float:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                self.jump(self._by)
        return self.now


class Look(NamedTuple):
    """What the clocks say at one moment."""

    boot: str
    uptime: float
    time: float


class Case:
    """A store with one checkpoint to prune, and a machine."""

    def __init__(self, template: Path, place: Path) -> None:
        copied(template, place)
        self.machine = Jumping()
        self.run: Run = Store(place, self.machine).run("run")
        self.moved: float | None = None
        self.off = 0.0  # seconds by which the clock was set wrong
        self.unseen = False  # freed early, by clocks that said what right ones say
        self.looks: list[Look] = []  # at the pruning, and at each sweep

    def prune(self) -> None:
        with self.run.lease("pruning") as lease:
            execute_prune(self.run, plan_prune(self.run, {1: "too high", 2: "too high"}, [3], POLICY, "f" * 64), lease)
        self.moved = self.machine.true
        self._look()

    def sweep(self) -> None:
        self._look()
        with self.run.lease("sweeping") as lease:
            sweep(self.run, lease)

    def jump(self, by: float) -> None:
        self.machine.jump(by)
        self.off += by

    def _look(self) -> None:
        self.looks.append(Look(*self.machine.uptime(), self.machine.now))

    @property
    def early(self) -> bool:
        """Whether something has left the trash before its grace was over."""
        whole = [stored.step for stored in trashed(self.run) if verify_files(self.run.files, stored) is None]
        return self.moved is not None and self.machine.true - self.moved < DAY and whole != [1, 2]

    @property
    def empty(self) -> bool:
        return not trashed(self.run)


def measure(long: bool) -> Measured:
    measured = Measured()
    logging.getLogger("checkpoint_gate").setLevel(logging.ERROR)  # it warns of each clock that went back
    with memory_folder() as folder, without_fsync():
        template = _template(folder / "template")
        place = folder / "store"
        for by, readings, restart in itertools.product(JUMPS, range(READINGS), (False, True)):
            measured.case(*_jump_while_pruning(Case(template, place), by, readings))
            measured.case(*_jump_while_sweeping(Case(template, place), by, readings, restart))
        for number, text in enumerate((*FOUND, BEHIND)):
            case = Case(template, place)
            case.jump(-YEARS if text == BEHIND else 0.0)
            measured.case(*_walk(case, _steps(text), f"found walk {number}"))
        unseen = 0
        for seed in range(20_000 if long else 120):
            case = Case(template, place)
            measured.case(*_random_walk(case, seed))
            unseen += case.unseen
    measured.detail = (
        f"{len(JUMPS)} jumps at each of {READINGS} readings, {len(FOUND) + 1} walks found before, and random walks of "
        f"two clocks; apart from the figure, {unseen} of these freed early where two errors of the clock look like time"
    )
    return measured


def _template(root: Path) -> Path:
    Crowd(root, Jumping()).run([0.9, 0.8, 0.3, 0.2])
    for path in root.rglob("*"):
        os.utime(path, (0, 0))
    return root


def _jump_while_pruning(case: Case, by: float, readings: int) -> list[str]:
    case.machine.jump_after(readings, by)
    case.prune()
    broken = _looks(case, f"a jump of {by:g} s at reading {readings} of a pruning")
    if by < 0 or by > DAY:
        return broken
    case.machine.wait(2 * DAY)
    case.sweep()
    return broken if case.empty else [*broken, f"after a jump of {by:g} s nothing was ever freed"]


def _jump_while_sweeping(case: Case, by: float, readings: int, restart: bool) -> list[str]:
    case.prune()
    case.machine.wait(HOUR)
    if restart:
        case.machine.restart()
    case.machine.jump_after(readings, by)
    name = f"a jump of {by:g} s at reading {readings} of a sweep{', after a restart' if restart else ''}"
    broken = _looks(case, name)
    case.machine.jump(-by)
    case.machine.wait(DAY)
    case.sweep()
    case.machine.wait(DAY)
    case.sweep()
    return broken if case.empty else [*broken, f"after {name} nothing was ever freed, although the clock is right"]


def _looks(case: Case, name: str) -> list[str]:
    """Sweeps now and again until the grace is nearly over."""
    for pause in (0.0, 1.0, HOUR, 20 * HOUR):
        case.machine.wait(pause)
        case.sweep()
        if case.early:
            return [f"{name}: swept {case.machine.true - (case.moved or 0.0):g} s after it was moved"]
    return []


def _steps(text: str) -> list[Step]:
    """The steps of a walk, in seconds."""
    units = {"jump": DAY, "wait": HOUR}
    parts = (word.partition(":") for word in text.split())
    return [(what, float(amount or 0) * units.get(what, 0.0)) for what, _, amount in parts]


def _random_walk(case: Case, seed: int) -> list[str]:
    draw = random.Random(seed)
    if draw.random() < 0.2:
        case.jump(draw.uniform(-YEARS, YEARS))
    amounts = {"wait": (1.0, HOUR, 6 * HOUR), "jump": (YEARS, 3 * DAY)}
    steps = []
    for _ in range(14):
        what = draw.choice(("wait", "jump", "right", "restart", "sweep", "sweep"))
        amount = draw.choice(amounts.get(what, (0.0,)))
        steps.append((what, draw.uniform(-amount, amount) if what == "jump" else amount))
    return _walk(case, steps, f"random walk {seed}")


def _walk(case: Case, steps: Sequence[Step], name: str) -> list[str]:
    """What is freed too early, and what is not freed when the clock is right for long enough."""
    case.prune()
    ahead = case.off > 0
    for what, amount in steps:
        match what:
            case "wait":
                case.machine.wait(amount)
            case "jump":
                case.jump(amount)
            case "right":
                case.jump(-case.off)
            case "restart":
                case.machine.restart()
            case "sweep":
                case.sweep()
        if case.early:
            case.unseen = _like_time(case.looks)
            early = f"{name}: swept {case.machine.true - (case.moved or 0.0):g} s after it was moved"
            return [] if case.unseen else [early]
    case.jump(-case.off)
    for _ in range(NIGHTS):
        case.machine.restart()
        case.machine.wait(DAY)
        case.sweep()
    return [] if case.empty or ahead else [f"{name}: nothing was freed in {NIGHTS} nights with a right clock"]


def _like_time(looks: Sequence[Look]) -> bool:
    """Whether the clocks told of two graces, one after the other, and of nothing that cannot be, since some look."""
    now = looks[-1]
    return any(
        middle.time - first.time >= DAY and now.time - middle.time >= DAY and _can_be(looks[start:])
        for start, first in enumerate(looks)
        for middle in looks[start:]
    )


def _can_be(looks: Sequence[Look]) -> bool:
    """Whether a right clock may have said this: it goes on, and within a boot as the seconds since then do."""
    return all(
        later.time >= earlier.time - SKEW
        and (later.boot != earlier.boot or abs(later.time - earlier.time - later.uptime + earlier.uptime) <= SKEW)
        for earlier, later in itertools.combinations(looks, 2)
    )
