"""Plans the pruning of several runs by hand: shown first, then carried out exactly as shown."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checkpoint_gate.errors import PruneRefused, RuleError
from checkpoint_gate.pushed.known_champion import resolved_for
from checkpoint_gate.reviewing.judging import Judged, judge_runs
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.rules.filtering import Filter, PrunePolicy, Verdict
from checkpoint_gate.store import Run
from checkpoint_gate.store.checkpoints import Progress
from checkpoint_gate.store.elapsed import is_over, look
from checkpoint_gate.store.losses import refuse_losses
from checkpoint_gate.store.pruning import (
    Pruned,
    PrunePlan,
    Seen,
    execute_prune,
    make_plan,
    plan_prune,
    recover,
    sweep,
    tombstones,
)
from checkpoint_gate.store.trash import body_digest, journals, read_journal

BY = "checkpoint-gate prune"


@dataclass(frozen=True, slots=True)
class Staying:
    """A live checkpoint that a plan does not remove, and why."""

    step: int
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What would happen to one run.

    Attributes:
      run: its key.
      plan: what goes; None when pruning it is refused.
      staying: every live checkpoint that stays.
      refused: why nothing goes, None when something may.
      sweepable: bytes in the trash whose grace is over; they are freed along with any execution.
    """

    run: str
    plan: PrunePlan | None
    staying: tuple[Staying, ...]
    refused: str | None
    sweepable: int


@dataclass(frozen=True, slots=True)
class JointPlan:
    """The plans of all runs asked about; with one run, its plan's digest is that of the whole."""

    runs: tuple[RunPlan, ...]
    policy: PrunePolicy

    @property
    def digest(self) -> str | None:
        """Names exactly this; None when every run is refused."""
        digests = {r.run: r.plan.digest if r.plan is not None else None for r in self.runs}
        allowed = [digest for digest in digests.values() if digest is not None]
        if not allowed:
            return None
        return allowed[0] if len(digests) == 1 else body_digest(digests)

    @property
    def refusals(self) -> list[str]:
        return [r.refused for r in self.runs if r.refused is not None]


def plan_runs(runs: Sequence[Run], rules: RuleSet, progress: Progress = lambda _: None) -> JointPlan:
    """Judges the runs by `filter` and plans by `prune`, its defaults where the rules have none. Changes nothing.

    Args:
      progress: told of the bytes verified.

    Raises:
      RuleError: the rules have no `filter`, or are relative to a champion that a run does not record.
      UnknownMetricError: the rules name a metric that no record of any run has.
    """
    judge, rules = _needed(resolved_for(rules, runs))
    judged = judge_runs(runs, judge, progress)
    policy, digest = rules.prune or PrunePolicy(), rules.digest()
    return JointPlan(tuple(_plan(run, judged, policy, digest) for run in runs), policy)


def execute_plan(
    runs: Sequence[Run], rules: RuleSet, digest: str, progress: Progress = lambda _: None
) -> tuple[JointPlan | None, dict[str, Pruned]]:
    """Carries out the plan that `digest` names, under the leases of all runs, and sweeps what is past its grace.

    Answers with the plan (None when it had been carried out before, and at most its end was left to do) and with what
    was done to each run.

    Raises:
      PruneRefused: the plan would be another one now; nothing was pruned.
      LeaseHeld: another writer is at work in one of the runs; nothing was pruned.
    """
    with contextlib.ExitStack() as stack:
        leases = {run.key: stack.enter_context(run.lease("pruning")) for run in runs}
        for run in runs:
            recover(run, leases[run.key])
        done: dict[str, Pruned] = {}
        if len(runs) == 1 and any(plan == digest for plan, _ in tombstones(runs[0])):
            return None, {runs[0].key: sweep(runs[0], leases[runs[0].key])}
        joint = plan_runs(runs, rules, progress)
        if joint.digest != digest:
            now = f"its digest is {joint.digest}" if joint.digest is not None else "every run is refused"
            raise PruneRefused(
                f"Nothing was pruned: this is not the plan any more that the digest {digest} names; now {now}. "
                f"Look at it again without --execute."
            )
        for run, each in zip(runs, joint.runs, strict=True):
            lease = leases[run.key]
            first = execute_prune(run, each.plan, lease) if each.plan is not None else Pruned()
            after = sweep(run, lease)
            left = tuple(dict.fromkeys((*first.left, *after.left)))
            done[run.key] = Pruned(first.trashed, first.swept + after.swept, left)
        return joint, done


def _needed(rules: RuleSet) -> tuple[Filter, RuleSet]:
    if rules.filter is None:
        raise RuleError("Pruning needs rules with the section `filter`: without it nothing is known to be rejected.")
    return rules.filter, RuleSet(filter=rules.filter, prune=rules.prune or PrunePolicy())


def _plan(run: Run, judged: Judged, policy: PrunePolicy, digest: str) -> RunPlan:
    verdicts = [verdict for verdict in judged.verdicts if verdict.run == run.key]
    sweepable = _sweepable(run)
    damaged = judged.of_run(run.key, "quarantine")
    try:
        if damaged:
            step, first = next(iter(damaged.items()))
            if (run.key, step) in judged.unreadable:
                raise PruneRefused(f"Nothing was pruned from {run.key}: {first}.")
            raise PruneRefused(
                f"Nothing was pruned from {run.key}: {len(damaged)} of its checkpoints are damaged ({first})."
            )
        live, missed = judged.live(run.key), judged.missing[run.key]
        rejected, survivors = judged.removable(run.key), judged.of_run(run.key, "keep")
        if live:
            plan = plan_prune(run, rejected, survivors, policy, digest, BY, Seen(live, missed))
        else:  # a run without checkpoints, such as one that was broken off, is no reason for concern
            refuse_losses(run, missed)
            plan = make_plan(run, {}, {}, policy.grace, digest, BY)
    except PruneRefused as refusal:
        return RunPlan(run.key, None, _staying(verdicts, {}, ()), str(refusal), sweepable)
    going = [item.step for item in plan.going]
    return RunPlan(run.key, plan, _staying(verdicts, plan.staying, going), None, sweepable)


def _staying(verdicts: Sequence[Verdict], protected: Mapping[int, str], going: Sequence[int]) -> tuple[Staying, ...]:
    gone = set(going)
    return tuple(_stays(v, protected.get(v.step)) for v in verdicts if v.step not in gone)


def _stays(verdict: Verdict, protection: str | None) -> Staying:
    words = {"keep": "survives", "reject": "rejected", "quarantine": "damaged"}[verdict.outcome]
    reason = f"{words}: {verdict.reason}" if protection is None else f"{protection} ({words}: {verdict.reason})"
    return Staying(verdict.step, verdict.epoch, reason)


def _sweepable(run: Run) -> int:
    marks = tombstones(run)
    size = 0
    for digest in journals(run):
        journal = read_journal(run, digest)
        for item in journal["going"]:
            mark = marks.get((digest, item["step"]))
            if mark is not None and mark["event"] == "trashed" and is_over(mark, journal, look(run.clock)):
                size += item["bytes"]
    return size
