"""Works of a training: it saves, retains and resumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.store import pruning
from checkpoint_gate.store.checkpoints import read_all
from checkpoint_gate.store.trash import GONE
from checkpoint_gate.training.gated_training import GatedTraining
from faults.reference import KEY, events_of, names_of, record_of, steps_of
from faults.warnings_told import warnings_of
from faults.work import StoreWork
from faults.world import World, state_files, write_files


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


RULES = parse_rules("save: {every: 1}\nkeep: {best: {metric: val_loss, mode: min, n: 1}, last: 2}")


@dataclass(frozen=True)
class Save(StoreWork):
    """A training that goes on for its last epoch: publishes, hands on the state to resume from, and retains three."""

    name: str = "save"

    @property
    def survivors(self) -> list[int]:
        return [self.store.checkpoints // 2, self.store.checkpoints - 1]

    def prepare(self, world: World) -> None:
        training = GatedTraining(world.store(), RULES.cut("save"), KEY)
        training.begin(self.store.checkpoints)
        for step in self.store.steps[:-1]:
            self._epoch(world, training, step)
        training.abandon()

    def do(self, world: World) -> Sequence[str]:
        with warnings_of("checkpoint_gate") as told:
            training = GatedTraining(world.store(), RULES, KEY)
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
