"""One training run in the store.

<run>/run.json            what the run is
<run>/ledger.jsonl        every record, with its decision
<run>/checkpoints/        gated checkpoints, one folder a step
<run>/resume/             the state from which training goes on, kept apart from them
<run>/trash/              pruned, within their grace; <run>/tombstones.jsonl remembers them for ever
<run>/quarantine/         damaged; evidence, never deleted
<run>/superseded/         what a resumed training has overtaken
<run>/journal/            prunings under way
<run>/pins.json           checkpoints that are never pruned, and why
<run>/lease.<token>.json  who writes, or wrote last
<run>/tmp/                half-written; swept at the next start (of an object store: on the disk of the writer)
"""

from __future__ import annotations

import contextlib
import logging
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ForeignCheckpoint, StoreError
from checkpoint_gate.rules.conditions import Mode
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.retention import Best, Held
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.champion import read_pushed
from checkpoint_gate.store.checkpoints import (
    PREFIX,
    Shelf,
    Stored,
    copy_out,
    folder_name,
    is_movable,
    looks,
    move_checkpoint,
    verify_files,
)
from checkpoint_gate.store.documents import read_object, read_object_if_there, write_object
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.filesystem import Files
from checkpoint_gate.store.layout import LEASE_FILE, RUN_FILE, WRITER
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.ledger import NAME as LEDGER
from checkpoint_gate.store.ledger import Ledger
from checkpoint_gate.store.revision import by_hand, raise_revision
from checkpoint_gate.store.trash import GONE, Buried, journals, read_journal, tombstones

_LOG = logging.getLogger(__name__)

_STEP = re.compile(r"[0-9]{1,18}")
_REASON_LETTERS = 2000
_REASON_BYTES = 1 << 16
_TO_RESUME = "state to resume from"


class Run:
    """A run's folder. Reading needs nothing; writing is done under `lease()`."""

    def __init__(self, files: Files, key: str, clock: Callable[[], float]) -> None:
        self.files = files
        self.key = key
        self.clock = clock
        self.ledger = Ledger(files, f"{key}/{LEDGER}", clock)
        self.verified: dict[str, tuple[object, ...]] = {}  # folder -> how its files looked when every byte verified
        self.buried: Buried | None = None
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self.gated = Shelf(files, key, f"{key}/checkpoints", f"{key}/tmp", clock, self._saved, self.fence)
        self.resumable = Shelf(files, key, f"{key}/resume", f"{key}/tmp", clock, self._last_steps, self.fence)

    def create(self, **about: Any) -> None:
        """Makes the run's folder and says what it is; fine when it is there.

        Raises:
          StoreError: a folder of this name is there, with other things in it.
        """
        self.files.make_folder(self.key)
        if not self.files.exists(f"{self.key}/{RUN_FILE}"):
            foreign = [name for name in self.files.names(self.key) if not name.startswith(".")]
            if foreign:
                raise StoreError(
                    f"{self.files.place(self.key)} holds {foreign[0]!r} and is no training run. Choose another name."
                )
            fields = {"run": self.key, "created": self.clock(), "writer": WRITER, **about}
            write_object(self.files, f"{self.key}/{RUN_FILE}", **fields)

    def about(self) -> Mapping[str, Any]:
        """What `create` was told.

        Raises:
          StoreError: the file is damaged, or of a newer format.
        """
        return read_object(self.files, f"{self.key}/{RUN_FILE}")

    def lease(self, purpose: str) -> Lease:
        """The right to write in this run; `purpose` stands in another writer's error."""
        lease = Lease(self.files, f"{self.key}/{LEASE_FILE}", purpose, self.clock, floor=self._token_of_journals)
        self._leases.add(lease)
        return lease

    def _token_of_journals(self) -> int:
        """The highest token under which a pruning under way was begun, 0 without one."""
        tokens = [0]
        for digest in journals(self):
            with contextlib.suppress(StoreError):  # damaged: a check tells
                tokens.append(read_journal(self, digest)["token"])
        return max(tokens)

    def fence(self) -> None:
        """Lets a writer go on who holds the run's lease, or never took it.

        Raises:
          LeaseHeld: the lease was taken over by another writer.
        """
        for lease in tuple(self._leases):
            lease.check()

    def prove(self) -> None:
        """As `fence`, by a look at this moment: who was overtaken takes another writer's moves for damage."""
        for lease in tuple(self._leases):
            lease.prove()

    def _saved(self) -> Iterator[int]:
        """The steps that the ledger says were saved, and no tombstone says are gone."""
        try:
            gone = {mark["step"] for mark in tombstones(self).values() if mark["event"] in GONE}
            saved = self.ledger.read().saved
        except StoreError:  # damaged: what is listed is all that is known
            return
        yield from (entry.record.step for entry in saved if entry.record.step not in gone)

    def _last_steps(self) -> list[int]:
        """The steps of the last few records: the state to resume from is one of them."""
        try:
            return [record.step for record in self.ledger.read().records[-3:]]
        except StoreError:
            return []

    def stage(self) -> tuple[str, Path]:
        """A new folder to write TensorFlow's files into: its path in the store, and its place on the disk."""
        return self.gated.stage()

    def publish(self, staged: str, record: Record, decision: str, rules: str) -> str:
        """Publishes a staged folder as the gated checkpoint of `record`; answers with its path in the store.

        Where the last step of an epoch was saved as a step, the epoch's record takes that one's place: the state is
        the same, and says more.
        """
        manifest = self.gated.describe(staged, record, "gated", decision, rules, WRITER)
        present = self.gated.read(folder_name(record.step)).manifest
        if present is not None and (present.record.at, record.at) == ("step", "epoch"):
            self.gated.discard(staged)
            return self.gated.restate(manifest.changed(files=present.files))
        target = self.gated.publish(staged, manifest)
        seen = looks(self.files, Stored(target, manifest))
        if seen is not None:
            self.verified[target] = seen  # they were read back for the manifest
        return target

    def publish_resumable(self, record: Record, rules: str, *, staged: str | None = None) -> None:
        """Makes the state of `record` the one to resume from, and then removes the older ones.

        Without `staged`, the gated checkpoint of the same step serves: its files are linked, not written again. Where
        the last step of an epoch was made so as a step, that state stays: it is the same.
        """
        present = self.resumable.read(folder_name(record.step)).manifest
        if present is not None and (present.record.at, record.at) == ("step", "epoch"):
            if staged is not None:
                self.resumable.discard(staged)
            return
        if staged is None:
            gated = self.gated.read(folder_name(record.step))
            self.resumable.publish_copy(gated, record, "resumable", _TO_RESUME, rules, WRITER)
        else:
            manifest = self.resumable.describe(staged, record, "resumable", _TO_RESUME, rules, WRITER)
            self.resumable.publish(staged, manifest)
        self.drop_states_before(record.step)

    def drop_states_before(self, step: int) -> None:
        """Removes the states to resume from that are older than `step`."""
        for stored in self.resumable.stored():
            if stored.step < step:
                self.resumable.remove(stored)

    def resume_state(self) -> Stored | None:
        """The newest state to resume from of which every byte verifies; None where there is none.

        A gated checkpoint of an epoch's end that the ledger knows serves as well: it is the same state, kept for
        another reason. One from within an epoch does not: its epoch could not be gone on with.
        """
        ends = {record.step for record in self.ledger.read().records if record.at == "epoch"}
        gated = [stored for stored in self.gated.stored() if stored.step in ends and _at_an_epochs_end(stored)]
        states = sorted((*self.resumable.stored(), *gated), key=lambda stored: stored.step, reverse=True)
        return next((stored for stored in states if verify_files(self.files, stored) is None), None)

    def clear_leftovers(self) -> None:
        """Removes what killed writers left that no reader sees, and makes last what they made; only under the lease.

        A name is synced by who makes it, and not again by who finds it there.
        """
        self.files.sync_folder(self.key)
        for folder in (self.key, f"{self.key}/journal", f"{self.key}/quarantine"):
            self.files.remove_temporary(folder)
        for shelf in ("checkpoints", "resume", "trash", "quarantine", "superseded"):
            if self.files.is_folder(f"{self.key}/{shelf}"):
                self.files.sync_folder(f"{self.key}/{shelf}")
            self.files.clear_unfinished(f"{self.key}/{shelf}", manifests.NAME, self.fence)

    def resume_after(self, step: int) -> list[str]:
        """Sets aside what lies after `step`, where training resumes; answers with the folders' new names."""
        self.ledger.append_event("resumed", after_step=step)
        moved = []
        for shelf in (self.gated, self.resumable):
            for stored in shelf.stored():
                if stored.step > step:
                    moved.append(self._set_aside(stored, f"{self.key}/superseded"))
        return moved

    def supersede(self, stored: Stored) -> None:
        """Sets a checkpoint aside that a resumed training has overtaken."""
        self._set_aside(stored, f"{self.key}/superseded")

    def quarantine(self, stored: Stored, reason: str) -> str:
        """Moves a damaged checkpoint aside with the reason; its bytes are evidence and stay.

        Raises:
          ForeignCheckpoint: it is not this run's, of another format, or a link; it is left where it is.
          LeaseHeld: the lease was taken over by another writer.
        """
        if not is_movable(self.files, stored):
            place = self.files.place(stored.folder)
            raise ForeignCheckpoint(
                f"{place} is not this run's to move: put the checkpoint of its own in its place, or move it out of the "
                f"store. {reason}"
            )
        self.prove()
        target = self._set_aside(stored, f"{self.key}/quarantine")
        self.tell_reason(target, reason)
        return target

    def tell_reason(self, quarantined: str, reason: str) -> None:
        """Writes down why a checkpoint lies in the quarantine, in so many words as somebody reads."""
        told = reason if len(reason) <= _REASON_LETTERS else reason[:_REASON_LETTERS] + "…"
        self.files.replace(f"{quarantined}.reason", (told + "\n").encode("utf-8", "replace"))

    def reason(self, quarantined: str) -> str | None:
        """Why a checkpoint lies in the quarantine; None where nothing that can be read tells."""
        path = f"{quarantined}.reason"
        try:
            if self.files.is_file(path):
                return self.files.read(path, _REASON_BYTES).decode("utf-8", "replace").strip()
        except StoreError:
            return "the file of the reason is too large to be read"
        return None

    def _set_aside(self, stored: Stored, where: str) -> str:
        """Moves a checkpoint to a free name below `where`, or goes on with a move there that was interrupted."""
        name = stored.folder.rpartition("/")[2]
        n = 0
        while True:
            target = f"{where}/{name}" + (f".{n}" if n else "")
            n += 1
            if self.files.atomic and self.files.exists(target):
                continue
            try:
                move_checkpoint(self.files, stored, target, self.fence)
                return target
            except FileExistsError:
                continue

    def live(self) -> list[Stored]:
        """The gated checkpoints, by step; the damaged ones come with the damage."""
        return self.gated.stored()

    def held(self, live: Iterable[Stored] | None = None) -> list[Held]:
        """The readable live checkpoints as retention sees them; `live`, if they were just read."""
        return [
            Held(m.step, m.epoch, m.record.metrics, m.time, m.size, m.record.at)
            for stored in (self.live() if live is None else live)
            if (m := stored.manifest) is not None
        ]

    def best(self, metric: str, mode: Mode) -> Stored:
        """The live checkpoint with the best finite value of `metric`, every byte verified; of equals the later one.

        One that does not verify is passed over with a warning.

        Raises:
          RuleError: `mode` is neither "min" nor "max".
          StoreError: no live checkpoint has a finite value of `metric`.
        """
        held = self.held()
        for each in Best(metric, mode, max(len(held), 1)).best(held):
            stored = self.gated.read(folder_name(each.step))
            damage = verify_files(self.files, stored)
            if damage is None:
                return stored
            _LOG.warning("passed over: %s", damage)
        if not held:
            self._refuse_unsaved()
        logged = sorted({name for each in held for name in each.metrics})
        raise StoreError(
            f"No live checkpoint of the run {self.key} that verifies has a finite value of {metric!r}. "
            f"They have: {', '.join(logged) or 'none'}."
        )

    def _refuse_unsaved(self) -> None:
        """Says so where no record of the run was ever let through."""
        entries = self.ledger.read().entries
        if not any(entry.decision.save for entry in entries):
            records = f"{len(entries)} record{'s' * (len(entries) != 1)}, all refused" if entries else "no record"
            raise StoreError(f"The run {self.key} has saved no checkpoint yet: {records}.")

    def pins(self) -> dict[int, str]:
        """Step -> why it is never pruned."""
        path = f"{self.key}/pins.json"
        value = read_object_if_there(self.files, path)
        if value is None:
            return {}
        pins = value.get("pins")
        if not isinstance(pins, dict) or not all(
            _STEP.fullmatch(step) and isinstance(why, str) for step, why in pins.items()
        ):
            raise StoreError(f"{self.files.place(path)} is damaged: pins must be an object of steps and notes.")
        return {int(step): why for step, why in pins.items()}

    def protected(self) -> dict[int, str]:
        """Step -> why no pruning and no retention may take it: it is pinned, or a live version was made of it."""
        reasons = {step: f"pinned: {why}" for step, why in self.pins().items()}
        for place, note in enumerate(pushed := read_pushed(self.files)):
            champion = place == 0 or note.version == pushed[0].version
            why = "the champion, pushed" if champion else "one can go back to it, pushed"
            if note.run == self.key:
                reasons.setdefault(note.step, f"{why} as version {note.version}")
        return reasons

    def pin(self, step: int, why: str) -> None:
        """Keeps the checkpoint of `step` from every pruning until it is unpinned. Raises the store's revision.

        Raises:
          LeaseHeld: another change by hand is under way.
        """
        with by_hand(self.files, self.clock, "pinning"):
            self._write_pins(self.pins() | {step: why})
            raise_revision(self.files)

    def unpin(self, step: int) -> None:
        """Takes the pin of `step` away and raises the store's revision; does nothing when there is none.

        Raises:
          LeaseHeld: another change by hand is under way.
        """
        with by_hand(self.files, self.clock, "unpinning"):
            pins = self.pins()
            if step in pins:
                self._write_pins({s: why for s, why in pins.items() if s != step})
                raise_revision(self.files)

    def _write_pins(self, pins: Mapping[int, str]) -> None:
        write_object(self.files, f"{self.key}/pins.json", pins={str(s): why for s, why in sorted(pins.items())})

    def prefix(self, stored: Stored) -> str:
        """The TensorFlow prefix of a checkpoint's files on the disk, for `tf.train.Checkpoint.read`.

        From an object store they are downloaded, compared with the manifest, and gone when this process ends.

        Raises:
          DamagedCheckpoint: what was downloaded does not match the manifest.
        """
        if isinstance(self.files, LocalFiles):
            return str(self.files.local(f"{stored.folder}/{PREFIX}"))
        folder = self.files.download_folder() / stored.folder.rpartition("/")[2]
        copy_out(self.files, stored, folder)
        return str(folder / PREFIX)


def _at_an_epochs_end(stored: Stored) -> bool:
    return stored.manifest is not None and stored.manifest.record.at == "epoch"
