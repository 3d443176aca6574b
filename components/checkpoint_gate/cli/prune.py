"""`checkpoint-gate prune`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from checkpoint_gate.cli.words import (
    epoch_words,
    json_option,
    metric_words,
    print_json,
    print_table,
    run_option,
    say,
    show,
    store_argument,
    verifying,
)

if TYPE_CHECKING:
    from checkpoint_gate.reviewing.joint_pruning import JointPlan, RunPlan
    from checkpoint_gate.store.pruning import Pruned


@click.command(short_help="Plan a removal by rules; do it only when told to.")
@store_argument
@click.option(
    "--rules",
    required=True,
    type=click.Path(path_type=Path),
    help="Rules file, or a pipeline.yaml; filter and prune are read.",
)
@run_option
@click.option("--execute", "digest", metavar="DIGEST", help="Carry out the plan that was printed with this digest.")
@json_option
def prune(store: str, rules: Path, key: str | None, digest: str | None, as_json: bool) -> None:
    """Plan what the rules would remove from STORE, and remove it only when told to.

    Without --execute nothing is changed: the plan is printed, with the reason for each checkpoint that goes or stays,
    and a digest. With --execute and that digest exactly this plan is carried out, or refused if it is another one by
    now. What goes lies in the trash for its grace (prune.grace, 24h if not given); what is past its grace is freed.

    With --run, only this run is judged: `top` then counts within it.

    --json prints one object: digest, executed, grace (seconds), bytes, trashed_bytes, swept_bytes, runs; a run has run,
    digest, going (step, epoch, metrics, bytes, reason), staying (step, epoch, reason), refused, sweepable_bytes.
    """
    from checkpoint_gate.reviewing.catalog import chosen_runs
    from checkpoint_gate.reviewing.joint_pruning import execute_plan, plan_runs
    from checkpoint_gate.rule_text.rule_set import load_rules
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.checkpoints import bytes_listed

    read = load_rules(rules)
    runs = chosen_runs(Store.open(store), key)
    done: dict[str, Pruned] = {}
    plan: JointPlan | None
    with verifying(lambda: sum(bytes_listed(run.live()) for run in runs)) as progress:
        if digest is None:
            plan = plan_runs(runs, read, progress)
        else:
            plan, done = execute_plan(runs, read, digest, progress)
    if as_json:
        print_json(_json(plan, done, digest))
    elif plan is not None:
        _show(plan, digest is not None)
    if digest is not None:
        _tell_done(plan, done)
    elif plan is not None and plan.digest is not None:
        only = f" --run {shlex.quote(key)}" if key is not None else ""
        say("Nothing was removed. To do exactly this:")
        say(
            f"  checkpoint-gate prune {shlex.quote(store)} --rules {shlex.quote(str(rules))}{only} "
            f"--execute {plan.digest}"
        )
    refusals = plan.refusals if plan is not None else []
    for refusal in refusals:
        say(f"Error: {refusal}")
    left = [what for pruned in done.values() for what in pruned.left]
    for what in left:
        say(f"Left alone: {what}")
    sys.exit(1 if refusals or left else 0)


def _json(plan: JointPlan | None, done: Mapping[str, Pruned], digest: str | None) -> dict[str, Any]:
    runs = plan.runs if plan is not None else ()
    return {
        "digest": plan.digest if plan is not None else digest,
        "executed": digest is not None,
        "grace": plan.policy.grace if plan is not None else None,
        "bytes": sum(r.plan.bytes for r in runs if r.plan is not None),
        "trashed_bytes": sum(pruned.trashed for pruned in done.values()),
        "swept_bytes": sum(pruned.swept for pruned in done.values()),
        "runs": [_run_json(r) for r in runs],
    }


def _run_json(r: RunPlan) -> dict[str, Any]:
    going = r.plan.going if r.plan is not None else ()
    keys = ("step", "epoch", "metrics", "bytes", "reason")
    return {
        "run": r.run,
        "digest": r.plan.digest if r.plan is not None else None,
        "going": [{key: getattr(item, key) for key in keys} for item in going],
        "staying": [dataclasses.asdict(item) for item in r.staying],
        "refused": r.refused,
        "sweepable_bytes": r.sweepable,
    }


def _show(plan: JointPlan, executed: bool) -> None:
    from checkpoint_gate.quantities import format_duration, format_size

    for r in plan.runs:
        going = r.plan.going if r.plan is not None else ()
        size = format_size(r.plan.bytes if r.plan is not None else 0)
        verb = "go" if executed else "would go"
        show(f"run {r.run}: {len(going)} of {len(going) + len(r.staying)} checkpoints {verb}, {size}")
        rows = [
            (epoch_words(g.epoch), str(g.step), "goes", format_size(g.bytes), f"{g.reason} [{metric_words(g.metrics)}]")
            for g in going
        ]
        rows += [(epoch_words(s.epoch), str(s.step), "stays", "", s.reason) for s in r.staying]
        if rows:
            rows.sort(key=lambda row: int(row[1]))
            print_table(("epoch", "step", "plan", "size", "why"), rows, right=("epoch", "step", "size"))
        if r.sweepable and not executed:
            show(f"past its grace in the trash, freed with any execution: {format_size(r.sweepable)}")
    show(f"grace {format_duration(plan.policy.grace)}")
    show(f"digest {plan.digest or 'none: every run is refused'}")


def _tell_done(plan: JointPlan | None, done: Mapping[str, Pruned]) -> None:
    from checkpoint_gate.quantities import format_size

    trashed, swept = sum(p.trashed for p in done.values()), sum(p.swept for p in done.values())
    if plan is None:
        say(
            "This plan had been begun before; the rest is done."
            if trashed
            else "This plan had been carried out before."
        )
    say(f"Moved to the trash: {format_size(trashed)}; freed: {format_size(swept)}.")
