"""CheckpointFilter: what it does."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from checkpoint_gate.checkpoint_set import publish_survivors, write_about
from checkpoint_gate.errors import NoSurvivors, PruneRefused, RuleError, StoreError
from checkpoint_gate.judging import Judged, judge_runs, why_none
from checkpoint_gate.markers import mark_empty
from checkpoint_gate.pointer import read_pointer
from checkpoint_gate.rule_text import RuleSet, parse_rules
from checkpoint_gate.store import Run
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.pruning import Pruned, execute_prune, plan_prune, recover

_LOG = logging.getLogger(__name__)


class Executor(base_executor.BaseExecutor):
    """Judges, publishes the survivors, and only then prunes the rejected."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component.

        Raises:
          NoSurvivors: nothing was kept and `on_no_survivors` is "fail"; nothing is pruned.
        """
        rules = parse_rules(exec_properties["rules"])
        if rules.filter is None:
            raise RuleError("CheckpointFilter needs rules with the section `filter`.")
        output = artifact_utils.get_single_instance(output_dict["survivors"])
        pointers = dict.fromkeys(read_pointer(Path(model_run.uri)) for model_run in input_dict["model_run"])
        runs = [pointer.open(exec_properties.get("store")) for pointer in pointers]
        with contextlib.ExitStack() as held:
            # Held from before the judging until after the pruning, so that the verdicts are about what is there.
            leases = {run.key: _hold(run, held) for run in runs} if rules.prune is not None else {}
            judged = judge_runs(runs, rules.filter)
            _tell(judged)
            reason = None if judged.survivors else why_none(runs, judged)
            if reason is not None and exec_properties["on_no_survivors"] == "fail":
                raise NoSurvivors(reason)
            folder = Path(output.uri)
            publish_survivors(folder, runs, judged)
            pruned: dict[str, Pruned | str] = {}
            if reason is not None:
                _LOG.warning("%s The champion stays.", reason)
                mark_empty(output.uri, reason)
            else:
                pruned = {run.key: _prune(run, judged, rules, leases.get(run.key)) for run in runs}
            about = _about(judged, rules, pruned)
            write_about(folder, runs, judged, about)
        for name, value in about.items():
            output.set_json_value_custom_property(name, value)


def _hold(run: Run, held: contextlib.ExitStack) -> Lease | str:
    """The run's lease, with earlier prunings finished; or why it can't be had: then nothing is pruned."""
    lease = run.lease("pruning")
    try:
        held.enter_context(lease)
        recover(run, lease)
    except StoreError as busy:
        return str(busy)
    return lease


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


def _prune(run: Run, judged: Judged, rules: RuleSet, lease: Lease | str | None) -> Pruned | str:
    """Sets damaged checkpoints aside and prunes the rejected; a refusal is told and blocks nothing."""
    if rules.prune is None:
        return "the rules have no `prune`, so nothing was removed"
    damaged = judged.of_run(run.key, "quarantine")
    try:
        if not isinstance(lease, Lease):
            raise PruneRefused(f"Nothing was pruned from {run.key}: {lease}")
        for step, reason in damaged.items():
            run.quarantine(judged.stored[run.key, step], reason)
        if damaged:
            raise PruneRefused(f"Nothing was pruned from {run.key}: {len(damaged)} of its checkpoints were damaged.")
        survivors = judged.of_run(run.key, "keep")
        plan = plan_prune(run, judged.removable(run.key), survivors, rules.prune, rules.digest())
        return execute_prune(run, plan, lease)
    except StoreError as refusal:  # refused, busy or damaged: nothing of it may keep the survivors from going on
        _LOG.warning("%s", refusal)
        return str(refusal)


def _about(judged: Judged, rules: RuleSet, pruned: Mapping[str, Pruned | str]) -> dict[str, Any]:
    done = [p for p in pruned.values() if isinstance(p, Pruned)]
    refused: Sequence[str] = [p for p in pruned.values() if isinstance(p, str)]
    outcomes = [v.outcome for v in judged.verdicts]
    return {
        "rules": rules.to_json(),
        "rules_digest": rules.digest(),
        "kept": outcomes.count("keep"),
        "rejected": outcomes.count("reject"),
        "quarantined": outcomes.count("quarantine"),
        "trashed_bytes": sum(p.trashed for p in done),
        "pruned_bytes": sum(p.swept for p in done),
        "prune_refused": "; ".join(refused),
    }
