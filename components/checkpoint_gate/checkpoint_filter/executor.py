"""CheckpointFilter: what it does."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from checkpoint_gate.artifact_files.checkpoint_set import publish_survivors, write_about
from checkpoint_gate.artifact_files.markers import mark_empty
from checkpoint_gate.artifact_files.outputs import make_room
from checkpoint_gate.artifact_files.pointer import read_pointer
from checkpoint_gate.errors import ForeignCheckpoint, NoSurvivors, PruneRefused, RuleError, StoreError
from checkpoint_gate.pushed.known_champion import resolved_for
from checkpoint_gate.quantities import format_size
from checkpoint_gate.reviewing.judging import Judged, judge_runs, why_none
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, give_up, sweep
from checkpoint_gate.store.sweeping import sweep_store
from checkpoint_gate.store.trash import pruned_before

BY = "CheckpointFilter"

_LOG = logging.getLogger(__name__)


class Executor(base_executor.BaseExecutor):
    """Judges, publishes the survivors, only then prunes the rejected, and sweeps the store."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component.

        Raises:
          RuleError: the rules are wrong, lack `filter`, or name a metric that the champion does not have.
          NoSurvivors: nothing was kept and `on_no_survivors` is "fail"; nothing is pruned.
        """
        rules = needed_rules(exec_properties["rules"])
        if rules.prune is None and (default := exec_properties.get("default_prune")):
            rules = replace(rules, prune=parse_rules(default, "default_prune").prune)
        output = artifact_utils.get_single_instance(output_dict["survivors"])
        pointers = dict.fromkeys(read_pointer(Path(model_run.uri)) for model_run in input_dict["model_run"])
        moved = exec_properties.get("store")
        runs = [pointer.open(moved) for pointer in pointers]
        rules = resolved_for(rules, runs)
        with contextlib.ExitStack() as held:
            # Held from before the judging until after the pruning, so that the verdicts are about what is there.
            leases = {run.key: _hold(run, held) for run in runs} if rules.prune is not None else {}
            assert rules.filter is not None
            judged = judge_runs(runs, rules.filter)
            _tell(judged)
            reason = None if judged.survivors else why_none(runs, judged)
            if reason is not None and exec_properties["on_no_survivors"] == "fail":
                raise NoSurvivors(reason)
            folder = Path(output.uri)
            make_room(output.uri)
            publish_survivors(folder, runs, judged)
            refused: list[str] = []
            if reason is not None:
                _LOG.warning("%s The champion stays.", reason)
                mark_empty(output.uri, reason)
            else:
                refused = [why for run in runs if (why := _prune(run, judged, rules, leases.get(run.key)))]
            about = _about(runs, judged, rules, refused)
            write_about(folder, runs, judged, about)
        if rules.prune is not None:
            for store in dict.fromkeys(moved or pointer.store for pointer in pointers):
                _sweep(store)
        for name, value in about.items():
            output.set_json_value_custom_property(name, value)


def needed_rules(rules: str | RuleSet) -> RuleSet:
    """The sections `filter` and `prune` of rules or of their text, which may have others too.

    Raises:
      RuleError: the rules are wrong, or lack `filter`.
    """
    needed = (parse_rules(rules) if isinstance(rules, str) else rules).cut("filter", "prune")
    if needed.filter is None:
        raise RuleError("CheckpointFilter needs rules with the section `filter`.")
    return needed


def _hold(run: Run, held: contextlib.ExitStack) -> Lease | str:
    """The run's lease, with earlier prunings finished and swept; or why it can't be had: then nothing is pruned."""
    lease = run.lease("pruning")
    try:
        held.enter_context(lease)
        for left in sweep(run, lease).left:
            _LOG.warning("%s; it was left alone", left)
    except StoreError as busy:
        return str(busy)
    return lease


def _sweep(store: str) -> None:
    """Frees what earlier runs have in the trash: on a cluster nobody else comes by."""
    try:
        freed = sweep_store(Store.open(store))
    except (StoreError, OSError) as error:  # the survivors are published, and go on
        _LOG.warning("nothing was swept from the store %s: %s", store, error)
        return
    if freed:
        _LOG.info("%s of earlier trash in the store %s were freed", format_size(freed), store)


def _tell(judged: Judged) -> None:
    for verdict in judged.verdicts:
        _LOG.info("epoch %d (step %d): %s, %s", verdict.epoch + 1, verdict.step, verdict.outcome, verdict.reason)
    for mark in judged.missed:
        _LOG.warning(
            "epoch %d (step %d) would be kept by these rules, but an earlier run had pruned it: %s",
            mark["epoch"] + 1,
            mark["step"],
            mark["reason"],
        )


def _prune(run: Run, judged: Judged, rules: RuleSet, lease: Lease | str | None) -> str | None:
    """Sets damaged checkpoints aside and prunes the rejected; a refusal is told, answered with, and blocks nothing."""
    if rules.prune is None:
        return "the rules have no `prune`, so nothing was removed"
    damaged = judged.of_run(run.key, "quarantine")
    try:
        if not isinstance(lease, Lease):
            raise PruneRefused(f"Nothing was pruned from {run.key}: {lease}")
        if damaged:
            _set_aside(run, judged, damaged, lease)
            raise PruneRefused(f"Nothing was pruned from {run.key}: {len(damaged)} of its checkpoints were damaged.")
        survivors = judged.of_run(run.key, "keep")
        plan = plan_prune(run, judged.removable(run.key), survivors, rules.prune, rules.digest(), BY)
        for left in execute_prune(run, plan, lease).left:
            _LOG.warning("%s; it was left alone", left)
    except StoreError as refusal:  # refused, busy or damaged: nothing of it may keep the survivors from going on
        _LOG.warning("%s", refusal)
        return str(refusal)
    return None


def _set_aside(run: Run, judged: Judged, damaged: Mapping[int, str], lease: Lease) -> None:
    """Moves damaged checkpoints to the quarantine.

    Raises:
      PruneRefused: one may be whole, or is not this run's; that one stays where it is.
    """
    for step, reason in damaged.items():
        if (run.key, step) in judged.unreadable:
            raise PruneRefused(f"Nothing was pruned from {run.key}: {reason}.")
    lease.renew()
    give_up(run, "a checkpoint is damaged")  # what an interrupted plan chose may be the next best now
    foreign = []
    for step, reason in damaged.items():
        try:
            run.quarantine(judged.stored[run.key, step], reason)
        except ForeignCheckpoint as error:
            foreign.append(str(error))
    if foreign:
        raise PruneRefused(f"Nothing was pruned from {run.key}: {foreign[0]}")


def _about(runs: Sequence[Run], judged: Judged, rules: RuleSet, refused: Sequence[str]) -> dict[str, Any]:
    """The lineage: what these rules did, whether in this execution or in one before it that was interrupted."""
    outcomes = [v.outcome for v in judged.verdicts]
    digest = rules.digest()
    marks = [
        mark | {"run": run.key}
        for run in runs
        for mark in pruned_before(run)
        if (mark["by"], mark["rules"]) == (BY, digest)
    ]
    unjudged = {(mark["run"], mark["step"]) for mark in marks} - judged.stored.keys()
    return {
        "rules": rules.to_json(),
        "rules_digest": digest,
        "kept": outcomes.count("keep"),
        "rejected": outcomes.count("reject") + len(unjudged),
        "quarantined": outcomes.count("quarantine"),
        "pruned": len(marks),
        "trashed_bytes": sum(m["bytes"] for m in marks if m["event"] == "trashed"),
        "pruned_bytes": sum(m["bytes"] for m in marks if m["event"] == "pruned"),
        "prune_refused": "; ".join(refused),
    }
