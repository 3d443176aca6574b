"""Bringing a checkpoint back from the trash, by hand."""

from __future__ import annotations

from checkpoint_gate.errors import DamagedCheckpoint, StoreError
from checkpoint_gate.quantities import format_time
from checkpoint_gate.store.checkpoints import read_checkpoint, verify_files
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.pruning import bring_back, recover
from checkpoint_gate.store.revision import by_hand, raise_revision
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.trash import Mark, bury, marks_in_trash, pruned_before, trash_place


def undelete(run: Run, step: int, lease: Lease) -> str:
    """Brings the checkpoint of `step` back from the trash, every byte verified; answers with its path in the store.

    Later prunings may take it away again, unless it is pinned. Raises the store's revision.

    Raises:
      StoreError: the trash does not have it, its place is taken, or training resumed before it since.
      DamagedCheckpoint: its bytes do not match its manifest.
    """
    lease.renew()
    recover(run, lease)
    name, mark = _in_trash(run, step)
    trash, live = f"{run.key}/trash/{name}", run.gated.path(step)
    if run.gated.holds(step):
        raise StoreError(f"{run.files.place(live)} is live: move it away before an older one of its step comes back.")
    _refuse_superseded(run, step, mark)
    damage = verify_files(run.files, read_checkpoint(run.files, trash, run.key))
    if damage is not None:
        raise DamagedCheckpoint(f"Step {step} of {run.key} cannot be brought back: {damage}.")
    with by_hand(run.files, run.clock, "undeleting"):
        raise_revision(run.files)
    # The tombstone first: from here on no sweep takes it, and `recover` finishes the move if this is interrupted.
    bury(run, "undeleted", str(mark.get("plan", trash_place(name)[1])), {"step": step})
    bring_back(run, trash, live)
    return live


def _in_trash(run: Run, step: int) -> tuple[str, Mark]:
    """The folder in the trash that holds `step`, the newest where several do, and its tombstone."""
    marks = marks_in_trash(run)
    here = [(name, mark) for name, mark in marks.items() if trash_place(name)[0] == step]
    if here:
        return max(here, key=lambda item: item[1].get("time", 0.0))
    if run.gated.holds(step):
        live = run.files.place(run.gated.path(step))
        raise StoreError(f"Step {step} of {run.key} is not in the trash: it is live, at {live}.")
    held = ", ".join(map(str, sorted({trash_place(name)[0] for name in marks}))) or "nothing"
    gone = [mark for mark in pruned_before(run) if mark["step"] == step]
    what = f"its bytes were freed at {format_time(gone[0]['time'])}" if gone else "it is not in the trash"
    raise StoreError(f"Step {step} of {run.key} cannot be brought back: {what}. The trash has: {held}.")


def _refuse_superseded(run: Run, step: int, mark: Mark) -> None:
    history = run.ledger.read()
    event = history.overtook(step, mark.get("time", 0.0))
    if event is None and step not in {entry.record.step for entry in history.entries}:  # a clock may have gone back
        event = next((e.superseded for e in reversed(history.every_entry) if e.record.step == step), None)
    if event is not None:
        raise StoreError(
            f"Step {step} of {run.key} cannot be brought back: training resumed after step {event['after_step']} "
            f"since, so it belongs to a history that does not count any more."
        )
