"""Works that take checkpoints away, and that bring them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store import pruning
from checkpoint_gate.store.checkpoints import move_checkpoint
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.trash import GONE, bury, tombstones, trash_path
from checkpoint_gate.store.undeleting import undelete
from faults.reference import DAY, DIGEST, KEY, events_of, names_of, steps_of
from faults.work import FINE, StoreWork
from faults.world import World


@dataclass(frozen=True)
class Prune(StoreWork):
    """A pruning and a sweep, as at the end of a pipeline's run."""

    grace: float

    @property
    def name(self) -> str:
        return f"prune, grace {self.grace:g}"

    def prepare(self, world: World) -> None:
        self.store.make_trash(world)

    def do(self, world: World) -> Sequence[str]:
        run, store = self.store.run(world), self.store
        policy = PrunePolicy(grace=self.grace)
        with run.lease("pruning") as lease:
            left = pruning.recover(run, lease)
            done = pruning.execute_prune(run, plan_prune(run, store.rejected, store.survivors, policy, DIGEST), lease)
            if not done.left:
                world.note("pruned")
        with run.lease("pruning") as lease:
            swept = pruning.sweep(run, lease)
            if not swept.left:
                world.note("swept")
        return (*left, *done.left, *swept.left)

    def broken(self, world: World) -> Iterator[str]:
        view = self.store.look(world)
        yield from view.lost(self.store.survivors)
        yield from view.damaged()
        yield from view.halfway((1, 2, *self.store.rejected))
        if not view.trash.get(2) or view.said[2] != "trashed":
            yield "step 2 was swept within its grace"

    def unkept(self, world: World, what: str) -> Iterator[str]:
        view = self.store.look(world)
        yield from (f"step {step} is live" for step in self.store.rejected if step in view.live)
        if what == "pruned":
            yield from (f"step {step} has no tombstone" for step in self.store.rejected if step not in view.said)
        else:
            yield from view.not_said([1, *(() if self.grace else self.store.rejected)], "pruned")

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        journals = len(run.files.names(f"{KEY}/journal"))
        return steps_of(run.live()), events_of(run), names_of(run, "trash", "quarantine", "tmp"), journals


@dataclass(frozen=True)
class Sweep(StoreWork):
    """What lies in the trash beyond its grace goes."""

    name: str = "sweep"

    def prepare(self, world: World) -> None:
        run, store = self.store.make(world), self.store
        with run.lease("pruning") as lease:
            pruning.execute_prune(run, plan_prune(run, store.rejected, store.survivors, PrunePolicy(), DIGEST), lease)
        world.clock.now += DAY

    def do(self, world: World) -> Sequence[str]:
        run = self.store.run(world)
        with run.lease("sweeping") as lease:
            swept = pruning.sweep(run, lease)
        if not swept.left:
            world.note("swept")
        return swept.left

    def broken(self, world: World) -> Iterator[str]:
        view = self.store.look(world)
        yield from view.lost([1, 2, *self.store.survivors])
        yield from view.damaged()
        for step in self.store.rejected:
            if view.said.get(step) not in GONE or step in view.live:
                yield f"step {step} came back ({view.said.get(step)})"

    def unkept(self, world: World, what: str) -> Iterator[str]:
        yield from self.store.look(world).not_said(self.store.rejected, "pruned")

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        return steps_of(run.live()), events_of(run), names_of(run, "trash", "journal", "quarantine")


@dataclass(frozen=True)
class Recover(StoreWork):
    """A pruning that was interrupted between its moves, and an undeletion that was before its own, are finished."""

    name: str = "recover"

    def prepare(self, world: World) -> None:
        run, store = self.store.make_trash(world), self.store
        plan = plan_prune(run, store.rejected, store.survivors, PrunePolicy(), DIGEST)
        with run.lease("pruning") as lease:
            plan.write(run, lease.token)
            first = plan.going[0].step
            stored = next(stored for stored in run.live() if stored.step == first)
            move_checkpoint(run.files, stored, trash_path(run, plan.digest, first), run.fence)
            bury(run, "undeleted", next(digest for digest, step in tombstones(run) if step == 2), {"step": 2})

    def do(self, world: World) -> Sequence[str]:
        run = self.store.run(world)
        with run.lease("recovering") as lease:
            left = pruning.recover(run, lease)
        if not left:
            world.note("recovered")
        return left

    def broken(self, world: World) -> Iterator[str]:
        view = self.store.look(world)
        moved, *others = self.store.rejected
        yield from view.lost(self.store.survivors)
        yield from view.damaged()
        yield from view.halfway(others)
        yield from (f"step {step} is not in the trash any more" for step in (1, moved) if not view.trash.get(step))
        if not (view.live.get(2) or view.trash.get(2)):
            yield "step 2, which was to come back, is lost"

    def is_settled(self, what: str) -> bool:
        """The trash is emptied by a sweep, not by this."""
        return what.startswith((*FINE, "a pruning that is done"))

    def unkept(self, world: World, what: str) -> Iterator[str]:
        view = self.store.look(world)
        yield from view.not_said(self.store.rejected, "trashed")
        yield from view.lost([2])

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        return steps_of(run.live()), events_of(run), names_of(run, "trash", "quarantine")


@dataclass(frozen=True)
class Undelete(StoreWork):
    """A checkpoint comes back from the trash."""

    name: str = "undelete"

    def prepare(self, world: World) -> None:
        self.store.make_trash(world)

    def do(self, world: World) -> Sequence[str]:
        run = self.store.run(world)
        with run.lease("undeleting") as lease:
            pruning.recover(run, lease)
            if events_of(run)[2] != "undeleted":
                undelete(run, 2, lease)
        if 2 not in steps_of(run.live()):
            return ["step 2 is not live"]
        world.note("undeleted")
        return ()

    def broken(self, world: World) -> Iterator[str]:
        view = self.store.look(world)
        yield from view.lost([*self.store.survivors, *self.store.rejected])
        yield from view.damaged()
        if not view.trash.get(1):
            yield "step 1 is not in the trash any more"
        if not (view.live.get(2) or view.trash.get(2)):
            yield "step 2, which is to come back, is lost"

    def is_settled(self, what: str) -> bool:
        """The trash is emptied by a sweep, not by this."""
        return what.startswith((*FINE, "a pruning that is done"))

    def unkept(self, world: World, what: str) -> Iterator[str]:
        yield from self.store.look(world).lost([2])

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        return steps_of(run.live()), events_of(run), names_of(run, "trash", "quarantine")
