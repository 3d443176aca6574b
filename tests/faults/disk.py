"""The module `os` as the store sees it: every operation that changes the disk can be broken, by a kill or an errno."""

from __future__ import annotations

import os
from typing import Any

_CHANGES = ("rename", "replace", "link", "unlink", "rmdir", "mkdir")


def placed(path: str | os.PathLike[str] | int | None, folder: int | None = None) -> str:
    """Where a path, or a handle, is; one in an open folder is where that one is now."""
    if path is None or isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    return os.fspath(path) if folder is None else f"{placed(folder)}/{os.fspath(path)}"


class Killed(BaseException):
    """The process is gone: nothing after this runs, no handler and no clean-up."""


class Fuse:
    """Counts the operations of a store, and breaks the one with the number `at`.

    With no `error` the process dies there: nothing works any more. With an errno the operation fails with it, `times`
    times or, `sticky`, from there on.
    """

    def __init__(self) -> None:
        self.arm(None)

    def arm(self, at: int | None, error: int | None = None, sticky: bool = False, times: int = 1) -> None:
        """Lets `at` operations go well and then breaks; None lets all go well. Counts from 0 again."""
        self.at = at
        self.error = error
        self.last = None if sticky or error is None or at is None else at + times
        self.done = 0

    def breaks(self) -> BaseException | None:
        """Counts one more operation; what it breaks with, None when it goes well."""
        self.done += 1
        if self.at is None or self.done <= self.at or (self.last is not None and self.done > self.last):
            return None
        return Killed() if self.error is None else OSError(self.error, os.strerror(self.error))

    def blow(self) -> None:
        """Counts one more operation, and raises what it breaks with."""
        if error := self.breaks():
            raise error


class Disk:
    """Stands in for `os`: what changes the disk goes through a fuse. A write breaks with half of its bytes written.

    Args:
      fuse: shared where two disks are of one process.
      syncs: an fsync is an operation, too, and may fail; else it is left out, since a kill loses nothing written.
    """

    def __init__(self, fuse: Fuse | None = None, syncs: bool = False) -> None:
        self.fuse = fuse if fuse is not None else Fuse()
        self.syncs = syncs

    @property
    def done(self) -> int:
        return self.fuse.done

    def arm(self, at: int | None, error: int | None = None, sticky: bool = False) -> None:
        """As `Fuse.arm`."""
        self.fuse.arm(at, error, sticky)

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        if name not in _CHANGES:
            return value

        def change(*args: Any, **kwargs: Any) -> Any:
            self.fuse.blow()
            return value(*args, **kwargs)

        return change

    def open(self, path: str | os.PathLike[str], flags: int, *args: int, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            self.fuse.blow()
        return os.open(path, flags, *args, dir_fd=dir_fd)

    def fdopen(self, handle: int, mode: str, buffering: int = -1) -> Any:
        return _File(os.fdopen(handle, mode, 0), self) if mode == "wb" else os.fdopen(handle, mode, buffering)

    def fsync(self, handle: int) -> None:
        if self.syncs:
            self.fuse.blow()

    def note(self, what: str) -> None:
        """A call has returned: `what` is done."""

    def write(self, file: Any, data: bytes) -> None:
        """Writes to an open file."""
        if error := self.fuse.breaks():
            file.write(data[: len(data) // 2])
            raise error
        file.write(data)

    # What of the standard library is made of the operations above.

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        parent = os.path.dirname(path)
        if parent and not os.path.isdir(parent):
            self.makedirs(parent, exist_ok=True)
        if not (exist_ok and os.path.isdir(path)):
            self.mkdir(path)

    def put(self, path: str, data: bytes) -> None:
        """Writes a new file as others do, with no fsync."""
        handle = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with self.fdopen(handle, "wb") as file:
            file.write(data)

    def copyfile(self, source: str, target: str) -> None:
        """As `shutil.copyfile`."""
        with open(source, "rb") as file:
            self.put(target, file.read())

    def rmtree(self, path: str, ignore_errors: bool = False) -> None:
        """As `shutil.rmtree`, which goes on where something cannot be removed if it is told to."""
        for parent, folders, names in os.walk(path, topdown=False):
            for remove, name in [*((self.unlink, n) for n in names), *((self.rmdir, n) for n in folders)]:
                self._remove(remove, os.path.join(parent, name), ignore_errors)
        self._remove(self.rmdir, path, ignore_errors)

    def _remove(self, remove: Any, path: str, ignore_errors: bool) -> None:
        try:
            remove(path)
        except OSError:
            if not ignore_errors:
                raise


class _File:
    """A file that is written through the disk's fuse."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file = file
        self._disk = disk

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> None:
        self._disk.write(self._file, data)
