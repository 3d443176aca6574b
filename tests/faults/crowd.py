"""Small stores, made by the store's own writer under a clock that stands still."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import PREFIX


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def write_state(prefix: str, step: int, weight: int = 40) -> None:
    """What TensorFlow writes, in small."""
    with open(prefix + ".index", "wb") as file:
        file.write(b"index of %d" % step)
    with open(prefix + ".data-00000-of-00001", "wb") as file:
        file.write((b"%d," % step) * weight)


class Crowd:
    """Runs with checkpoints, made by the store's own writer."""

    def __init__(self, root: str | Path, clock: Clock) -> None:
        self.root = root
        self.clock = clock
        self.store = Store(root, clock)

    def run(self, losses: Iterable[float], key: str = "run", saved: Container[int] | None = None) -> Run:
        """A run with one epoch for each of `losses`; `saved` are the steps with a checkpoint, by default all."""
        run = self.store.start(key, gate={"save": {"metric": "val_loss", "at_most": 1.0}})
        for epoch, loss in enumerate(losses):
            record = Record(epoch + 1, epoch, {"loss": 0.5, "val_loss": loss}, time=self.clock())
            keep = saved is None or record.step in saved
            run.ledger.append(record, Decision(keep, "as told"))
            if keep:
                self.publish(run, record)
        return run

    def publish(self, run: Run, record: Record, weight: int = 40) -> str:
        staged, place = run.stage()
        write_state(str(place / PREFIX), record.step, weight)
        return run.publish(staged, record, "as told", "0" * 64)
