"""Checks a store: every byte of every live checkpoint, and whether all that lies there belongs there. Reads only.

A *fault* is damage or loss of what the store promises to keep; a *warning* is something that somebody should look at,
and that no command of this package has left there when it ended well; a *note* is worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from checkpoint_gate.errors import StoreError
from checkpoint_gate.quantities import format_size, format_time
from checkpoint_gate.records import encode_metrics
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.champion import FILE as CHAMPION
from checkpoint_gate.store.champion import read_champion
from checkpoint_gate.store.checkpoints import STEP_FOLDER, Stored, verify_files
from checkpoint_gate.store.layout import LEASE_FILE, PROBE_FILE, RUN_FILE, STORE_FILE, UNFINISHED_FILE
from checkpoint_gate.store.lease import claim_name
from checkpoint_gate.store.ledger import NAME as LEDGER
from checkpoint_gate.store.ledger import Entry
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.store import Store
from checkpoint_gate.store.trash import (
    GONE,
    TRASH_FOLDER,
    Mark,
    journal_path,
    journals,
    marks_in_trash,
    read_journal,
    stones,
    tombstones,
    trashed,
)

T = TypeVar("T")
Severity = Literal["fault", "warning", "note"]

_FILES = (RUN_FILE, LEDGER, "tombstones.jsonl", "pins.json")
_FOLDERS = ("checkpoints", "resume", "trash", "quarantine", "superseded", "journal", "tmp")
_REASON_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
      run: the run, None for the store as a whole.
      place: the file or folder on the disk.
      severity: "fault", "warning" or "note".
      what: one phrase.
    """

    run: str | None
    place: str
    severity: Severity
    what: str


def check_store(store: Store) -> Iterator[Finding]:
    """Everything there is to say about the store, run by run, as it is found."""
    yield Finding(None, str(store.root), "note", store.files.protocol)
    keys = store.keys()
    known = {STORE_FILE, CHAMPION, PROBE_FILE, *keys}
    try:
        read_champion(store.files)
    except (StoreError, KeyError, ValueError) as error:
        yield Finding(None, store.files.place(CHAMPION), "fault", f"does not tell the champion: {error}")
    for name in store.files.names():
        if name not in known and not claim_name(name, LEASE_FILE):
            yield _foreign(None, f"{store.root}/{name}", name)
    for key in keys:
        yield from check_run(store.run(key))


def check_run(run: Run) -> Iterator[Finding]:
    """What there is to say about one run."""
    yield from _Check(run).findings()


def _foreign(run: str | None, place: str, name: str) -> Finding:
    if name.startswith(".") and name.endswith(".tmp"):
        return Finding(run, place, "note", "left by an interrupted write")
    return Finding(run, place, "warning", "is not of this store, and left alone")


class _Check:
    """One check of one run: reads each small file once, and tells of those that cannot be read."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._files = run.files
        self._entries: tuple[Entry, ...] | None = None
        self._marks: dict[tuple[str, int], Mark] | None = None

    def findings(self) -> Iterator[Finding]:
        parts = (self._small_files, self._live, self._resumable, self._trash, self._journals, self._quarantine)
        told = set()
        for part in (*parts, self._strangers):
            try:
                yield from part()
            except (StoreError, OSError) as error:  # a folder that is a link, or that may not be read
                if str(error) not in told:
                    told.add(str(error))
                    yield self._finding(self._run.key, "fault", str(error))

    def _finding(self, path: str, severity: Severity, what: str) -> Finding:
        return Finding(self._run.key, self._files.place(path), severity, what)

    def _path(self, name: str) -> str:
        return f"{self._run.key}/{name}"

    def _small_files(self) -> Iterator[Finding]:
        run = self._run
        holder = run.lease("checking").holder()
        if holder is not None:
            what = "a writer is at work, or was killed; what it is writing may show below"
            yield self._finding(holder, "note", what)
        ledger = yield from self._readable(LEDGER, run.ledger.read)
        self._entries = ledger.entries if ledger is not None else None
        self._marks = yield from self._readable("tombstones.jsonl", lambda: tombstones(run))
        yield from self._readable(RUN_FILE, run.about)
        yield from self._readable("pins.json", run.pins)
        for name, torn in ((LEDGER, run.ledger.torn), ("tombstones.jsonl", stones(run).torn)):
            if torn:
                what = "its last line was torn by a crash; it is passed over, and cut off by the next write"
                yield self._finding(self._path(name), "note", what)

    def _readable(self, name: str, read: Callable[[], T]) -> Generator[Finding, None, T | None]:
        """Gives back what `read` reads, or tells why it cannot be read."""
        try:
            return read()
        except (StoreError, OSError) as error:
            yield self._finding(self._path(name), "fault", str(error))
            return None

    def _live(self) -> Iterator[Finding]:
        saved = {entry.record.step: entry for entry in self._entries or () if entry.decision.save}
        live = self._run.live()
        size = 0
        for stored in live:
            damage = self._damage(stored)
            if damage is not None and not self._holds(stored):
                continue  # pruned while this was read
            if damage is not None:
                yield self._finding(stored.folder, "fault", damage)
            yield from self._unlisted(stored)
            if stored.manifest is None:
                continue
            size += stored.manifest.size
            entry = saved.get(stored.step)
            if self._entries is not None and entry is None:
                what = "the ledger has no record that saved it; the next training sets it aside"
                yield self._finding(stored.folder, "warning", what)
            elif entry is not None and encode_metrics(entry.record.metrics) != stored.manifest.metrics:
                yield self._finding(stored.folder, "warning", "its manifest and the ledger differ in its metrics")
        yield self._finding(self._path("checkpoints"), "note", f"live checkpoints: {len(live)}, {format_size(size)}")
        yield from self._not_alive(live)

    def _not_alive(self, live: list[Stored]) -> Iterator[Finding]:
        """Saved checkpoints that nobody left word of, and tombstones of what is alive."""
        if self._entries is None or self._marks is None:
            return
        saved = {e.record.step: e.record for e in self._entries if e.decision.save}
        missing = saved.keys() - self._accounted(self._marks) - {stored.step for stored in live}
        if missing:  # look again: a pruning may have moved some while the folders were listed
            missing -= self._accounted(tombstones(self._run))
        for step in sorted(missing):
            what = f"saved at epoch {saved[step].epoch + 1}, but gone, and no tombstone tells why"
            yield self._finding(self._run.gated.path(step), "fault", what)
        by_step = {stored.step: stored.manifest for stored in live if stored.manifest is not None}
        for mark in self._marks.values():
            manifest = by_step.get(mark["step"])
            # One younger than the tombstone was saved again, by a resumed training.
            if mark["event"] in GONE and manifest is not None and manifest.time <= mark["time"]:
                what = f"is alive, but has a tombstone of {format_time(mark['time'])}"
                yield self._finding(self._run.gated.path(mark["step"]), "warning", what)

    def _accounted(self, marks: Mapping[tuple[str, int], Mark]) -> set[int]:
        """The steps of which a checkpoint or a tombstone is there."""
        aside = {int(m[1]) for n in self._names("quarantine") if (m := STEP_FOLDER.match(n)) is not None}
        here = {int(m[1]) for n in self._names("checkpoints") if (m := STEP_FOLDER.fullmatch(n)) is not None}
        in_trash = {int(m[1]) for n in self._names("trash") if (m := TRASH_FOLDER.fullmatch(n)) is not None}
        return aside | here | in_trash | {mark["step"] for mark in marks.values() if mark["event"] in GONE}

    def _resumable(self) -> Iterator[Finding]:
        states = self._run.resumable.stored()
        for stored in states:
            damage = self._damage(stored)
            if damage is not None and self._holds(stored):
                newest = stored is states[-1]
                what = (
                    "training would resume from an earlier state" if newest else "half removed by an interrupted save"
                )
                yield self._finding(stored.folder, "warning" if newest else "note", f"{what}: {damage}")

    def _trash(self) -> Iterator[Finding]:
        marks = marks_in_trash(self._run) if self._marks is not None else {}
        for stored in trashed(self._run):
            damage = self._damage(stored)
            if damage is not None and self._holds(stored):
                yield self._finding(stored.folder, "warning", f"cannot be brought back: {damage}")
            event = marks.get(stored.folder.rpartition("/")[2], {}).get("event")
            if self._marks is not None and event != "trashed":
                doing = "bringing it back" if event == "undeleted" else "pruning it"
                yield self._finding(stored.folder, "warning", f"{doing} was interrupted; the next writer finishes it")

    def _journals(self) -> Iterator[Finding]:
        for digest in journals(self._run):
            path = journal_path(self._run, digest)
            try:
                journal = read_journal(self._run, digest)
            except StoreError as error:
                yield self._finding(path, "fault", str(error))
                continue
            marks = self._marks or {}
            undone = [item["step"] for item in journal["going"] if (digest, item["step"]) not in marks]
            times = [m["time"] for (p, _), m in marks.items() if p == digest and m["event"] == "trashed"]
            if undone and self._marks is not None:
                what = f"a pruning was interrupted with {len(undone)} checkpoints to go; the next writer finishes it"
                yield self._finding(path, "warning", what)
            elif times:
                until = max(times) + journal["grace"]
                over = "is over" if until <= self._run.clock() else f"lasts until {format_time(until)}"
                what = f"an open pruning: {len(times)} checkpoints lie in the trash, their grace {over}"
                yield self._finding(path, "note", what)
            else:
                yield self._finding(path, "note", "a pruning that is done; the next sweep drops its journal")

    def _quarantine(self) -> Iterator[Finding]:
        for name in self._names("quarantine"):
            path = self._path(f"quarantine/{name}")
            if STEP_FOLDER.match(name) and self._files.is_folder(path):
                reason = "set aside as damaged"
                if self._files.is_file(f"{path}.reason"):
                    reason = self._files.read(f"{path}.reason", _REASON_BYTES).decode("utf-8", "replace").strip()
                yield self._finding(path, "note", f"in quarantine: {reason}")

    def _strangers(self) -> Iterator[Finding]:
        for name in self._files.names(self._run.key):
            if name not in (*_FILES, *_FOLDERS) and not claim_name(name, LEASE_FILE):
                yield self._stranger("", name)
        for folder, expected in (("checkpoints", STEP_FOLDER), ("resume", STEP_FOLDER), ("trash", TRASH_FOLDER)):
            for name in self._names(folder):
                if not expected.fullmatch(name):
                    yield self._stranger(folder, name)
                elif self._files.is_file(self._path(f"{folder}/{name}/{UNFINISHED_FILE}")):
                    what = "half-written, half-moved or half-removed; the next writer clears it away"
                    yield self._finding(self._path(f"{folder}/{name}"), "note", what)
        for name in self._names("tmp"):
            yield self._finding(self._path(f"tmp/{name}"), "note", "half-written; swept when training next begins")

    def _stranger(self, folder: str, name: str) -> Finding:
        place = "/".join(filter(None, (self._files.place(self._run.key), folder, name)))
        return _foreign(self._run.key, place, name)

    def _unlisted(self, stored: Stored) -> Iterator[Finding]:
        if stored.manifest is None:
            return
        listed = {manifests.NAME, UNFINISHED_FILE, *(entry.path for entry in stored.manifest.files)}
        for name in self._files.names(stored.folder):
            if name not in listed:
                place = f"{self._files.place(stored.folder)}/{name}"
                yield Finding(self._run.key, place, "warning", "is not listed by its manifest, and left alone")

    def _damage(self, stored: Stored) -> str | None:
        try:
            return verify_files(self._files, stored)
        except (OSError, StoreError) as error:
            return f"{self._files.place(stored.folder)} cannot be read: {error}"

    def _holds(self, stored: Stored) -> bool:
        return self._files.holds(stored.folder, manifests.NAME)

    def _names(self, folder: str) -> list[str]:
        return self._files.names(self._path(folder))
