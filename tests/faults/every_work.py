"""All that is tried under faults on a local disk."""

from __future__ import annotations

from faults.pushing import PruneVersions, Push, RollBack
from faults.reference import DAY
from faults.work import Work
from faults.works import works_on_store


def every_work(whole: bool) -> list[Work]:
    """Every kind of work: on the reference store or, where it is tried very often, on a smaller one."""
    return [*works_on_store(whole), *works_on_push_folder()]


def works_on_push_folder() -> list[Work]:
    """Every kind of work on a push folder."""
    back = [RollBack(undo=False), RollBack(undo=True)]
    return [Push(first=True), Push(first=False), *back, PruneVersions(grace=0.0), PruneVersions(grace=DAY)]
