"""What is done to a file in a folder that is held open; what is written survives a power cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable
from typing import BinaryIO

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.checksums import checksum_of
from checkpoint_gate.store.opened_folders import LISTED, Opened, is_link

_CHUNK = 1 << 20
_TIMES = 4  # a recovery may take a file that is being written for one that a crash has left


class NotPlain(StoreError):
    """What was to be read as a file is a link, a folder or the like."""


def reading(at: Opened) -> BinaryIO:
    """A plain file, to be read.

    Raises:
      NotPlain: it is a link, a folder or the like.
    """
    try:
        handle = at.open(os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not keep us waiting
    except OSError as error:
        if is_link(at.name, at.handle):
            raise NotPlain(f"{at.place} is a symbolic link; the store does not follow links.") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotPlain(f"{at.place} is not a plain file.")
    return os.fdopen(handle, "rb", buffering=0)


def create(at: Opened, data: bytes) -> None:
    """Makes a file with its whole content, or raises FileExistsError."""
    temporary = _write_temporary(at, data)
    try:
        _link_new(temporary, at, data)
    finally:
        _unlink(temporary, at.handle)


def _link_new(temporary: str, at: Opened, data: bytes) -> None:
    try:
        os.link(temporary, at.name, src_dir_fd=at.handle, dst_dir_fd=at.handle, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without links
        write(at.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL), data)


def replace(at: Opened, data: bytes) -> None:
    """Makes a file or takes the place of one, at once with its whole content."""
    temporary = _write_temporary(at, data)
    try:
        os.replace(temporary, at.name, src_dir_fd=at.handle, dst_dir_fd=at.handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=at.handle)
        raise


def _write_temporary(at: Opened, data: bytes) -> str:
    """Writes a file beside the one that it is to become, and answers with its name."""
    temporary = f".{at.name}.{uuid.uuid4().hex[:12]}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at.handle)
    try:
        write(handle, data)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=at.handle)
        raise
    return temporary


def link(old: Opened, new: Opened) -> None:
    """Gives a file a second name, or a verified copy where links cannot be made."""
    try:
        os.link(old.name, new.name, src_dir_fd=old.handle, dst_dir_fd=new.handle, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # other device, or a file system without links
        _copy(old, new)


def _copy(old: Opened, new: Opened) -> None:
    with reading(old) as file, os.fdopen(new.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy:
        shutil.copyfileobj(file, copy, _CHUNK)
        copy.flush()
        sync(copy.fileno())
    with reading(old) as file, reading(new) as copied:
        same = checksum_of(copied) == checksum_of(file)
    if not same:
        os.unlink(new.name, dir_fd=new.handle)
        raise StoreError(f"The copy {new.place} differs from {old.place}.") from None


def empty(folder: int) -> None:
    """Removes all that is in an open folder."""
    for name in os.listdir(folder):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            continue
        below = os.open(name, LISTED, dir_fd=folder)
        try:
            empty(below)
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=folder)


def write(handle: int, data: bytes) -> None:
    """Writes to a new handle, closes it, and what was written survives a power cut."""
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(handle: int) -> None:
    """Makes last what a file holds, or a folder names."""
    os.fsync(handle)


def _unlink(name: str, folder: int) -> None:
    """Removes a name in an open folder; fine when it is gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        if name in os.listdir(folder):  # a disk that says so of what is there has removed nothing
            raise


def again(write: Callable[[], None]) -> None:
    """Writes, and writes anew while what is being written is cleared away by somebody else."""
    for _ in range(_TIMES - 1):
        with contextlib.suppress(FileNotFoundError):
            return write()
    return write()
