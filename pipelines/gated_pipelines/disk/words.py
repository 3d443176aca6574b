"""A plan for people, and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from checkpoint_gate.quantities import format_size, format_time
from gated_pipelines.disk.plan import DiskPlan, Going
from gated_pipelines.disk.pruning import DiskPruned

_LARGEST = 5  # of what stays; more of them would bury what goes
_ROWS = 40
_KINDS = {
    "artifact": "artifacts",
    "remains": "left by killed components",
    "table": "staged tables",
    "log": "logs and reports",
    "leftover": "empty folders",
}


def plan_lines(plan: DiskPlan, executed: bool) -> Iterator[str]:
    """The plan, a line each."""
    verb = "goes" if executed else "would go"
    for kind, title in _KINDS.items():
        some = [each for each in plan.going if each.kind == kind]
        if some:
            yield f"{title}: {len(some)}, {format_size(sum(each.bytes for each in some))} {verb}"
            yield from (f"  {_going(each)}" for each in some[: _ROWS if kind != "leftover" else 0])
            if len(some) > _ROWS and kind != "leftover":
                yield f"  … and {len(some) - _ROWS} more; --json lists them all"
    for each in plan.retiring:
        count, held = len(each.plan.going), format_size(each.plan.bytes)
        yield f"run {each.run}: {count} checkpoints, {held} {verb} to the trash: no recent pipeline run used it"
        if each.at_once:
            held = format_size(sum(each.at_once.values()))
            yield f"  what it would resume from or had set aside, {held}, {verb} at once"
        yield from (f"  step {step} stays: {why}" for step, why in sorted(each.plan.staying.items()))
    if plan.staying:
        yield f"stays: {len(plan.staying)} artifacts, {format_size(sum(each.bytes for each in plan.staying))}"
        yield from (f"  {format_size(s.bytes):>10}  {s.uri}: {s.reason}" for s in plan.staying[:_LARGEST] if s.bytes)
    for path, size in plan.unknown:
        yield f"unknown to ML Metadata, left alone: {path}, {format_size(size)}"
    freed, trashed = format_size(plan.frees + plan.at_once), format_size(plan.to_trash)
    yield f"frees {freed} at once; {trashed} of checkpoints follow after their grace"
    yield f"digest {plan.digest}"


def _going(item: Going) -> str:
    when = f", last used {format_time(item.last_used)}" if item.last_used else ""
    what = f", {item.type}" if item.type else ""
    return f"{format_size(item.bytes):>10}  {item.path}{what}{when}"


def plan_json(plan: DiskPlan, done: DiskPruned | None) -> dict[str, Any]:
    """The same for programs."""
    return {
        "digest": plan.digest,
        "executed": done is not None,
        "bytes": plan.frees + plan.at_once,
        "to_trash_bytes": plan.to_trash,
        "freed_bytes": done.freed if done is not None else 0,
        "trashed_bytes": done.trashed if done is not None else 0,
        "going": [asdict(each) for each in plan.going],
        "uncached": list(plan.uncached),
        "runs": [
            {
                "run": each.run,
                "steps": [item.step for item in each.plan.going],
                "bytes": each.plan.bytes,
                "at_once_bytes": sum(each.at_once.values()),
                "staying": {str(step): why for step, why in sorted(each.plan.staying.items())},
            }
            for each in plan.retiring
        ],
        "staying": [asdict(each) for each in plan.staying],
        "unknown": [{"path": path, "bytes": size} for path, size in plan.unknown],
        "left": [*plan.left, *(done.left if done is not None else ())],
    }
