"""Pruning: mark, move to trash, tombstone, and after the grace sweep.

    journal/<plan>.json        the mark: written before anything moves, dropped when all of it is swept
    trash/step-…--<plan>       whole checkpoints, from where they can be brought back until they are swept
    tombstones.jsonl           what went, when, why, under which rules; kept for ever

At every instant each checkpoint is wholly live, wholly in the trash, or listed in the tombstones; doing an interrupted
pruning again finishes it. Only files that a manifest of this run lists are removed, one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkpoint_gate.errors import DamagedCheckpoint, LeaseHeld, PruneRefused, StoreError
from checkpoint_gate.quantities import format_size, format_time
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import (
    Stored,
    bytes_held,
    folder_name,
    move_checkpoint,
    read_checkpoint,
    remove_checkpoint,
    verify_files,
)
from checkpoint_gate.store.elapsed import is_news, is_over, look
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.prune_plan import Going, PrunePlan, Seen, make_plan, plan_prune
from checkpoint_gate.store.revision import by_hand, raise_revision
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.trash import (
    Mark,
    bury,
    journal_path,
    journals,
    marks_in_trash,
    note_look,
    pruned_before,
    read_journal,
    tombstones,
    trash_path,
    trash_place,
    trashed,
)

__all__ = [
    "Going",
    "PrunePlan",
    "Pruned",
    "Seen",
    "bring_back",
    "execute_prune",
    "make_plan",
    "plan_prune",
    "pruned_before",
    "recover",
    "sweep",
    "tombstones",
    "trashed",
    "undelete",
]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning or a sweep did: bytes moved to the trash, bytes freed, and what was left alone and why."""

    trashed: int = 0
    swept: int = 0
    left: tuple[str, ...] = field(default=())


def execute_prune(run: Run, plan: PrunePlan, lease: Lease) -> Pruned:
    """Carries a plan out: all of it is in the trash, with tombstones, when this returns; grace 0 sweeps at once.

    Raises:
      PruneRefused: the plan cannot be written down, so nothing was begun.
    """
    if not plan.going:
        return Pruned()
    lease.renew()
    try:
        plan.write(run, lease.token)
    except OSError as error:
        raise PruneRefused(
            f"Nothing was pruned from {run.key}: its journal cannot be written ({error.strerror}). "
            f"Free some space outside the store, or make it writable."
        ) from error
    trashed, left = _move(run, plan.digest, lease)
    if plan.grace > 0:
        return Pruned(trashed, 0, tuple(left))
    swept = sweep(run, lease)  # may free what earlier plans trashed, too
    unswept = sum(g.bytes for g in plan.going if _in_place(run, trash_path(run, plan.digest, g.step)))
    return Pruned(unswept, swept.swept, tuple(dict.fromkeys((*left, *swept.left))))


def recover(run: Run, lease: Lease) -> tuple[str, ...]:
    """Finishes what an interrupted pruning or undeletion began to move; call it under the lease, before new work.

    Answers with what was left alone, and why.

    Raises:
      StoreError: parts of the run are on different devices, so that nothing could be moved between them.
    """
    lease.renew()
    run.files.refuse_mounts(run.key)
    run.clear_leftovers()
    left = []
    for plan in journals(run):
        left += _move(run, plan, lease)[1]
    for name, mark in marks_in_trash(run).items():
        if mark.get("event") == "undeleted":
            lease.renew()
            bring_back(run, f"{run.key}/trash/{name}", run.gated.path(trash_place(name)[0]))
    return tuple(left)


def sweep(run: Run, lease: Lease) -> Pruned:
    """Frees what lies in the trash beyond its grace, and drops the journals that are done."""
    left = list(recover(run, lease))
    swept = 0
    for digest in journals(run):
        journal = _journal(run, digest, lease)
        marks = tombstones(run)
        now = look(run.clock)
        open_items = 0
        news = False
        for item in journal["going"]:
            mark = marks.get((digest, item["step"]))
            if mark is None:  # one that could not be moved, or whose move could not be told, stays marked
                open_items += run.gated.holds(item["step"]) or _in_place(run, trash_path(run, digest, item["step"]))
                continue
            if mark["event"] != "trashed":
                continue
            # What became protected in the trash stays there, from where it can be brought back.
            if not is_over(mark, journal, now) or item["step"] in run.protected():
                open_items += 1
                news = news or is_news(mark, journal, now)
                continue
            lease.renew()
            stored = read_checkpoint(run.files, trash_path(run, digest, item["step"]), run.key)
            why = _remove(run, stored)
            if why is not None:
                left.append(why)
                open_items += 1
                continue
            bury(run, "pruned", digest, item)
            swept += item["bytes"]
        if not open_items:
            run.files.remove_file(journal_path(run, digest))
        elif news:
            try:
                note_look(run, digest, journal, now)
            except OSError as error:
                left.append(f"{run.key}: how far a grace has run could not be written down: {error.strerror}")
    return Pruned(swept=swept, left=tuple(left))


def _remove(run: Run, stored: Stored) -> str | None:
    """Frees a checkpoint in the trash; what stands in the way, None when it is gone."""
    place = run.files.place(stored.folder)
    try:
        if remove_checkpoint(run.files, stored, run.fence):
            return None
        why = stored.damage or f"{place} holds files that its manifest does not list"
    except OSError as error:
        why = f"{place} cannot be removed: {error.strerror}"
    return f"{why.rstrip('.')}; {format_size(bytes_held(run.files, stored.folder))} stay on the disk"


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


def bring_back(run: Run, trash: str, live: str) -> None:
    """Moves a checkpoint out of the trash, unless a later one of its step has taken its place."""
    with contextlib.suppress(FileExistsError):
        move_checkpoint(run.files, read_checkpoint(run.files, trash, run.key), live, run.fence)


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


def _spared(stored: Stored, item: Mapping[str, Any], protected: Mapping[int, str]) -> str | None:
    """Why a plan may not remove what it names: things changed between its making and now."""
    if item["step"] in protected:
        return f"is protected since the plan was made: {protected[item['step']]}"
    if stored.manifest is not None and stored.manifest.checksum != item["manifest"]:
        return "is not the checkpoint that the plan was made for"
    return None


def _journal(run: Run, digest: str, lease: Lease) -> dict[str, Any]:
    """A plan under way, which an owner of the lease who was overtaken may not carry out."""
    journal = read_journal(run, digest)
    if journal.get("token", 0) > lease.token:
        raise LeaseHeld(f"The plan {digest} of {run.key} is carried out by another writer, who took the lease over.")
    return journal


def _in_place(run: Run, folder: str) -> bool:
    return run.files.holds(folder, manifests.NAME)


def _move(run: Run, digest: str, lease: Lease) -> tuple[int, list[str]]:
    journal = _journal(run, digest, lease)
    marks = tombstones(run)
    protected = run.protected()
    moved, left = 0, []
    for item in journal["going"]:
        if (digest, item["step"]) in marks:
            continue
        lease.renew()
        trash = trash_path(run, digest, item["step"])
        if run.gated.holds(item["step"]):
            why = _to_trash(run, digest, item, protected)
            if why is not None:
                left.append(why)
                continue
        if _in_place(run, trash):
            words = {"rules": journal["rules"], "by": journal["by"]}
            bury(run, "trashed", digest, item | words | look(run.clock))
            moved += item["bytes"]
    return moved, left


def _to_trash(run: Run, digest: str, item: Mapping[str, Any], protected: Mapping[int, str]) -> str | None:
    """Moves one checkpoint to the trash; why it was left alone, None when it is there."""
    step = item["step"]
    live, trash = run.gated.path(step), trash_path(run, digest, step)
    stored = run.gated.read(folder_name(step))
    if _in_place(run, trash):  # its move was interrupted half-way; or the live one is a later one of the same step
        if not run.files.atomic and stored.manifest is not None and stored.manifest.checksum == item["manifest"]:
            move_checkpoint(run.files, stored, trash, run.fence)
        return None
    damage = verify_files(run.files, stored)
    if damage is not None:  # what does not match its manifest is evidence, not garbage
        run.prove()
        if run.gated.holds(step):
            run.quarantine(stored, damage)
        return damage
    spared = _spared(stored, item, protected)
    if spared is not None:
        bury(run, "spared", digest, {"step": step, "why": spared})
        return f"{run.files.place(live)} {spared}"
    try:
        move_checkpoint(run.files, stored, trash, run.fence)
        # Whoever protects takes no lease. One who did so since the plan was checked finds it back here; one who does so
        # from now on finds it in the trash, from where no sweep takes it.
        if step in run.protected():
            move_checkpoint(run.files, read_checkpoint(run.files, trash, run.key), live, run.fence)
            bury(run, "spared", digest, {"step": step, "why": "was protected meanwhile"})
            return f"{run.files.place(live)} was protected meanwhile"
    except OSError as error:  # one that cannot be moved does not keep the others
        return f"{run.files.place(live)} cannot be moved to the trash: {error.strerror}"
    return None
