"""The ledger: the append-only history of a training run, one JSON object a line.

    {"epochs": 40, "event": "started", "gate": {"save": {"at_most": 0.5, "metric": "val_loss"}}, "step": 0,
     "time": 1790000000.0}
    {"clauses": ["val_loss at most 0.5"], "epoch": 6, "metrics": {"loss": 0.40, "val_loss": 0.61}, "reason": "…",
     "save": false, "step": 49, "time": 1790000003.1}
    {"after_step": 49, "event": "resumed", "time": 1790000090.0}
    {"epochs": 40, "event": "finished", "time": 1790000100.0}

A `resumed` line supersedes the records after its step. A torn last line, left by a crash, is passed over by readers and
cut off before the next line is written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import HistoryLine, Record, read_lines, record_to_json
from checkpoint_gate.store.documents import JsonLines, numbered_lines
from checkpoint_gate.store.filesystem import Files

NAME = "ledger.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and what the gate decided about it.

    Attributes:
      superseded: the `resumed` event that overtook it, if any.
      skipped: why its state was not written although training went on, if so.
    """

    record: Record
    decision: Decision
    superseded: Mapping[str, Any] | None = None
    skipped: str | None = None

    @property
    def superseded_at(self) -> float:
        """When that was; infinite while it counts."""
        return math.inf if self.superseded is None else float(self.superseded.get("time", 0.0))


@dataclass(frozen=True, slots=True)
class History:
    """A ledger as read: every entry, also those that a resumed training overtook, and every event line, in order."""

    every_entry: tuple[Entry, ...]
    events: tuple[Mapping[str, Any], ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries that count."""
        return tuple(entry for entry in self.every_entry if entry.superseded is None)

    @property
    def overtaken(self) -> frozenset[int]:
        """Places in `every_entry` of what was to be saved and never was: an `overtaken` line tells of each.

        Of a step that was to be saved several times, the line tells of the first that counted then.
        """
        places: dict[tuple[int, str], list[int]] = {}
        for place, entry in enumerate(self.every_entry):
            if entry.decision.save:
                places.setdefault((entry.record.step, entry.record.at), []).append(place)
        found: set[int] = set()
        for event in self.events:
            if event["event"] == "overtaken":
                told = places.get((event.get("step", -1), event.get("at", "")), ())
                counted = (p for p in told if self.every_entry[p].superseded_at >= event.get("time", 0.0))
                found.update(itertools.islice((p for p in counted if p not in found), 1))
        return frozenset(found)

    @property
    def saved(self) -> tuple[Entry, ...]:
        """The entries that count, and whose state was written as a checkpoint."""
        overtaken = self.overtaken
        entries = (entry for place, entry in enumerate(self.every_entry) if place not in overtaken)
        counted = (entry for entry in entries if entry.superseded is None and entry.skipped is None)
        return tuple(entry for entry in counted if entry.decision.save)

    @property
    def records(self) -> list[Record]:
        return [entry.record for entry in self.entries]

    @property
    def gate(self) -> Mapping[str, Any] | None:
        """The rules that decided last, as plain data; None while no line says."""
        said = [event["gate"] for event in self.events if isinstance(event.get("gate"), dict)]
        return said[-1] if said else None

    @property
    def finished_epochs(self) -> int:
        """How many epochs the last `finished` line says are done; 0 while none does."""
        done = [event.get("epochs") for event in self.events if event["event"] == "finished"]
        return done[-1] if done and isinstance(done[-1], int) else 0

    @property
    def is_retired(self) -> bool:
        """Whether the run is retired, and nobody has trained in it since."""
        said = [event["event"] for event in self.events if event["event"] in ("retired", "started")]
        return bool(said) and said[-1] == "retired"

    def overtook(self, step: int, since: float) -> Mapping[str, Any] | None:
        """The event of a training that resumed at or after the time `since`, and before `step`; None without one."""
        resumed = (event for event in self.events if event["event"] == "resumed" and event["after_step"] < step)
        return next((event for event in resumed if event.get("time", 0.0) >= since), None)


class Ledger:
    """The ledger file of one run."""

    def __init__(self, files: Files, path: str, clock: Callable[[], float]) -> None:
        self._lines = JsonLines(files, path)
        self._place = files.place(path)
        self._clock = clock

    @property
    def torn(self) -> bool:
        """Whether a crash has left a last line without its end."""
        return self._lines.torn

    def mend(self) -> None:
        """Cuts a torn last line off."""
        self._lines.mend()

    def text(self) -> str:
        """The whole lines, as they stand."""
        return self._lines.text()

    def read(self) -> History:
        """The history so far; empty when there is no file.

        Raises:
          StoreError: a line other than a torn last one is damaged; names it.
        """
        return parse_ledger(self.text(), self._place)

    def append(self, record: Record, decision: Decision, skipped: str | None = None) -> None:
        """Adds a record with its decision; `skipped` says why its state was not written."""
        line = record_to_json(record) | {"save": decision.save, "reason": decision.reason}
        if not decision.save:
            line["clauses"] = list(decision.clauses)
        self._lines.append(line if skipped is None else line | {"skipped": skipped})

    def append_event(self, event: str, **fields: Any) -> None:
        """Adds an event line: what happened, and plain JSON values."""
        self._lines.append({"event": event, "time": self._clock(), **fields})


def parse_ledger(text: str, name: str) -> History:
    """Reads a ledger's text; `name` stands in errors.

    Raises:
      StoreError: a whole line is not a record with its decision or an event, or is of a newer format; names it.
    """
    lines, events = read_lines(numbered_lines(text, name), name)
    return History(tuple(_entry(line, name) for line in lines), tuple(events))


def _entry(line: HistoryLine, name: str) -> Entry:
    save, reason, clauses = line.value.get("save"), line.value.get("reason"), line.value.get("clauses", ())
    if not isinstance(save, bool) or not isinstance(reason, str) or not isinstance(clauses, (list, tuple)):
        raise StoreError(
            f"{name} line {line.number} has no decision: save must be true or false and reason a text. "
            f"Received: save={save!r}, reason={reason!r}."
        )
    skipped = line.value.get("skipped")
    why = None if skipped is None else str(skipped)
    return Entry(line.record, Decision(save, reason, tuple(map(str, clauses))), line.superseded, why)
