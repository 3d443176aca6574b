"""What a pruning would remove of one run, and what makes it refuse. Reads only, but for writing a plan down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from checkpoint_gate.errors import PruneRefused
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store.checkpoints import Stored, verify_files
from checkpoint_gate.store.losses import missing, refuse_losses
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.trash import body_digest, tombstones, write_journal


@dataclass(frozen=True, slots=True)
class Going:
    """A checkpoint that a plan removes.

    Attributes:
      manifest: checksum of its manifest; the plan is about this checkpoint and no later one of the same step.
      returned: how often it was spared or came back from the trash; a plan to remove it again is another plan.
    """

    step: int
    epoch: int
    metrics: dict[str, float | str]
    bytes: int
    reason: str
    manifest: str
    returned: int = 0


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
        return body_digest(self._body())

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.going)

    def _body(self) -> dict[str, Any]:
        items = [asdict(item) for item in self.going]
        return {"run": self.run, "rules": self.rules, "grace": self.grace, "by": self.by, "going": items}

    def write(self, run: Run, token: int, joint: str | None = None) -> None:
        """Writes the journal, under the lease with this token; `joint` is the plan of several that it is a part of."""
        write_journal(run, self.digest, self._body(), token, joint)


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as it was just read.

    Attributes:
      live: its live checkpoints; the bytes of those that survive were verified.
      missing: the records of the checkpoints that others removed, see `losses`.
    """

    live: Sequence[Stored]
    missing: Sequence[Record]


def plan_prune(
    run: Run,
    rejected: Mapping[int, str],
    survivors: Iterable[int],
    policy: PrunePolicy,
    rules: str,
    by: str = "CheckpointFilter",
    seen: Seen | None = None,
) -> PrunePlan:
    """Plans the removal of `rejected` (step -> reason), less what is protected; `by` stands in the tombstones.

    Args:
      seen: what the caller has just read and verified, which is not read again.

    Raises:
      PruneRefused: no survivor is left or one does not verify, the store is damaged, others have removed checkpoints,
        or more than `policy.max_fraction` would go.
    """
    live = run.live() if seen is None else seen.live
    damaged = [stored.damage for stored in live if stored.manifest is None]
    if damaged:
        raise PruneRefused(f"Nothing was pruned from {run.key}: the store is damaged ({damaged[0]}).")
    kept = set(survivors)
    if not kept:
        raise PruneRefused(f"Nothing was pruned from {run.key}: no survivor would be left.")
    _refuse_missing(run, live, kept)
    refuse_losses(run, missing(run, live, run.ledger.read()) if seen is None else seen.missing)
    if seen is None:
        _verify_survivors(run, live, kept)
    going = {step: reason for step, reason in rejected.items() if step not in kept}
    staying = _staying(run, live, going.keys(), policy)
    plan = _plan(run, live, going, staying, policy.grace, rules, by)
    if len(plan.going) > policy.max_fraction * len(live):
        raise PruneRefused(
            f"Nothing was pruned from {run.key}: {len(plan.going)} of {len(live)} checkpoints would go, more than "
            f"max_fraction {policy.max_fraction:g} allows. Check the filter, or raise max_fraction."
        )
    return plan


def _staying(run: Run, live: Sequence[Stored], going: Set[int], policy: PrunePolicy) -> dict[int, str]:
    """Step -> why it stays, though the filter would have it go."""
    held, now, protected = run.held(live), run.clock(), run.protected()
    staying = policy.floor.protected(held, now) | protected
    loose = going - protected.keys()
    over = policy.floor.surplus(held, now, {each.step for each in held} - loose)
    return dict.fromkeys(loose - over.keys(), "the budget has room for it") | staying


def _refuse_missing(run: Run, live: Sequence[Stored], kept: Set[int]) -> None:
    missing = sorted(kept - {stored.step for stored in live})
    if missing:
        raise PruneRefused(f"Nothing was pruned from {run.key}: the survivor of step {missing[0]} is not there.")


def _verify_survivors(run: Run, live: Sequence[Stored], kept: Set[int]) -> None:
    for stored in live:
        if stored.step in kept and (damage := verify_files(run.files, stored)) is not None:
            raise PruneRefused(f"Nothing was pruned from {run.key}: a survivor does not verify ({damage}).")


def make_plan(
    run: Run,
    rejected: Mapping[int, str],
    staying: Mapping[int, str],
    grace: float,
    rules: str,
    by: str,
    live: Iterable[Stored] | None = None,
) -> PrunePlan:
    """The plan that removes the live ones of `rejected` that are not in `staying`; `live`, if they were just read."""
    return _plan(run, run.live() if live is None else live, rejected, staying, grace, rules, by)


def _plan(
    run: Run,
    live: Iterable[Stored],
    rejected: Mapping[int, str],
    staying: Mapping[int, str],
    grace: float,
    rules: str,
    by: str,
) -> PrunePlan:
    returns = _returns(run) if rejected else {}
    going = tuple(
        Going(m.step, m.epoch, m.metrics, m.size, rejected[m.step], m.checksum, returns.get(m.step, 0))
        for stored in live
        if (m := stored.manifest) is not None and m.step in rejected and m.step not in staying
    )
    return PrunePlan(run.key, rules, grace, by, going, dict(staying))


def _returns(run: Run) -> dict[int, int]:
    """Step -> how often it was spared or came back, of those that ever were or did."""
    returns: dict[int, int] = {}
    for (_, step), mark in tombstones(run).items():
        if mark["returns"]:
            returns[step] = returns.get(step, 0) + mark["returns"]
    return returns
