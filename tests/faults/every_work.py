"""All that is tried under faults on a local disk."""

from __future__ import annotations

from faults.pushing import Push
from faults.works import Work, works_on_store


def every_work(whole: bool) -> list[Work]:
    """Every kind of work: on the reference store or, where it is tried very often, on a smaller one."""
    return [*works_on_store(whole), Push(first=True), Push(first=False)]
