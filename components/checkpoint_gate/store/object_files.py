"""An object store as the store's filesystem, through fsspec.

A folder counts only with its marker (a checkpoint's manifest), which is written last and removed first. While a folder
is written, moved or removed, `unfinished.json` beside the marker's place lists its files:

    {"files": ["ckpt.data-00000-of-00001", "ckpt.index"], "format": 1}

A folder with this list and no marker is seen by nobody, and the next writer removes exactly what it lists. A folder
with neither is one that lost its marker: it is shown as damaged, and kept.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from checkpoint_gate.errors import StoreError
from checkpoint_gate.records import dump_json, load_json
from checkpoint_gate.store import object_calls
from checkpoint_gate.store.files import LocalFiles, plain_parts
from checkpoint_gate.store.layout import FORMAT, PROBE_FILE, UNFINISHED_FILE
from checkpoint_gate.store.staging import Staging

_CHUNK = 4 << 20
_SMALL = 64 << 20
_PROBE = b"a store needs a create that fails when the object is there\n"

Fence = Callable[[], None]
T = TypeVar("T")


class ObjectFiles:
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

    def read(self, path: str, limit: int) -> bytes:
        """A whole object of at most `limit` bytes.

        Raises:
          StoreError: it is larger.
        """
        try:
            data: bytes = self._call(path, self._fs.cat_file, self._key(path), start=0, end=limit + 1)
        except OSError as error:
            if error.errno != errno.EINVAL or self.size(path) > 0:
                raise
            return b""  # an empty object has no range
        if len(data) > limit:
            raise StoreError(f"{self.place(path)} is larger than the {limit} bytes that such a file may have.")
        return data

    def ends_with(self, path: str, end: bytes) -> bool:
        """Whether an object's last bytes are `end`, or there are none: `append` never leaves a part of a line."""
        try:
            data = self.read(path, _SMALL)
        except FileNotFoundError:
            return True
        return not data or data.endswith(end)

    def sha256(self, path: str) -> str:
        """sha256 of an object's bytes, in hex."""
        return self._call(path, self._digest, self._key(path))

    def make_folder(self, path: str) -> None:
        """Nothing to do: folders are parts of names."""
        self._key(path)

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
            if self._read_if_there(path, len(data)) != data:  # else it is our own: the first answer was lost
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
            return

    def remove_temporary(self, path: str) -> None:
        """Nothing to do: no object is ever half-written."""

    def link(self, source: str, target: Path) -> None:
        """Copies an object to a new file on the disk."""
        if target.exists():
            raise FileExistsError(f"{target} is there already")
        self._call(source, self._fs.get_file, self._key(source), str(target))
        if target.stat().st_size != self.size(source):
            target.unlink()
            raise StoreError(f"The copy {target} differs from {self.place(source)}.")

    def download_folder(self) -> Path:
        """A new empty folder on the disk, gone when this process ends."""
        return self._staging.download_folder()

    def holds(self, folder: str, marker: str) -> bool:
        """Whether the marker is there; or files without it that nobody is at work on: then it was lost."""
        if self.is_file(f"{folder}/{marker}"):
            return True
        if self.is_file(f"{folder}/{UNFINISHED_FILE}"):
            return False
        return any(self.is_file(f"{folder}/{name}") for name in self.names(folder))  # a late list is no proof

    def publish_folder(self, staged: str, target: str, marker: str, data: bytes, fence: Fence) -> None:
        """Uploads a staged folder, each file checked, and then creates its marker."""
        names = [name for name in self.staging.names(staged) if name != marker]
        self._begin(target, marker, names, fence)
        for name in names:
            fence()
            self._upload(f"{staged}/{name}", f"{target}/{name}")
        self._commit(target, marker, data, fence)

    def publish_copy(
        self, source: str, names: Iterable[str], staged: str, target: str, marker: str, data: bytes, fence: Fence
    ) -> None:
        """Copies objects within the store, and then creates the marker."""
        names = sorted(names)
        self._begin(target, marker, names, fence)
        self._copy(source, target, names, fence)
        self._commit(target, marker, data, fence)

    def move_folder(self, source: str, target: str, marker: str, names: Iterable[str], fence: Fence) -> None:
        """Copies the files and then the marker; removes the marker and then the files.

        Raises:
          FileExistsError: the target is there with another marker.
        """
        data = self._read_if_there(f"{source}/{marker}", _SMALL)
        if data is None and self.is_file(f"{source}/{UNFINISHED_FILE}"):
            self._clear(source, marker, fence)  # the rest of a move that was interrupted
            return
        listed = {name for name in self.names(source) if self.is_file(f"{source}/{name}")}
        names = sorted(({*names} if data is not None else set()) | listed - {marker, UNFINISHED_FILE})
        there = self._read_if_there(f"{target}/{marker}", _SMALL)
        if there is None and not self.holds(target, marker):
            self._begin(target, marker, names, fence)
            self._copy(source, target, names, fence)
        elif there is None or there != data:
            raise FileExistsError(f"{self.place(target)} is there already")
        if data is not None:
            self._commit(target, marker, data, fence)
        else:  # damaged, without a marker: moved as it is
            self._remove(f"{target}/{UNFINISHED_FILE}", fence)
        self.discard_folder(source, marker, names, fence)

    def discard_folder(self, folder: str, marker: str, names: Iterable[str], fence: Fence) -> bool:
        """Removes the marker and then the files; tells whether nothing is left."""
        names = sorted(names)
        self._list_unfinished(folder, names, fence)
        self._remove(f"{folder}/{marker}", fence)
        for name in names:
            self._remove(f"{folder}/{name}", fence)
        self._remove(f"{folder}/{UNFINISHED_FILE}", fence)
        return not any(self.is_file(f"{folder}/{name}") for name in self.names(folder))

    def clear_unfinished(self, parent: str, marker: str, fence: Fence) -> None:
        """Removes below `parent` what an interrupted upload, copy or removal has left."""
        for name in self.names(parent):
            if self.is_file(f"{parent}/{name}/{UNFINISHED_FILE}"):
                self._clear(f"{parent}/{name}", marker, fence)

    def _begin(self, target: str, marker: str, names: Iterable[str], fence: Fence) -> None:
        """Says what will be written, and clears away what an earlier attempt wrote."""
        if self.is_file(f"{target}/{UNFINISHED_FILE}"):
            self._clear(target, marker, fence)
        self._list_unfinished(target, names, fence)

    def _commit(self, target: str, marker: str, data: bytes, fence: Fence) -> None:
        fence()
        self.create(f"{target}/{marker}", data)
        self._remove(f"{target}/{UNFINISHED_FILE}", fence)

    def _list_unfinished(self, folder: str, names: Iterable[str], fence: Fence) -> None:
        fence()
        text = dump_json({"files": sorted(names), "format": FORMAT}) + "\n"
        self.replace(f"{folder}/{UNFINISHED_FILE}", text.encode())

    def _clear(self, folder: str, marker: str, fence: Fence) -> None:
        """Removes what the list says, unless the marker is there: then only the list is left over."""
        if not self.is_file(f"{folder}/{marker}"):
            path = f"{folder}/{UNFINISHED_FILE}"
            for name in unfinished_names(self.read(path, _SMALL), self.place(path)):
                self._remove(f"{folder}/{name}", fence)
        self._remove(f"{folder}/{UNFINISHED_FILE}", fence)

    def _copy(self, source: str, target: str, names: Iterable[str], fence: Fence) -> None:
        for name in names:
            fence()
            place = f"{target}/{name}"
            self._call(place, self._fs.cp_file, self._key(f"{source}/{name}"), self._key(place))
            if self.size(place) != self.size(f"{source}/{name}"):
                raise StoreError(f"The copy {self.place(place)} differs from {self.place(f'{source}/{name}')}.")

    def _upload(self, staged: str, path: str) -> None:
        """Puts a staged file at a free name, so that a writer that lost its lease overwrites nothing."""
        local = self.staging.local(staged)
        try:
            self._call(path, self._fs.put_file, str(local), self._key(path), mode="create")
        except (FileExistsError, FileNotFoundError):  # or it is our own, and the first answer was lost
            if not self.is_file(path) or self.sha256(path) != self.staging.sha256(staged):
                raise
        size = os.stat(local).st_size
        if self.size(path) != size:
            raise StoreError(f"{self.place(path)} has {self.size(path)} bytes after {size} were written to it.")

    def _remove(self, path: str, fence: Fence) -> None:
        fence()
        self.remove_file(path)

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

    def _read_if_there(self, path: str, limit: int) -> bytes | None:
        try:
            return self.read(path, limit)
        except FileNotFoundError:
            return None

    def _digest(self, key: str) -> str:
        digest = hashlib.sha256()
        with self._fs.open(key, "rb", block_size=_CHUNK) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _info(self, path: str) -> dict[str, Any]:
        value: dict[str, Any] = self._call(path, self._fs.info, self._key(path))
        return value

    def _key(self, path: str | None) -> str:
        return self._base if path is None else "/".join((self._base, *plain_parts(path)))

    def _call(self, path: str | None, operation: Callable[..., T], *args: object, **kwargs: object) -> T:
        return object_calls.call(self.place(path), operation, *args, **kwargs)


def unfinished_names(data: bytes, place: str) -> list[str]:
    """The names in a list of unfinished files; `place` stands in errors.

    Raises:
      StoreError: it is damaged, or of another format.
    """
    try:
        value = load_json(data)
    except ValueError as error:
        raise StoreError(f"{place} is damaged: {error}.") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else None
        raise StoreError(f"{place} has the format {found!r}; this version reads format {FORMAT}.")
    names = value.get("files")
    if not isinstance(names, list) or not all(isinstance(n, str) and plain_parts(n) == [n] for n in names):
        raise StoreError(f"{place} is damaged: files must be a list of names.")
    return names
