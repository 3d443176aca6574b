"""The store's revision: how often somebody changed it by hand (pin, unpin, undelete, repair).

Its own pruning does not count.

The revision is a parameter of CheckpointFilter, so that its cached result is not taken after such a change.
"""

from __future__ import annotations

from collections.abc import Callable

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.documents import read_object, write_object
from checkpoint_gate.store.filesystem import Files
from checkpoint_gate.store.layout import LEASE_FILE, STORE_FILE
from checkpoint_gate.store.lease import Lease


def read_revision(files: Files) -> int:
    """The number of changes by hand so far, 0 for a store that never had one.

    Raises:
      StoreError: the store's file is missing or damaged.
    """
    revision = read_object(files, STORE_FILE).get("revision", 0)
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
        place = files.place(STORE_FILE)
        raise StoreError(f"{place} is damaged: revision must be a whole number of at least 0. Received: {revision!r}.")
    return revision


def raise_revision(files: Files) -> int:
    """Counts one more change, and answers with the new number; call it under `by_hand`.

    Clears away what people who were killed at this have left.
    """
    for name in (STORE_FILE, LEASE_FILE.removesuffix("json")):
        files.remove_temporary(of=name)
    revision = read_revision(files) + 1
    fields = {key: value for key, value in read_object(files, STORE_FILE).items() if key != "format"}
    write_object(files, STORE_FILE, **(fields | {"revision": revision}))
    return revision


def by_hand(files: Files, clock: Callable[[], float], purpose: str) -> Lease:
    """The right to change by hand; two people at once would each overwrite what the other wrote."""
    return Lease(files, LEASE_FILE, purpose, clock)
