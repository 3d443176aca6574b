"""Pruning: mark, move to trash, tombstone, and after the grace sweep.

    journal/<plan>.json        the mark: written before anything moves, dropped when all of it is swept
    trash/step-…--<plan>       whole checkpoints, from where they can be brought back until they are swept
    tombstones.jsonl           what went, when, why, under which rules; kept for ever

At every instant each checkpoint is wholly live, wholly in the trash, or listed in the tombstones; doing an interrupted
pruning again finishes it. Only files that a manifest of this run lists are removed, one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from checkpoint_gate.errors import ForeignCheckpoint, LeaseHeld, PruneRefused, StoreError
from checkpoint_gate.quantities import format_size
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
from checkpoint_gate.store.elapsed import Look, is_news, is_over, look
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.prune_plan import PrunePlan
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.standing import why_all_stays
from checkpoint_gate.store.trash import (
    Mark,
    bury,
    journal_path,
    journals,
    marks_in_trash,
    note_look,
    read_journal,
    tombstones,
    trash_path,
    trash_place,
)

_ROOM = "free some space outside the store, or make it writable"
_MAKE_ROOM = f"{_ROOM.capitalize()}."


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning or a sweep did: bytes moved to the trash, bytes freed, and what was left alone and why."""

    trashed: int = 0
    swept: int = 0
    left: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Done:
    """(plan, step) -> bytes, of what was moved or freed; and what was left alone and why."""

    items: Mapping[tuple[str, int], int]
    left: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(self.items.values())


def execute_prune(run: Run, plan: PrunePlan, lease: Lease, *, sure: bool = False) -> Pruned:
    """Carries a plan out: all of it is in the trash, with tombstones, when this returns; grace 0 sweeps at once.

    Args:
      sure: `why_all_stays` was asked just now about what this plan takes, so a sweep need not ask again.

    Raises:
      PruneRefused: the plan cannot be written down, so nothing was begun.
    """
    mark(run, plan, lease)
    return carry_out(run, plan, lease, sure=sure)


def mark(run: Run, plan: PrunePlan, lease: Lease, joint: str | None = None) -> None:
    """Writes a plan down before anything of it moves; what older plans have not moved, and this one spares, stays.

    Args:
      joint: the digest of the plan of several runs that it is a part of.

    Raises:
      PruneRefused: the plan cannot be written down, so nothing was begun.
    """
    lease.renew()
    try:
        give_up(run, f"superseded by plan {plan.digest[:12]}", {item.step for item in plan.going})
        if plan.going:
            plan.write(run, lease.token, joint)
    except OSError as error:
        raise PruneRefused(
            f"Nothing was pruned from {run.key}: its journal cannot be written ({error.strerror}). {_MAKE_ROOM}"
        ) from error


def carry_out(run: Run, plan: PrunePlan, lease: Lease, *, sure: bool = False) -> Pruned:
    """Does what `mark` has written down; `sure` as in `execute_prune`."""
    if not plan.going:
        return Pruned()
    digest = plan.digest
    moved = _move(run, digest, _journal(run, digest, lease), lease, tombstones(run))
    if plan.grace > 0:
        return Pruned(moved.bytes, 0, moved.left)
    done = sweep(run, lease, digest if sure else None)  # may free what earlier plans trashed, too
    unswept = sum(item.bytes for item in plan.going if _in_place(run, trash_path(run, digest, item.step)))
    return Pruned(unswept, done.swept, tuple(dict.fromkeys((*moved.left, *done.left))))


def give_up(run: Run, why: str, but: Set[int] = frozenset()) -> None:
    """Closes what plans under way have not moved, except for the steps `but`: what they rested on is not so now."""
    plans = {}
    for digest in journals(run):
        try:
            plans[digest] = read_journal(run, digest)
        except StoreError:  # nobody carries out what cannot be read
            continue
    marks = tombstones(run) if plans else {}
    for digest, step in _undone(run, plans, marks):
        if step not in but and not _in_place(run, trash_path(run, digest, step)):
            bury(run, "spared", digest, {"step": step, "why": why})


def recover(run: Run, lease: Lease) -> tuple[str, ...]:
    """Finishes what an interrupted pruning or undeletion began to move; call it under the lease, before new work.

    No checkpoint moves to the trash while one that is to stay is damaged or gone. Answers with what was left alone, and
    why.

    Raises:
      StoreError: parts of the run are on different devices, so that nothing could be moved between them.
    """
    return finish(run, lease).left


def finish(run: Run, lease: Lease) -> Pruned:
    """As `recover`; answers also with the bytes that it moved to the trash."""
    moved = _finish(run, lease)
    return Pruned(moved.bytes, 0, moved.left)


def _finish(run: Run, lease: Lease) -> _Done:
    lease.renew()
    run.files.refuse_mounts(run.key)
    run.clear_leftovers()
    moved = _finish_moves(run, lease)
    for name, said in marks_in_trash(run).items():
        if said.get("event") == "undeleted":
            lease.renew()
            bring_back(run, f"{run.key}/trash/{name}", run.gated.path(trash_place(name)[0]))
    return moved


def _finish_moves(run: Run, lease: Lease) -> _Done:
    plans = _plans(run, lease)
    marks = tombstones(run) if plans else {}
    undone = {step for _, step in _undone(run, plans, marks)}
    going = undone - run.protected().keys() if undone else frozenset[int]()
    why = why_all_stays(run, going) if going else None
    held = going if why is not None else frozenset[int]()
    moved = [_move(run, digest, plan, lease, marks, held) for digest, plan in plans.items()]
    items = {item: size for each in moved for item, size in each.items.items()}
    left = [what for each in moved for what in each.left]
    return _Done(items, (*([] if why is None else [why]), *left))


def sweep(run: Run, lease: Lease, sure: str | None = None) -> Pruned:
    """Frees what lies in the trash beyond its grace, and drops the journals that are done.

    All of it stays while a live checkpoint is damaged or gone: then the trash may hold the best there is.

    Args:
      sure: the digest of a plan about which this was asked just now.
    """
    moved = _finish(run, lease)
    swept = _sweep(run, lease, sure)
    trashed = sum(size for item, size in moved.items.items() if item not in swept.items)
    return Pruned(trashed, swept.bytes, tuple(dict.fromkeys((*moved.left, *swept.left))))


def _sweep(run: Run, lease: Lease, sure: str | None) -> _Done:
    plans = _plans(run, lease)
    marks = tombstones(run) if plans else {}
    now = look(run.clock)
    due = {each for each in _named(plans) if _is_due(marks.get(each), plans[each[0]], now)}
    why = why_all_stays(run) if any(digest != sure for digest, _ in due) else None
    freed: dict[tuple[str, int], int] = {}
    left = [] if why is None else [why]
    for digest, plan in plans.items():
        for item in plan["going"]:
            each = digest, item["step"]
            # What became protected in the trash stays there, from where it can be brought back.
            if why is not None or each not in due or item["step"] in run.protected():
                continue
            lease.renew()
            stays = _remove(run, read_checkpoint(run.files, trash_path(run, *each), run.key))
            if stays is not None:
                left.append(stays)
                continue
            try:
                bury(run, "pruned", digest, item)
            except OSError as error:  # the next sweep writes it; nothing more goes without a word
                why = _untold(run, item["step"], error)
                left.append(why)
                continue
            freed[each] = item["bytes"]
        waiting = [marks.get(each) for each in _named({digest: plan}) if each not in freed and _waits(run, each, marks)]
        if not waiting:
            run.files.remove_file(journal_path(run, digest))
        elif any(is_news(said, plan, now) for said in waiting if said is not None):
            left += _noted(run, digest, plan, now)
    return _Done(freed, tuple(left))


def _is_due(said: Mark | None, plan: Mapping[str, Any], now: Look) -> bool:
    return said is not None and said["event"] == "trashed" and is_over(said, plan, now)


def _waits(run: Run, each: tuple[str, int], marks: Mapping[tuple[str, int], Mark]) -> bool:
    """Whether a journal is still needed for one that it names."""
    if each in marks:
        return bool(marks[each]["event"] == "trashed")
    # One that could not be moved, or whose move could not be told, stays marked.
    return run.gated.holds(each[1]) or _in_place(run, trash_path(run, *each))


def _noted(run: Run, digest: str, plan: Mapping[str, Any], now: Look) -> list[str]:
    try:
        note_look(run, digest, plan, now)
    except OSError as error:
        return [f"{run.key}: how far a grace has run could not be written down: {error.strerror}"]
    return []


def _untold(run: Run, step: int, error: OSError) -> str:
    what = f"the tombstone of step {step} of {run.key} cannot be written ({error.strerror})"
    return f"{what}, so nothing more goes: {_ROOM}, and do it again"


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


def bring_back(run: Run, trash: str, live: str) -> None:
    """Moves a checkpoint out of the trash, unless a later one of its step has taken its place."""
    with contextlib.suppress(FileExistsError):
        move_checkpoint(run.files, read_checkpoint(run.files, trash, run.key), live, run.fence)


def _spared(stored: Stored, item: Mapping[str, Any], protected: Mapping[int, str]) -> str | None:
    """Why a plan may not remove what it names: things changed between its making and now."""
    if item["step"] in protected:
        return f"is protected since the plan was made: {protected[item['step']]}"
    if stored.manifest is not None and stored.manifest.checksum != item["manifest"]:
        return "is not the checkpoint that the plan was made for"
    return None


def _plans(run: Run, lease: Lease) -> dict[str, dict[str, Any]]:
    """Digest -> journal, of the plans under way."""
    return {digest: _journal(run, digest, lease) for digest in journals(run)}


def _journal(run: Run, digest: str, lease: Lease) -> dict[str, Any]:
    """A plan under way, which an owner of the lease who was overtaken may not carry out."""
    journal = read_journal(run, digest)
    if journal.get("token", 0) > lease.token:
        raise LeaseHeld(f"The plan {digest} of {run.key} is carried out by another writer, who took the lease over.")
    return journal


def _named(plans: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """(plan, step) of all that plans name."""
    return ((digest, item["step"]) for digest, plan in plans.items() for item in plan["going"])


def _undone(
    run: Run, plans: Mapping[str, Mapping[str, Any]], marks: Mapping[tuple[str, int], Mark]
) -> list[tuple[str, int]]:
    """(plan, step) of what is live still, and not spared."""
    return [each for each in _named(plans) if each not in marks and run.gated.holds(each[1])]


def _in_place(run: Run, folder: str) -> bool:
    return run.files.holds(folder, manifests.NAME)


def _move(
    run: Run,
    digest: str,
    plan: Mapping[str, Any],
    lease: Lease,
    marks: Mapping[tuple[str, int], Mark],
    held: Set[int] = frozenset(),
) -> _Done:
    """Moves what a plan names and no tombstone tells of, except for the steps `held`."""
    todo = [item for item in plan["going"] if (digest, item["step"]) not in marks and item["step"] not in held]
    protected = run.protected() if todo else {}
    moved: dict[tuple[str, int], int] = {}
    left: list[str] = []
    for item in todo:
        step = item["step"]
        lease.renew()
        if run.gated.holds(step):
            why = _to_trash(run, digest, item, protected)
            if why is not None:
                left.append(why)
                continue
        if _in_place(run, trash_path(run, digest, step)):
            words = {key: plan[key] for key in ("rules", "by", "joint") if key in plan}
            try:
                bury(run, "trashed", digest, item | words | look(run.clock))
            except OSError as error:  # the next writer writes it; nothing more moves without a word
                left.append(_untold(run, step, error))
                break
            moved[digest, step] = item["bytes"]
    return _Done(moved, tuple(left))


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
        return _set_aside(run, stored, damage)
    spared = _spared(stored, item, protected)
    if spared is not None:
        bury(run, "spared", digest, {"step": step, "why": spared})
        return f"{run.files.place(live)} {spared}"
    try:
        move_checkpoint(run.files, stored, trash, run.fence)
        return _taken_back(run, digest, step)
    except OSError as error:  # one that cannot be moved does not keep the others
        return f"{run.files.place(live)} cannot be moved to the trash: {error.strerror}"


def _set_aside(run: Run, stored: Stored, damage: str) -> str:
    run.prove()
    if run.gated.holds(stored.step):
        try:
            run.quarantine(stored, damage)
        except ForeignCheckpoint as error:
            return str(error)
    return damage


def _taken_back(run: Run, digest: str, step: int) -> str | None:
    """Brings back what became protected while it moved; says so, None where it may lie in the trash.

    Whoever protects takes no lease. One who did so since the plan was checked finds it back among the live ones; one
    who does so from now on finds it in the trash, from where no sweep takes it.
    """
    if step not in run.protected():
        return None
    live, trash = run.gated.path(step), trash_path(run, digest, step)
    move_checkpoint(run.files, read_checkpoint(run.files, trash, run.key), live, run.fence)
    bury(run, "spared", digest, {"step": step, "why": "was protected meanwhile"})
    return f"{run.files.place(live)} was protected meanwhile"
