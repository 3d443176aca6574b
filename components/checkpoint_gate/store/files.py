"""The one way to a local disk: every operation of a store there goes through this class.

Paths are relative to the store's root, with "/" between names. What would leave the root is refused before anything is
touched, and symbolic links are never followed out of it: each call is made in a folder that is held open, so that a
link put in its place at the very instant changes nothing (see `opened_folders`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store import opened_files
from checkpoint_gate.store.checksums import WRITTEN, measure
from checkpoint_gate.store.opened_folders import LISTED, PASSED, Opened, opened_folder, plain_parts

_SETTLED = 2_000_000_000  # nanoseconds: a file's time is as coarse as the clock's tick
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a killed `create` or `replace` leaves."""
    return _TEMPORARY.fullmatch(name) is not None


class LocalFiles:
    """A folder on a local disk: `Files` by calls of the operating system. What is written survives a power cut."""

    atomic = True
    protocol = "a local disk: checkpoints are published by rename"

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise StoreError(f"A folder on a disk has no URL. Received: {str(root)!r}.")
        self.root = Path(root).resolve()
        self._root = "" if self.root == Path("/") else str(self.root)

    @property
    def staging(self) -> LocalFiles:
        return self

    def place(self, path: str | None = None) -> str:
        """Where `path` is on the disk; what lies there is not looked at."""
        return str(self.root) if path is None else "/".join((self._root, *plain_parts(path)))

    def make_root(self) -> None:
        """Makes the root folder and its parents; fine when it is there."""
        missing, place = [], self.root
        while not place.is_dir():
            missing.append(place)
            place = place.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
            with opened_folder(str(folder.parent), None) as parent:
                opened_files.sync(parent)

    def local(self, path: str) -> Path:
        """The place of `path` on the disk.

        Raises:
          StoreError: the path is absolute, climbs, or passes through a symbolic link.
        """
        return Path(self._local(path))

    def _local(self, path: str) -> str:
        """As `local`, but text: a Path is slow to make."""
        *parents, name = plain_parts(path)
        place = self._root
        for part in parents:
            place = f"{place}/{part}"
            if os.path.islink(place):
                raise StoreError(f"{place} is a symbolic link; the store does not follow links.")
        return f"{place}/{name}"

    def _at(self, path: str, flags: int = PASSED) -> Opened:
        return Opened(self._root, path, flags)

    def _state(self, path: str) -> os.stat_result | None:
        """What has this name; None where nothing has."""
        try:
            with self._at(path) as at:
                return at.state()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, path: str) -> bool:
        """Whether anything has this name."""
        return self._state(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether this is a plain file, not a link."""
        state = self._state(path)
        return state is not None and stat.S_ISREG(state.st_mode)

    def is_folder(self, path: str) -> bool:
        """Whether this is a folder, not a link."""
        state = self._state(path)
        return state is not None and stat.S_ISDIR(state.st_mode)

    def names(self, path: str | None = None) -> list[str]:
        """Sorted names in a folder; none where it does not exist.

        Raises:
          StoreError: it is a symbolic link.
        """
        try:
            with opened_folder(self._root, path) as folder:
                return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, path: str) -> int:
        """Bytes of a file."""
        with self._at(path) as at:
            return os.stat(at.name, dir_fd=at.handle, follow_symlinks=False).st_size

    def identity(self, path: str) -> tuple[object, ...] | None:
        """What changes with a file's bytes, see `Files.identity`: its inode, its time and its size."""
        try:
            stat = os.lstat(self._local(path))
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size

    def is_settled(self, path: str) -> bool:
        """Whether a file that is written again looks different: within a tick of the clock it does not."""
        try:
            return time.time_ns() - os.lstat(self._local(path)).st_mtime_ns >= _SETTLED
        except OSError:
            return False

    def read(self, path: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes.

        Raises:
          StoreError: it is larger, or not a plain file.
        """
        with self._at(path) as at, opened_files.reading(at) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= limit else b""  # one with a size would have so much memory made ready for it
        if max(size, len(data)) > limit:
            raise StoreError(f"{self.place(path)} is larger than the {limit} bytes that such a file may have.")
        return data

    def ends_with(self, path: str, end: bytes) -> bool:
        """Whether a file's last bytes are `end`; so it is taken to be where there is no file, or nothing in it."""
        try:
            with self._at(path) as at, opened_files.reading(at) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - len(end)))
                return size == 0 or file.read() == end
        except (FileNotFoundError, NotADirectoryError):
            return True

    def checksum(self, path: str, kind: str = WRITTEN) -> str:
        """The checksum of a file's bytes."""
        return self.measure(path, kind)[1]

    def measure(self, path: str, kind: str = WRITTEN, size: int | None = None) -> tuple[int, str]:
        """How many bytes a file has, and their checksum; "" where they are not `size`, and so are not read.

        Raises:
          NotPlain: it is a link, a folder or the like.
        """
        with self._at(path) as at, opened_files.reading(at) as file:
            found = os.fstat(file.fileno()).st_size
            return measure(file, kind) if size in (None, found) else (found, "")

    def make_folder(self, path: str) -> None:
        """Makes a folder and its parents; fine when it is there."""
        parts = plain_parts(path)
        if self.is_folder(path):
            return
        self.make_root()
        for number in range(len(parts)):
            with self._at("/".join(parts[: number + 1]), LISTED) as at:
                if at.state() is None:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(at.name, dir_fd=at.handle)
                    opened_files.sync(at.handle)
        with opened_folder(self._root, path):  # neither a file nor a link
            pass

    def make_staged(self, path: str) -> None:
        """Makes a folder that is to be published, whose own name need not survive a power cut."""
        self.make_folder(path.rpartition("/")[0])
        with self._at(path) as at:
            os.mkdir(at.name, dir_fd=at.handle)

    def create(self, path: str, data: bytes) -> None:
        """Writes a new file, whole from the moment it is seen, under a name that is free.

        Raises:
          FileExistsError: somebody else has made it.
        """
        with self._at(path, LISTED) as at:
            opened_files.again(lambda: opened_files.create(at, data))
            opened_files.sync(at.handle)

    def replace(self, path: str, data: bytes) -> None:
        """Puts a whole new content in a file's place at once."""
        with self._at(path, LISTED) as at:
            opened_files.again(lambda: opened_files.replace(at, data))
            opened_files.sync(at.handle)

    def remove_temporary(self, path: str | None = None, of: str = "") -> None:
        """Removes what `create` and `replace` leave when they are killed, of files whose names begin with `of`."""
        for name in filter(is_temporary, self.names(path)):
            if name.startswith(f".{of}"):
                self.remove_file(name if path is None else f"{path}/{name}")

    def append(self, path: str, data: bytes) -> None:
        """Adds to the end of a file, which is made when it is not there."""
        with self._at(path, LISTED) as at:
            new = at.state() is None
            opened_files.write(at.open(os.O_WRONLY | os.O_CREAT | os.O_APPEND), data)
            if new:
                opened_files.sync(at.handle)

    def sync_file(self, path: str) -> None:
        """Makes a file that somebody else wrote survive a power cut."""
        with self._at(path) as at:
            handle = at.open(os.O_RDONLY)
            try:
                opened_files.sync(handle)
            finally:
                os.close(handle)

    def sync_folder(self, path: str | None = None) -> None:
        """Makes the names in a folder survive a power cut; without `path` those in the root, and its own."""
        if path is None:
            with opened_folder(str(self.root.parent), None) as above:
                opened_files.sync(above)
        with opened_folder(self._root, path) as folder:
            opened_files.sync(folder)

    def rename(self, source: str, target: str) -> None:
        """Moves a file or folder to a name that is free.

        Raises:
          FileExistsError: the target is there.
        """
        with self._at(source, LISTED) as old, self._at(target, LISTED) as new:
            if new.state() is not None:
                raise FileExistsError(f"{new.place} is there already")
            os.rename(old.name, new.name, src_dir_fd=old.handle, dst_dir_fd=new.handle)
            opened_files.sync(new.handle)
            if source.rpartition("/")[0] != target.rpartition("/")[0]:
                opened_files.sync(old.handle)

    def link(self, source: str, target: str | Path) -> None:
        """Gives a file a second name (a hard link), or a verified copy where links cannot be made.

        `target` is relative to the store (a string) or a place outside it (a Path).
        """
        new = Opened.outside(target) if isinstance(target, Path) else self._at(target, LISTED)
        with new, self._at(source) as old:
            opened_files.link(old, new)
            opened_files.sync(new.handle)

    def remove_file(self, path: str) -> None:
        """Removes a name; fine when it is gone. A link goes itself, never what it points to."""
        try:
            with self._at(path) as at:
                os.unlink(at.name, dir_fd=at.handle)
        except FileNotFoundError:
            if self.exists(path):  # a disk that says so of what is there has removed nothing
                raise

    def remove_folder(self, path: str) -> bool:
        """Removes a folder if it is empty; tells whether it is gone."""
        try:
            with self._at(path, LISTED) as at:
                os.rmdir(at.name, dir_fd=at.handle)
                opened_files.sync(at.handle)
        except FileNotFoundError:
            if self.exists(path):
                raise
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    def empty_folder(self, path: str) -> None:
        """Removes all that is in a folder of our own, whatever it is called. A link goes itself."""
        with opened_folder(self._root, path) as folder:
            opened_files.empty(folder)

    def download_folder(self) -> Path:
        """A new empty folder; a store on a disk is read in its own place instead."""
        return Path(tempfile.mkdtemp(prefix="checkpoint-gate-"))

    def holds(self, folder: str, marker: str) -> bool:
        """Whether the folder is there: what is half-written has a name of its own."""
        return self.exists(folder)

    def publish_folder(self, staged: str, target: str, marker: str, data: bytes, fence: Callable[[], None]) -> None:
        """Renames a staged folder to a free name, `marker` added and all of it on the disk.

        As few syncs as will do, since each may take milliseconds: nobody sees the staged folder, so that its names are
        synced once.
        """
        with self._at(f"{staged}/{marker}", LISTED) as at:
            opened_files.write(at.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL), data)
        self.sync_folder(staged)
        self.make_folder(target.rpartition("/")[0])
        fence()
        self.rename(staged, target)

    def publish_copy(
        self,
        source: str,
        names: Iterable[str],
        staged: str,
        target: str,
        marker: str,
        data: bytes,
        fence: Callable[[], None],
    ) -> None:
        """Links files of a folder into a new one, and publishes that."""
        self.make_staged(staged)
        for name in names:
            with self._at(f"{source}/{name}") as old, self._at(f"{staged}/{name}") as new:
                opened_files.link(old, new)
        self.publish_folder(staged, target, marker, data, fence)

    def move_folder(
        self, source: str, target: str, marker: str, names: Iterable[str], fence: Callable[[], None]
    ) -> None:
        """Renames a folder to a free name, with all that is in it.

        Raises:
          FileExistsError: the target is there.
        """
        fence()
        self.rename(source, target)

    def discard_folder(self, folder: str, marker: str, names: Iterable[str], fence: Callable[[], None]) -> bool:
        """Removes files one by one, the marker last, and the folder if it is empty then; tells whether it is gone."""
        fence()
        if self.names(folder):
            for name in sorted(names):
                self.remove_file(f"{folder}/{name}")
            self.sync_folder(folder)
            self.remove_file(f"{folder}/{marker}")
        return self.remove_folder(folder)

    def refuse_mounts(self, folder: str) -> None:
        """Looks whether folders can be renamed from one folder in `folder` to another.

        Raises:
          StoreError: one is on another device.
        """
        with opened_folder(self._root, folder) as handle:
            home = os.fstat(handle).st_dev
            for name in sorted(os.listdir(handle)):
                with contextlib.suppress(FileNotFoundError):
                    state = os.stat(name, dir_fd=handle, follow_symlinks=False)
                    if stat.S_ISDIR(state.st_mode) and state.st_dev != home:
                        raise StoreError(
                            f"{self.place(f'{folder}/{name}')} is on another device than {self.place(folder)}, so "
                            f"nothing can be moved there. Put all of a run on one device."
                        )

    def clear_unfinished(self, parent: str, marker: str, fence: Callable[[], None]) -> None:
        """Nothing to do: a folder is renamed at once, and what is half-written lies elsewhere."""
