"""The one way to a local disk: every operation of a store there goes through this class.

Paths are relative to the store's root, with "/" between names. What would leave the root is refused before anything is
touched, and symbolic links are never followed out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.checksums import WRITTEN, checksum_of, measure

_CHUNK = 1 << 20
_TIMES = 4  # a recovery may take a file that is being written for one that a crash has left
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def plain_parts(path: str) -> list[str]:
    """The names in a path of the store.

    Raises:
      StoreError: the path is absolute, climbs, or is written in another way than the plain one.
    """
    parts = path.split("/")
    if "\\" in path or "\0" in path or not {"", ".", ".."}.isdisjoint(parts):
        raise StoreError(f"A path in the store must be relative and plain. Received: {path!r}.")
    return parts


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a killed `create` or `replace` leaves."""
    return _TEMPORARY.fullmatch(name) is not None


class NotPlain(StoreError):
    """What was to be read as a file is a link, a folder or the like."""


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
        self._make(self.root)

    def local(self, path: str) -> Path:
        """The place of `path` on the disk.

        Raises:
          StoreError: the path is absolute, climbs, or passes through a symbolic link.
        """
        return Path(self._local(path))

    def _local(self, path: str) -> str:
        """As `local`, but text: a Path is slow to make, and this is asked for every file of every checkpoint."""
        *parents, name = plain_parts(path)
        place = self._root
        for part in parents:
            place = f"{place}/{part}"
            if os.path.islink(place):
                raise StoreError(f"{place} is a symbolic link; the store does not follow links.")
        return f"{place}/{name}"

    def exists(self, path: str) -> bool:
        """Whether anything has this name."""
        return os.path.lexists(self._local(path))

    def is_file(self, path: str) -> bool:
        """Whether this is a plain file, not a link."""
        try:
            return stat.S_ISREG(os.lstat(self._local(path)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_folder(self, path: str) -> bool:
        """Whether this is a folder, not a link."""
        try:
            return stat.S_ISDIR(os.lstat(self._local(path)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def names(self, path: str | None = None) -> list[str]:
        """Sorted names in a folder; none where it does not exist.

        Raises:
          StoreError: it is a symbolic link.
        """
        place = self.local(path) if path is not None else self.root
        if place.is_symlink():
            raise StoreError(f"{place} is a symbolic link; the store does not follow links.")
        try:
            return sorted(os.listdir(place))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return os.lstat(self._local(path)).st_size

    def read(self, path: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes.

        Raises:
          StoreError: it is larger, or not a plain file.
        """
        with self._open(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= limit else b""  # one with a size would have so much memory made ready for it
        if max(size, len(data)) > limit:
            raise StoreError(f"{self.local(path)} is larger than the {limit} bytes that such a file may have.")
        return data

    def ends_with(self, path: str, end: bytes) -> bool:
        """Whether a file's last bytes are `end`; so it is taken to be where there is no file, or nothing in it."""
        if not self.exists(path):
            return True
        with self._open(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(end)))
            return size == 0 or file.read() == end

    def checksum(self, path: str, kind: str = WRITTEN) -> str:
        """The checksum of a file's bytes."""
        return self.measure(path, kind)[1]

    def measure(self, path: str, kind: str = WRITTEN, size: int | None = None) -> tuple[int, str]:
        """How many bytes a file has, and their checksum; "" where they are not `size`, and so are not read.

        Raises:
          NotPlain: it is a link, a folder or the like.
        """
        with self._open(path) as file:
            found = os.fstat(file.fileno()).st_size
            return measure(file, kind) if size in (None, found) else (found, "")

    def make_folder(self, path: str) -> None:
        """Makes a folder and its parents; fine when it is there."""
        self._make(self.local(path))

    def _make(self, place: Path) -> None:
        missing = []
        while not place.is_dir():
            missing.append(place)
            place = place.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
            self._sync_folder(folder.parent)

    def make_staged(self, path: str) -> None:
        """Makes a folder that is to be published, whose own name need not survive a power cut."""
        self.make_folder(path.rpartition("/")[0])
        os.mkdir(self._local(path))

    def create(self, path: str, data: bytes) -> None:
        """Writes a new file, whole from the moment it is seen, under a name that is free.

        Raises:
          FileExistsError: somebody else has made it.
        """
        place = self.local(path)
        _again(lambda: self._create(place, data))
        self._sync_folder(place.parent)

    def _create(self, place: Path, data: bytes) -> None:
        temporary = self._write_temporary(place, data)
        try:
            self._link_new(temporary, place, data)
        finally:
            _unlink(temporary)

    def _link_new(self, temporary: Path, place: Path, data: bytes) -> None:
        try:
            os.link(temporary, place)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # a file system without links
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            self._write_and_close(handle, data)

    def replace(self, path: str, data: bytes) -> None:
        """Puts a whole new content in a file's place at once."""
        place = self.local(path)
        with _named(place):
            _again(lambda: self._replace(place, data))
            self._sync_folder(place.parent)

    def _replace(self, place: Path, data: bytes) -> None:
        temporary = self._write_temporary(place, data)
        try:
            os.replace(temporary, place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def remove_temporary(self, path: str | None = None, of: str = "") -> None:
        """Removes what `create` and `replace` leave when they are killed, of files whose names begin with `of`."""
        for name in filter(is_temporary, self.names(path)):
            if name.startswith(f".{of}"):
                self.remove_file(name if path is None else f"{path}/{name}")

    def append(self, path: str, data: bytes) -> None:
        """Adds to the end of a file, which is made when it is not there."""
        place = self.local(path)
        new = not place.exists()
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        self._write_and_close(handle, data)
        if new:
            self._sync_folder(place.parent)

    def sync_file(self, path: str) -> None:
        """Makes a file that somebody else wrote survive a power cut."""
        handle = os.open(self.local(path), os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_folder(self, path: str) -> None:
        """Makes a folder's names survive a power cut."""
        self._sync_folder(self.local(path))

    def rename(self, source: str, target: str) -> None:
        """Moves a file or folder to a name that is free.

        Raises:
          FileExistsError: the target is there.
        """
        old, new = self.local(source), self.local(target)
        if os.path.lexists(new):
            raise FileExistsError(f"{new} is there already")
        os.rename(old, new)
        self._sync_folder(new.parent)
        if old.parent != new.parent:
            self._sync_folder(old.parent)

    def link(self, source: str, target: str | Path) -> None:
        """Gives a file a second name (a hard link), or a verified copy where links cannot be made.

        `target` is relative to the store (a string) or a place outside it (a Path).
        """
        new = target if isinstance(target, Path) else self.local(target)
        self._link(source, new)
        self._sync_folder(new.parent)

    def _link(self, source: str, new: Path) -> None:
        old = self.local(source)
        try:
            os.link(old, new, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # other device, or a file system without links
            with self._open(source) as file, open(new, "xb") as copy:
                shutil.copyfileobj(file, copy, _CHUNK)
                copy.flush()
                os.fsync(copy.fileno())
            with open(new, "rb") as copied:
                same = checksum_of(copied) == self.checksum(source)
            if not same:
                os.unlink(new)
                raise StoreError(f"The copy {new} differs from {old}.") from None

    def remove_file(self, path: str) -> None:
        """Removes a name; fine when it is gone. A link goes itself, never what it points to."""
        _unlink(self.local(path))

    def remove_folder(self, path: str) -> bool:
        """Removes a folder if it is empty; tells whether it is gone."""
        place = self.local(path)
        try:
            os.rmdir(place)
        except FileNotFoundError:
            if os.path.lexists(place):
                raise
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        self._sync_folder(place.parent)
        return True

    def empty_folder(self, path: str) -> None:
        """Removes all that is in a folder of our own, whatever it is called. A link goes itself."""
        for parent, folders, names in os.walk(self._local(path), topdown=False):
            for place in (Path(parent, name) for name in (*names, *folders)):
                if place.is_dir() and not place.is_symlink():
                    os.rmdir(place)
                else:
                    _unlink(place)

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
        handle = os.open(self._local(f"{staged}/{marker}"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        self._write_and_close(handle, data)
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
            self._link(f"{source}/{name}", self.local(f"{staged}/{name}"))
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
        home = os.lstat(self._local(folder)).st_dev
        for name in self.names(folder):
            place = self._local(f"{folder}/{name}")
            with contextlib.suppress(FileNotFoundError):
                state = os.lstat(place)
                if stat.S_ISDIR(state.st_mode) and state.st_dev != home:
                    raise StoreError(
                        f"{place} is on another device than {self.place(folder)}, so nothing can be moved there. Put "
                        f"all of a run on one device."
                    )

    def clear_unfinished(self, parent: str, marker: str, fence: Callable[[], None]) -> None:
        """Nothing to do: a folder is renamed at once, and what is half-written lies elsewhere."""

    def _open(self, path: str) -> BinaryIO:
        place = self._local(path)
        try:
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe must not keep us waiting
        except OSError as error:
            if os.path.islink(place):
                raise NotPlain(f"{place} is a symbolic link; the store does not follow links.") from error
            raise
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise NotPlain(f"{place} is not a plain file.")
        return os.fdopen(handle, "rb", buffering=0)

    def _write_temporary(self, place: Path, data: bytes) -> Path:
        temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            self._write_and_close(handle, data)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        return temporary

    def _write_and_close(self, handle: int, data: bytes) -> None:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _sync_folder(self, place: Path) -> None:
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _named(place: Path) -> Iterator[None]:
    """Lets an error name the file that was asked for, rather than a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(place), None
        raise


def _again(write: Callable[[], None]) -> None:
    """Writes, and writes anew while what is being written is cleared away by somebody else."""
    for _ in range(_TIMES - 1):
        with contextlib.suppress(FileNotFoundError):
            return write()
    return write()


def _unlink(place: Path) -> None:
    """Removes a name; fine when it is gone."""
    try:
        os.unlink(place)
    except FileNotFoundError:
        if os.path.lexists(place):  # a disk that says so of what is there has removed nothing
            raise
