"""Which runs of the store are old: no recent pipeline run used them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.store.retiring import Retirement, plan_retirement

BY = "gated-pipeline prune"


@dataclass(frozen=True, slots=True)
class OldRuns:
    """Attributes:
    keys: of all that are old, those retired before included.
    retiring: what is left to remove of them.
    left: why some are left alone, a sentence each.
    """

    keys: frozenset[str] = frozenset()
    retiring: tuple[Retirement, ...] = ()
    left: tuple[str, ...] = ()


def old_runs(store_folder: Path, used: Set[str], since: float, grace: float, rules: str) -> OldRuns:
    """Plans the retirement of runs that a pipeline made; reads only.

    Args:
      used: keys of the runs that recent pipeline runs used.
      since: when the oldest of these began, in seconds since 1970 (UTC); who trained after that counts as used, even
        where the training never came to an end that ML Metadata knows.
      grace, rules: as for `plan_retirement`.

    Raises:
      StoreError: the store is damaged as a whole.
    """
    if not (store_folder / STORE_FILE).is_file():
        return OldRuns()
    store = Store.open(store_folder)
    keys: set[str] = set()
    runs, closed = store.runs()
    retiring, left = [], list(closed.values())
    for run in runs:
        try:
            if run.key in used or not _is_old(run, since):
                continue
            retirement = plan_retirement(run, grace, rules, BY)
        except StoreError as error:
            left.append(str(error))
            continue
        keys.add(run.key)
        if not retirement.is_empty:
            retiring.append(retirement)
    return OldRuns(frozenset(keys), tuple(retiring), tuple(left))


def _is_old(run: Run, since: float) -> bool:
    """Whether a pipeline made it, and nobody trained in it since."""
    if "determined_by" not in run.about():
        return False
    history = run.ledger.read()
    times = [event.get("time", 0.0) for event in history.events if event["event"] != "retired"]
    return max(times, default=0.0) < since
