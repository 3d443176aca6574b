"""`gated-pipeline rollback`: back to an earlier version of a pipeline's push folder, or of any push folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError, ConfigError
from checkpoint_gate.pusher.noting import note_pushed
from checkpoint_gate.pusher.pruning import PrunedVersions
from checkpoint_gate.pusher.publish import exclusive
from checkpoint_gate.pusher.rollback import RollbackPlan, plan_rollback, plan_undo, roll_back, undo_rollback
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.config.sections import Push
from gated_pipelines.running.places import Places
from gated_pipelines.running.pushed import prune_pushed


@dataclass(frozen=True, slots=True)
class Target:
    """A push folder, the rules for it, and the store that it was pushed from, where that is known."""

    folder: str
    push: Push
    store: Path | None


@dataclass(frozen=True, slots=True)
class Returned:
    """What a rollback did, or would do: `path` is the new version's folder, None where nothing was published."""

    plan: RollbackPlan
    path: str | None
    pruned: PrunedVersions


def find_target(given: str, root: Path | None) -> Target:
    """The push folder that a command is about.

    Args:
      given: a pipeline.yaml, whose push folder is found below `root`; or a push folder, a path or a URL.
      root: that of the runs; None for the default of `gated-pipeline run`.

    Raises:
      ConfigError: the pipeline.yaml is wrong, or a root is given for a bare push folder.
    """
    path = Path(given)
    if "://" in given or (path.is_dir() and not (path / "pipeline.yaml").is_file()):
        if root is not None:
            raise ConfigError(f"--root goes with a pipeline.yaml only. Received: the push folder {given}.")
        return Target(given, Push(folder=given), None)
    config = load_config(path)
    places = Places((root or default_root(path)).expanduser().absolute())
    return Target(config.push.under(places.root), config.push, places.store)


def default_root(pipeline: Path) -> Path:
    """Where the runs of a pipeline.yaml go if no root is given."""
    return Path("runs") / pipeline.absolute().parent.name


def go_back(target: Target, to: int | None, reason: str, undo: bool, dry_run: bool) -> Returned:
    """Goes back to an earlier version, or takes the newest rollback back.

    Other pushes of this machine wait meanwhile; a pipeline that is training does not stand in the way.

    Raises:
      ConfigError: there is nothing to go back to; says why.
      ModelError: the earlier version cannot serve. Nothing has changed then.
    """
    plan_it: Callable[[], RollbackPlan] = (
        (lambda: plan_undo(target.folder, int(time.time())))
        if undo
        else (lambda: plan_rollback(target.folder, to, int(time.time())))
    )
    plan = plan_it()  # before the lock, which would make the folder
    if dry_run:
        return Returned(plan, None, PrunedVersions())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from checkpoint_gate.pusher.servable import require_servable

    with exclusive(target.folder):
        plan = plan_it()  # somebody may have pushed meanwhile
        carry_out = undo_rollback if undo else roll_back
        path = carry_out(plan, reason, time.time(), require_servable)
    pruned = prune_pushed(target.push, target.folder)
    try:
        if target.store is not None:
            note_pushed(target.store, target.folder)
    except CheckpointGateError as error:  # it is done; the next run tells the store
        pruned = replace(pruned, left=(*pruned.left, f"The store was not told of it: {error}"))
    return Returned(plan, path, pruned)


def words_of(done: Returned, reason: str, dry_run: bool) -> list[str]:
    """What was done, or would be, a line each."""
    plan = done.plan
    lines = []
    if plan.restored is not None:
        verb = "would be published" if dry_run else "is published"
        lines.append(f"Version {plan.restored} {verb} again as version {plan.version}, in place of {plan.left}.")
    if plan.undone is not None:
        verb = "would be" if dry_run else "is"
        lines.append(
            f"The withdrawal of version {plan.undone.version} ({plan.undone}) {verb} taken back: "
            f"its weights may be pushed again."
        )
        if plan.restored is None:
            lines.append(f"Nothing {'would be' if dry_run else 'was'} published: the champion stays {plan.left}.")
    else:
        verb = "would be" if dry_run else "are"
        lines.append(f"The weights of version {plan.left} {verb} withdrawn, and no run pushes them again: {reason}.")
    lines += done.pruned.left
    if dry_run:
        lines.append("Nothing was changed.")
    return lines


def json_of(done: Returned, reason: str, dry_run: bool) -> dict[str, object]:
    """The same for programs."""
    plan = done.plan
    return {
        "folder": plan.folder,
        "from": plan.left,
        "to": plan.restored,
        "version": plan.version,
        "path": done.path,
        "withdrawn": plan.left if plan.undone is None else None,
        "allowed": plan.undone.version if plan.undone is not None else None,
        "reason": reason,
        "dry_run": dry_run,
        "trashed": list(done.pruned.trashed),
        "swept": list(done.pruned.swept),
        "left_alone": list(done.pruned.left),
    }
