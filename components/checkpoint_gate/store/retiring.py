"""Old runs: their checkpoints and the states to resume from go; what tells of them stays for ever.

    {"event": "retired", "time": 1790000000.0, "why": "an old run"}

The ledger says it first. From then on the run is a record of the past: what was pinned, and what live versions were
made of, stays as it is, and the same training, when it is needed again, begins anew under another name. So a checkpoint
that is in production is never trained over, and a run never lacks checkpoints that its ledger counts.

After the mark the checkpoints go the way of every pruning, by the trash, from where they can be brought back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from checkpoint_gate.errors import PruneRefused, RunMissing
from checkpoint_gate.store.checkpoints import STEP_FOLDER, Stored, bytes_held, half_removed, read_all, remove_checkpoint
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.ledger import History
from checkpoint_gate.store.losses import missing, refuse_losses
from checkpoint_gate.store.prune_plan import PrunePlan, make_plan
from checkpoint_gate.store.pruning import Pruned, execute_prune, sweep
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.store import Store

WHY = "an old run"


@dataclass(frozen=True, slots=True)
class Retirement:
    """What retiring a run removes.

    Attributes:
      plan: its checkpoints, to the trash; `staying` says what is protected.
      at_once: folder -> bytes, of the states to resume from and of what a resumed training has overtaken; they are
        freed without a grace, since nobody could go on with them.
    """

    plan: PrunePlan
    at_once: Mapping[str, int]

    @property
    def run(self) -> str:
        return self.plan.run

    @property
    def is_empty(self) -> bool:
        return not (self.plan.going or self.at_once)


def plan_retirement(run: Run, grace: float, rules: str, by: str) -> Retirement:
    """Plans the removal of all that can be removed of a run; reads only.

    Args:
      grace: seconds in the trash.
      rules: digest of the rules that hold now; stands in the tombstones, as does `by`.

    Raises:
      PruneRefused: the store is damaged there, or others have removed checkpoints.
    """
    live = run.live()
    damaged = [stored.damage for stored in live if stored.manifest is None]
    if damaged:
        raise PruneRefused(f"Nothing was pruned from {run.key}: the store is damaged ({damaged[0]}).")
    refuse_losses(run, missing(run, live, run.ledger.read()))
    rejected = {stored.step: WHY for stored in live}
    plan = make_plan(run, rejected, run.protected(), grace, rules, by)
    return Retirement(plan, {stored.folder: bytes_held(run.files, stored.folder) for stored in _of_no_use(run)})


def retire(run: Run, retirement: Retirement, lease: Lease) -> Pruned:
    """Carries a retirement out, under the run's lease; done again after an interruption, it goes on from there.

    Raises:
      PruneRefused: the plan cannot be written down; the run counts as retired then, and nothing else was done.
      LeaseHeld: another writer has taken the lease over.
    """
    lease.renew()
    before = sweep(run, lease)  # finishes what a crash interrupted
    left = list(before.left)
    if not is_retired(run.ledger.read()):
        run.ledger.append_event("retired", why=WHY)
    done = execute_prune(run, retirement.plan, lease)
    swept = before.swept + done.swept
    for stored in _of_no_use(run):
        if stored.folder not in retirement.at_once:
            continue
        lease.renew()
        if remove_checkpoint(run.files, stored, run.fence):
            swept += retirement.at_once[stored.folder]
        else:
            left.append(f"{run.files.place(stored.folder)} holds files that its manifest does not list")
    return Pruned(done.trashed, swept, (*left, *done.left))


def _of_no_use(run: Run) -> list[Stored]:
    """The states to resume from, and what a resumed training has overtaken.

    Less what is damaged, which is evidence, and what is pinned or in production, though it was overtaken.
    """
    folder = f"{run.key}/superseded"
    names = [name for name in run.files.names(folder) if STEP_FOLDER.match(name)]
    protected = run.protected()
    overtaken = [stored for stored in read_all(run.files, folder, names, run.key) if stored.step not in protected]
    found = (*run.resumable.stored(), *overtaken)
    return [stored for stored in found if stored.manifest is not None or half_removed(run.files, stored)]


def is_retired(history: History) -> bool:
    """Whether a run is retired, and nobody has trained in it since."""
    return history.is_retired


def name_to_train(store: Store, key: str) -> str:
    """The name under which the training `key` goes on: its own, or the first of `key-2`, `key-3`, … not retired."""
    if not store.files.is_file(STORE_FILE):
        return key
    name, number = key, 1
    while _is_retired(store, name):
        number += 1
        name = f"{key}-{number}"
    return name


def _is_retired(store: Store, name: str) -> bool:
    try:
        return is_retired(store.run(name).ledger.read())
    except RunMissing:
        return False
