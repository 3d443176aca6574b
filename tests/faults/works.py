"""What a store does, each as the work of one process that can be begun again: its promises, and what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from checkpoint_gate.filtering import PrunePolicy
from checkpoint_gate.rule_text import parse_rules
from checkpoint_gate.store import pruning
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.checkpoints import move_checkpoint, read_all
from checkpoint_gate.store.trash import GONE, bury, tombstones, trash_path
from checkpoint_gate.training import GatedTraining
from faults.reference import DAY, DIGEST, KEY, Reference, events_of, names_of, record_of, steps_of
from faults.world import World, state_files, write_files


class Work(Protocol):
    """One kind of work on a store."""

    @property
    def name(self) -> str: ...

    def prepare(self, world: World) -> None:
        """Makes the state from which the work begins, in an empty place."""

    def do(self, world: World) -> Sequence[str]:
        """Does it, or what is left of it; answers with what it says could not be done."""

    def broken(self, world: World) -> Iterator[str]:
        """What must not be, at any instant."""

    def unkept(self, world: World, what: str) -> Iterator[str]:
        """What must not be once a call has returned from `what`."""

    def outcome(self, world: World) -> object:
        """What is there in the end, without what differs from one process to the next."""

    def leftovers(self, world: World) -> Iterator[str]:
        """What is there in the end and should not be."""


_FINE = ("a local disk: ", "an object store ", "live checkpoints: ", "an open pruning: ")


@dataclass(frozen=True)
class StoreWork:
    """What all works on the reference store share."""

    store: Reference

    def leftovers(self, world: World) -> Iterator[str]:
        """What `check` has to say of a store in which nobody is at work."""
        for finding in check_store(world.store()):
            if finding.severity != "note" or not self.is_settled(finding.what):
                yield f"{finding.place} {finding.what}"

    def is_settled(self, what: str) -> bool:
        """Whether a note of `check` tells of nothing to do."""
        return what.startswith(_FINE) and "their grace is over" not in what


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
            done = pruning.execute_prune(
                run, pruning.plan_prune(run, store.rejected, store.survivors, policy, DIGEST), lease
            )
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
            pruning.execute_prune(
                run, pruning.plan_prune(run, store.rejected, store.survivors, PrunePolicy(), DIGEST), lease
            )
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
        plan = pruning.plan_prune(run, store.rejected, store.survivors, PrunePolicy(), DIGEST)
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
        return what.startswith((*_FINE, "a pruning that is done"))

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
                pruning.undelete(run, 2, lease)
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
        return what.startswith((*_FINE, "a pruning that is done"))

    def unkept(self, world: World, what: str) -> Iterator[str]:
        yield from self.store.look(world).lost([2])

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        return steps_of(run.live()), events_of(run), names_of(run, "trash", "quarantine")


@dataclass(frozen=True)
class ResumeAfter(StoreWork):
    """Training resumes three steps before the last: what came later is set aside."""

    name: str = "resume_after"

    @property
    def step(self) -> int:
        return self.store.checkpoints - 3

    def prepare(self, world: World) -> None:
        self.store.make(world)

    def do(self, world: World) -> Sequence[str]:
        run = self.store.run(world)
        with run.lease("training") as lease:
            pruning.recover(run, lease)
            run.resume_after(self.step)
        world.note("resumed")
        return ()

    def broken(self, world: World) -> Iterator[str]:
        view = self.store.look(world)
        yield from view.lost(self.store.steps[: self.step])
        yield from view.damaged()
        names = view.run.files.names(f"{KEY}/superseded")
        aside = read_all(view.run.files, f"{KEY}/superseded", names, KEY)
        there = {stored.step for stored in aside if self.store.whole(world, stored)} | view.live.keys()
        yield from (f"step {step} is lost" for step in self.store.steps[self.step :] if step not in there)

    def unkept(self, world: World, what: str) -> Iterator[str]:
        run = self.store.run(world)
        later = [stored.step for stored in (*run.live(), *run.resumable.stored()) if stored.step > self.step]
        yield from (f"step {step} was not set aside" for step in later)
        if len(run.ledger.read().entries) != self.step:
            yield "the ledger does not say that training resumed"

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        return steps_of(run.live()), run.ledger.read().records, names_of(run, "superseded", "resume", "tmp")


TRAINING = """
save: {every: 1}
keep: {best: {metric: val_loss, mode: min, n: 1}, last: 2}
"""


@dataclass(frozen=True)
class Save(StoreWork):
    """A training that goes on for its last epoch: publishes, hands on the state to resume from, and retains three."""

    name: str = "save"

    @property
    def survivors(self) -> list[int]:
        return [self.store.checkpoints // 2, self.store.checkpoints - 1]

    def prepare(self, world: World) -> None:
        training = GatedTraining(world.store(), parse_rules(TRAINING).cut("save"), KEY)
        training.begin(self.store.checkpoints)
        for step in self.store.steps[:-1]:
            self._epoch(world, training, step)
        training.abandon()

    def do(self, world: World) -> Sequence[str]:
        with warnings_of("checkpoint_gate") as told:
            training = GatedTraining(world.store(), parse_rules(TRAINING), KEY)
            state = training.begin(self.store.checkpoints)
            first = 1 if state is None else state.step + 1
            for step in range(first, self.store.checkpoints + 1):
                self._epoch(world, training, step)
                world.note(f"saved {step}")
            training.finish(self.store.checkpoints)
            world.note("finished")
        return told

    def _epoch(self, world: World, training: GatedTraining, step: int) -> None:
        record = record_of(step, 0.01 if step == self.survivors[0] else 1 / step)
        decision = training.observe(record)

        def write(prefix: str) -> None:
            write_files(world, prefix.rpartition("/")[0], state_files(step, self.store.files))

        training.commit(record, decision, write)

    def broken(self, world: World) -> Iterator[str]:
        view = self.store.look(world)
        yield from view.lost(self.survivors)
        yield from view.damaged()
        yield from view.halfway([step for step in self.store.steps[:-1] if step not in self.survivors])
        state = view.run.resume_state()
        if state is None or state.step < self.store.checkpoints - 1 or not self.store.whole(world, state):
            yield "the state to resume from is lost"

    def unkept(self, world: World, what: str) -> Iterator[str]:
        view = self.store.look(world)
        run, state = view.run, view.run.resume_state()
        yield from view.lost([self.store.checkpoints])
        if state is None or state.step != self.store.checkpoints:
            yield "training would not resume after its last epoch"
        if run.ledger.read().records[-1].step != self.store.checkpoints:
            yield "the ledger lacks the last epoch"
        if what == "finished" and run.ledger.read().finished_epochs != self.store.checkpoints:
            yield "the ledger does not say that training is finished"

    def outcome(self, world: World) -> object:
        run = self.store.run(world)
        folders = names_of(run, "resume", "trash", "journal", "quarantine", "tmp")
        return steps_of(run.live()), events_of(run), run.ledger.read().records, folders


@dataclass(frozen=True)
class FirstSave(Save):
    """A training from its first epoch to its last, in a store that it makes."""

    name: str = "first save"

    def prepare(self, world: World) -> None:
        """There is nothing."""

    def broken(self, world: World) -> Iterator[str]:
        if world.store().files.is_file(f"{KEY}/run.json"):
            yield from self.store.look(world).damaged()

    def unkept(self, world: World, what: str) -> Iterator[str]:
        view = self.store.look(world)
        step = self.store.checkpoints if what == "finished" else int(what.removeprefix("saved "))
        state = view.run.resume_state()
        if state is None or state.step < step:
            yield f"training would not resume after step {step}"
        if not (view.live.get(step) or view.trash.get(step) or view.said.get(step) in GONE):
            yield f"step {step} is lost"
        if step not in [record.step for record in view.run.ledger.read().records]:
            yield f"the ledger lacks step {step}"


class warnings_of:
    """The warnings that a logger is given within."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> list[str]:
        self._told: list[str] = []
        self._before = self._logger.propagate
        self._handler = _ToList(self._told)
        self._logger.addHandler(self._handler)
        self._logger.propagate = False
        return self._told

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.propagate = self._before


class _ToList(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(record.getMessage())


Kind = Callable[[Reference], Work]

KINDS: tuple[Kind, ...] = (
    Save,
    lambda store: Prune(store, DAY),
    lambda store: Prune(store, 0.0),
    Sweep,
    Recover,
    Undelete,
    ResumeAfter,
)


def works_on_store(whole: bool) -> list[Work]:
    """Every kind of work, on the reference store or, for what is tried very often, on a smaller one."""
    first = FirstSave(Reference(4, 2))
    if whole:
        return [first, *(kind(Reference()) for kind in KINDS)]
    return [first, *(kind(Reference(5, 2) if kind is Save else Reference(7, 2)) for kind in KINDS)]
