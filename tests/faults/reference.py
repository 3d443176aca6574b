"""The reference store: so many checkpoints of so many files each, of which three are to stay; and a look at it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Run, pruning
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import Stored
from checkpoint_gate.store.layout import UNFINISHED_FILE
from checkpoint_gate.store.manifest import FileEntry
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.trash import GONE, tombstones, trashed
from faults.world import World, state_files, write_files

DAY = 86400.0
DIGEST = "f" * 64
KEY = "run"


@dataclass(frozen=True)
class Reference:
    """The reference store; in its trash lie one checkpoint beyond its grace and one within."""

    checkpoints: int = 10
    files: int = 4

    @property
    def steps(self) -> range:
        return range(1, self.checkpoints + 1)

    @property
    def survivors(self) -> list[int]:
        return [self.checkpoints // 2, self.checkpoints - 2, self.checkpoints]

    @property
    def rejected(self) -> dict[int, str]:
        return {step: "too high" for step in self.steps if step not in self.survivors and step > 2}

    def run(self, world: World) -> Run:
        return world.store().run(KEY)

    def make(self, world: World) -> Run:
        """A run with all the checkpoints live, and a state to resume from."""
        run = world.store().start(KEY)
        for step in self.steps:
            record = record_of(step)
            staged, place = run.stage()
            write_files(world, place, state_files(step, self.files))
            run.publish(staged, record, "as told", DIGEST)
            run.ledger.append(record, Decision(True, "as told"))
        run.publish_resumable(record, DIGEST)
        return run

    def make_trash(self, world: World) -> Run:
        """As `make`, with two in the trash."""
        run = self.make(world)
        for step, seconds in ((1, DAY - 3600), (2, 7200)):
            with run.lease("pruning") as lease:
                pruning.execute_prune(
                    run, plan_prune(run, {step: "too high"}, self.survivors, PrunePolicy(), DIGEST), lease
                )
            world.clock.now += seconds
        return run

    def look(self, world: World) -> View:
        """Looks at all of the run."""
        run = self.run(world)
        live = {stored.step: self.whole(world, stored) for stored in run.live()}
        return View(run, live, {stored.step: self.whole(world, stored) for stored in trashed(run)}, events_of(run))

    def whole(self, world: World, stored: Stored) -> bool:
        """Whether every byte is what was written for the step, and the manifest lists just that."""
        if stored.manifest is None:
            return False
        listed = world.files_in(stored.folder)
        content = {name: data for name, data in listed.items() if name not in (manifests.NAME, UNFINISHED_FILE)}
        step = stored.manifest.step
        return content == state_files(step, self.files) and stored.manifest.files == entries_of(step, self.files)


@dataclass(frozen=True)
class View:
    """What a run shows: step -> whether every byte is there, for what is live and what is in the trash.

    Attributes:
      said: step -> what its newest tombstone says.
    """

    run: Run
    live: Mapping[int, bool]
    trash: Mapping[int, bool]
    said: Mapping[int, str]

    def damaged(self) -> Iterator[str]:
        """What a reader sees and cannot read."""
        yield from (f"step {step} is visible and unreadable" for step, whole in self.live.items() if not whole)

    def lost(self, steps: Sequence[int]) -> Iterator[str]:
        """Those of `steps` that are not live and whole."""
        yield from (f"step {step} is lost" for step in steps if not self.live.get(step))

    def halfway(self, steps: Sequence[int]) -> Iterator[str]:
        """Those of `steps` that are neither wholly live, nor whole in the trash, nor gone with a tombstone."""
        for step in steps:
            gone = self.said.get(step) in GONE and not self.trash.get(step) and step not in self.live
            places = self.live.get(step, False) + self.trash.get(step, False) + gone
            if places == 0 or (places > 1 and self.run.files.atomic):  # without a rename it is copied and then removed
                yield f"step {step} is in {places} places of live, trash and gone ({self.said.get(step)})"

    def not_said(self, steps: Iterable[int], event: str) -> Iterator[str]:
        """Those of `steps` of which the tombstones say something else."""
        yield from (f"step {step} is {self.said.get(step)}" for step in steps if self.said.get(step) != event)


@functools.cache
def entries_of(step: int, files: int) -> list[FileEntry]:
    """What the manifest of a step has to list."""
    content = sorted(state_files(step, files).items())
    return [
        FileEntry(path=name, bytes=len(data), checksum=f"xxh3-128:{xxhash.xxh3_128_hexdigest(data)}")
        for name, data in content
    ]


def record_of(step: int, loss: float | None = None) -> Record:
    return Record(step, step - 1, {"loss": 0.5, "val_loss": 1 / step if loss is None else loss}, time=1.0e9 + step)


def events_of(run: Run) -> dict[int, str]:
    """Step -> what its newest tombstone says."""
    return {step: mark["event"] for (_, step), mark in tombstones(run).items()}


def names_of(run: Run, *folders: str) -> dict[str, list[str]]:
    return {folder: run.files.names(f"{run.key}/{folder}") for folder in folders}


def steps_of(shelf: Sequence[Stored]) -> list[int]:
    return [stored.step for stored in shelf]
