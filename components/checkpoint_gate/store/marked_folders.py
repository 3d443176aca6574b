"""Folders that count only with their marker, for stores that have neither folders nor a rename.

The marker (a checkpoint's manifest) is written last and removed first. While a folder is written, moved or removed,
`unfinished.json` beside the marker's place lists its files:

    {"files": ["ckpt.data-00000-of-00001", "ckpt.index"], "format": 1}

A folder with this list and no marker is seen by nobody, and the next writer removes exactly what it lists. A folder
with neither is one that lost its marker: it is shown as damaged, and kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.layout import FORMAT, UNFINISHED_FILE
from checkpoint_gate.store.opened_folders import plain_parts

_SMALL = 64 << 20

Fence = Callable[[], None]


class MarkedFolders(ABC):
    """The folders of `Files`, by operations on single files. Each step of a change asks `fence` first."""

    @property
    @abstractmethod
    def staging(self) -> LocalFiles: ...

    @abstractmethod
    def place(self, path: str | None = None) -> str: ...

    @abstractmethod
    def is_file(self, path: str) -> bool: ...

    @abstractmethod
    def names(self, path: str | None = None) -> list[str]: ...

    @abstractmethod
    def read(self, path: str, limit: int) -> bytes: ...

    @abstractmethod
    def create(self, path: str, data: bytes) -> None: ...

    @abstractmethod
    def replace(self, path: str, data: bytes) -> None: ...

    @abstractmethod
    def remove_file(self, path: str) -> None: ...

    @abstractmethod
    def _upload(self, staged: str, path: str) -> None:
        """Puts a staged file at a free name."""

    @abstractmethod
    def _copy_file(self, source: str, target: str) -> None:
        """Copies a file within the store."""

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
            self._copy_file(f"{source}/{name}", f"{target}/{name}")

    def _remove(self, path: str, fence: Fence) -> None:
        fence()
        self.remove_file(path)

    def _read_if_there(self, path: str, limit: int) -> bytes | None:
        try:
            return self.read(path, limit)
        except FileNotFoundError:
            return None


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
