"""Records what the store does to a disk, and what a disk holds."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from checkpoint_gate.store import files, lease, opened_files, opened_folders
from faults.disk import placed

_PATHS = {"rename": 2, "replace": 2, "link": 2, "symlink": 2}  # how many arguments are paths; else the first


class Recorder:
    """Stands in for `os` in the store's files: tells of every call with the places it is about, before it is made.

    Args:
      tell: called with the call's name and its places. A handle's place is that of what it was opened for. An fsync is
        told of, and left out.
    """

    def __init__(self, tell: Callable[[str, tuple[str, ...]], None]) -> None:
        self._tell = tell
        self._opened: dict[int, str] = {}
        self.path = _Wrapped(os.path, self._told)

    def _told(self, name: str, value: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            folders = [kwargs.get("src_dir_fd", kwargs.get("dir_fd")), kwargs.get("dst_dir_fd")]
            paths = args[: _PATHS.get(name, 1)]
            self._tell(name, tuple(placed(arg, folder) for arg, folder in zip(paths, folders, strict=False)))
            return value(*args, **kwargs)

        return call

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        return self._told(name, value) if callable(value) else value

    def open(self, path: str | os.PathLike[str], flags: int, *args: int, dir_fd: int | None = None) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        place = placed(path, dir_fd)
        self._tell("open to write" if writes else "open", (place,))
        handle = os.open(path, flags, *args, dir_fd=dir_fd)
        self._opened[handle] = place
        return handle

    def close(self, handle: int) -> None:
        os.close(handle)

    def fstat(self, handle: int) -> os.stat_result:
        return os.fstat(handle)

    def fdopen(self, handle: int, mode: str, buffering: int = -1) -> Any:
        return os.fdopen(handle, mode, buffering)

    def fsync(self, handle: int) -> None:
        self._tell("fsync", (self._opened.get(handle, ""),))


class _Wrapped:
    """A module whose functions are told of."""

    def __init__(self, module: Any, told: Callable[[str, Any], Any]) -> None:
        self._module = module
        self._told = told

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        return self._told(name, value) if name in ("islink", "lexists", "exists", "isdir", "isfile") else value


@contextlib.contextmanager
def as_os(module: Any) -> Iterator[Any]:
    """Puts `module` in the place of `os` in the store's files, and in the folders that they hold open."""
    before = files.os
    files.os = opened_files.os = opened_folders.os = module
    try:
        yield module
    finally:
        files.os = opened_files.os = opened_folders.os = before


class Births:
    """Tells the leases of this process apart: after `rebirth`, those of before belong to a dead process."""

    def __init__(self) -> None:
        self._number = 0

    def rebirth(self) -> None:
        self._number += 1

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        before = lease.born
        lease.born = lambda pid: str(self._number)
        try:
            yield
        finally:
            lease.born = before


class Plain:
    """`os` without fsync: nothing here cuts the power."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        pass


def without_fsync() -> contextlib.AbstractContextManager[Any]:
    """Leaves fsync out, which costs most of the time and is asked for by other figures."""
    return as_os(Plain())


class Changes(Plain):
    """Notices that the disk was changed, other than in its leases."""

    def __init__(self) -> None:
        self.seen = False
        for name in ("rename", "replace", "unlink", "rmdir", "link", "mkdir"):
            setattr(self, name, self._noticed(getattr(os, name)))

    def _noticed(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def noticed(path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
            self.seen = self.seen or "lease." not in os.fspath(path)
            return change(path, *args, **kwargs)

        return noticed

    def open(self, path: str | os.PathLike[str], flags: int, *args: int, dir_fd: int | None = None) -> int:
        self.seen = self.seen or bool(flags & os.O_CREAT and "lease." not in os.fspath(path))
        return os.open(path, flags, *args, dir_fd=dir_fd)


_EVENTS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"}
_EVENTS |= {"os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime", "shutil.rmtree", "os.mkfifo"}


class Audit:
    """Tells of every file that this process opens, lists or changes, by whatever library; to be switched on and off."""

    def __init__(self) -> None:
        self.tell: Callable[[str, str], None] | None = None
        sys.addaudithook(self._event)

    def _event(self, event: str, args: tuple[Any, ...]) -> None:
        if self.tell is None or event not in _EVENTS:
            return
        places = args[:2] if event in ("os.rename", "os.link", "os.symlink") else args[:1]
        for place in places:
            if isinstance(place, (str, bytes, os.PathLike)):
                self.tell(event, os.fsdecode(place))

    @contextlib.contextmanager
    def listening(self, tell: Callable[[str, str], None]) -> Iterator[None]:
        self.tell = tell
        try:
            yield
        finally:
            self.tell = None


def copied(template: Path, place: Path) -> Path:
    """A new copy of a folder, with the times of its files."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place, symlinks=True)
    return place


def contents(root: Path) -> dict[str, bytes | str | None]:
    """Every name below `root`: a file with its bytes, a link with its target, a folder with None."""
    found: dict[str, bytes | str | None] = {}
    for parent, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif os.path.isdir(path):
                found[key] = None
            else:
                found[key] = Path(path).read_bytes()
    return found


def states(root: Path) -> dict[str, tuple[int, ...]]:
    """Every name at and below `root`, with inode, mode, links, owner, size, and times of change in nanoseconds."""
    found = {}
    for parent, folders, names in os.walk(root):
        for path in (parent, *(os.path.join(parent, name) for name in (*folders, *names))):
            s = os.lstat(path)
            found[path] = (s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    return found
