"""The checkpoints of one run: publish, read, verify. A reader sees a whole checkpoint or none."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.errors import DamagedCheckpoint, StoreError
from checkpoint_gate.records import Record
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.manifest import FileEntry, Manifest, parse_manifest

_STAGED = re.compile(r"[0-9a-f]{32}")
STEP_FOLDER = re.compile(r"step-(\d{9,})")  # what else lies on a shelf is foreign, and left alone
PREFIX = "ckpt"  # the prefix of TensorFlow's checkpoint files within a checkpoint's folder


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint's folder, and its manifest or what is wrong with it."""

    folder: str
    manifest: Manifest | None
    damage: str | None = None

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
    """A folder of checkpoints of one kind, with the temporary folder beside it from which they are published."""

    def __init__(self, files: LocalFiles, run: str, folder: str, temporary: str, clock: Callable[[], float]) -> None:
        self._files = files
        self._run = run
        self._folder = folder
        self._temporary = temporary
        self._clock = clock

    def stage(self) -> tuple[str, Path]:
        """A new empty folder to write TensorFlow's files into: its path in the store, and its place on the disk."""
        path = f"{self._temporary}/{uuid.uuid4().hex}"
        self._files.make_folder(path)
        return path, self._files.local(path)

    def describe(self, staged: str, record: Record, kind: str, decision: str, rules: str, writer: str) -> Manifest:
        """Makes the staged files survive a power cut, and their manifest."""
        entries = []
        for name in self._files.names(staged):
            path = f"{staged}/{name}"
            self._files.sync_file(path)
            checksum = f"sha256:{self._files.sha256(path)}"
            entries.append(FileEntry(path=name, bytes=self._files.size(path), checksum=checksum))
        if not entries:
            raise StoreError(f"Nothing was written to {self._files.local(staged)}, so there is nothing to publish.")
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
        if self._files.exists(target):
            present = self.read(folder_name(manifest.step)).manifest
            if present is None or present.files != manifest.files:
                raise StoreError(f"{self._files.local(target)} is there already, with other content.")
            self.discard(staged)
            return target
        self._files.create(f"{staged}/{manifests.NAME}", manifest.to_bytes())
        self._files.sync_folder(staged)
        self._files.make_folder(self._folder)
        self._files.rename(staged, target)
        return target

    def restate(self, manifest: Manifest) -> str:
        """Puts another manifest over the files of a published checkpoint, and answers with its path in the store."""
        target = self.path(manifest.step)
        self._files.replace(f"{target}/{manifests.NAME}", manifest.to_bytes())
        return target

    def stage_links(self, source: str, manifest: Manifest) -> str:
        """Stages the files of a published checkpoint again, as links."""
        staged, _ = self.stage()
        for entry in manifest.files:
            self._files.link(f"{source}/{entry.path}", f"{staged}/{entry.path}")
        return staged

    def discard(self, staged: str) -> None:
        """Removes a staged folder with all that is in it: TensorFlow, when killed, leaves a folder of its own there."""
        if not self._files.is_folder(staged):
            self._files.remove_file(staged)
            return
        for name in self._files.names(staged):
            self.discard(f"{staged}/{name}")
        self._files.remove_folder(staged)

    def clear_staged(self) -> None:
        """Removes what dead writers left in the temporary folder; only under the lease. Other names are not ours."""
        for name in filter(_STAGED.fullmatch, self._files.names(self._temporary)):
            self.discard(f"{self._temporary}/{name}")

    def path(self, step: int) -> str:
        """Where the checkpoint of `step` is, or would be."""
        return f"{self._folder}/{folder_name(step)}"

    def stored(self) -> list[Stored]:
        """Every checkpoint on the shelf, by step; damaged manifests come with the damage."""
        names = [name for name in self._files.names(self._folder) if STEP_FOLDER.fullmatch(name)]
        return [self.read(name) for name in sorted(names, key=lambda name: (len(name), name))]

    def read(self, name: str) -> Stored:
        """The checkpoint in the folder `name` of this shelf."""
        folder = f"{self._folder}/{name}"
        return read_checkpoint(self._files, folder, self._run)

    def remove(self, stored: Stored) -> bool:
        """Removes a checkpoint file by file, the manifest last, and tells whether it is gone.

        One that holds files which its manifest does not list, or whose manifest is damaged, stays as it is.
        """
        names = set(self._files.names(stored.folder))
        if names and (
            stored.manifest is None or names - {entry.path for entry in stored.manifest.files} - {manifests.NAME}
        ):
            return False
        for name in sorted(names - {manifests.NAME}):
            self._files.remove_file(f"{stored.folder}/{name}")
        if names:
            self._files.sync_folder(stored.folder)
            self._files.remove_file(f"{stored.folder}/{manifests.NAME}")
        return self._files.remove_folder(stored.folder)


def read_checkpoint(files: LocalFiles, folder: str, run: str) -> Stored:
    """Reads the manifest in `folder`, and checks that it is of `run` and of that folder. Bytes are not read."""
    path = f"{folder}/{manifests.NAME}"
    try:
        if not files.is_file(path):
            raise DamagedCheckpoint(f"{files.local(folder)} has no manifest.")
        manifest = parse_manifest(files.read(path, manifests.MAX_BYTES), str(files.local(path)))
        if manifest.run != run:
            raise DamagedCheckpoint(f"{files.local(folder)} belongs to the run {manifest.run}, not to {run}.")
        if re.split("--|[.]", folder.rpartition("/")[2])[0] != folder_name(manifest.step):
            raise DamagedCheckpoint(f"{files.local(folder)} holds the manifest of step {manifest.step}.")
        return Stored(folder, manifest)
    except StoreError as error:
        return Stored(folder, None, str(error))


def verify_files(files: LocalFiles, stored: Stored) -> str | None:
    """What does not match the manifest, as one sentence; None when every byte does."""
    if stored.manifest is None:
        return stored.damage or "it has no manifest"
    for entry in stored.manifest.files:
        path = f"{stored.folder}/{entry.path}"
        place = files.local(path)
        if not files.is_file(path):
            return f"{place} is missing"
        size = files.size(path)
        if size != entry.bytes:
            return f"{place} has {size} bytes, its manifest says {entry.bytes}"
        if f"sha256:{files.sha256(path)}" != entry.checksum:
            return f"{place} does not match its checksum"
    return None
