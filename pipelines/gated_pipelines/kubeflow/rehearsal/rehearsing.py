"""Runs the tasks of a compiled pipeline on this machine, as a backend's driver and launcher would.

Every task is a process (or two, with a preCacheCheck) that is given the ExecutorInput which the backend would build;
`driver_input` says how the two backends differ. What is not rehearsed: the image, resources, caching, and the copying
between a bucket and a pod's disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Protocol

from checkpoint_gate.errors import CheckpointGateError
from gated_pipelines.kubeflow.mirrors import MIRROR_VARIABLE
from gated_pipelines.kubeflow.rehearsal.driver_input import executor_input
from gated_pipelines.kubeflow.rehearsal.launcher_output import read_produced
from gated_pipelines.kubeflow.rehearsal.placeholders import fill
from gated_pipelines.kubeflow.rehearsal.plan import Plan
from gated_pipelines.kubeflow.rehearsal.record import FOLDER, Record, State, TaskReport, write_record
from gated_pipelines.kubeflow.rehearsal.task_graph import Task
from gated_pipelines.kubeflow.rehearsal.task_process import TaskProcess, how_it_ended, telling_line
from gated_pipelines.kubeflow.rehearsal.wire import to_json

_LOOK = 0.1  # seconds between two looks at the running tasks


class Progress(Protocol):
    """Shows a person how far the tasks are; is called often."""

    def show(self, tasks: Mapping[str, TaskReport]) -> None: ...


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a rehearsal ended early.

    Attributes:
      task: which failed, or which was running when a signal came.
      words: what happened to it.
      line: the line of its log that tells most, "" for a signal.
      signal: that ended the rehearsal, 0 for none.
    """

    task: str
    words: str
    line: str = ""
    signal: int = 0


@dataclass(slots=True)
class _Attempt:
    """A task that is running."""

    task: Task
    given: dict[str, Any]
    number: int  # of its first output artifact
    log: BinaryIO
    begin: int  # offset in the log
    began: float
    commands: list[list[str]]  # that are still to be run
    process: TaskProcess = field(init=False)


class Rehearsal:
    """One rehearsal; `run` carries it out.

    Args:
      plan: what is to be run; its tasks that are reused are not executed.
      jobs: how many tasks may run at the same time.
      retries: of a task that fails; None for what the file says of each.
    """

    def __init__(self, plan: Plan, jobs: int, retries: int | None, progress: Progress) -> None:
        self.reports = dict(plan.reports)  # task -> how far it is
        self._plan = plan
        self._run = plan.run
        self._logs = plan.folder / FOLDER / plan.run.id
        self._jobs = jobs
        self._retries = retries
        self._progress = progress
        self._running: dict[str, _Attempt] = {}
        self._salts: dict[str, int] = {}
        self._number = self._record().next_number
        self._signal = 0

    def run(self) -> Stopped | None:
        """Runs every task that is waiting; None when all are done, else why not.

        Whatever ends it, no task of it runs on, and the record says which are done.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        self._save()  # from now on an earlier rehearsal's outputs are nobody's to go on with
        with self._signals(), tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
            try:
                while not all(report.has_outputs for report in self.reports.values()):
                    stopped = self._next(Path(scratch))
                    if stopped is not None:
                        return stopped
                return None
            finally:
                self._end_running()
                self._save()
                self._progress.show(self.reports)

    def _next(self, scratch: Path) -> Stopped | None:
        """Begins what can begin, and looks at what runs."""
        if self._signal:
            return self._by_signal(signal.Signals(self._signal))
        for task in self._plan.compiled.tasks:
            if (
                self.reports[task.name].state == "waiting"
                and len(self._running) < self._jobs
                and all(self.reports[name].has_outputs for name in task.needs)
            ):
                stopped = self._guarded(task, partial(self._begin, task, scratch))
                if stopped is not None:
                    return stopped
        for name in list(self._running):
            attempt = self._running[name]
            stopped = self._guarded(attempt.task, partial(self._look, attempt, scratch))
            if stopped is not None:
                return stopped
        self._progress.show(self._with_seconds())
        if self._running:
            time.sleep(_LOOK)
        return None

    def _by_signal(self, number: signal.Signals) -> Stopped:
        """The first task that is not done is where to go on."""
        left = [task.name for task in self._plan.compiled.tasks if not self.reports[task.name].has_outputs]
        running = [name for name in left if name in self._running]
        return Stopped((running or left)[0], f"was ended by {number.name}", signal=number)

    def _guarded(self, task: Task, step: Callable[[], Stopped | None]) -> Stopped | None:
        try:
            return step()
        except CheckpointGateError as error:
            self._finish(task.name, "failed")
            return Stopped(task.name, f"cannot go on: {error}")

    def _begin(self, task: Task, scratch: Path) -> None:
        name, before = task.name, self.reports[task.name]
        salt = self._salts.setdefault(name, secrets.randbits(128))
        produced = {other: report.produced for other, report in self.reports.items() if report.has_outputs}
        folder = scratch / f"{name}-{before.attempts}"
        given = executor_input(self._run, task, salt, produced, self._number, before.attempts, str(folder / "outputs"))
        number, self._number = self._number, self._number + len(task.output_artifacts)
        (folder / "outputs").mkdir(parents=True)
        self._make_room(name, salt, before.attempts)
        (self._logs / f"{name}.json").write_text(to_json(given), encoding="utf-8")
        path = self._logs / f"{name}.log"
        self.reports[name] = replace(before, state="running", attempts=before.attempts + 1, log=str(path))
        log = open(path, "ab")  # noqa: SIM115  closed by _finish
        attempt = _Attempt(task, given, number, log, log.tell(), time.monotonic(), self._commands(task, given))
        self._running[name] = attempt
        self._start(attempt, folder)

    def _make_room(self, task: str, salt: int, attempts: int) -> None:
        """Makes the folder that outputs lie in, not the outputs. Another attempt is a new pod, with an empty disk."""
        place = Path(self._run.local(self._run.task_root(task, salt)))
        if attempts and self._run.mode == "open-source":
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)

    def _commands(self, task: Task, given: Mapping[str, Any]) -> list[list[str]]:
        containers = [task.container]
        check = task.container.get("lifecycle", {}).get("preCacheCheck")
        if check is not None and self._run.mode == "vertex":
            containers.insert(0, check)
        return [fill([*one.get("command", []), *one.get("args", [])], given, self._run.mirror) for one in containers]

    def _start(self, attempt: _Attempt, folder: Path) -> None:
        """Starts the next command, in an empty folder: nothing of this machine's is found by chance."""
        own = {one["name"]: one.get("value", "") for one in attempt.task.container.get("env", [])}
        paths = os.environ.get("PYTHONPATH", "")
        inherited = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **os.environ,
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in paths.split(os.pathsep) if path),
            MIRROR_VARIABLE: self._run.mirror,
        }
        attempt.process = TaskProcess(attempt.commands.pop(0), inherited | own, folder, attempt.log)

    def _look(self, attempt: _Attempt, scratch: Path) -> Stopped | None:
        code = attempt.process.poll()
        if code is None:
            return None
        name = attempt.task.name
        report = self.reports[name]
        if code == 0 and attempt.commands:
            self._start(attempt, scratch / f"{name}-{report.attempts - 1}")
            return None
        if code == 0:
            produced = read_produced(self._run.mode, attempt.task, attempt.given, attempt.number)
            self._finish(name, "done")
            self.reports[name] = replace(self.reports[name], produced=produced)
            self._save()
            return None
        allowed = attempt.task.retries if self._retries is None else self._retries
        again = report.attempts <= allowed and not self._signal
        self._finish(name, "waiting" if again else "failed")
        if again or self._signal:
            return None
        times = f" at attempt {report.attempts}" if report.attempts > 1 else ""
        words = f"failed with {how_it_ended(code)}{times}"
        return Stopped(name, words, telling_line(Path(report.log), attempt.begin))

    def _finish(self, name: str, state: State) -> None:
        attempt = self._running.pop(name, None)
        seconds = 0.0
        if attempt is not None:
            attempt.log.close()
            seconds = time.monotonic() - attempt.began
        report = self.reports[name]
        self.reports[name] = replace(report, state=state, seconds=round(report.seconds + seconds, 3))

    def _end_running(self) -> None:
        for name, attempt in list(self._running.items()):
            attempt.process.end()
            self._finish(name, "stopped")

    def _with_seconds(self) -> dict[str, TaskReport]:
        now = time.monotonic()
        return {
            name: replace(report, seconds=report.seconds + now - self._running[name].began)
            if name in self._running
            else report
            for name, report in self.reports.items()
        }

    def _record(self) -> Record:
        run = self._run
        return Record(run.id, run.pipeline, run.mode, self._plan.root, run.parameters, self.reports)

    def _save(self) -> None:
        write_record(self._plan.folder, self._record())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM are noted, and acted on at the next look: nothing is left half written."""

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
