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
from checkpoint_gate.pushed.push_folder import champion_path
from gated_pipelines.disk.usage import disk_used
from gated_pipelines.history.history import Ended, History, Measured, Runs, Trigger, Work
from gated_pipelines.history.novelty import left_by, why_new, work_of
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.running.job import Job

_LOG = logging.getLogger(__name__)


class Recorder:
    """One run on its way into the history.

    Args:
      root: the runs' root folder.
      trigger: who asked for the run.
      asked_span: the last span, where somebody asked for one.
      clock: seconds since 1970.
    """

    def __init__(
        self, root: Path, trigger: Trigger, asked_span: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.history = History(root)
        self.began = clock()
        self._clock = clock
        self._since = time.monotonic()
        self._id = uuid.uuid4().hex
        self._trigger = trigger
        self._asked_span = asked_span
        self._pipeline = ""
        self._push_folder: str | None = None
        self._why = ""
        self._job: Job | None = None
        self._work: Work | None = None
        self._before: str | None = None

    def found_pipeline(self, name: str, push_folder: str) -> None:
        """Whose run this is, and where its champion stands."""
        self._pipeline, self._push_folder = name, push_folder
        self._before = self._standing()

    def found_work(self, job: Job) -> str | None:
        """The run is alone in its root: what it has to do is taken down, and the answer is why any of it is new."""
        self._job, self._work, self._before = job, work_of(job), champion_path(job.push_folder)
        return why_new(self._work, _version(self._before), self.earlier())

    def earlier(self) -> Runs:
        """The runs before; none where they cannot be read."""
        try:
            return self.history.read(self._pipeline)
        except (StoreError, OSError) as error:
            _LOG.warning("what ran before is not known: %s", error)
            return Runs()

    def begin(self, why: str) -> None:
        """The run is about to execute components."""
        self._why = why
        asked = (self._trigger, why, self._pipeline, self._asked_span)
        self._try(lambda: self.history.begin(self._id, self.began, *asked))

    def end(self, summary: Summary, job: Job | None = None, *, skipped: bool = False) -> Summary:
        """The run is over; answers with the summary.

        Args:
          summary: what came of it.
          job: what was run, with the state that the next run will find; None where it did not come to its end.
          skipped: whether nothing was executed.
        """
        if job is None:
            summary.champion = self._standing()
        self._try(lambda: self.history.end(self._line(summary, job or self._job, skipped)))
        return summary

    def _standing(self) -> str | None:
        """The newest live version's folder; None where there is none, or it cannot be told."""
        try:
            return champion_path(self._push_folder) if self._push_folder is not None else None
        except (CheckpointGateError, OSError):
            return None

    def _line(self, summary: Summary, job: Job | None, skipped: bool) -> Ended:
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
            work=left_by(self._work, job) if self._work is not None and job is not None else None,
            spans=list(job.table.spans) if job is not None else [],
            rows=job.table.rows if job is not None else None,
            saved=summary.saved,
            refused=summary.refused,
            survivors=len(summary.survivors),
            pushed=_version(summary.pushed),
            champion_before=_version(self._before),
            champion=_version(summary.champion),
            metric=_measured(summary, job) if job is not None else None,
            seconds=round(time.monotonic() - self._since, 3),
            disk=asdict(disk_used(job.places.root, job.push_folder)) if job is not None else {},
            pipeline=self._pipeline,
            asked_span=self._asked_span,
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
