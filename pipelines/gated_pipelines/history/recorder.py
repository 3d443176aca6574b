"""Writes one run into the history; the run itself never fails by it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError, StoreError
from checkpoint_gate.evaluator.measurements import ALL_EXAMPLES
from gated_pipelines.disk.usage import disk_used
from gated_pipelines.history.history import Ended, History, Measured, Past, Trigger
from gated_pipelines.history.novelty import work_of
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.running.job import Job

_LOG = logging.getLogger(__name__)


class Recorder:
    """One run on its way into the history.

    Args:
      root: the runs' root folder.
      trigger: who asked for the run.
      clock: seconds since 1970.
    """

    def __init__(self, root: Path, trigger: Trigger, clock: Callable[[], float] = time.time) -> None:
        self.history = History(root)
        self.began = clock()
        self._clock = clock
        self._since = time.monotonic()
        self._id = uuid.uuid4().hex
        self._trigger = trigger
        self._why = ""

    def earlier(self) -> list[Past]:
        """The runs before, oldest first; none where they cannot be read."""
        try:
            return self.history.read()
        except (StoreError, OSError) as error:
            _LOG.warning("what ran before is not known: %s", error)
            return []

    def begin(self, why: str) -> None:
        """The run is about to execute components."""
        self._why = why
        self._try(lambda: self.history.begin(self._id, self.began, self._trigger, why))

    def end(
        self, summary: Summary, job: Job | None = None, before: str | None = None, *, skipped: bool = False
    ) -> None:
        """The run is over.

        Args:
          summary: what came of it.
          job: what was run, with the state that the next run will find; None where it could not be made ready.
          before: the champion's folder when the run began.
          skipped: whether nothing was executed.
        """
        self._try(lambda: self.history.end(self._line(summary, job, before, skipped)))

    def _line(self, summary: Summary, job: Job | None, before: str | None, skipped: bool) -> Ended:
        return Ended(
            id=self._id,
            began=self.began,
            ended=self._clock(),
            trigger=self._trigger,
            why=self._why or summary.reason,
            skipped=skipped,
            outcome=summary.outcome,
            green=summary.green,
            reason=summary.reason,
            work=work_of(job) if job is not None else None,
            spans=list(job.table.spans) if job is not None else [],
            rows=job.table.rows if job is not None else None,
            saved=summary.saved,
            refused=summary.refused,
            survivors=len(summary.survivors),
            pushed=_version(summary.pushed),
            champion_before=_version(before),
            champion=_version(summary.champion),
            metric=_measured(summary, job) if job is not None else None,
            seconds=round(time.monotonic() - self._since, 3),
            disk=asdict(disk_used(job.places.root, job.push_folder)) if job is not None else {},
        )

    def _try(self, write: Callable[[], None]) -> None:
        root = self.history.path.parent
        if self._trigger == "by hand" and not root.is_dir():  # nothing was run, and the person is told why
            return
        try:
            root.mkdir(parents=True, exist_ok=True)
            write()
        except (CheckpointGateError, OSError) as error:
            _LOG.warning("the history %s could not be written: %s", self.history.path, error)


def _version(folder: str | None) -> int | None:
    """The number of a pushed version, by its folder."""
    name = folder.rstrip("/").rpartition("/")[2] if folder else ""
    return int(name) if name.isdecimal() else None


def _measured(summary: Summary, job: Job) -> Measured | None:
    name = job.config.evaluate.champion.metric
    found = {who: _number(metrics.get(name)) for who, metrics in summary.measured.items()}
    rows = [row for row in summary.comparison if row["metric"] == name and row["slice"] == ALL_EXAMPLES]
    best = next((value for row in rows if (value := _number(row["best"])) is not None), None)
    if not found:
        return None
    return Measured(name=name, challenger=found.get("challenger"), champion=found.get("champion"), best=best)


def _number(value: object) -> float | None:
    """A metric's value; None where it is missing, or not finite."""
    return float(value) if isinstance(value, (int, float)) else None
