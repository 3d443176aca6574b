"""Sweeping a whole store: what lies in any run's trash beyond its grace is freed."""

from __future__ import annotations

import logging

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.pruning import sweep
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.store import Store
from checkpoint_gate.store.trash import names_in_trash

_LOG = logging.getLogger(__name__)


def sweep_store(store: Store) -> int:
    """Frees what lies in the trash of each run beyond its grace, and answers with the bytes freed.

    A run that is busy, damaged or cannot be read or written is left for the next time, with a warning.
    """
    freed = 0
    runs, closed = store.runs()
    for key, why in closed.items():
        _LOG.warning("nothing was swept from %s: %s", key, why)
    for run in runs:
        try:
            freed += _sweep(run)
        except StoreError as error:
            _LOG.warning("nothing was swept from %s: %s", run.key, error)
        except OSError as error:
            _LOG.warning("not all was swept from %s: %s", run.key, error.strerror or error)
    return freed


def _sweep(run: Run) -> int:
    if not (run.files.names(f"{run.key}/journal") or names_in_trash(run)):
        return 0  # so that a lease is taken only where there may be something to do
    with run.lease("sweeping") as lease:
        done = sweep(run, lease)
    for left in done.left:
        _LOG.warning("%s; it was left alone", left)
    return done.swept
