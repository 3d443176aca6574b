"""Carrying a plan out: first out of the cache, then the bytes, then the word that they are gone.

    1. every artifact that goes is MARKED_FOR_DELETION in ML Metadata, in one transaction: the cache gives it no more
    2. its files go one by one, then its folders
    3. DELETED

Killed anywhere, the next pruning goes on from there: what is marked goes unless something needs it again. Runs of the
store are retired once nothing in the cache leads to them; tables, logs and empty folders come last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from checkpoint_gate.errors import CheckpointGateError, LeaseHeld, PruneRefused, StoreError
from checkpoint_gate.quantities import format_size
from checkpoint_gate.store import Store
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.pruning import Pruned
from checkpoint_gate.store.retiring import Retirement, plan_retirement, retire
from checkpoint_gate.store.whole_folders import remove_whole
from gated_pipelines.disk.plan import DiskPlan, Going
from gated_pipelines.disk.planning import Bounds, plan_disk
from gated_pipelines.running.metadata import open_metadata
from gated_pipelines.running.places import Places

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DiskPruned:
    """What was done.

    Attributes:
      freed: bytes that the disk got back.
      trashed: bytes of checkpoints that were moved to the store's trash; freed once their grace is over.
      left: what was left alone, and why, a sentence each.
    """

    freed: int = 0
    trashed: int = 0
    left: tuple[str, ...] = ()


@contextmanager
def reading(places: Places) -> Iterator[None]:
    """Looks at a root in which no run is at work, and writes nothing there.

    Raises:
      LeaseHeld: a run is at work there, or has begun meanwhile.
    """
    before = _lease(places).require_free()
    try:
        yield
    finally:
        if _lease(places).require_free() != before:
            raise LeaseHeld(f"A run was at work in {places.root} meanwhile. Try again.")


def _lease(places: Places) -> Lease:
    return Lease(LocalFiles(places.root), "run.lease", "pruning", time.time, again=False)


def metadata_of(places: Places) -> Any:
    """ML Metadata's store of a root; None before its first run."""
    return open_metadata(places.metadata) if places.metadata.is_file() else None


def execute(places: Places, push_folder: str, bounds: Bounds, digest: str) -> tuple[DiskPlan, DiskPruned]:
    """Carries out the plan that `digest` names, exactly, under the root's lease.

    Raises:
      PruneRefused: the plan would be another one now; nothing was pruned.
      LeaseHeld: a run is at work in the root.
    """
    with _lease(places):
        metadata = metadata_of(places)
        plan = plan_disk(places, push_folder, bounds, metadata)
        if plan.digest != digest:
            raise PruneRefused(
                f"Nothing was pruned: this is not the plan any more that the digest {digest} names; now its digest is "
                f"{plan.digest}. Look at it again without --execute."
            )
        return plan, carry_out(places, plan, bounds, metadata)


def carry_out(places: Places, plan: DiskPlan, bounds: Bounds, metadata: Any) -> DiskPruned:
    """Does what the plan says, under the root's lease; what stands in the way of one thing keeps no other."""
    files = LocalFiles(places.root)
    artifacts = [each.artifact for each in plan.going if each.artifact is not None]
    _put_state(metadata, [*artifacts, *plan.uncached], mlmd.Artifact.MARKED_FOR_DELETION)
    left: list[str] = []
    kept = 0
    for item in plan.going:
        if (why := _remove(files, item)) is not None:
            left.append(why)
            kept += item.bytes
        elif item.artifact is not None:
            _put_state(metadata, [item.artifact], mlmd.Artifact.DELETED)
    retired = [_retire(places, each, bounds) for each in plan.retiring]
    left += [why for each in retired for why in each.left]
    return DiskPruned(
        freed=max(plan.frees - kept, 0) + sum(each.swept for each in retired),
        trashed=sum(each.trashed for each in retired),
        left=tuple(left),
    )


def prune_after_run(places: Places, push_folder: str, bounds: Bounds) -> None:
    """Plans and carries out at once, at the end of a run that holds the root; what goes wrong is only told."""
    try:
        metadata = metadata_of(places)
        plan = plan_disk(places, push_folder, bounds, metadata)
        done = carry_out(places, plan, bounds, metadata)
    except Exception as error:  # the run is over; what becomes of old ones does not change how it ended
        _LOG.warning("old runs were not pruned: %s: %s", type(error).__name__, error)
        return
    if done.freed or done.trashed:
        freed, trashed = format_size(done.freed), format_size(done.trashed)
        _LOG.info("of old runs, %s were freed and %s moved to the store's trash", freed, trashed)
    for why in (*plan.left, *done.left):
        _LOG.warning("left alone: %s", why)
    if plan.unknown:
        size, first = format_size(sum(held for _, held in plan.unknown)), plan.unknown[0][0]
        _LOG.warning("left alone: %s that ML Metadata does not know, such as %s", size, first)


def _put_state(metadata: Any, ids: Iterable[int], state: int) -> None:
    if ids := list(ids):
        artifacts = metadata.get_artifacts_by_id(ids)
        for artifact in artifacts:
            artifact.state = state
        metadata.put_artifacts(artifacts)


def _remove(files: LocalFiles, item: Going) -> str | None:
    """Removes one thing; what stands in the way, None when it is gone."""
    try:
        if item.kind == "leftover":
            files.remove_folder(item.path)
            return None
        if files.is_folder(item.path):
            return remove_whole(files, item.path)
        files.remove_file(item.path)
    except StoreError as error:
        return str(error)
    except OSError as error:
        return f"{files.place(item.path)} cannot be removed: {error.strerror or error}"
    return None


def _retire(places: Places, planned: Retirement, bounds: Bounds) -> Pruned:
    try:
        run = Store.open(places.store).run(planned.run)
        with run.lease("retiring") as lease:
            now = plan_retirement(run, bounds.grace, bounds.rules, planned.plan.by)
            if (now.plan.digest, now.at_once) != (planned.plan.digest, planned.at_once):
                return Pruned(left=(f"The run {planned.run} has changed since the plan was made.",))
            return retire(run, planned, lease)
    except CheckpointGateError as error:
        return Pruned(left=(str(error),))
    except OSError as error:
        return Pruned(left=(f"The run {planned.run} was not retired: {error.strerror or error}.",))
