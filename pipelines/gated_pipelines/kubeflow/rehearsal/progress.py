"""What a person sees of a rehearsal: on a terminal a table that is kept up to date, elsewhere a line a change."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gated_pipelines.kubeflow.rehearsal.record import State, TaskReport

_STYLES: dict[State, str] = {"running": "bold", "failed": "bold red", "waiting": "dim", "reused": "dim"}


class TaskTable:
    """Use as a context manager; `show` may be called as often as one likes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told: dict[str, tuple[State, int]] = {}

    def __enter__(self) -> TaskTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, tasks: Mapping[str, TaskReport]) -> None:
        if self._live is not None:
            self._live.update(_table(tasks), refresh=True)
            return
        for task in tasks.values():
            now = (task.state, task.attempts)
            if self._told.get(task.name) != now and (task.state != "waiting" or task.attempts):
                self._console.print(_line(task))
            self._told[task.name] = now


def _line(task: TaskReport) -> str:
    if task.state == "running":
        return f"{task.name} …" if task.attempts == 1 else f"{task.name} …, attempt {task.attempts}"
    if task.state == "waiting":
        return f"{task.name} failed after {task.seconds:.1f} s, and is tried again"
    return f"{task.name} {task.state}" + ("" if task.state == "reused" else f", {task.seconds:.1f} s")


def _table(tasks: Mapping[str, TaskReport]) -> Table:
    table = Table(box=None)
    table.add_column("task")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for task in tasks.values():
        seconds = f"{task.seconds:.1f}" if task.attempts and task.state != "reused" else ""
        again = f", attempt {task.attempts}" if task.attempts > 1 and task.state != "reused" else ""
        table.add_row(task.name, task.state + again, seconds, style=_STYLES.get(task.state, ""))
    return table
