"""Every kind of work on a store, on stores of two sizes."""

from __future__ import annotations

from collections.abc import Callable

from faults.pruning_works import Prune, Recover, Sweep, Undelete
from faults.reference import DAY, Reference
from faults.training_works import FirstSave, ResumeAfter, Save
from faults.work import Work

Kind = Callable[[Reference], Work]

KINDS: tuple[Kind, ...] = (
    Save,
    lambda store: Prune(store, DAY),
    lambda store: Prune(store, 0.0),
    Sweep,
    Recover,
    Undelete,
    ResumeAfter,
)


def works_on_store(whole: bool) -> list[Work]:
    """Every kind of work, on the reference store or, for what is tried very often, on a smaller one."""
    first = FirstSave(Reference(4, 2))
    if whole:
        return [first, *(kind(Reference()) for kind in KINDS)]
    return [first, *(kind(Reference(5, 2) if kind is Save else Reference(7, 2)) for kind in KINDS)]
