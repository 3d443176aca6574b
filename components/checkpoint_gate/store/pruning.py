"""Pruning: mark, move to trash, tombstone, and after the grace sweep.

    journal/<plan>.json        the mark: written before anything moves, dropped when all of it is swept
    trash/step-…--<plan>       whole checkpoints, from where they can be brought back until they are swept
    tombstones.jsonl           what went, when, why, under which rules; kept for ever

At every instant each checkpoint is wholly live, wholly in the trash, or listed in the tombstones; doing an interrupted
pruning again finishes it. Only files that a manifest of this run lists are removed, one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkpoint_gate.errors import PruneRefused
from checkpoint_gate.filtering import PrunePolicy
from checkpoint_gate.records import dump_json
from checkpoint_gate.store.checkpoints import Stored, folder_name, read_checkpoint, verify_files
from checkpoint_gate.store.documents import JsonLines, read_object, write_object
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.run import Run


@dataclass(frozen=True, slots=True)
class Going:
    """A checkpoint that a plan removes."""

    step: int
    epoch: int
    metrics: Mapping[str, float | str]
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What goes and what stays of one run, and why. `digest` changes with everything that matters in it."""

    run: str
    rules: str
    grace: float
    by: str
    going: tuple[Going, ...]
    staying: Mapping[int, str]

    @property
    def digest(self) -> str:
        return hashlib.sha256(dump_json(self._body()).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.going)

    def _body(self) -> dict[str, Any]:
        items = [
            {"step": g.step, "epoch": g.epoch, "metrics": dict(g.metrics), "bytes": g.bytes, "reason": g.reason}
            for g in self.going
        ]
        return {"run": self.run, "rules": self.rules, "grace": self.grace, "by": self.by, "going": items}

    def write(self, run: Run) -> None:
        """Writes the journal."""
        run.files.make_folder(f"{run.key}/journal")
        write_object(run.files, _journal(run, self.digest), plan=self.digest, created=run.clock(), **self._body())


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning or a sweep did: bytes moved to the trash, bytes freed, and what was left alone and why."""

    trashed: int = 0
    swept: int = 0
    left: tuple[str, ...] = field(default=())


def plan_prune(
    run: Run, rejected: Mapping[int, str], survivors: Iterable[int], policy: PrunePolicy, rules: str
) -> PrunePlan:
    """Plans the removal of `rejected` (step -> reason), less what is protected.

    Raises:
      PruneRefused: no survivor is left, the store is damaged, or more than `policy.max_fraction` would go.
    """
    live = run.live()
    damaged = [stored.damage for stored in live if stored.manifest is None]
    if damaged:
        raise PruneRefused(f"Nothing was pruned from {run.key}: the store is damaged ({damaged[0]}).")
    if not set(survivors):
        raise PruneRefused(f"Nothing was pruned from {run.key}: no survivor would be left.")
    pins = run.pins()
    last = [s.manifest.step for s in live if s.manifest is not None][-policy.keep_last :]
    staying = dict.fromkeys(last, f"among the last {policy.keep_last}") | {s: f"pinned: {w}" for s, w in pins.items()}
    plan = make_plan(run, rejected, staying, policy.grace, rules, "CheckpointFilter")
    if len(plan.going) > policy.max_fraction * len(live):
        raise PruneRefused(
            f"Nothing was pruned from {run.key}: {len(plan.going)} of {len(live)} checkpoints would go, more than "
            f"max_fraction {policy.max_fraction:g} allows. Check the filter, or raise max_fraction."
        )
    return plan


def make_plan(
    run: Run, rejected: Mapping[int, str], staying: Mapping[int, str], grace: float, rules: str, by: str
) -> PrunePlan:
    """The plan that removes the live ones of `rejected` that are not in `staying`."""
    going = tuple(
        Going(m.step, m.epoch, m.metrics, m.size, rejected[m.step])
        for stored in run.live()
        if (m := stored.manifest) is not None and m.step in rejected and m.step not in staying
    )
    return PrunePlan(run.key, rules, grace, by, going, dict(staying))


def execute_prune(run: Run, plan: PrunePlan, lease: Lease) -> Pruned:
    """Carries a plan out: all of it is in the trash, with tombstones, when this returns; grace 0 sweeps at once."""
    if not plan.going:
        return Pruned()
    lease.renew()
    plan.write(run)
    trashed, left = _move(run, plan.digest, lease)
    swept = sweep(run, lease) if plan.grace == 0 else Pruned()
    return Pruned(trashed - swept.swept if plan.grace == 0 else trashed, swept.swept, (*left, *swept.left))


def recover(run: Run, lease: Lease) -> None:
    """Finishes what an interrupted pruning began to move; call it under the lease, before new work."""
    for plan in _journals(run):
        _move(run, plan, lease)


def sweep(run: Run, lease: Lease) -> Pruned:
    """Frees what lies in the trash beyond its grace, and drops the journals that are done."""
    recover(run, lease)  # a journal is dropped below only when nothing of it is still to be moved
    swept, left = 0, []
    for digest in _journals(run):
        journal = read_object(run.files, _journal(run, digest))
        marks = tombstones(run)
        open_items = 0
        for item in journal["going"]:
            mark = marks.get((digest, item["step"]))
            if mark is None or mark["event"] != "trashed":
                continue
            if run.clock() - mark["time"] < journal["grace"]:
                open_items += 1
                continue
            lease.renew()
            stored = read_checkpoint(run.files, _trash(run, digest, item["step"]), run.key)
            if run.files.exists(stored.folder) and not run.resumable.remove(stored):
                left.append(f"{run.files.local(stored.folder)} holds files that its manifest does not list")
                open_items += 1
                continue
            _bury(run, "pruned", digest, item)
            swept += item["bytes"]
        if not open_items:
            run.files.remove_file(_journal(run, digest))
            run.files.sync_folder(f"{run.key}/journal")
    return Pruned(swept=swept, left=tuple(left))


def tombstones(run: Run) -> dict[tuple[str, int], dict[str, Any]]:
    """(plan, step) -> the newest tombstone of it, with all that the first one said."""
    marks: dict[tuple[str, int], dict[str, Any]] = {}
    for line in _stones(run).read():
        key = (line["plan"], line["step"])
        marks[key] = marks.get(key, {}) | line
    return marks


def pruned_before(run: Run) -> list[dict[str, Any]]:
    """The tombstones of checkpoints that are not live any more, newest tombstone of each step, by step."""
    live = {stored.folder.rpartition("/")[2] for stored in run.live()}
    by_step = {mark["step"]: mark for mark in tombstones(run).values()}
    return [mark for step, mark in sorted(by_step.items()) if folder_name(step) not in live]


def trashed(run: Run) -> list[Stored]:
    """The checkpoints in the trash."""
    folder = f"{run.key}/trash"
    return [read_checkpoint(run.files, f"{folder}/{name}", run.key) for name in run.files.names(folder)]


def _move(run: Run, digest: str, lease: Lease) -> tuple[int, list[str]]:
    journal = read_object(run.files, _journal(run, digest))
    marks = tombstones(run)
    run.files.make_folder(f"{run.key}/trash")
    moved, left = 0, []
    for item in journal["going"]:
        if (digest, item["step"]) in marks:
            continue
        lease.renew()
        live, trash = run.gated.path(item["step"]), _trash(run, digest, item["step"])
        if run.files.exists(live) and not run.files.exists(trash):
            stored = run.gated.read(folder_name(item["step"]))
            damage = verify_files(run.files, stored)
            if damage is not None:  # what does not match its manifest is evidence, not garbage
                run.quarantine(stored, damage)
                left.append(damage)
                continue
            run.files.rename(live, trash)
        if run.files.exists(trash):
            _bury(run, "trashed", digest, item | {"rules": journal["rules"], "by": journal["by"]})
            moved += item["bytes"]
    return moved, left


def _bury(run: Run, event: str, digest: str, item: Mapping[str, Any]) -> None:
    _stones(run).append({**item, "event": event, "plan": digest, "time": run.clock()})


def _stones(run: Run) -> JsonLines:
    return JsonLines(run.files, f"{run.key}/tombstones.jsonl")


def _journals(run: Run) -> list[str]:
    names = run.files.names(f"{run.key}/journal")
    return [name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")]


def _journal(run: Run, digest: str) -> str:
    return f"{run.key}/journal/{digest}.json"


def _trash(run: Run, digest: str, step: int) -> str:
    return f"{run.key}/trash/{folder_name(step)}--{digest[:12]}"
