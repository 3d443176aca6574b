"""The two shapes of small files in the store: one JSON object, and JSON lines that only grow.

Each object, and each line, carries in `crc` the CRC-32 of the same JSON without it, so that a flipped bit is noticed
where no digest stands for the whole. What was written by hand may do without.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from checkpoint_gate.errors import NewerFormat, StoreError
from checkpoint_gate.records import dump_json, load_json, numbered_objects
from checkpoint_gate.store.filesystem import Files
from checkpoint_gate.store.layout import FORMAT

_OBJECT_BYTES = 64 << 20
_LINES_BYTES = 1 << 30
_CRC = re.compile(r'"crc": "([0-9a-f]{8})", ')


def read_object(files: Files, path: str) -> dict[str, Any]:
    """The JSON object in a file of this format.

    Raises:
      NewerFormat: of another format; names the file.
      StoreError: missing, or damaged; names the file.
    """
    value = read_object_if_there(files, path)
    if value is None:
        raise StoreError(f"{files.place(path)} is missing.")
    return value


def read_object_if_there(files: Files, path: str) -> dict[str, Any] | None:
    """As `read_object`; None where there is no such file."""
    place = files.place(path)
    try:
        value = load_json(files.read(path, _OBJECT_BYTES))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{place} is damaged: {error}.") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else None
        kind = NewerFormat if type(found) is int else StoreError
        raise kind(f"{place} has the format {found!r}; this version reads format {FORMAT}.")
    return _without_crc(value, place)


def write_object(files: Files, path: str, **fields: Any) -> None:
    """Replaces a file by one JSON object of this format."""
    files.replace(path, (dump_json(_with_crc({"format": FORMAT, **fields}), indent=1) + "\n").encode())


class JsonLines:
    """A file of JSON objects, one a line. A line torn by a crash is not read, and cut off before the next is added."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path

    def text(self) -> str:
        """The whole lines; "" where there is no file."""
        whole, end, _ = self._raw().rpartition("\n")
        return whole + end

    def read(self) -> Iterator[dict[str, Any]]:
        """The objects in order.

        Raises:
          StoreError: a whole line is not a JSON object; names it.
        """
        return parse_lines(self.text(), self._files.place(self._path))

    @property
    def torn(self) -> bool:
        """Whether a crash has left a last line without its end."""
        return not self._files.ends_with(self._path, b"\n")

    def mend(self) -> None:
        """Cuts a torn last line off."""
        if self.torn:
            self._files.replace(self._path, self.text().encode("utf-8", errors="surrogateescape"))

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds one object; it survives a power cut once this returns."""
        self.mend()
        self._files.append(self._path, (dump_json(_with_crc(line)) + "\n").encode())

    def _raw(self) -> str:
        try:
            data = self._files.read(self._path, _LINES_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        return data.decode("utf-8", errors="surrogateescape")


def parse_lines(text: str, name: str) -> Iterator[dict[str, Any]]:
    """The objects in JSON lines; blank lines are passed over, and so is a last line without its end.

    Raises:
      StoreError: a whole line is not a JSON object, or is of a newer format; names it.
    """
    return (value for _, value in numbered_lines(text, name))


def numbered_lines(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `parse_lines`, each with its number. A line may say its `format`; those of this format need not."""
    whole = text.rpartition("\n")[0]
    lines = whole.split("\n")
    for number, value in numbered_objects(whole, name):
        if value.get("format", FORMAT) != FORMAT:
            raise StoreError(
                f"{name} line {number} has the format {value['format']!r}; this version reads format {FORMAT}."
            )
        if _is_as_written(lines[number - 1]):
            del value["crc"]
            yield number, value
        else:
            yield number, _without_crc(value, f"{name} line {number}")


def _is_as_written(line: str) -> bool:
    """Whether the line's checksum is that of its own text without it, which spares making that text anew.

    False says nothing: one written by hand may have its keys in another order.
    """
    found = _CRC.search(line)
    if found is None:
        return False
    rest = line[: found.start()] + line[found.end() :]
    return found[1] == f"{zlib.crc32(rest.encode()):08x}"


def _with_crc(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "crc": _crc(value)}


def _without_crc(value: dict[str, Any], place: str) -> dict[str, Any]:
    """The same object without `crc`, which holds if it is there."""
    rest = {key: each for key, each in value.items() if key != "crc"}
    try:
        whole = "crc" not in value or value["crc"] == _crc(rest)
    except ValueError as error:  # a number beyond a double's, half a character
        raise StoreError(f"{place} is damaged: {error}.") from error
    if not whole:
        raise StoreError(f"{place} is damaged: its checksum does not hold.")
    return rest


def _crc(value: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(dump_json(value).encode()):08x}"
