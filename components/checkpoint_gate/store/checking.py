"""Checks a store, its own files and run by run; see `run_check`. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.champion import FILE as CHAMPION
from checkpoint_gate.store.champion import read_champion
from checkpoint_gate.store.checkpoints import Progress, bytes_listed
from checkpoint_gate.store.findings import Finding
from checkpoint_gate.store.layout import LEASE_FILE, PROBE_FILE, RUN_FILE, STORE_FILE
from checkpoint_gate.store.lease import claim_name
from checkpoint_gate.store.ledger import NAME as LEDGER
from checkpoint_gate.store.revision import by_hand
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.run_check import check_run, foreign
from checkpoint_gate.store.store import Store, is_key
from checkpoint_gate.store.trash import trashed

_CLOSED = "see to who may read it, or use the version that wrote it"


def check_store(store: Store, progress: Progress = lambda _: None) -> Iterator[Finding]:
    """Everything there is to say about the store, run by run, as it is found; `progress` is told of bytes verified."""
    yield from check_root(store)
    runs, closed = store.runs()
    yield from closed_runs(store, closed)
    for run in runs:
        yield from check_run(run, progress)


def closed_runs(store: Store, closed: Mapping[str, str]) -> Iterator[Finding]:
    """What there is to say about runs that cannot be opened: key -> why."""
    for key, why in closed.items():
        what = f"cannot be read: {why.rstrip('.')}"
        place = store.files.place(f"{key}/{RUN_FILE}")
        yield Finding(key, place, "fault", what, advice=_CLOSED)


def bytes_to_check(store: Store) -> int:
    """Bytes that a check of a sound store reads."""
    return sum(_bytes_to_check(run) for run in store.runs()[0])


def _bytes_to_check(run: Run) -> int:
    try:
        return bytes_listed((*run.live(), *run.resumable.stored(), *trashed(run)))
    except (StoreError, OSError):  # the check tells
        return 0


def check_root(store: Store) -> Iterator[Finding]:
    """What there is to say about the store's own files."""
    yield Finding(None, str(store.root), "note", store.files.protocol)
    holder = by_hand(store.files, store.clock, "checking").holder()
    if holder is not None:
        what = "somebody changes the store by hand, or was killed at it"
        yield Finding(None, store.files.place(holder), "note", what, remedy="given back for a process that is gone")
    known = {STORE_FILE, CHAMPION, PROBE_FILE, *store.keys()}
    try:
        read_champion(store.files)
    except (StoreError, KeyError, ValueError) as error:
        what = f"does not tell the champion: {error}"
        advice = "bring it back from a copy; or move it away, and the next push writes it anew"
        yield Finding(None, store.files.place(CHAMPION), "fault", what, advice=advice)
    for name in store.files.names():
        if name in known or claim_name(name, LEASE_FILE):
            continue
        if is_key(name) and _was_run(store, name):
            what = f"has no {RUN_FILE}, so it does not count as a run: it is not listed, pruned or verified"
            advice = f"bring its {RUN_FILE} back from a copy"
            yield Finding(name, store.files.place(name), "fault", what, advice=advice)
        else:
            yield foreign(None, f"{store.root}/{name}", name)


def _was_run(store: Store, name: str) -> bool:
    return store.files.is_file(f"{name}/{LEDGER}") or store.files.is_folder(f"{name}/checkpoints")
