"""A run that has been pruned before, and what pruning it once more comes to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune
from checkpoint_gate.store.trash import tombstones
from faults.crowd import Crowd

DAY = 86400.0
LOSSES, SURVIVORS = (0.9, 0.8, 0.7, 0.6, 0.2, 0.5, 0.1), (5, 7)
FILTER = "filter: {metric: val_loss, at_most: 0.3}\nprune: {grace: %s}\n"


def pruned_twice(root: Path) -> Run:
    """A run of which one checkpoint lies in the trash beyond its grace, and one within; three are to go by `FILTER`."""
    run = Crowd(root, Store(root).clock).run(LOSSES)
    for step, grace in ((1, 0.001), (2, DAY)):
        plan = plan_prune(run, {step: "too high"}, SURVIVORS, PrunePolicy(grace=grace), "f" * 64)
        with run.lease("pruning") as lease:
            execute_prune(run, plan, lease)
    return run


def lost(root: Path, survivors: Sequence[int]) -> list[str]:
    """What a kill has done that no kill may do."""
    try:
        store = Store.open(root)
    except StoreError as error:
        return [] if not (root / "store.json").exists() else [str(error)]
    problems = [f"{each.place} {each.what}" for each in check_store(store) if each.severity == "fault"]
    live = {stored.step for run in map(store.run, store.keys()) for stored in run.live()}
    return problems + [f"the survivor of step {step} is gone" for step in survivors if step not in live]


def pruned(run: Run) -> dict[str, Any]:
    """What a pruning has come to: the files there are, and what the tombstones say."""
    own = re.compile(r"lease\.\d+\.json|tombstones\.jsonl|[0-9a-f]{64}\.json")
    root = run.files.local(run.key)
    names = [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if not own.fullmatch(path.name)]
    said = {str(step): mark["event"] for (_, step), mark in tombstones(run).items()}
    return {"names": names, "tombstones": said, "journals": len(run.files.names(f"{run.key}/journal"))}
