"""Checks one run: every byte of its checkpoints, and whether all that lies there belongs there. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TypeVar

from checkpoint_gate.errors import NewerFormat, StoreError, sentence
from checkpoint_gate.quantities import format_size, format_time
from checkpoint_gate.rules.records import encode_metrics
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import (
    STAGED,
    STEP_FOLDER,
    Progress,
    Stored,
    half_removed,
    is_movable,
    verify_files,
)
from checkpoint_gate.store.files import is_temporary
from checkpoint_gate.store.findings import CLEARED, FINISHED, QUARANTINED, TAKEN_FOR_LOST, Finding, Severity
from checkpoint_gate.store.layout import LEASE_FILE, RUN_FILE, UNFINISHED_FILE
from checkpoint_gate.store.lease import claim_name
from checkpoint_gate.store.ledger import NAME as LEDGER
from checkpoint_gate.store.ledger import Entry, History
from checkpoint_gate.store.losses import missing
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.trash import (
    JOURNAL_ASIDE,
    JOURNAL_FILE,
    TRASH_FOLDER,
    Mark,
    half_swept,
    is_stranded,
    journal_path,
    journals,
    marks_in_trash,
    names_in_trash,
    read_journal,
    revived,
    stones,
    tombstones,
    trash_path,
    trash_place,
    trashed,
)

T = TypeVar("T")

_FILES = (RUN_FILE, LEDGER, "tombstones.jsonl", "pins.json")
_FOLDERS = ("checkpoints", "resume", "trash", "quarantine", "superseded", "journal", "tmp")
_UNLISTED = "is not listed by its manifest, and left alone"
_MOVE_OUT = "move it out of the store, unless it is to stay here"
_PERMISSIONS = "make it a folder or file that can be read, in its own place"
_SMALL_FILES = {
    LEDGER: "bring it back from a copy, such as the one in Trainer's model_run",
    "tombstones.jsonl": "bring it back from a copy, or correct the line by hand",
    RUN_FILE: "bring it back from a copy, or use the version that wrote it",
    "pins.json": "bring it back from a copy; or move it away, and pin again",
}


def check_run(run: Run, progress: Progress = lambda _: None) -> Iterator[Finding]:
    """What there is to say about one run."""
    yield from _RunCheck(run, progress).findings()


def foreign(run: str | None, place: str, name: str) -> Finding:
    """What there is to say of a file or folder that is none of the store's."""
    if is_temporary(name):
        return Finding(run, place, "note", "left by an interrupted write", remedy=CLEARED)
    return Finding(run, place, "warning", "is not of this store, and left alone", advice=_MOVE_OUT)


class _RunCheck:
    """One check of one run: reads each small file once, and tells of those that cannot be read."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self._run = run
        self._progress = progress
        self._files = run.files
        self._history: History | None = None
        self._marks: dict[tuple[str, int], Mark] | None = None
        self._pinned: Mapping[int, str] | None = None
        self._unreadable: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        parts = (self._devices, self._shelves, self._small_files, self._live, self._resumable, self._trash)
        told = set()
        for part in (*parts, self._journals, self._pins, self._quarantine, self._strangers):
            try:
                yield from part()
            except (StoreError, OSError) as error:  # a folder that is a link, or that may not be read
                if (what := sentence(error).rstrip(".")) not in told:
                    told.add(what)
                    yield self._finding(self._run.key, "fault", what, advice=_PERMISSIONS)

    def _finding(
        self, path: str, severity: Severity, what: str, *, remedy: str | None = None, advice: str | None = None
    ) -> Finding:
        return Finding(self._run.key, self._files.place(path), severity, what, remedy, advice)

    def _path(self, name: str) -> str:
        return f"{self._run.key}/{name}"

    def _devices(self) -> Iterator[Finding]:
        try:
            self._files.refuse_mounts(self._run.key)
        except StoreError as error:
            advice = "nothing is saved or pruned here before that"
            yield self._finding(self._run.key, "fault", str(error).rstrip("."), advice=advice)

    def _shelves(self) -> Iterator[Finding]:
        for name in _FOLDERS:
            path = self._path(name)
            if self._files.is_file(path) and not self._files.is_folder(path):
                yield self._finding(path, "fault", "is no folder", advice=_PERMISSIONS)

    def _small_files(self) -> Iterator[Finding]:
        run = self._run
        holder = run.lease("checking").holder()
        if holder is not None:
            what = "a writer is at work, or was killed; what it is writing may show below"
            yield self._finding(holder, "note", what, remedy="given back for a process that is gone")
        self._history = yield from self._readable(LEDGER, run.ledger.read)
        self._marks = yield from self._readable("tombstones.jsonl", lambda: tombstones(run))
        yield from self._readable(RUN_FILE, run.about)
        self._pinned = yield from self._readable("pins.json", run.pins)
        for name, torn in ((LEDGER, run.ledger.torn), ("tombstones.jsonl", stones(run).torn)):
            if torn:
                what = "its last line was torn by a crash; it is passed over, and cut off by the next write"
                yield self._finding(self._path(name), "note", what, remedy="cut off")

    def _readable(self, name: str, read: Callable[[], T]) -> Generator[Finding, None, T | None]:
        """Gives back what `read` reads, or tells why it cannot be read."""
        try:
            return read()
        except (StoreError, OSError) as error:
            yield self._finding(self._path(name), "fault", sentence(error), advice=_SMALL_FILES[name])
            return None

    def _live(self) -> Iterator[Finding]:
        saved = {e.record.step: e for e in self._history.saved} if self._history is not None else {}
        live = self._run.live()
        size = 0
        for stored in live:
            damage = self._damage(stored)
            if damage is not None and not self._holds(stored):
                continue  # pruned while this was read
            if damage is not None:
                yield self._damaged(stored, "fault", damage)
            yield from self._unlisted(stored)
            if stored.manifest is None:
                continue
            size += stored.manifest.size
            if damage is None and self._history is not None:
                yield from self._recorded(stored, stored.manifest, saved.get(stored.step), self._history)
        yield self._finding(self._path("checkpoints"), "note", f"live checkpoints: {len(live)}, {format_size(size)}")
        yield from self._untold(live)
        yield from self._not_alive(live)

    def _untold(self, live: list[Stored]) -> Iterator[Finding]:
        """Whether the ledger has lost records: a crash keeps the line of one checkpoint from it at most."""
        if self._history is None:
            return
        told = {entry.record.step for entry in self._history.every_entry}
        untold = [stored for stored in live if stored.step not in told]
        of = len(live)
        if untold and not (told or self._history.events):
            yield self._untold_fault(f"tells of none of the {of} live checkpoints")
        elif len(untold) > 1:
            yield self._untold_fault(f"does not tell of {len(untold)} of the {of} live checkpoints")

    def _untold_fault(self, what: str) -> Finding:
        return self._finding(self._path(LEDGER), "fault", what, advice=_SMALL_FILES[LEDGER])

    def _recorded(
        self, stored: Stored, manifest: manifests.Manifest, entry: Entry | None, history: History
    ) -> Iterator[Finding]:
        """Whether the ledger knows a live checkpoint, and says the same of it."""
        if entry is None and history.overtook(stored.step, manifest.time):
            what = "a resumed training has overtaken it, but was interrupted before it was set aside"
            yield self._finding(stored.folder, "warning", what, remedy="set aside, as superseded")
        elif entry is None:
            what = "the ledger has no record that saved it; the next training sets it aside"
            advice = "train on; or pin it, to keep it"
            yield self._finding(stored.folder, "warning", what, advice=advice)
        elif encode_metrics(entry.record.metrics) != manifest.metrics:
            what = "its manifest and the ledger differ in its metrics"
            advice = "find out which of the two was changed, and bring it back from a copy"
            yield self._finding(stored.folder, "warning", what, advice=advice)

    def _damaged(self, stored: Stored, severity: Severity, what: str) -> Finding:
        if stored.foreign:
            advice = "move it out of the store, to where it belongs"
            return self._finding(stored.folder, severity, what, advice=advice)
        if stored.folder in self._unreadable:
            return self._finding(stored.folder, severity, what, advice="see to the disk, or to who may read it")
        if not is_movable(self._files, stored):
            advice = "put the folder of the checkpoint itself in its place, or move this out of the store"
            return self._finding(stored.folder, severity, what, advice=advice)
        return self._finding(stored.folder, severity, what, remedy=QUARANTINED)

    def _not_alive(self, live: list[Stored]) -> Iterator[Finding]:
        """Saved checkpoints that nobody left word of, and tombstones of what is alive."""
        if self._history is None or self._marks is None:
            return
        for record in missing(self._run, live, self._history):
            what = f"saved at epoch {record.epoch + 1}, but gone, and no tombstone tells why"
            advice = "bring its folder back from a copy, if there is one, before a repair takes it for lost"
            place = self._run.gated.path(record.step)
            yield self._finding(place, "fault", f"{what}; {advice}", remedy=TAKEN_FOR_LOST)
        for mark in revived(self._run, self._marks, live):
            what = f"is alive, but has a tombstone of {format_time(mark['time'])}"
            place = self._run.gated.path(mark["step"])
            if self._files.holds(trash_path(self._run, mark["plan"], mark["step"]), manifests.NAME):
                advice = "the trash holds it, too: compare the two, and move one out of the store"
                yield self._finding(place, "warning", what, advice=advice)
            else:
                yield self._finding(place, "warning", what, remedy="told in the tombstones, as undeleted")

    def _resumable(self) -> Iterator[Finding]:
        states = self._run.resumable.stored()
        for stored in states:
            damage = self._damage(stored)
            if damage is None or not self._holds(stored):
                continue
            if stored is not states[-1] and half_removed(self._files, stored):
                what = f"half removed by an interrupted save: {damage}"
                yield self._finding(stored.folder, "note", what, remedy=CLEARED)
            else:
                yield self._damaged(stored, "warning", f"training would resume from an earlier state: {damage}")

    def _trash(self) -> Iterator[Finding]:
        marks = marks_in_trash(self._run) if self._marks is not None else {}
        for stored in trashed(self._run):
            name = stored.folder.rpartition("/")[2]
            mark = marks.get(name, {})
            damage = self._damage(stored)
            if damage is not None and not self._holds(stored):
                continue  # swept while this was read
            if damage is not None and half_swept(self._run, stored, mark):
                what = f"its sweep was interrupted: {damage}"
                yield self._finding(stored.folder, "warning", what, remedy=FINISHED)
            elif damage is not None:
                yield self._damaged(stored, "warning", f"cannot be brought back: {damage}")
            elif self._marks is not None and mark.get("event") == "undeleted":
                yield from self._half_undeleted(stored)
            elif self._marks is not None and is_stranded(self._run, name, mark):
                yield self._stranded(stored)
            elif self._marks is not None and not mark:
                what = "pruning it was interrupted; the next writer finishes it"
                yield self._finding(stored.folder, "warning", what, remedy=FINISHED)

    def _half_undeleted(self, stored: Stored) -> Iterator[Finding]:
        if self._run.gated.holds(trash_place(stored.folder.rpartition("/")[2])[0]):
            yield self._stranded(stored)
            return
        what = "bringing it back was interrupted; the next writer finishes it"
        yield self._finding(stored.folder, "warning", what, remedy=FINISHED)

    def _stranded(self, stored: Stored) -> Finding:
        what = "lies in the trash, but no pruning under way knows of it, so no sweep comes to it"
        step = trash_place(stored.folder.rpartition("/")[2])[0]
        if not self._run.gated.holds(step):
            return self._finding(stored.folder, "warning", what, remedy="brought back among the live ones")
        advice = f"another checkpoint of step {step} is live: compare the two, and move one out of the store"
        return self._finding(stored.folder, "warning", what, advice=advice)

    def _journals(self) -> Iterator[Finding]:
        for digest in journals(self._run):
            path = journal_path(self._run, digest)
            try:
                journal = read_journal(self._run, digest)
            except NewerFormat as error:
                yield self._finding(path, "fault", str(error), advice="use the version that wrote it")
                continue
            except StoreError as error:
                remedy = "moved to the quarantine, and what it had moved to the trash was brought back"
                yield self._finding(path, "fault", str(error), remedy=remedy)
                continue
            marks = self._marks or {}
            undone = [item["step"] for item in journal["going"] if (digest, item["step"]) not in marks]
            there = [m for (p, _), m in marks.items() if p == digest and m["event"] == "trashed"]
            if undone and self._marks is not None:
                what = f"a pruning was interrupted with {len(undone)} checkpoints to go; the next writer finishes it"
                yield self._finding(path, "warning", what, remedy=FINISHED)
            elif there:
                until = max(m["time"] for m in there) + journal["grace"]
                over = "is over" if until <= self._run.clock() else f"lasts until {format_time(until)}"
                size = format_size(sum(m.get("bytes", 0) for m in there))
                what = f"an open pruning: {len(there)} checkpoints, {size}, lie in the trash, their grace {over}"
                yield self._finding(path, "note", what)
            else:
                yield self._finding(path, "note", "a pruning that is done; the next sweep drops its journal")

    def _pins(self) -> Iterator[Finding]:
        """Pins that keep nothing: what they were put on is neither live nor in the trash."""
        in_trash = {trash_place(name)[0] for name in names_in_trash(self._run)} if self._pinned else set()
        overtaken = {int(m[1]) for name in self._names("superseded") if (m := STEP_FOLDER.match(name))}
        for step, why in sorted((self._pinned or {}).items()):
            if step in in_trash or self._run.gated.holds(step):
                continue
            where = "lies in superseded/, since a resumed training has overtaken it" if step in overtaken else "is gone"
            what = f"step {step} is pinned ({why}), but {where}"
            advice = "unpin it; or put its checkpoint back in its place"
            yield self._finding(self._path("pins.json"), "warning", what, advice=advice)

    def _quarantine(self) -> Iterator[Finding]:
        for name in self._names("quarantine"):
            path = self._path(f"quarantine/{name}")
            if STEP_FOLDER.match(name) and self._files.is_folder(path):
                if (reason := self._run.reason(path)) is None:
                    what = "in quarantine: set aside as damaged, and interrupted before the reason was written"
                    yield self._finding(path, "note", what, remedy="looked at again, and the reason written")
                    continue
                yield self._finding(path, "note", f"in quarantine: {reason}")
            elif name.endswith(JOURNAL_ASIDE):
                yield self._finding(path, "note", "in quarantine: a damaged journal of a pruning")

    def _strangers(self) -> Iterator[Finding]:
        for name in self._files.names(self._run.key):
            if name not in (*_FILES, *_FOLDERS) and not claim_name(name, LEASE_FILE):
                yield self._stranger("", name)
        for folder, expected in (("checkpoints", STEP_FOLDER), ("resume", STEP_FOLDER), ("trash", TRASH_FOLDER)):
            for name in self._names(folder):
                if not expected.fullmatch(name):
                    yield self._stranger(folder, name)
                elif not self._files.is_file(unfinished := self._path(f"{folder}/{name}/{UNFINISHED_FILE}")):
                    continue
                elif self._files.atomic:  # brought here from an object store; nothing on a disk is ever unfinished
                    yield self._finding(unfinished, "warning", _UNLISTED, advice=_MOVE_OUT)
                else:
                    what = "half-written, half-moved or half-removed; the next writer clears it away"
                    yield self._finding(self._path(f"{folder}/{name}"), "note", what, remedy=CLEARED)
        for name in self._names("journal"):
            if not JOURNAL_FILE.fullmatch(name):
                yield self._stranger("journal", name)
        for name in filter(is_temporary, self._names("quarantine")):
            yield self._stranger("quarantine", name)
        for name in self._names("tmp"):
            if STAGED.fullmatch(name):
                what = "half-written; swept when training next begins"
                yield self._finding(self._path(f"tmp/{name}"), "note", what, remedy=CLEARED)
            else:
                yield self._stranger("tmp", name)

    def _stranger(self, folder: str, name: str) -> Finding:
        place = "/".join(filter(None, (self._files.place(self._run.key), folder, name)))
        return foreign(self._run.key, place, name)

    def _unlisted(self, stored: Stored) -> Iterator[Finding]:
        if stored.manifest is None:
            return
        listed = {manifests.NAME, UNFINISHED_FILE, *(entry.path for entry in stored.manifest.files)}
        for name in self._files.names(stored.folder):
            place = f"{self._files.place(stored.folder)}/{name}"
            if is_temporary(name):
                yield foreign(self._run.key, place, name)
            elif name not in listed:
                yield Finding(self._run.key, place, "warning", _UNLISTED, advice=_MOVE_OUT)

    def _damage(self, stored: Stored) -> str | None:
        try:
            return verify_files(self._files, stored, self._progress)
        except (OSError, StoreError) as error:
            self._unreadable.add(stored.folder)
            return f"{self._files.place(stored.folder)} cannot be read: {sentence(error).rstrip('.')}"

    def _holds(self, stored: Stored) -> bool:
        return self._files.holds(stored.folder, manifests.NAME)

    def _names(self, folder: str) -> list[str]:
        return self._files.names(self._path(folder))
