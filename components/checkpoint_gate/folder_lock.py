"""Keeps the other processes of this machine out of a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Waits for the folder's lock, and holds it; disks that know no locks go without.

    Raises:
      OSError: the folder is not there, or cannot be opened.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
