"""YAML and JSON text as plain Python data that remembers its lines.

The reader is deliberately smaller than YAML: scalars follow the core schema of YAML 1.2 (`1e-3` is a
float, `no` and `2024-01-31` are text), keys are text and unique, and there is one document without
aliases or tags. Every JSON text is read as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLStreamError
from ruamel.yaml.reader import ReaderError

KeyPath = tuple["str | int", ...]

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_BASED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")


class YamlError(ValueError):
    """The text is not what `read_located` reads; one sentence that names the line."""


@dataclass(frozen=True)
class Located:
    """Plain data, and where each part of it stands in its text.

    Attributes:
        data: dict, list, str, int, float, bool or None; None for an empty text.
        lines: the line (from 1) of every path, for example `("model", "hidden", 0)`.
        name: what to call the text in messages, for example `pipeline.yaml`.
    """

    data: object
    lines: Mapping[KeyPath, int]
    name: str

    def where(self, path: KeyPath = ()) -> str:
        """Words for the place of `path`, or of its nearest ancestor that has a line."""
        for end in range(len(path), -1, -1):
            line = self.lines.get(tuple(path[:end]))
            if line is not None:
                return f"{self.name} line {line}"
        return self.name


def read_located(text: str, name: str) -> Located:
    """Reads YAML or JSON `text`; `name` is what messages call it.

    Raises:
        YamlError: malformed text, a duplicate key, a key that is not text, an alias, a tag, a second
            document, more than 40 levels, or more than 1 MiB.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise YamlError(f"{name} is larger than 1 MiB, which is too large to be a configuration.")
    lines: dict[KeyPath, int] = {}
    try:
        data = _build(_events(text), lines, name)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(
            f"{name} line {line} holds the character {chr(error.character)!r}, which YAML forbids."
        ) from None
    except (MarkedYAMLError, YAMLStreamError) as error:
        raise YamlError(_malformed(error, name)) from None
    return Located(data, MappingProxyType(lines), name)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """What YAML reads when `text` stands without quotes.

    Raises:
        ValueError: a whole number of more digits than Python converts.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        return int(text)
    if _BASED_INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinity := _INFINITY.fullmatch(text):
        return float(f"{infinity[1]}inf")
    return float("nan") if _NAN.fullmatch(text) else text


@dataclass
class _Open:
    """A mapping or sequence that is still being read."""

    path: KeyPath
    value: dict[str, object] | list[object]
    key: str | None = None
    seen: dict[str, int] = field(default_factory=dict)


def _events(text: str) -> Iterator[Any]:
    yield from YAML(typ="safe", pure=True).parse(text.removeprefix("\ufeff"))


def _build(events: Iterator[Any], lines: dict[KeyPath, int], name: str) -> object:
    """Builds the data without recursion, so that no depth of nesting can exhaust the stack."""
    root: list[object] = []
    stack: list[_Open] = []
    documents = 0
    for event in events:
        kind = type(event).__name__
        line = event.start_mark.line + 1 if event.start_mark else 1
        if kind == "DocumentStartEvent":
            documents += 1
            if documents > 1:
                raise YamlError(f"{name} line {line} starts a second document; only one is read.")
        elif kind == "AliasEvent":
            raise YamlError(f"{name} line {line}: the alias *{event.anchor} is not supported; write the value out.")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            stack.pop()
        elif kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent"):
            if event.tag is not None:
                raise YamlError(f"{name} line {line}: the tag {event.tag} is not supported; write a plain value.")
            parent = stack[-1] if stack else None
            if parent is not None and isinstance(parent.value, dict) and parent.key is None:
                _take_key(event, parent, line, lines, name)
                continue
            empty: Any = {} if kind == "MappingStartEvent" else []
            value: Any = _scalar(event, line, name) if kind == "ScalarEvent" else empty
            path = _put(value, parent, root)
            lines.setdefault(path, line)
            if kind != "ScalarEvent":
                if len(stack) == MAX_DEPTH:
                    raise YamlError(f"{name} line {line} is nested more than {MAX_DEPTH} levels deep.")
                stack.append(_Open(path, value))
    return root[0] if root else None


def _take_key(event: Any, parent: _Open, line: int, lines: dict[KeyPath, int], name: str) -> None:
    key = _scalar(event, line, name) if type(event).__name__ == "ScalarEvent" else None
    if not isinstance(key, str):
        shown = f"the key {event.value}" if type(event).__name__ == "ScalarEvent" else "a mapping or list as a key"
        raise YamlError(f"{name} line {line}: {shown} must be text; put it in quotes.")
    if key in parent.seen:
        raise YamlError(f"{name} line {line}: the key {key!r} is there twice, first in line {parent.seen[key]}.")
    parent.seen[key] = line
    parent.key = key
    path = (*parent.path, key)
    lines[path] = line


def _put(value: object, parent: _Open | None, root: list[object]) -> KeyPath:
    """Puts `value` into its parent and returns its path."""
    if parent is None:
        root.append(value)
        return ()
    if isinstance(parent.value, list):
        parent.value.append(value)
        return (*parent.path, len(parent.value) - 1)
    assert parent.key is not None
    key, parent.key = parent.key, None
    parent.value[key] = value
    return (*parent.path, key)


def _scalar(event: Any, line: int, name: str) -> str | int | float | bool | None:
    if not event.implicit[0]:  # quoted, or a block scalar
        return _joined(str(event.value), line, name)
    try:
        return plain_scalar(str(event.value))
    except ValueError:
        raise YamlError(f"{name} line {line} holds a number of {len(event.value)} digits, which is too long.") from None


def _joined(text: str, line: int, name: str) -> str:
    """JSON writes what is beyond 16 bits as two escapes; YAML reads them as two halves."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise YamlError(f"{name} line {line} holds half of a surrogate pair, which is no character.") from None


def _malformed(error: Exception, name: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = name if mark is None else f"{name} line {mark.line + 1}"
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or str(error)
    hint = ": indent with spaces" if "'\\t'" in problem else ""
    return f"{where} is not valid YAML: {problem}{hint}."
