"""The checkpoints of one run: publish, read, verify. A reader sees a whole checkpoint or none."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from checkpoint_gate.errors import DamagedCheckpoint, ForeignCheckpoint, StoreError
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checksums import kind_of
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.filesystem import Fence, Files
from checkpoint_gate.store.layout import UNFINISHED_FILE
from checkpoint_gate.store.manifest import FileEntry, Kind, Manifest, parse_manifest
from checkpoint_gate.store.opened_files import NotPlain

STAGED = re.compile(r"[0-9a-f]{32}")  # a folder that is being written
STEP_FOLDER = re.compile(r"step-(\d{9,})")  # what else lies on a shelf is foreign, and left alone
Progress = Callable[[int], None]  # told so many more bytes
_T = TypeVar("_T")
PREFIX = "ckpt"  # the prefix of TensorFlow's checkpoint files within a checkpoint's folder


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint's folder, and its manifest or what is wrong with it; `foreign` where it is another one's."""

    folder: str
    manifest: Manifest | None
    damage: str | None = None
    foreign: bool = False

    @property
    def step(self) -> int:
        """The step that the folder's name says."""
        match = STEP_FOLDER.match(self.folder.rpartition("/")[2])
        assert match is not None
        return int(match[1])


def folder_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:09d}"


class Shelf:
    """A folder of checkpoints of one kind, with the temporary folder from which they are published.

    Args:
      temporary: on a local disk beside the shelf; for an object store on the disk of this machine.
      expected: steps that should be here by the run's records; asked for where a listing may be late.
      fence: raises when the run's lease was lost.
    """

    def __init__(
        self,
        files: Files,
        run: str,
        folder: str,
        temporary: str,
        clock: Callable[[], float],
        expected: Callable[[], Iterable[int]],
        fence: Fence,
    ) -> None:
        self._files = files
        self._run = run
        self._folder = folder
        self._temporary = temporary
        self._clock = clock
        self._expected = expected
        self._fence = fence

    def stage(self) -> tuple[str, Path]:
        """A new empty folder to write TensorFlow's files into: its name for `publish`, and its place on the disk."""
        path = self._new_temporary()
        self._files.staging.make_staged(path)
        return path, self._files.staging.local(path)

    def _new_temporary(self) -> str:
        return f"{self._temporary}/{uuid.uuid4().hex}"

    def describe(self, staged: str, record: Record, kind: Kind, decision: str, rules: str, writer: str) -> Manifest:
        """Makes the staged files survive a power cut, and their manifest."""
        disk = self._files.staging
        entries = []
        for name in disk.names(staged):
            path = f"{staged}/{name}"
            if not manifests.is_file_name(name):
                raise StoreError(
                    f"A checkpoint's files are named by letters, digits, '.', '_' and '-', at most 201 of them, the "
                    f"first a letter or a digit; {manifests.NAME} and {UNFINISHED_FILE} are the store's own. Received: "
                    f"{name!r}."
                )
            disk.sync_file(path)
            entries.append(FileEntry(path=name, bytes=disk.size(path), checksum=disk.checksum(path)))
        if same := _same_but_for_case(entry.path for entry in entries):
            raise StoreError(
                f"The names of a checkpoint's files must differ in more than their case, which some disks do not tell "
                f"apart. Received: {', '.join(map(repr, same))}."
            )
        if not entries:
            raise StoreError(f"Nothing was written to {disk.local(staged)}, so there is nothing to publish.")
        return self._manifest(record, kind, decision, rules, entries, writer)

    def _manifest(
        self, record: Record, kind: Kind, decision: str, rules: str, entries: list[FileEntry], writer: str
    ) -> Manifest:
        return Manifest.build(
            record=record,
            time=self._clock(),
            kind=kind,
            run=self._run,
            decision=decision,
            rules=rules,
            files=entries,
            writer=writer,
        )

    def publish(self, staged: str, manifest: Manifest) -> str:
        """Puts a staged folder in its place, the manifest last, and answers with its path in the store.

        Publishing again what is there already, with the same bytes, changes nothing.

        Raises:
          StoreError: the step is there with other bytes.
        """
        target = self.path(manifest.step)
        if not self._is_published(target, manifest):
            self._files.publish_folder(staged, target, manifests.NAME, manifest.to_bytes(), self._fence)
        if self._files.staging.exists(staged):
            self.discard(staged)
        return target

    def publish_copy(self, source: Stored, record: Record, kind: Kind, decision: str, rules: str, writer: str) -> str:
        """Publishes the files of a published checkpoint again, on this shelf, as links or copies."""
        if source.manifest is None:
            raise StoreError(source.damage or f"{source.folder} has no manifest")
        manifest = self._manifest(record, kind, decision, rules, list(source.manifest.files), writer)
        target = self.path(manifest.step)
        if not self._is_published(target, manifest):
            names = [entry.path for entry in manifest.files]
            staged, data = self._new_temporary(), manifest.to_bytes()
            try:
                self._files.publish_copy(source.folder, names, staged, target, manifests.NAME, data, self._fence)
            except OSError:  # on a full disk training may go on, and what is left here would be held for ever
                with contextlib.suppress(OSError):
                    self.discard(staged)
                raise
        return target

    def _is_published(self, target: str, manifest: Manifest) -> bool:
        if not self._files.holds(target, manifests.NAME):
            return False
        present = self.read(folder_name(manifest.step)).manifest
        if present is None or present.files != manifest.files:
            raise StoreError(f"{self._files.place(target)} is there already, with other content.")
        return True

    def restate(self, manifest: Manifest) -> str:
        """Puts another manifest over the files of a published checkpoint, and answers with its path in the store."""
        target = self.path(manifest.step)
        self._fence()
        self._files.replace(f"{target}/{manifests.NAME}", manifest.to_bytes())
        return target

    def discard(self, staged: str) -> None:
        """Removes a staged folder with all that is in it: TensorFlow, when killed, leaves a folder of its own there."""
        disk = self._files.staging
        if not disk.is_folder(staged):
            disk.remove_file(staged)
            return
        disk.empty_folder(staged)
        disk.remove_folder(staged)

    def clear_staged(self) -> None:
        """Removes what dead writers left in the temporary folder; only under the lease. Other names are not ours."""
        for name in filter(STAGED.fullmatch, self._files.staging.names(self._temporary)):
            self.discard(f"{self._temporary}/{name}")

    def path(self, step: int) -> str:
        """Where the checkpoint of `step` is, or would be."""
        return f"{self._folder}/{folder_name(step)}"

    def holds(self, step: int) -> bool:
        """Whether a reader may see a checkpoint of `step` here."""
        return self._files.holds(self.path(step), manifests.NAME)

    def stored(self) -> list[Stored]:
        """Every checkpoint on the shelf, by step; damaged manifests come with the damage."""
        names = {name for name in self._files.names(self._folder) if STEP_FOLDER.fullmatch(name)}
        if not self._files.atomic:
            names.update(map(folder_name, self._expected()))
        return read_all(self._files, self._folder, sorted(names, key=lambda name: (len(name), name)), self._run)

    def read(self, name: str) -> Stored:
        """The checkpoint in the folder `name` of this shelf."""
        folder = f"{self._folder}/{name}"
        return read_checkpoint(self._files, folder, self._run)

    def remove(self, stored: Stored) -> bool:
        """Removes a checkpoint file by file, and tells whether it is gone.

        One that holds files which its manifest does not list, or whose manifest is damaged, stays as it is.
        """
        return remove_checkpoint(self._files, stored, self._fence)


def _same_but_for_case(names: Iterable[str]) -> list[str]:
    """The first of these names that others differ from in their case only, and those."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(name.casefold(), []).append(name)
    return next((each for each in alike.values() if len(each) > 1), [])


def remove_checkpoint(files: Files, stored: Stored, fence: Fence) -> bool:
    """Removes what a manifest lists, and the manifest; tells whether the checkpoint is gone."""
    if not files.holds(stored.folder, manifests.NAME):
        return True
    names = set(files.names(stored.folder))
    if stored.manifest is None:
        return not names and files.discard_folder(stored.folder, manifests.NAME, (), fence)
    listed = {entry.path for entry in stored.manifest.files}
    others = names - listed - {manifests.NAME}
    if files.atomic and others:
        return False
    others.discard(UNFINISHED_FILE)
    if any(files.exists(f"{stored.folder}/{name}") for name in others):  # a late list may show what is gone
        return False
    return files.discard_folder(stored.folder, manifests.NAME, listed, fence)


def move_checkpoint(files: Files, stored: Stored, target: str, fence: Fence) -> None:
    """Moves a checkpoint to a free place, whole.

    Raises:
      FileExistsError: the place is taken.
    """
    files.make_folder(target.rpartition("/")[0])
    names = [entry.path for entry in stored.manifest.files] if stored.manifest is not None else []
    files.move_folder(stored.folder, target, manifests.NAME, names, fence)


def copy_out(files: Files, stored: Stored, folder: Path) -> None:
    """Links or copies a checkpoint into a folder on the disk; copies are compared with the manifest.

    Raises:
      DamagedCheckpoint: what arrived does not match the manifest.
    """
    if stored.manifest is None:
        raise DamagedCheckpoint(stored.damage or f"{files.place(stored.folder)} has no manifest.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in [entry.path for entry in stored.manifest.files] + [manifests.NAME]:
        path = f"{stored.folder}/{name}"
        try:
            _while_there(files, path, functools.partial(files.link, path, folder / name))
        except _Missing:
            raise DamagedCheckpoint(f"{files.place(path)} is missing.") from None
    if not files.atomic:
        copy = LocalFiles(folder.parent)
        damage = verify_files(copy, Stored(folder.name, stored.manifest))
        if damage is not None:
            raise DamagedCheckpoint(f"The copy of {files.place(stored.folder)} is damaged: {damage}.")


def read_all(files: Files, folder: str, names: Iterable[str], run: str) -> list[Stored]:
    """The checkpoints of these names in `folder`, without those that are gone, or not yet whole."""
    found = (read_checkpoint(files, f"{folder}/{name}", run) for name in names)
    return [each for each in found if each.manifest is not None or files.holds(each.folder, manifests.NAME)]


def read_checkpoint(files: Files, folder: str, run: str) -> Stored:
    """Reads the manifest in `folder`, and checks that it is of `run` and of that folder. Bytes are not read."""
    path = f"{folder}/{manifests.NAME}"
    try:
        try:
            data = files.read(path, manifests.MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise DamagedCheckpoint(f"{files.place(folder)} has no manifest.") from None
        manifest = parse_manifest(data, files.place(path))
        if manifest.run != run:
            raise ForeignCheckpoint(f"{files.place(folder)} belongs to the run {manifest.run}, not to {run}.")
        if re.split("--|[.]", folder.rpartition("/")[2])[0] != folder_name(manifest.step):
            raise DamagedCheckpoint(f"{files.place(folder)} holds the manifest of step {manifest.step}.")
        return Stored(folder, manifest)
    except StoreError as error:
        return Stored(folder, None, str(error), isinstance(error, ForeignCheckpoint))


def is_movable(files: Files, stored: Stored) -> bool:
    """Whether a damaged checkpoint may be set aside: it is this run's, and a folder rather than a link."""
    return not stored.foreign and (not files.atomic or files.is_folder(stored.folder))


def half_removed(files: Files, stored: Stored) -> bool:
    """Whether a removal was interrupted here: it takes the files in the order of their names, then the manifest."""
    if stored.manifest is None:
        return files.is_folder(stored.folder) and not files.names(stored.folder)
    present = [files.is_file(f"{stored.folder}/{name}") for name in sorted(e.path for e in stored.manifest.files)]
    return not all(present) and present == sorted(present)


def bytes_held(files: Files, folder: str) -> int:
    """Bytes of the files in a checkpoint's folder, listed by its manifest or not; what goes meanwhile may be missed."""
    size = 0
    for name in files.names(folder):
        with contextlib.suppress(FileNotFoundError):
            size += files.size(f"{folder}/{name}") if files.is_file(f"{folder}/{name}") else 0
    return size


def bytes_listed(stored: Iterable[Stored]) -> int:
    """Bytes that verifying reads, where nothing is damaged."""
    return sum(each.manifest.size for each in stored if each.manifest is not None)


def verify_files(files: Files, stored: Stored, progress: Progress = lambda _: None) -> str | None:
    """What does not match the manifest, as one sentence; None when every byte does.

    Args:
      progress: told the bytes of each file that was read.
    """
    if stored.manifest is None:
        return stored.damage or "it has no manifest"
    for entry in stored.manifest.files:
        path = f"{stored.folder}/{entry.path}"
        try:
            damage = _while_there(files, path, functools.partial(_differs, files, path, entry))
        except _Missing:
            damage = "is missing"
        if damage is not None:
            return f"{files.place(path)} {damage}"
        progress(entry.bytes)
    return None


def looks(files: Files, stored: Stored) -> tuple[object, ...] | None:
    """What is another when a checkpoint's bytes or its manifest are others; None where nothing is told."""
    if stored.manifest is None:
        return None
    each = [files.identity(f"{stored.folder}/{entry.path}") for entry in stored.manifest.files]
    return None if None in each else (stored.manifest.checksum, *each)


def is_settled(files: Files, stored: Stored) -> bool:
    """Whether `looks` tells every change from now on."""
    entries = stored.manifest.files if stored.manifest is not None else ()
    return all(files.is_settled(f"{stored.folder}/{entry.path}") for entry in entries)


def cannot_be_read(error: OSError, place: str) -> str:
    """One phrase: why a file could not be verified; it may be whole."""
    return f"{os.fsdecode(error.filename or place)} cannot be read: {error.strerror or error}"


class _Missing(Exception):
    """A file was pruned meanwhile."""


def _while_there(files: Files, path: str, act: Callable[[], _T]) -> _T:
    """What `act` answers of the file at `path`, tried again where it was gone for a moment.

    A pruning moves back what somebody protects meanwhile.

    Raises:
      _Missing: it is not there any more.
      FileNotFoundError: a disk that keeps saying so of what is there is at fault itself.
    """
    try:
        return act()
    except FileNotFoundError:
        pass
    if not files.is_file(path):
        raise _Missing
    try:
        return act()
    except FileNotFoundError:
        if files.is_file(path):
            raise
        raise _Missing from None


def _differs(files: Files, path: str, entry: FileEntry) -> str | None:
    """What of a file is not as the manifest says."""
    try:
        size, checksum = files.measure(path, kind_of(entry.checksum), entry.bytes)
    except (NotADirectoryError, NotPlain):
        return "is missing"
    if size != entry.bytes:
        return f"has {size} bytes, its manifest says {entry.bytes}"
    return None if checksum == entry.checksum else "does not match its checksum"
