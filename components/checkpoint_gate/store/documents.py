"""The two shapes of small files in the store: one JSON object, and JSON lines that only grow.

Each object, and each line, carries in `crc` the CRC-32 of the same JSON without it, so that a flipped bit is noticed
where no digest stands for the whole. What was written by hand may do without.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from checkpoint_gate.errors import NewerFormat, StoreError
from checkpoint_gate.rules.records import dump_json, lines_in, load_json, object_in
from checkpoint_gate.store.filesystem import Files
from checkpoint_gate.store.layout import FORMAT

_OBJECT_BYTES = 64 << 20
_LINES_BYTES = 1 << 30
_CRC = re.compile(r'"crc": "([0-9a-f]{8})", ')
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def read_object(files: Files, path: str, limit: int = _OBJECT_BYTES) -> dict[str, Any]:
    """The JSON object in a file of this format, of at most `limit` bytes.

    Raises:
      NewerFormat: of another format; names the file.
      StoreError: missing, or damaged; names the file.
    """
    value = read_object_if_there(files, path, limit)
    if value is None:
        raise StoreError(f"{files.place(path)} is missing.")
    return value


def read_object_if_there(files: Files, path: str, limit: int = _OBJECT_BYTES) -> dict[str, Any] | None:
    """As `read_object`; None where there is no such file."""
    place = files.place(path)
    try:
        value = load_json(files.read(path, limit))
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
    write_large_object(files, path, _OBJECT_BYTES, fields)


def write_large_object(files: Files, path: str, limit: int, fields: Mapping[str, Any]) -> None:
    """As `write_object`, where a file of up to `limit` bytes is read.

    Raises:
      StoreError: it would be larger, and nobody could read it; the file is as it was.
    """
    data = (dump_json(_with_crc({"format": FORMAT, **fields}), indent=1) + "\n").encode()
    if len(data) > limit:
        raise StoreError(f"{files.place(path)} must be at most {limit} bytes. Received: {len(data)} bytes.")
    files.replace(path, data)


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
    for number, line in lines_in(text, text.rfind("\n") + 1):
        value = _as_written(line)
        yield number, _examined(line, f"{name} line {number}") if value is None else value


def _as_written(line: str) -> dict[str, Any] | None:
    """The object of a line that is as `JsonLines` wrote it, without its checksum: in a third of the time.

    None says nothing: a line written by hand may have its keys in another order, or no checksum.
    """
    found = _CRC.search(line)
    if found is None:
        return None
    try:
        rest = (line[: found.start()] + line[found.end() :]).encode()
        value = _OBJECT.decode(rest) if found[1] == f"{zlib.crc32(rest):08x}" else None
    except ValueError:
        return None
    return value if value is not None and value.get("format", FORMAT) == FORMAT else None


def _examined(line: str, place: str) -> dict[str, Any]:
    value = object_in(line, place)
    if value.get("format", FORMAT) != FORMAT:
        raise StoreError(f"{place} has the format {value['format']!r}; this version reads format {FORMAT}.")
    return _without_crc(value, place)


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
