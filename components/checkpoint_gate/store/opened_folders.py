"""Folders reached name by name and held open, so that a link put in their place meanwhile leads nowhere.

A path is looked up by the system each time that it is used, and whoever may write in one of its folders decides where
it leads. What is done by an open folder and one name is done in that folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from checkpoint_gate.errors import StoreError

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW
PASSED = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)  # to be passed through; one that may not be listed will do
LISTED = _FOLDER | os.O_RDONLY  # to be listed, or to be synced


def plain_parts(path: str) -> list[str]:
    """The names in a path of the store.

    Raises:
      StoreError: the path is absolute, climbs, or is written in another way than the plain one.
    """
    parts = path.split("/")
    if "\\" in path or "\0" in path or not {"", ".", ".."}.isdisjoint(parts):
        raise StoreError(f"A path in the store must be relative and plain. Received: {path!r}.")
    return parts


def open_folder(root: str, parts: Iterable[str], flags: int = PASSED) -> int:
    """A handle of the folder that is reached from `root` by the names `parts`; to be closed.

    Raises:
      StoreError: one of them is a symbolic link.
      OSError: one of them is no folder, or is missing.
    """
    place, *below = root or "/", *parts
    handle = _open(place, place, None, flags if not below else PASSED)
    for number, part in enumerate(below, 1):
        place = f"{place.rstrip('/')}/{part}"
        parent = handle
        try:
            handle = _open(part, place, parent, flags if number == len(below) else PASSED)
        finally:
            os.close(parent)
    return handle


def _open(name: str, place: str, parent: int | None, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if is_link(name, parent):
            raise StoreError(f"{place} is a symbolic link; the store does not follow links.") from error
        raise


def is_link(name: str, folder: int | None) -> bool:
    """Whether a name in an open folder is a symbolic link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def opened_folder(root: str, path: str | None) -> Iterator[int]:
    """A handle of the folder at `path`, the root itself without one, to list or sync it."""
    parts = [] if path is None else plain_parts(path)
    try:
        handle = open_folder(root, parts, LISTED)
        try:
            yield handle
        finally:
            os.close(handle)
    except OSError as error:
        _name(error, "/".join((root, *parts)) or "/")
        raise


def _name(error: OSError, place: str) -> None:
    """Lets an error tell the place on the disk, rather than a name in an open folder."""
    if error.errno is not None and not os.path.isabs(os.fsdecode(error.filename or "")):
        error.filename, error.filename2 = place, None


class Opened:
    """The folder that a path of the store is in, held open, and the path's last name; use it as a context manager.

    An error of the system that comes up within names the path.

    Attributes:
      handle: of the folder.
      name: in it.
      place: the path on the disk, for people.
    """

    __slots__ = ("handle", "name", "place")

    def __init__(self, root: str, path: str, flags: int = PASSED) -> None:
        *parents, self.name = plain_parts(path)
        self.place = f"{root}/{path}"
        try:
            self.handle = open_folder(root, parents, flags)
        except OSError as error:
            _name(error, self.place)
            raise

    @classmethod
    def outside(cls, place: Path) -> Opened:
        """The same of a place that is not in the store: the way there may lead over links."""
        return cls(os.path.realpath(place.parent), place.name, LISTED)

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.handle)
        if isinstance(error, OSError):
            _name(error, self.place)

    def open(self, flags: int) -> int:
        """A handle of the file itself, which is not followed if it is a link."""
        return os.open(self.name, flags | os.O_NOFOLLOW, 0o644, dir_fd=self.handle)

    def state(self) -> os.stat_result | None:
        """What has this name; None where nothing has."""
        try:
            return os.stat(self.name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None
