"""The clock is wrong, or jumps while a pruning or a sweep is at work: nothing leaves the trash too early.

Time itself is kept apart from what the machine's clock says of it. A case is one clock: where it jumps, how far, and
what happens afterwards. Files of a time 0 lie in every store. A machine is restarted only where its clock is right: two
boots whose clocks are both years ahead are not told from two that are right.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
from pathlib import Path

from checkpoint_gate.filtering import PrunePolicy
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.pruning import execute_prune, plan_prune, sweep, trashed
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


class Case:
    """A store with one checkpoint to prune, and a machine."""

    def __init__(self, template: Path, place: Path) -> None:
        copied(template, place)
        self.machine = Jumping()
        self.run: Run = Store(place, self.machine).run("run")
        self.moved: float | None = None

    def prune(self) -> None:
        with self.run.lease("pruning") as lease:
            execute_prune(self.run, plan_prune(self.run, {1: "too high", 2: "too high"}, [3], POLICY, "f" * 64), lease)
        self.moved = self.machine.true

    def sweep(self) -> None:
        with self.run.lease("sweeping") as lease:
            sweep(self.run, lease)

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
        for seed in range(20_000 if long else 120):
            measured.case(*_random_walk(Case(template, place), seed))
    measured.detail = f"{len(JUMPS)} jumps at each of {READINGS} readings, and random walks of two clocks"
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


def _random_walk(case: Case, seed: int) -> list[str]:
    draw = random.Random(seed)
    off = 0.0
    case.prune()
    for _ in range(12):
        match draw.choice(("wait", "jump", "set right", "restart", "sweep", "sweep")):
            case "wait":
                case.machine.wait(draw.choice((1.0, HOUR, 6 * HOUR)))
            case "jump":
                by = draw.uniform(-YEARS, YEARS)
                case.machine.jump(by)
                off += by
            case "set right":
                case.machine.jump(-off)
                off = 0.0
            case "restart" if not off:
                case.machine.restart()
            case "sweep":
                case.sweep()
        if case.early:
            return [f"random walk {seed}: swept {case.machine.true - (case.moved or 0.0):g} s after it was moved"]
    return []
