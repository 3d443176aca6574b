"""Arguments of a run: NAME=VALUE, checked against what the compiled pipeline takes. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.spelling import did_you_mean

_INTEGER = re.compile(r"[+-]?\d+")
_EXACT = 2**53  # servers read every number as a double


def read_arguments(given: Iterable[str], definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments as JSON values of the parameters' types.

    Args:
      given: NAME=VALUE each; lists and structs as JSON, booleans as true or false.
      definitions: the pipeline's root parameters, name to parameterType and defaultValue.

    Raises:
      ConfigError: a name is unknown or given twice, a value is not of its type, or a parameter without a default is
        not given.
    """
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"A parameter must be given as NAME=VALUE. Received: {text!r}.")
        if name not in definitions:
            known = ", ".join(sorted(definitions)) or "none"
            hint = did_you_mean(name, definitions)
            raise ConfigError(f"The pipeline has no parameter {name!r}{hint}. It has: {known}.")
        if name in values:
            raise ConfigError(f"The parameter {name} must be given once. Received: {text!r} after another.")
        values[name] = _value(name, value, str(definitions[name].get("parameterType", "")))
    missing = [
        name
        for name, definition in definitions.items()
        if name not in values and "defaultValue" not in definition and not definition.get("isOptional")
    ]
    if missing:
        raise ConfigError(f"The pipeline has no default for {', '.join(missing)}: give each with -p NAME=VALUE.")
    return values


def _value(name: str, text: str, kind: str) -> Any:
    if kind not in _KINDS:
        raise ConfigError(f"The parameter {name} is of the type {kind or 'unknown'}, which cannot be given here.")
    must, read = _KINDS[kind]
    try:
        return read(text)
    except ValueError:
        raise ConfigError(f"The parameter {name} must be {must}. Received: {text!r}.") from None


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or abs(int(text)) > _EXACT:
        raise ValueError
    return int(text)


def _double(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _json(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text, parse_constant=_refuse_constant)
        if not isinstance(value, kind):
            raise ValueError
        return value

    return read


def _refuse_constant(name: str) -> None:
    """NaN and infinities, which Python's JSON has and the servers' has not."""
    raise ValueError(name)


_KINDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "STRING": ("a text", str),
    "NUMBER_INTEGER": ("a whole number, at most 2^53", _integer),
    "NUMBER_DOUBLE": ("a finite number", _double),
    "BOOLEAN": ("true or false", _boolean),
    "LIST": ("a JSON list", _json(list)),
    "STRUCT": ("a JSON object", _json(dict)),
}
