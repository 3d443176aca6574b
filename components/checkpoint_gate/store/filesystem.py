"""What the store asks of a filesystem, and which one holds a store.

Two kinds keep the same promises in different ways:

* A local disk (`LocalFiles`): a folder of files is written under a temporary name, forced to the disk with the folder
  around it, and renamed. The rename is the commit.
* An object store (`ObjectFiles`: gs://, s3:// and what else fsspec reaches with an exclusive create): there is no
  rename. A folder counts only with its *marker*, which is written last and removed first; until then a small list
  beside it says which files are not to count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.checksums import WRITTEN
from checkpoint_gate.store.files import LocalFiles

if TYPE_CHECKING:
    from checkpoint_gate.store.object_files import ObjectFiles

Fence = Callable[[], None]
"""Called before each step of a change that takes many; raises when the right to write was lost meanwhile."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://")
_SPOILT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")  # what `pathlib.Path` makes of a URL


class Files(Protocol):
    """A folder of files; paths are relative to it, with "/" between names, and never leave it.

    What a method has written when it returns is safe: forced to the disk, or acknowledged by the object store.
    """

    @property
    def root(self) -> Path | str:
        """The folder: a path, or a URL."""

    @property
    def atomic(self) -> bool:
        """Whether a folder is moved at once, and a listing shows all there is."""

    @property
    def protocol(self) -> str:
        """One phrase: where this is, and how checkpoints are published here."""

    @property
    def staging(self) -> LocalFiles:
        """The local disk on which folders are written before they are published."""

    def place(self, path: str | None = None) -> str:
        """Where `path` is, for people: a path on the disk, or a URL. Without `path`, the root."""

    def make_root(self) -> None:
        """Makes the root folder; fine when it is there."""

    def exists(self, path: str) -> bool:
        """Whether anything has this name."""

    def is_file(self, path: str) -> bool:
        """Whether this is a plain file."""

    def is_folder(self, path: str) -> bool:
        """Whether this is a folder; an object store has those that something is in."""

    def names(self, path: str | None = None) -> list[str]:
        """Sorted names in a folder; none where it does not exist. Where not `atomic`, the list may be late."""

    def size(self, path: str) -> int:
        """Bytes of a file."""

    def identity(self, path: str) -> tuple[object, ...] | None:
        """What is another when a file's bytes are others, told without reading them; None where nothing is told."""

    def is_settled(self, path: str) -> bool:
        """Whether `identity` would be another after the next change; not so of what was written a moment ago."""

    def read(self, path: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes, as last written. FileNotFoundError proves that it is not there."""

    def ends_with(self, path: str, end: bytes) -> bool:
        """Whether a file's last bytes are `end`; so it is taken to be where there is no file, or nothing in it."""

    def checksum(self, path: str, kind: str = WRITTEN) -> str:
        """The checksum of a file's bytes, see `checksums`."""

    def measure(self, path: str, kind: str = WRITTEN, size: int | None = None) -> tuple[int, str]:
        """How many bytes a file has, and their checksum; "" where they are not `size`, and so are not read.

        Raises:
          NotPlain: it is a link, a folder or the like.
        """

    def make_folder(self, path: str) -> None:
        """Makes a folder and its parents; fine when it is there."""

    def sync_folder(self, path: str | None = None) -> None:
        """Makes the names in a folder survive a power cut; without `path` those in the root, and its own."""

    def create(self, path: str, data: bytes) -> None:
        """Writes a new file, whole from the moment it is seen. Of many who try, one goes on.

        Raises:
          FileExistsError: somebody else has made it.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Puts a whole new content in a file's place at once."""

    def append(self, path: str, data: bytes) -> None:
        """Adds to the end of a file, which is made when it is not there; only one writer may do so at a time."""

    def remove_file(self, path: str) -> None:
        """Removes a file; fine when it is gone."""

    def remove_temporary(self, path: str | None = None, of: str = "") -> None:
        """Removes what `create` and `replace` leave when they are killed, of files whose names begin with `of`."""

    def link(self, source: str, target: Path) -> None:
        """Gives a file another name outside: a hard link, or a copy."""

    def download_folder(self) -> Path:
        """A new empty folder on the disk for copies to be read, gone when this process ends."""

    def holds(self, folder: str, marker: str) -> bool:
        """Whether a reader may see this folder: nothing that is half-written, half-moved or half-removed is held."""

    def publish_folder(self, staged: str, target: str, marker: str, data: bytes, fence: Fence) -> None:
        """Puts the folder `staged` of `staging` at `target`, a file `marker` added: readers see all of it or none."""

    def publish_copy(
        self, source: str, names: Iterable[str], staged: str, target: str, marker: str, data: bytes, fence: Fence
    ) -> None:
        """As `publish_folder`, with files of the folder `source`, which stays."""

    def move_folder(self, source: str, target: str, marker: str, names: Iterable[str], fence: Fence) -> None:
        """Moves a folder whole to a free name; begun again after a crash, it goes on.

        Args:
          names: the files that are known to be in it, those that a late listing would miss among them.

        Raises:
          FileExistsError: the target is there, and is no half-done move of this source.
        """

    def discard_folder(self, folder: str, marker: str, names: Iterable[str], fence: Fence) -> bool:
        """Removes the files `names` and the marker, and the folder if it is empty then; tells whether it is gone."""

    def refuse_mounts(self, folder: str) -> None:
        """Looks whether what lies in a folder can be moved about in it.

        Raises:
          StoreError: a folder in it is on another device.
        """

    def clear_unfinished(self, parent: str, marker: str, fence: Fence) -> None:
        """Removes what killed writers have left below `parent` that no reader sees; only under the lease."""


def open_files(root: str | Path) -> LocalFiles | ObjectFiles:
    """The filesystem for a store at `root`: a folder's path, file://, or the URL of an object store.

    Raises:
      StoreError: there is no driver for such a URL, or it was damaged on its way.
    """
    text = str(root)
    if not text:  # as an unset variable gives; a disk would take it for the current folder
        raise StoreError("A store's place must not be empty. Received: ''.")
    scheme = _URL.match(text)
    if scheme is None:
        if isinstance(root, Path) and _SPOILT_URL.match(text):
            raise StoreError(f"Give the URL of a store as text, not as a pathlib.Path. Received: {text!r}.")
        return LocalFiles(root)
    if scheme[1] in ("file", "local"):
        return LocalFiles(unquote(urlsplit(text).path))
    from checkpoint_gate.store.object_files import ObjectFiles  # fsspec and a driver are needed only here

    return ObjectFiles(text)
