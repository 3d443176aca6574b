"""Where thousands of stores are made, killed and looked at: a folder in memory, where there is room for one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = "/dev/shm"
_ENOUGH = 4 << 30  # bytes: what the greediest figure takes, and others beside it


@contextlib.contextmanager
def memory_folder(names: int = 0) -> Iterator[Path]:
    """A new folder, in memory if there is enough of it and else on the disk; gone afterwards.

    Args:
      names: how many names of files and folders have to fit in, where they are very many.
    """
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ENOUGH
    roomy = roomy and os.statvfs(_MEMORY).f_favail >= names
    with tempfile.TemporaryDirectory(dir=_MEMORY if roomy else None, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
