"""Two pruners, a saver, a reader and somebody who pins, in one run at once.

Under seeded schedules that hand over at every operation of the store. In every second one the pruners take each other
for dead, so that one goes on although the other has taken its lease over. With --long also as real processes.

No survivor is lost, nobody sees half a checkpoint, what is live when its pin is written stays, each pruner ends well or
says that the lease is held or the pruning refused, and one more run leaves nothing to do.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from checkpoint_gate.errors import LeaseHeld, PruneRefused, StoreError
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import PREFIX, Stored, copy_out, verify_files
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.trash import trashed
from faults.crowd import Clock, Crowd, write_state
from faults.figure import Measured
from faults.memory import memory_folder
from faults.recording import Births, as_os, contents, copied, without_fsync
from faults.schedules import Schedule

FIGURE = "B9"
WHAT = "two pruners, a saver, a reader and a pin at once: lost survivors, half checkpoints, runs left unfinished"

LOSSES = [0.9, 0.8, 0.7, 0.3, 0.1]
SURVIVORS = (4, 5)
REJECTED = {"pruner 1": (1, 2, 3), "pruner 2": (2, 3)}
PINNED = 3
FOUND = (
    3971,  # a claim that could not be found, and was there a moment later, made by one who was about to see a newer one
    6221,  # a checkpoint vanished between two looks of an owner who was overtaken
    *(8426, 9319),  # a reader met one that was moved to the trash, and back for a pin
)


def measure(long: bool) -> Measured:
    measured = Measured()
    schedules, races = (10_000, 200) if long else (1_000, 0)
    with memory_folder() as folder:
        template = folder / "template"
        with without_fsync():
            Crowd(template, Clock()).run(LOSSES)
        for seed in sorted({*range(schedules), *FOUND}):
            measured.case(*(f"seed {seed}: {broken}" for broken in _scheduled(template, folder, seed)))
        for number in range(races):
            measured.case(*(f"race {number}: {broken}" for broken in _raced(template, folder, number)))
    measured.detail = f"{schedules:,} schedules, {races:,} races of processes"
    return measured


class _Stage:
    """A store on which everybody acts, each with an own `Run`, and what they tell."""

    def __init__(self, template: Path, folder: Path, seed: int) -> None:
        self.root = copied(template, folder / "store")
        self.outside = folder / "read"
        shutil.rmtree(self.outside, ignore_errors=True)
        self.clock = Clock()
        self._grace = 0.0 if seed % 4 < 2 else 86400.0
        self._same = bool(seed % 2)

    def run(self) -> Run:
        return Store(self.root, self.clock).run("run")

    def actors(self) -> dict[str, Callable[[], list[str]]]:
        return {
            "pruner 1": lambda: self.prune("pruner 1"),
            "pruner 2": lambda: self.prune("pruner 2"),
            "saver": self.save,
            "reader": self.read,
            "pin": self.pin,
        }

    def prune(self, name: str) -> list[str]:
        run = self.run()
        with run.lease("pruning" if self._same else name) as lease:
            recover(run, lease)
            rejected = dict.fromkeys(REJECTED[name], "too high")
            execute_prune(run, plan_prune(run, rejected, SURVIVORS, PrunePolicy(self._grace), "f" * 64, name), lease)
            sweep(run, lease)
        return []

    def save(self) -> list[str]:
        run = self.run()
        with run.lease("training"):
            for step in (6, 7):
                record = Record(step, step - 1, {"loss": 0.1, "val_loss": 0.2}, time=self.clock())
                staged, place = run.stage()
                write_state(str(place / PREFIX), step)
                run.publish(staged, record, "as told", "0" * 64)
                run.ledger.append(record, Decision(True, "as told"))
        return []

    def read(self) -> list[str]:
        """Copies what is there, as an Evaluator does; what a pruning takes away meanwhile may be missed."""
        run = self.run()
        broken = []
        for number in range(2):
            for stored in run.live():
                place = self.outside / str(number) / stored.folder.rpartition("/")[2]
                damage = self._copied(run, stored, place)
                if damage is not None and (stored.step in SURVIVORS or run.gated.holds(stored.step)):
                    broken.append(f"the reader saw half of step {stored.step}: {damage}")
        return broken

    def _copied(self, run: Run, stored: Stored, place: Path) -> str | None:
        """What is wrong with a copy of it."""
        try:
            copy_out(run.files, stored, place)
        except (StoreError, OSError) as error:
            return str(error)
        return verify_files(LocalFiles(place.parent), Stored(place.name, stored.manifest))

    def pin(self) -> list[str]:
        run = self.run()
        run.pin(PINNED, "cited")
        here = run.gated.holds(PINNED)  # one in the trash may be on its way to being freed
        (self.root / "pinned").write_text("in time" if here else "too late")
        return []

    def _has(self, step: int) -> bool:
        return bool(list((self.root / "run").glob(f"*/step-{step:09d}*/manifest.json")))

    def broken(self, ends: dict[str, Exception | None]) -> Iterator[str]:
        """What does not hold in the end, and after one more run."""
        for name, error in ends.items():
            fine = LeaseHeld if name == "saver" else (LeaseHeld, PruneRefused) if "pruner" in name else ()
            if error is not None and not isinstance(error, fine):
                yield f"{name} ended with {type(error).__name__}: {error}"
        yield from self._lost(ends)
        pinned = self.root / "pinned"
        in_time = pinned.exists() and pinned.read_text() == "in time"
        pinned.unlink(missing_ok=True)
        if in_time and not self._has(PINNED):
            yield f"step {PINNED} was live when its pin was written, and is gone"
        run = self.run()
        self._once_more(run)
        left = {stored.step for stored in run.live()} & {1, 2, 3} - set(run.pins())
        if left:
            yield f"one more run left {sorted(left)}"
        before = self._settled()
        self._once_more(run)
        if self._settled() != before:
            yield "one more run left something to do"
        yield from self._lost(ends)

    def _lost(self, ends: dict[str, Exception | None]) -> Iterator[str]:
        run = self.run()
        whole = {stored.step for stored in run.live() if verify_files(run.files, stored) is None}
        saved = (6, 7) if "saver" in ends and ends["saver"] is None else ()
        for step in (*SURVIVORS, *saved):
            if step not in whole:
                yield f"step {step} is lost"
        for stored in (*run.live(), *trashed(run)):
            damage = verify_files(run.files, stored)
            if damage is not None:
                yield f"visible and damaged: {damage}"

    def _once_more(self, run: Run) -> None:
        with run.lease("once more") as lease:
            run.gated.clear_staged()
            recover(run, lease)
            execute_prune(
                run,
                plan_prune(run, dict.fromkeys((1, 2, 3), "too high"), SURVIVORS, PrunePolicy(self._grace), "e" * 64),
                lease,
            )
            sweep(run, lease)

    def _settled(self) -> dict[str, bytes | str | None]:
        return {path: data for path, data in contents(self.root).items() if "lease." not in path}


def _scheduled(template: Path, folder: Path, seed: int) -> list[str]:
    stage = _Stage(template, folder, seed)
    schedule, births = Schedule(seed), Births()
    said: list[str] = []
    with births.told():
        actors = {name: (lambda act=act: said.extend(act())) for name, act in stage.actors().items()}
        with as_os(schedule):
            ends = schedule.play(actors)
        births.rebirth()
        with without_fsync():
            return [*said, *stage.broken(ends)]


def _raced(template: Path, folder: Path, number: int) -> list[str]:
    """The same as processes, which nobody schedules."""
    stage = _Stage(template, folder, 2 * number)
    pids = {}
    for name, act in stage.actors().items():
        pid = os.fork()
        if pid == 0:
            _tell(folder / name, act)
        pids[name] = pid
    said: list[str] = []
    ends: dict[str, Exception | None] = {}
    for name, pid in pids.items():
        os.waitpid(pid, 0)
        words, ends[name] = pickle.loads((folder / name).read_bytes())
        said += words
    return [*said, *stage.broken(ends)]


def _tell(place: Path, act: Callable[[], list[str]]) -> None:
    """Acts, writes down how it ended, and ends this process."""
    words: list[str] = []
    end: Exception | None = None
    try:
        words = act()
    except Exception as error:
        end = error
    place.write_bytes(pickle.dumps((words, end)))
    os._exit(0)
