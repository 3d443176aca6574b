"""A disk that remembers what it was told, and the states in which a power cut may leave it.

Inodes are followed, not paths. An operation is *pending* until an fsync makes it last: bytes until one of their file, a
name until one of the folder that it is in (of a rename: of the folder that it goes to). A rename is kept or lost as a
whole, as on a disk with a journal.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.disk import Disk, Fuse, placed
from faults.trees import Tree

ROOT = 0


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes were written to a file."""

    inode: int
    offset: int
    data: bytes

    def lasts_by(self) -> int:
        return self.inode


@dataclass(frozen=True, slots=True)
class Names:
    """Names changed: (folder, name, inode), of which None is no file."""

    changes: tuple[tuple[int, str, int | None], ...]

    def lasts_by(self) -> int:
        return self.changes[-1][0]


@dataclass(frozen=True, slots=True)
class Sync:
    """What is pending of a file or folder lasts from here on."""

    inode: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A call has returned: `what` has to survive from here on."""

    what: str


Event = Bytes | Names | Sync | Returned


@dataclass
class Content:
    """What is on a disk: of each file its bytes, of each folder its names."""

    files: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})

    def copy(self) -> Content:
        return Content(dict(self.files), {inode: dict(names) for inode, names in self.folders.items()})

    def apply(self, event: Bytes | Names) -> None:
        if isinstance(event, Bytes):
            before = self.files.get(event.inode, b"")[: event.offset].ljust(event.offset, b"\0")
            self.files[event.inode] = before + event.data
            return
        for folder, name, inode in event.changes:
            if inode is None:
                self.folders[folder].pop(name, None)
            else:
                self.folders[folder][name] = inode

    def tree(self) -> Tree:
        """The content as it is found by its names."""
        found: dict[str, bytes | None] = {}
        self._walk(ROOT, "", found)
        return found

    def _walk(self, folder: int, prefix: str, found: dict[str, bytes | None]) -> None:
        for name, inode in sorted(self.folders[folder].items()):
            if inode in self.folders:
                found[prefix + name] = None
                self._walk(inode, f"{prefix}{name}/", found)
            else:
                found[prefix + name] = self.files.get(inode, b"")


class RecordingDisk(Disk):
    """A disk below `root` that remembers each change, fsync and return, once `record` was called."""

    def __init__(self, fuse: Fuse, root: Path) -> None:
        super().__init__(fuse)
        self._root = str(root)
        self._recording = False

    def record(self, tree: Tree) -> None:
        """Begins: what is there lasts."""
        self.begun, self._now = Content(), Content()
        self.events: list[Event] = []
        self._inodes = itertools.count(1)
        self._handles: dict[int, int] = {}
        for path, data in tree.items():
            folder, name = self._parent(f"{self._root}/{path}")
            inode = self._new(data is None)
            self._now.folders[folder][name] = inode
            if data is not None:
                self._now.files[inode] = data
        self.begun = self._now.copy()
        self._recording = True

    def stop(self) -> Recording:
        """Ends, and answers with what there was."""
        self._recording = False
        return Recording(self.begun, self.events)

    def _new(self, is_folder: bool) -> int:
        inode = next(self._inodes)
        if is_folder:
            self.begun.folders[inode] = {}
            self._now.folders[inode] = {}
        return inode

    def _parent(self, path: str | os.PathLike[str]) -> tuple[int, str]:
        """Inode of the folder that a path is in, and its name there."""
        *parents, name = os.path.relpath(path, self._root).split("/")
        folder = ROOT
        for parent in parents:
            folder = self._now.folders[folder][parent]
        return folder, name

    def _inode(self, path: str | os.PathLike[str]) -> int | None:
        if os.path.abspath(path) == self._root:
            return ROOT
        folder, name = self._parent(path)
        return self._now.folders[folder].get(name)

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, (Bytes, Names)):
            self._now.apply(event)

    def __getattr__(self, name: str) -> Any:
        operation = super().__getattr__(name)
        if name not in ("rename", "replace", "link", "unlink", "rmdir", "mkdir") or not self._recording:
            return operation

        def change(path: Any, *args: Any, **kwargs: Any) -> None:
            folders = [kwargs.get(key) for key in ("src_dir_fd", "dst_dir_fd")]
            places = [placed(path, kwargs.get("dir_fd", folders[0])), *(placed(to, folders[1]) for to in args[:1])]
            changes = self._changes(name, *places)
            operation(path, *args, **kwargs)
            self._tell(Names(changes))

        return change

    def _changes(self, operation: str, path: Any, *to: Any) -> tuple[tuple[int, str, int | None], ...]:
        here = self._parent(path)
        if operation == "mkdir":
            return ((*here, self._new(True)),)
        if operation in ("unlink", "rmdir"):
            return ((*here, None),)
        inode = self._inode(path)
        there = (*self._parent(*to), inode)
        return (there,) if operation == "link" else ((*here, None), there)

    def open(self, path: str | os.PathLike[str], flags: int, *args: int, dir_fd: int | None = None) -> int:
        place = placed(path, dir_fd)
        new = flags & os.O_CREAT and not os.path.lexists(place)
        handle = super().open(path, flags, *args, dir_fd=dir_fd)
        if self._recording:
            if new:
                self._tell(Names(((*self._parent(place), self._new(False)),)))
            inode = self._inode(place)
            assert inode is not None
            self._handles[handle] = inode
        return handle

    def write(self, file: Any, data: bytes) -> None:
        super().write(file, data)
        if self._recording:
            inode = self._handles[file.fileno()]
            self._tell(Bytes(inode, len(self._now.files.get(inode, b"")), data))

    def fsync(self, handle: int) -> None:
        if self._recording:
            self._tell(Sync(self._handles[handle]))

    def note(self, what: str) -> None:
        if self._recording:
            self._tell(Returned(what))


@dataclass(frozen=True)
class Cut:
    """A state after a power cut.

    Attributes:
      at: after so many events.
      how: what was lost.
      returned: what had returned before.
    """

    at: int
    how: str
    tree: Tree
    returned: tuple[str, ...]


class Recording:
    """What a disk was told, and what may be left of it."""

    def __init__(self, begun: Content, events: Sequence[Event]) -> None:
        self._begun = begun
        self._events = list(events)

    def __len__(self) -> int:
        return len(self._events)

    def cuts(self) -> Iterator[Cut]:
        """The states after every prefix in which something is pending, or something has just returned."""
        for at in range(1, len(self._events) + 1):
            pending = self._pending(at)
            for how, lost in _losses(pending, self._events):
                yield self._cut(at, how, lost)
            yield from self._torn(at, pending)

    def random_cut(self, chance: random.Random) -> Cut:
        """The state after some prefix with some of what is pending lost."""
        at = chance.randint(1, len(self._events))
        lost = {number for number in self._pending(at) if chance.random() < 0.5}
        return self._cut(at, f"events {sorted(lost)} lost", lost)

    def _pending(self, at: int) -> list[int]:
        """The numbers of the events before `at` that nothing has made last."""
        synced: dict[int, int] = {}
        for number, event in enumerate(self._events[:at]):
            if isinstance(event, Sync):
                synced[event.inode] = number
        return [
            number
            for number, event in enumerate(self._events[:at])
            if isinstance(event, (Bytes, Names)) and synced.get(event.lasts_by(), -1) < number
        ]

    def _torn(self, at: int, pending: Sequence[int]) -> Iterator[Cut]:
        """The last pending write half on the disk, its end missing or zero."""
        writes = [number for number in pending if isinstance(self._events[number], Bytes)]
        if writes:
            last = self._events[writes[-1]]
            assert isinstance(last, Bytes)
            half = last.data[: len(last.data) // 2]
            for how, data in (("torn", half), ("torn with zeros", half.ljust(len(last.data), b"\0"))):
                yield self._cut(
                    at, f"write {writes[-1]} {how}", set(), {writes[-1]: Bytes(last.inode, last.offset, data)}
                )

    def _cut(self, at: int, how: str, lost: set[int], instead: dict[int, Bytes] | None = None) -> Cut:
        content = self._begun.copy()
        returned = []
        for number, event in enumerate(self._events[:at]):
            if isinstance(event, Returned):
                returned.append(event.what)
            elif isinstance(event, (Bytes, Names)) and number not in lost:
                content.apply((instead or {}).get(number, event))
        return Cut(at, how, content.tree(), tuple(returned))


def _losses(pending: Sequence[int], events: Sequence[Event]) -> Iterator[tuple[str, set[int]]]:
    """The ways in which what is pending may be lost."""
    data = {number for number in pending if isinstance(events[number], Bytes)}
    names = set(pending) - data
    yield "unsynced bytes lost", data
    yield "unsynced names lost", names
    yield "both lost", data | names
    for number in sorted(names):
        yield f"names {number} lost, what came later kept", {number}
        yield f"names {number} and unsynced bytes lost, what came later kept", {number} | data
