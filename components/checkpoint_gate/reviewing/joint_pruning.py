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
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.losses import refuse_losses
from checkpoint_gate.store.prune_plan import PrunePlan, Seen, make_plan, plan_prune
from checkpoint_gate.store.pruning import Pruned, carry_out, finish, mark, sweep
from checkpoint_gate.store.trash import body_digest, journals, plan_of, read_journal, tombstones

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
        digests = self.digests
        allowed = [digest for digest in digests.values() if digest is not None]
        if not allowed:
            return None
        return allowed[0] if len(digests) == 1 else body_digest(digests)

    @property
    def digests(self) -> dict[str, str | None]:
        """Run -> the digest of its plan; None where it is refused."""
        return {r.run: r.plan.digest if r.plan is not None else None for r in self.runs}

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

    Answers with the plan (None when it had been begun before, and at most what was left of it was to be done) and with
    what was done to each run.

    Raises:
      PruneRefused: the plan would be another one now; nothing was pruned.
      LeaseHeld: another writer is at work in one of the runs; nothing was pruned.
    """
    with contextlib.ExitStack() as stack:
        leases = {run.key: stack.enter_context(run.lease("pruning")) for run in runs}
        begun = {run.key: plan for run in runs if (plan := plan_of(run, digest)) is not None}
        if begun:
            return None, _go_on(runs, rules, digest, leases, begun, progress)
        first = {run.key: finish(run, leases[run.key]) for run in runs}
        joint = plan_runs(runs, rules, progress)
        if joint.digest != digest:
            now = f"its digest is {joint.digest}" if joint.digest is not None else "every run is refused"
            raise PruneRefused(
                f"Nothing was pruned: this is not the plan any more that the digest {digest} names; now {now}. "
                f"Look at it again without --execute."
            )
        done = _carry_out(runs, joint, digest, leases)
        return joint, {key: _with(Pruned(left=first[key].left), each) for key, each in done.items()}


def _go_on(
    runs: Sequence[Run],
    rules: RuleSet,
    digest: str,
    leases: Mapping[str, Lease],
    begun: Mapping[str, str],
    progress: Progress,
) -> dict[str, Pruned]:
    """Does what is left of a plan; `begun` are the plans of the runs in which it was written down.

    In the others it was broken off before, or nothing was to go. It goes on there only as it was shown.
    """
    done = {run.key: sweep(run, leases[run.key]) for run in runs if run.key in begun}
    rest = [run for run in runs if run.key not in begun]
    if not rest:
        return done
    joint = plan_runs(runs, rules, progress)
    if body_digest({**joint.digests, **begun}) == digest:
        return done | _carry_out(rest, joint, digest, leases)
    for each in joint.runs:
        if each.run not in begun and (each.plan is None or each.plan.going):
            why = each.refused or f"{each.run} was not pruned: what would go there is not what the plan says"
            done[each.run] = Pruned(left=(why,))
    return done


def _carry_out(runs: Sequence[Run], joint: JointPlan, digest: str, leases: Mapping[str, Lease]) -> dict[str, Pruned]:
    plans = {r.run: r.plan for r in joint.runs if r.plan is not None}
    for run in runs:  # all is written down before anything moves, so that what is left of it can be told at any time
        if run.key in plans:
            mark(run, plans[run.key], leases[run.key], digest)
    done = {}
    for run in runs:
        lease = leases[run.key]
        pruned = carry_out(run, plans[run.key], lease) if run.key in plans else Pruned()
        done[run.key] = _with(pruned, sweep(run, lease))
    return done


def _with(before: Pruned, after: Pruned) -> Pruned:
    left = tuple(dict.fromkeys((*before.left, *after.left)))
    return Pruned(before.trashed + after.trashed, before.swept + after.swept, left)


def _needed(rules: RuleSet) -> tuple[Filter, RuleSet]:
    if rules.filter is None:
        raise RuleError("Pruning needs rules with the section `filter`: without it nothing is known to be rejected.")
    return rules.filter, RuleSet(filter=rules.filter, prune=rules.prune or PrunePolicy())


def _plan(run: Run, judged: Judged, policy: PrunePolicy, digest: str) -> RunPlan:
    verdicts = [verdict for verdict in judged.verdicts if verdict.run == run.key]
    damaged = judged.of_run(run.key, "quarantine")
    sweepable = 0 if damaged or judged.missing[run.key] else _sweepable(run)
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
