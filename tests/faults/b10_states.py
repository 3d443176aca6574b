"""The store beside a model of it: random operations, a clock that jumps, and crashes anywhere.

After every operation the store holds what the model says, every byte; after a crash and a recovery it holds what it
held before the operation or what it should after it, as a whole. A crash may hit the recovery as well.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import PREFIX, verify_files
from checkpoint_gate.store.prune_plan import make_plan, plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.trash import trashed
from checkpoint_gate.store.undeleting import undelete
from faults.clocks import Machine
from faults.crowd import write_state
from faults.disk import Disk, Killed
from faults.figure import Measured
from faults.memory import memory_folder
from faults.model import Checkpoint, Model, Refused
from faults.recording import Births, as_os

FIGURE = "B10"
WHAT = "random operations with crashes, beside a model: a store that is not as the model says"

KEEP = parse_rules("keep: {best: {metric: val_loss, mode: min, n: 3}, last: 1}")
STEPS = 60  # of an episode
OPERATIONS = (
    ["save"] * 6 + ["prune"] * 3 + ["sweep", "sweep", "retain", "undelete", "undelete", "pin", "unpin", "wait"]
) + ["jump", "resume"]
DAY = 86400.0


def measure(long: bool) -> Measured:
    measured = Measured()
    until = time.process_time() + (1800 if long else 120)
    seed = crashes = 0
    with memory_folder() as folder:
        while time.process_time() < until:
            episode = Episode(folder / str(seed % 2), seed)
            with as_os(episode.disk), episode.births.told():
                crashes += episode.play(measured)
            seed += 1
    measured.detail = f"steps of {seed:,} stores, {crashes:,} crashes"
    return measured


class Episode:
    """One store, from its beginning."""

    def __init__(self, root: Path, seed: int) -> None:
        self._draw = random.Random(seed)
        self._seed = seed
        self._root = root
        self._serial = 0
        self.disk = Disk()
        self.births = Births()
        self._machine = Machine()
        self._model = Model()
        self._begin()

    def _begin(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        self._run: Run = Store(self._root, self._machine).start("run")

    def play(self, measured: Measured) -> int:
        """Goes on until something is wrong or the episode is over; answers with the number of crashes."""
        crashes = 0
        for number in range(STEPS):
            self._machine.wait(self._draw.uniform(1, 100))
            name = self._draw.choice(OPERATIONS)
            crash = self._draw.randrange(60) if self._draw.random() < 0.3 else None
            broken, crashed = self._step(name, crash)
            crashes += crashed
            measured.case(*(f"seed {self._seed}, step {number} ({name}, crash {crash}): {each}" for each in broken))
            if broken:
                break
        return crashes

    def _step(self, name: str, crash: int | None) -> tuple[list[str], bool]:
        act, expect = getattr(self, f"_{name}")()
        before, after = self._model, self._model.copy()
        try:
            expect(after)
            refused = False
        except Refused:
            after, refused = before.copy(), True
        self.disk.arm(crash)
        try:
            act()
            was_refused = False
        except StoreError:
            was_refused = True
        except Killed:
            return self._after_crash(name, before, after), True
        finally:
            self.disk.arm(None)
        self._model = after
        if was_refused != refused:
            return [f"{'refused' if was_refused else 'not refused'}, although the model says otherwise"], False
        return self._differences([after]), False

    def _after_crash(self, name: str, before: Model, after: Model) -> list[str]:
        """Recovers as the next process does, which may crash as well, and finds which of the two models holds."""
        again = self._draw.randrange(40) if self._draw.random() < 0.3 else None
        self._reopen()
        self.disk.arm(again)
        try:
            self._recover(name)
        except Killed:
            self.disk.arm(None)
            self._reopen()
            self._recover(name)
        self.disk.arm(None)
        for model in (before, after):
            if name in ("save", "resume"):
                model.resume_after(self._last(), self._machine.now)
            model.sweep(self._machine.now, self._machine.uptime()[1])
        broken = self._differences([before, after])
        self._model = after if self._seen() == after.where() else before
        return broken

    def _reopen(self) -> None:
        self.births.rebirth()
        self._run = Store(self._root, self._machine).run("run")

    def _recover(self, name: str) -> None:
        """What a training does when it begins."""
        run = self._run
        with run.lease("recovering") as lease:
            run.gated.clear_staged()
            sweep(run, lease)
            if name in ("save", "resume"):
                run.resume_after(self._last())

    def _last(self) -> int:
        records = self._run.ledger.read().records
        return records[-1].step if records else 0

    # The operations: what is done to the store, and to the model.

    def _save(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        self._serial += 1
        made = Checkpoint(self._serial, self._model.last + 1, round(self._draw.random(), 3))
        return lambda: self._write(made), lambda model: model.save(made)

    def _write(self, made: Checkpoint) -> None:
        record = Record(made.step, made.step - 1, {"loss": 0.1, "val_loss": made.loss}, time=self._machine())
        with self._run.lease("training"):
            staged, place = self._run.stage()
            write_state(str(place / PREFIX), made.step, 1)
            (place / "serial").write_text(str(made.serial))
            self._run.publish(staged, record, "as told", "0" * 64)
            self._run.ledger.append(record, Decision(True, "as told"))
            self._run.publish_resumable(record, "0" * 64)

    def _retain(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        def act() -> None:
            run = self._run
            assert KEEP.keep is not None
            with run.lease("training") as lease:
                protected = run.protected()
                surplus = KEEP.keep.surplus(run.held(), run.clock(), protected)
                execute_prune(run, make_plan(run, surplus, protected, 0.0, "f" * 64, "retention"), lease)

        return act, lambda model: model.retain(3, *self._now())

    def _prune(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        limit, grace = self._draw.random(), self._draw.choice((0.0, 300.0, DAY))
        fraction = self._draw.choice((0.5, 0.95))

        def act() -> None:
            run = self._run
            with run.lease("pruning") as lease:
                recover(run, lease)
                losses = {s.step: s.manifest.record.metrics["val_loss"] for s in run.live() if s.manifest is not None}
                rejected = {step: "too high" for step, loss in losses.items() if loss > limit}
                policy = PrunePolicy(grace=grace, max_fraction=fraction)
                plan = plan_prune(run, rejected, losses.keys() - rejected.keys(), policy, "f" * 64)
                execute_prune(run, plan, lease)

        return act, lambda model: model.prune(limit, grace, fraction, *self._now())

    def _sweep(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        def act() -> None:
            with self._run.lease("sweeping") as lease:
                sweep(self._run, lease)

        return act, lambda model: model.sweep(*self._now())

    def _undelete(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        steps = [thrown.checkpoint.step for thrown in self._model.trash]
        step = self._draw.choice([*steps, self._draw.randint(1, 9)])

        def act() -> None:
            with self._run.lease("undeleting") as lease:
                undelete(self._run, step, lease)

        return act, lambda model: model.undelete(step)

    def _pin(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        step = self._draw.randint(1, max(1, self._model.last))
        return lambda: self._run.pin(step, "kept"), lambda model: model.pins.add(step)

    def _unpin(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        step = self._draw.choice([*sorted(self._model.pins), 1])
        return lambda: self._run.unpin(step), lambda model: model.pins.discard(step)

    def _wait(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        self._machine.wait(self._draw.uniform(0, 1.5 * DAY))
        return lambda: None, lambda model: None

    def _jump(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        self._machine.jump(self._draw.choice((-1, 1)) * self._draw.uniform(0, 400 * DAY))
        return lambda: None, lambda model: None

    def _resume(self) -> tuple[Callable[[], object], Callable[[Model], object]]:
        records = self._model.records
        step = self._draw.choice(records[-4:]) if records else 0

        def act() -> None:
            with self._run.lease("training"):
                self._run.resume_after(step)

        return act, lambda model: model.resume_after(step, self._machine.now)

    def _now(self) -> tuple[float, float]:
        return self._machine.now, self._machine.uptime()[1]

    # What the store holds.

    def _seen(self) -> tuple[dict[int, int], set[tuple[int, int]], set[int]]:
        live = {stored.step: self._serial_of(stored.folder) for stored in self._run.live()}
        trash = {(stored.step, self._serial_of(stored.folder)) for stored in trashed(self._run)}
        return live, trash, set(self._run.pins())

    def _serial_of(self, folder: str) -> int:
        return int(self._run.files.read(f"{folder}/serial", 100))

    def _differences(self, models: list[Model]) -> list[str]:
        """How the store differs from all of the models, and what in it does not verify."""
        whole = (*self._run.live(), *trashed(self._run))
        broken = [damage for stored in whole if (damage := verify_files(self._run.files, stored)) is not None]
        if broken:
            return broken
        seen = self._seen()
        if any(seen == model.where() for model in models):
            return []
        return [f"holds (live, trash, pins) {seen}, should hold {' or '.join(str(m.where()) for m in models)}"]
