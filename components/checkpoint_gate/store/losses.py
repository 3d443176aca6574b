"""Checkpoints that somebody else removed: saved by the ledger's word, nowhere in the run, and no tombstone tells why.

As long as there is one, nothing is pruned: who removes checkpoints without a word may have removed the ones that were
to stay. A repair takes them for lost and leaves tombstones with the event "lost"; after that pruning goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from checkpoint_gate.errors import PruneRefused
from checkpoint_gate.rules.records import Record, encode_metrics
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import STEP_FOLDER, Stored, folder_name
from checkpoint_gate.store.ledger import History
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.trash import GONE, bury, names_in_trash, tombstones, trash_place

_NAMED = 5  # of many steps, in a sentence


def missing(run: Run, live: Iterable[Stored], history: History) -> list[Record]:
    """The records of saved checkpoints that are gone without a word, by step.

    Args:
      live: the live checkpoints, listed before `history` was read or after.

    Raises:
      StoreError: the tombstones are damaged.
    """
    saved = {entry.record.step: entry.record for entry in history.saved}
    absent = saved.keys() - {stored.step for stored in live}
    if absent:
        absent -= _accounted(run)
    # At last one by one: what was saved or brought back since the live ones were listed, what a late listing hides.
    return [saved[step] for step in sorted(absent) if not run.gated.holds(step) and not _set_aside(run, step)]


def _accounted(run: Run) -> Set[int]:
    """The steps that lie elsewhere in the run, or have a tombstone. In this order: a pruning may be at work."""
    in_trash = {trash_place(name)[0] for name in names_in_trash(run)}
    aside = {int(m[1]) for n in run.files.names(f"{run.key}/quarantine") if (m := STEP_FOLDER.match(n)) is not None}
    return in_trash | aside | {mark["step"] for mark in tombstones(run).values() if mark["event"] in GONE}


def _set_aside(run: Run, step: int) -> bool:
    return run.files.holds(f"{run.key}/quarantine/{folder_name(step)}", manifests.NAME)


def refuse_losses(run: Run, missed: Sequence[Record]) -> None:
    """Raises where checkpoints are `missing`.

    Raises:
      PruneRefused: names them, and says what to do.
    """
    lost = [record.step for record in missed]
    if lost:
        more = f", … ({len(lost)} in all)" if len(lost) > _NAMED else ""
        raise PruneRefused(
            f"Nothing was pruned from {run.key}: {len(lost)} of its saved checkpoints are gone, and no tombstone tells "
            f"why (steps {', '.join(map(str, lost[:_NAMED]))}{more}). Bring them back from a copy, or take them for "
            f"lost: checkpoint-gate check {run.files.root} --repair."
        )


def take_for_lost(run: Run, record: Record) -> None:
    """Leaves a tombstone for a missing checkpoint."""
    bury(
        run,
        "lost",
        "",  # no plan took it
        {
            "step": record.step,
            "epoch": record.epoch,
            "metrics": encode_metrics(record.metrics),
            "by": "checkpoint-gate check --repair",
            "reason": "it was gone, and no tombstone told why",
        },
    )
