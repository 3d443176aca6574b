"""Folders on the local disk beside an object store: TensorFlow writes there, and reads from there."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import weakref
from pathlib import Path

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.process import born


class Staging:
    """Folders below the system's folder for temporary files, the same ones for every process of this user and URL.

    So the next writer of a run can clear away what a killed one left. Nothing is made before it is needed.
    """

    def __init__(self, url: str) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"checkpoint-gate-{os.getuid()}"
        self._name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._downloads: str | None = None

    @property
    def files(self) -> LocalFiles:
        """Where folders are written before they are published."""
        return LocalFiles(self._own() / self._name)

    def download_folder(self) -> Path:
        """A new empty folder, gone when this process ends."""
        if self._downloads is None:
            parent = self._own() / "downloads"
            parent.mkdir(mode=0o700, exist_ok=True)
            _clear_dead(parent)
            self._downloads = tempfile.mkdtemp(prefix=f"{os.getpid()}-{born(os.getpid())}-", dir=parent)
            weakref.finalize(self, shutil.rmtree, self._downloads, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._downloads))

    def _own(self) -> Path:
        """This user's folder. Its name is known to all, so it is used only where nobody else can have made it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = os.lstat(self._folder)
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
            raise StoreError(f"{self._folder} is no folder of this user: remove it, or set TMPDIR to another one.")
        return self._folder


def _clear_dead(parent: Path) -> None:
    """Removes the folders of processes that are gone."""
    for folder in parent.iterdir():
        pid, _, rest = folder.name.partition("-")
        if pid.isdecimal() and born(int(pid)) != rest.partition("-")[0]:
            shutil.rmtree(folder, ignore_errors=True)
