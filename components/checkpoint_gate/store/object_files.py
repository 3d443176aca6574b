"""An object store as the store's filesystem, through fsspec. Its folders count only with their markers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store import object_calls
from checkpoint_gate.store.checksums import WRITTEN, measure
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.layout import PROBE_FILE
from checkpoint_gate.store.marked_folders import MarkedFolders
from checkpoint_gate.store.opened_folders import plain_parts
from checkpoint_gate.store.staging import Staging

_CHUNK = 4 << 20
_SMALL = 64 << 20
_PROBE = b"a store needs a create that fails when the object is there\n"

T = TypeVar("T")


class ObjectFiles(MarkedFolders):
    """A place in an object store: `Files` by a driver of fsspec.

    Args:
      url: the place, such as s3://bucket/store.
      fs: the driver; by default the one that fsspec has for the URL.

    Raises:
      StoreError: no driver is installed for the URL.
    """

    atomic = False

    def __init__(self, url: str, fs: Any = None) -> None:
        if "::" in url or "?" in url:
            raise StoreError(f"A store's URL is a plain one, such as s3://bucket/store. Received: {url!r}.")
        self.root = url.rstrip("/")
        opened, path = object_calls.open_filesystem(self.root)
        self._fs = fs if fs is not None else opened
        self._base = path
        self._staging = Staging(self.root)
        self._proved = False

    @property
    def protocol(self) -> str:
        scheme = self.root.partition("://")[0]
        return f"an object store ({scheme}://): checkpoints are published by writing the manifest last"

    @property
    def staging(self) -> LocalFiles:
        return self._staging.files

    def place(self, path: str | None = None) -> str:
        """The URL of `path`."""
        return self.root if path is None else "/".join((self.root, *plain_parts(path)))

    def make_root(self) -> None:
        """Nothing to do: folders are parts of names."""

    def exists(self, path: str) -> bool:
        """Whether an object has this name, or one lies below it."""
        return self.is_file(path) or bool(self.names(path))

    def is_file(self, path: str) -> bool:
        """Whether this is an object: by a read of its first byte, where drivers look into listings for more."""
        try:
            self._call(path, self._fs.cat_file, self._key(path), start=0, end=1)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return bool(self._info(path)["type"] == "file")  # an empty one has no first byte
        return True

    def is_folder(self, path: str) -> bool:
        """Whether anything lies below this name."""
        return bool(self.names(path))

    def names(self, path: str | None = None) -> list[str]:
        """Sorted names below a name, as the store lists them: such a list may be late."""
        key = self._key(path)
        try:
            found = self._call(path, self._fs.ls, key, detail=False)
        except FileNotFoundError:
            return []
        beneath = (str(name).strip("/") for name in found)
        prefix = key.strip("/") + "/"
        return sorted({name[len(prefix) :] for name in beneath if name.startswith(prefix)})

    def size(self, path: str) -> int:
        """Bytes of an object."""
        return int(self._info(path)["size"])

    def identity(self, path: str) -> tuple[object, ...] | None:
        """An object's digest by the word of the store, where it gives one; see `Files.identity`."""
        try:
            info = self._info(path)
        except OSError:
            return None
        tag = info.get("ETag") or info.get("etag")
        return (tag, info["size"]) if tag else None

    def is_settled(self, path: str) -> bool:
        """A digest tells every change."""
        return True

    def read(self, path: str, limit: int) -> bytes:
        """A whole object of at most `limit` bytes.

        Raises:
          StoreError: it is larger.
        """
        data = self._range(path, start=0, end=limit + 1)
        if len(data) > limit:
            raise StoreError(f"{self.place(path)} is larger than the {limit} bytes that such a file may have.")
        return data

    def ends_with(self, path: str, end: bytes) -> bool:
        """Whether an object's last bytes are `end`; so it is taken to be where there is no object, or nothing in it.

        `append` never leaves a part of a line, but who brings a store here from a disk may.
        """
        try:
            data = self._range(path, start=-len(end))
        except FileNotFoundError:
            return True
        return data in (b"", end)

    def _range(self, path: str, **ends: int) -> bytes:
        try:
            data: bytes = self._call(path, self._fs.cat_file, self._key(path), **ends)
        except OSError as error:
            if error.errno != errno.EINVAL or self.size(path) > 0:
                raise
            return b""  # an empty object has no range
        return data

    def checksum(self, path: str, kind: str = WRITTEN) -> str:
        """The checksum of an object's bytes."""
        return self.measure(path, kind)[1]

    def measure(self, path: str, kind: str = WRITTEN, size: int | None = None) -> tuple[int, str]:
        """How many bytes an object has, and their checksum; "" where they are not `size`, and so are not read."""
        return self._call(path, self._measure, self._key(path), kind, size)

    def make_folder(self, path: str) -> None:
        """Nothing to do: folders are parts of names."""
        self._key(path)

    def sync_folder(self, path: str | None = None) -> None:
        """Nothing to do: what an object store has acknowledged lasts."""

    def create(self, path: str, data: bytes) -> None:
        """Writes a new object.

        Raises:
          FileExistsError: somebody else has made it.
          StoreError: this store, or its driver, cannot tell.
        """
        self._prove_exclusive()
        try:
            self._call(path, self._fs.pipe_file, self._key(path), data, mode="create")
        except FileExistsError:
            if self._read_if_there(path, _SMALL) != data:  # else it is our own: the first answer was lost
                raise

    def replace(self, path: str, data: bytes) -> None:
        """Writes an object, whatever was there."""
        self._call(path, self._fs.pipe_file, self._key(path), data)

    def append(self, path: str, data: bytes) -> None:
        """Adds to the end of an object by writing all of it anew; only one writer may do so at a time."""
        before = self._read_if_there(path, 1 << 30)
        self.replace(path, (before or b"") + data)

    def remove_file(self, path: str) -> None:
        """Removes an object; fine when it is gone."""
        try:
            self._call(path, self._fs.rm_file, self._key(path))
        except FileNotFoundError:
            if self.is_file(path):  # a store that says so of what is there has removed nothing
                raise

    def remove_temporary(self, path: str | None = None, of: str = "") -> None:
        """Nothing to do: no object is ever half-written."""

    def link(self, source: str, target: Path) -> None:
        """Copies an object to a new file on the disk."""
        if target.exists():
            raise FileExistsError(f"{target} is there already")
        self._call(source, self._fs.get_file, self._key(source), str(target))
        if target.stat().st_size != self.size(source):
            target.unlink()
            raise StoreError(f"The copy {target} differs from {self.place(source)}.")

    def refuse_mounts(self, folder: str) -> None:
        """Nothing to do: an object store is one place."""

    def download_folder(self) -> Path:
        """A new empty folder on the disk, gone when this process ends."""
        return self._staging.download_folder()

    def _copy_file(self, source: str, target: str) -> None:
        self._call(target, self._fs.cp_file, self._key(source), self._key(target))
        if self.size(target) != self.size(source):
            raise StoreError(f"The copy {self.place(target)} differs from {self.place(source)}.")

    def _upload(self, staged: str, path: str) -> None:
        """Puts a staged file at a free name, so that a writer that lost its lease overwrites nothing."""
        local = self.staging.local(staged)
        try:
            self._call(path, self._fs.put_file, str(local), self._key(path), mode="create")
        except (FileExistsError, FileNotFoundError):  # or it is our own, and the first answer was lost
            if not self.is_file(path) or self.checksum(path) != self.staging.checksum(staged):
                raise
        size = os.stat(local).st_size
        if self.size(path) != size:
            raise StoreError(f"{self.place(path)} has {self.size(path)} bytes after {size} were written to it.")

    def _prove_exclusive(self) -> None:
        """Makes sure that `create` fails where something is; a store that overwrites it could not keep a lease."""
        if self._proved:
            return
        key = self._key(PROBE_FILE)
        exclusive = object_calls.creates_exclusively(self._fs)
        if exclusive:
            if not self.is_file(PROBE_FILE):
                self._call(PROBE_FILE, self._fs.pipe_file, key, _PROBE)
            try:
                self._call(PROBE_FILE, self._fs.pipe_file, key, _PROBE, mode="create")
                exclusive = False
            except FileExistsError:
                self._proved = True
        if not exclusive:
            raise StoreError(
                f"{self.root} cannot hold a store: it overwrites an object where it was told to create one only, so "
                f"two writers would not notice each other. Choose a store with conditional writes, or a local disk."
            )

    def _measure(self, key: str, kind: str, size: int | None) -> tuple[int, str]:
        with self._fs.open(key, "rb", block_size=_CHUNK) as file:
            return measure(file, kind) if size in (None, file.size) else (int(file.size), "")

    def _info(self, path: str) -> dict[str, Any]:
        value: dict[str, Any] = self._call(path, self._fs.info, self._key(path))
        return value

    def _key(self, path: str | None) -> str:
        return self._base if path is None else "/".join((self._base, *plain_parts(path)))

    def _call(self, path: str | None, operation: Callable[..., T], *args: object, **kwargs: object) -> T:
        return object_calls.call(self.place(path), operation, *args, **kwargs)
