"""Every run of a pipeline, below its root: when, why it ran or was skipped, and what came of it.

    <root>/history.jsonl

    {"began": 1790000000.0, "born": "517", "event": "begun", "host": "…", "id": "9f…", "pid": 4711, …}
    {"champion": 1790000300, "champion_before": 1787400000, "event": "ended", "id": "9f…", "outcome": "pushed", …}

A run that was killed has begun, and never ended.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from checkpoint_gate.errors import StoreError
from checkpoint_gate.folder_lock import locked
from checkpoint_gate.store.documents import JsonLines
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.process import born

FILE = "history.jsonl"
Trigger = Literal["schedule", "by hand"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Work(_Part):
    """What decides whether a run would do anything new; each part is a digest, or a number.

    Attributes:
      data: of the table's content, never of dates.
      rules, settings: of the pipeline.yaml's rules, and of the rest that matters.
      code: of both packages.
      pushed: of the push folder after the run.
      store: its revision after the run.
    """

    data: str
    rules: str
    settings: str
    code: str
    pushed: str
    store: int


class Measured(_Part):
    """The metric by which challenger and champion are compared, on the test split; None where it was not measured.

    Attributes:
      best: that of the best champion so far, where the pipeline asks for it.
    """

    name: str
    challenger: float | None
    champion: float | None
    best: float | None = None


class Begun(_Part):
    """A run's first line.

    Attributes:
      why: why it runs.
      host, pid, born: the process, and when that one started in its kernel's ticks.
    """

    id: str
    began: float
    trigger: Trigger
    why: str
    host: str
    pid: int
    born: str | None


class Ended(_Part):
    """A run's last line; the only one of a run that was skipped, or could not begin.

    Attributes:
      why: why it ran, or why it was skipped.
      skipped: whether nothing was executed.
      outcome, green, reason: of its summary.
      spans: of the data, ascending; empty where the data has none.
      champion_before, champion: versions in the push folder; None where there was none.
      seconds: from its beginning to its end.
      disk: part -> bytes after the run.
    """

    id: str
    began: float
    ended: float
    trigger: Trigger
    why: str
    skipped: bool
    outcome: str
    green: bool
    reason: str
    work: Work | None = None
    spans: list[int] = []
    rows: int | None = None
    saved: int = 0
    refused: int = 0
    survivors: int = 0
    pushed: int | None = None
    champion_before: int | None = None
    champion: int | None = None
    metric: Measured | None = None
    seconds: float = 0.0
    disk: dict[str, int] = {}

    @property
    def settled(self) -> bool:
        """Whether another run with nothing new would end the same."""
        return self.green and self.work is not None


@dataclass(frozen=True, slots=True)
class Past:
    """One run: `ended` is None while it is at work, and where it died."""

    begun: Begun | None
    ended: Ended | None

    @property
    def began(self) -> float:
        line = self.begun or self.ended
        assert line is not None
        return line.began

    @property
    def running(self) -> bool:
        """Whether its process lives; that of another machine cannot be told from a dead one."""
        begun = self.begun
        here = begun is not None and begun.host == socket.gethostname()
        return here and self.ended is None and begun is not None and begun.born == born(begun.pid) is not None


class History:
    """The history below a root.

    Args:
      root: the runs' root folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> list[Past]:
        """Every run, oldest first; none where there is no history.

        Raises:
          StoreError: a line is damaged; names it.
        """
        runs: dict[str, Past] = {}
        for line in self._lines().read():
            event = line.pop("event", None)
            try:
                if event == "begun":
                    begun = Begun.model_validate(line)
                    runs[begun.id] = Past(begun, None)
                else:
                    ended = Ended.model_validate(line)
                    before = runs.get(ended.id)
                    runs[ended.id] = Past(before.begun if before is not None else None, ended)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise StoreError(f"{self.path} is damaged: {where}: {first['msg']}.") from error
        return sorted(runs.values(), key=lambda past: past.began)

    @property
    def path(self) -> Path:
        return self._root / FILE

    def begin(self, run: str, began: float, trigger: Trigger, why: str) -> None:
        """Writes a run's first line."""
        pid = os.getpid()
        host = socket.gethostname()
        self._write("begun", Begun(id=run, began=began, trigger=trigger, why=why, host=host, pid=pid, born=born(pid)))

    def end(self, line: Ended) -> None:
        """Writes a run's last line."""
        self._write("ended", line)

    def _write(self, event: str, line: Begun | Ended) -> None:
        with locked(self._root):  # two that write at once would each take the other's line for a torn one
            self._lines().append({"event": event, **line.model_dump()})

    def _lines(self) -> JsonLines:
        return JsonLines(LocalFiles(self._root), FILE)


def to_json(past: Past) -> dict[str, Any]:
    """One run for programs: the keys of its last line, or of its first, with `state`: ended, running or died."""
    line: Mapping[str, Any] = (past.ended or past.begun).model_dump()  # type: ignore[union-attr]
    return {**line, "state": "ended" if past.ended is not None else "running" if past.running else "died"}
