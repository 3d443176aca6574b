"""Whether a run may lose checkpoints: only while all that stays is there, and every byte of it verifies.

A removal rests on what is to stay. Where that is damaged or gone, what was to go may be the best there is, or the only
copy: nothing of the run goes then, and whoever finds it so tells.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from checkpoint_gate.errors import PruneRefused, StoreError
from checkpoint_gate.store.checkpoints import STEP_FOLDER, Stored, cannot_be_read, is_settled, looks, verify_files
from checkpoint_gate.store.ledger import History
from checkpoint_gate.store.losses import missing, refuse_losses
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.trash import tombstones


def why_all_stays(
    run: Run,
    going: Set[int] = frozenset(),
    live: Sequence[Stored] | None = None,
    known: Set[int] | None = None,
) -> str | None:
    """Why nothing of a run may go, as one sentence; None where something may. Call it under the lease.

    Bytes that verified before in this process are not read again as long as their files look the same.

    Args:
      going: steps of live checkpoints that are to go; what they are worth does not matter.
      live: the live checkpoints, if they were just read.
      known: the steps that were live when this was last asked, and those published since, without those that have gone
        since: while all of them are there, the ledger need not be read, which grows with every record.

    Raises:
      LeaseHeld: the lease was taken over by another writer, who may be why something is not in its place.
    """
    live = run.live() if live is None else live
    staying = [stored for stored in live if stored.step not in going]
    for stored in staying:
        damage = _damage(run, stored)
        if damage is not None:
            run.prove()
            return f"Nothing goes from {run.key} while a checkpoint that stays is damaged ({damage.rstrip('.')})."
    if staying and known is not None and known <= {stored.step for stored in live}:
        return None
    try:
        history = run.ledger.read()
        refuse_losses(run, missing(run, live, history))
    except PruneRefused as refusal:
        run.prove()
        return str(refusal)
    except StoreError as error:  # without the ledger nobody can tell what is missing
        return f"Nothing goes from {run.key}: {error}"
    if not staying and not history.is_retired and (going or _is_any_lost(run, history)):
        return f"Nothing goes from {run.key}: none of its checkpoints would be left among the live ones."
    return None


def _is_any_lost(run: Run, history: History) -> bool:
    """Whether something else than a pruning has taken saved checkpoints from among the live ones."""
    saved = {entry.record.step for entry in history.saved}
    aside = {int(m[1]) for name in run.files.names(f"{run.key}/quarantine") if (m := STEP_FOLDER.match(name))}
    lost = {mark["step"] for mark in tombstones(run).values() if mark["event"] == "lost"}
    return not saved.isdisjoint(aside | lost)


def _damage(run: Run, stored: Stored) -> str | None:
    """What does not match the manifest, or cannot be read."""
    seen = looks(run.files, stored)
    if seen is not None and run.verified.get(stored.folder) == seen:
        return None
    settled = is_settled(run.files, stored)
    try:
        damage = verify_files(run.files, stored)
    except OSError as error:
        return cannot_be_read(error, run.files.place(stored.folder))
    if damage is None and seen is not None and settled:
        run.verified[stored.folder] = seen
    return damage
