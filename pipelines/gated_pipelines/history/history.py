"""Every run of a pipeline, below its root: when, why it ran or was skipped, and what came of it.

    <root>/history.jsonl

    {"began": 1790000000.0, "born": "517", "event": "begun", "host": "…", "id": "9f…", "pid": 4711, …}
    {"champion": 1790000300, "champion_before": 1787400000, "event": "ended", "id": "9f…", "outcome": "pushed", …}

A run that was killed has begun, and never ended. Several pipelines may share a root, and so the file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from checkpoint_gate.errors import StoreError
from checkpoint_gate.folder_lock import locked
from checkpoint_gate.rules.records import lines_in
from checkpoint_gate.store.documents import JsonLines, numbered_lines
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
      curated: of the curated schema's text; "" where there is none.
      rules, settings: of the pipeline.yaml's rules, and of the rest that matters.
      code: of both packages, and of the modules of rules of one's own.
      libraries: of the versions of what trains and judges.
      pushed: of the push folder after the run.
      store: how often it had been changed by hand after the run.
    """

    data: str
    rules: str
    settings: str
    code: str
    pushed: str
    store: int
    curated: str = ""
    libraries: str = ""


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
      pipeline: its name; "" where its pipeline.yaml could not be read.
      asked_span: the last span, where somebody asked for one.
    """

    id: str
    began: float
    trigger: Trigger
    why: str
    host: str
    pid: int
    born: str | None
    pipeline: str = ""
    asked_span: int | None = None


class Ended(_Part):
    """A run's last line; the only one of a run that was skipped, or could not begin.

    Attributes:
      why: why it ran, or why it was skipped.
      skipped: whether nothing was executed.
      outcome, green, reason: of its summary.
      work: what the next run's is compared with; None where it did not come to look.
      pipeline, asked_span: as in the first line.
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
    pipeline: str = ""
    asked_span: int | None = None

    @property
    def settled(self) -> bool:
        """Whether another run with nothing new would end the same."""
        return self.green and self.work is not None


@dataclass(frozen=True, slots=True)
class Past:
    """One run: `ended` is None while it is at work, and where it died; `line` is the number of its last line."""

    begun: Begun | None
    ended: Ended | None
    line: int = 0

    @property
    def told(self) -> Begun | Ended:
        """The last line that there is."""
        told = self.ended or self.begun
        assert told is not None
        return told

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


@dataclass(frozen=True, slots=True)
class Runs:
    """What the history tells.

    Attributes:
      past: the runs, oldest first.
      unreadable: the numbers of the lines that cannot be read, of whichever run they told.
    """

    past: tuple[Past, ...] = ()
    unreadable: tuple[int, ...] = ()


class History:
    """The history below a root.

    Args:
      root: the runs' root folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, pipeline: str = "") -> Runs:
        """Every run of a pipeline, or of all of them for ""; none where there is no history.

        Raises:
          StoreError, OSError: the file as a whole cannot be read.
        """
        runs: dict[str, Past] = {}
        unreadable = []
        for number, text in lines_in(self._lines().text()):
            try:
                line = _line(text, f"{self.path} line {number}")
            except (StoreError, ValidationError):
                unreadable.append(number)
                continue
            if isinstance(line, Begun):
                runs[line.id] = Past(line, None, number)
            else:
                before = runs.get(line.id)
                runs[line.id] = Past(before.begun if before is not None else None, line, number)
        mine = (past for past in runs.values() if not pipeline or past.told.pipeline in ("", pipeline))
        return Runs(tuple(sorted(mine, key=lambda past: past.began)), tuple(unreadable))

    @property
    def path(self) -> Path:
        return self._root / FILE

    def begin(
        self, run: str, began: float, trigger: Trigger, why: str, pipeline: str = "", asked_span: int | None = None
    ) -> None:
        """Writes a run's first line."""
        pid, host = os.getpid(), socket.gethostname()
        asked: dict[str, Any] = {"trigger": trigger, "why": why, "pipeline": pipeline, "asked_span": asked_span}
        self._write("begun", Begun(id=run, began=began, host=host, pid=pid, born=born(pid), **asked))

    def end(self, line: Ended) -> None:
        """Writes a run's last line."""
        self._write("ended", line)

    def _write(self, event: str, line: Begun | Ended) -> None:
        with locked(self._root):  # two that write at once would each take the other's line for a torn one
            self._lines().append({"event": event, **line.model_dump()})

    def _lines(self) -> JsonLines:
        return JsonLines(LocalFiles(self._root), FILE)


def unreadable_in_words(lines: Sequence[int]) -> str:
    """That lines of the history cannot be read; there is at least one."""
    return f"{len(lines)} line{'s' if len(lines) > 1 else ''} of the history cannot be read"


def _line(text: str, place: str) -> Begun | Ended:
    ((_, line),) = numbered_lines(text + "\n", place)
    return Begun.model_validate(line) if line.pop("event", None) == "begun" else Ended.model_validate(line)


def to_json(past: Past) -> dict[str, Any]:
    """One run for programs: the keys of its last line, or of its first, with `state`: ended, running or died."""
    line: Mapping[str, Any] = past.told.model_dump()
    return {**line, "state": "ended" if past.ended is not None else "running" if past.running else "died"}
