"""Runs of the past, for the tests of the history."""

from __future__ import annotations

from gated_pipelines.history.history import Ended, Measured, Work

WORK = Work(data="d", rules="r", settings="s", code="c", pushed="p", store=0)


def ended(run="a", began=1_790_000_000.0, **changes):
    fields = {
        "id": run, "began": began, "ended": began + 30, "trigger": "schedule", "why": "the data is new",
        "skipped": False, "outcome": "pushed", "green": True, "reason": "every threshold holds", "work": WORK,
        "spans": [201301, 201302, 201303], "rows": 750, "saved": 7, "refused": 13, "survivors": 3, "pushed": 12,
        "champion_before": 11, "champion": 12, "seconds": 30.0, "disk": {"store": 2 << 20, "artifacts": 1 << 20},
        "metric": Measured(name="mean_squared_error", challenger=1.5, champion=1.75),
    }  # fmt: skip
    return Ended(**fields | changes)
