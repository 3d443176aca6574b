"""What training said at one moment, and its strict JSON form.

JSON has no NaN and no infinities; a metric that is not finite is written as the string "nan", "inf" or "-inf".
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any, Literal

from checkpoint_gate.errors import MetricValueError, StoreError

At = Literal["epoch", "step"]

_LINE = re.compile(r"[^\n]*\n?")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Record:
    """One observation of a training run.

    Attributes:
      step: optimizer steps done when the metrics were taken, >= 0.
      epoch: Keras' zero-based epoch, >= 0.
      metrics: metric name -> value; not finite values are allowed and are never judged to hold.
      at: "epoch" for a record made at an epoch's end, "step" for one made between.
      time: seconds since 1970 (UTC), or None; rules on wall-clock time cannot be judged without it.
    """

    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    at: At = "epoch"
    time: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("step", self.step), ("epoch", self.epoch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be a whole number of at least 0. Received: {name}={value!r}")
        if self.time is not None and not math.isfinite(self.time):
            raise ValueError(f"time must be finite seconds since 1970. Received: time={self.time!r}")
        if self.at not in ("epoch", "step"):
            raise ValueError(f"at must be 'epoch' or 'step'. Received: at={self.at!r}")
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def metric(self, name: str) -> float | None:
        """The value of metric `name`, or None when it was not logged."""
        return self.metrics.get(name)

    def finite(self, name: str) -> float | None:
        """The value of metric `name` when it was logged and is finite, else None."""
        value = self.metrics.get(name)
        return value if value is not None and math.isfinite(value) else None


def metrics_from_logs(logs: Mapping[str, Any]) -> dict[str, float]:
    """Plain numbers from Keras logs: Python numbers, numpy scalars and 0-d tensors.

    Raises:
      MetricValueError: a value is an array, a string, a bool or a mapping; names it.
    """
    return {str(name): _number(str(name), value) for name, value in logs.items()}


def _number(name: str, value: Any) -> float:
    shape = tuple(getattr(value, "shape", ()))
    plain = value if shape else _plain(value)
    if shape or isinstance(plain, (bool, str, bytes, Mapping)):
        what = f"an array of shape {shape}" if shape else repr(value)
        raise MetricValueError(f"Metric {name!r} must be a single number. Received: {what}.")
    try:
        return float(plain)
    except OverflowError:  # an int beyond the largest double
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError) as error:
        raise MetricValueError(f"Metric {name!r} must be a single number. Received: {value!r}.") from error


def _plain(value: Any) -> Any:
    """The Python value of a tensor or a numpy scalar without dimensions; anything else as it is."""
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.item() if hasattr(value, "item") else value


def encode_metrics(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics as strict JSON values: finite numbers as they are, the rest as "nan", "inf", "-inf"."""
    return {name: value if math.isfinite(value) else str(float(value)) for name, value in metrics.items()}


def decode_metrics(metrics: Any) -> dict[str, float]:
    """The inverse of `encode_metrics`.

    Raises:
      ValueError: not a mapping of names to numbers or to the three strings.
    """
    if not isinstance(metrics, dict):
        raise ValueError(f"metrics must be an object. Received: {metrics!r}")
    decoded = {}
    for name, value in metrics.items():
        name = sys.intern(name)  # a history has the same few names in each of its many records
        if type(value) is float:
            decoded[name] = value
        elif isinstance(value, str) and value in _NOT_FINITE:
            decoded[name] = _NOT_FINITE[value]
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f'metric {name!r} must be a number, "nan", "inf" or "-inf". Received: {value!r}')
        else:
            decoded[name] = _number(name, value)
    return decoded


def record_to_json(record: Record) -> dict[str, Any]:
    """The record as a strict JSON object; `at` and `time` only where they say something."""
    line: dict[str, Any] = {"step": record.step, "epoch": record.epoch, "metrics": encode_metrics(record.metrics)}
    if record.at != "epoch":
        line["at"] = record.at
    if record.time is not None:
        line["time"] = record.time
    return line


def record_from_json(line: Mapping[str, Any]) -> Record:
    """The record in a ledger or history line; other keys are left alone.

    Raises:
      ValueError: a key is missing or has the wrong type.
    """
    try:
        time = line.get("time")
        if time is not None and (isinstance(time, bool) or not isinstance(time, (int, float))):
            raise ValueError(f"time must be seconds since 1970. Received: {time!r}")
        return Record(
            step=line["step"],
            epoch=line["epoch"],
            metrics=decode_metrics(line["metrics"]),
            at=line.get("at", "epoch"),
            time=time,
        )
    except KeyError as error:
        raise ValueError(f"a record needs the key {error.args[0]!r}. Received: {sorted(line)}") from error


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON: sorted keys, no NaN; the same value always gives the same text."""
    if indent is not None and type(value) in (dict, list) and value:
        return _dump_indented(value, " " * indent, "\n")
    return _dump(value)


_dump = json.JSONEncoder(sort_keys=True, allow_nan=False, ensure_ascii=False).encode


def _dump_indented(value: Any, indent: str, line: str) -> str:
    """As `json.dumps` does it; but that goes without its compiled encoder as soon as it indents, and takes ages."""
    if type(value) is str:
        return encode_basestring(value)
    if type(value) is int:
        return str(value)
    if type(value) not in (dict, list) or not value:
        return _dump(value)
    below = line + indent
    if isinstance(value, list):
        return "[" + below + f",{below}".join([_dump_indented(v, indent, below) for v in value]) + line + "]"
    pairs = [f"{encode_basestring(key)}: {_dump_indented(v, indent, below)}" for key, v in sorted(value.items())]
    return "{" + below + f",{below}".join(pairs) + line + "}"


def load_json(text: str | bytes) -> Any:
    """Reads strict JSON.

    Raises:
      ValueError: malformed, a duplicate key, NaN or an infinity, a number too long, or nested too deeply.
    """
    try:
        return _load(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)!r}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not strict JSON")


_load = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A record as it stands in a history.

    Attributes:
      number: the line, from 1.
      record: the record.
      value: the line without its metrics, which the record has; with the decision where there is one.
      superseded: the `resumed` event that overtook the record, None while the record counts.
      started: the `started` event of the training that made the record, None in a history that does not say.
    """

    number: int
    record: Record
    value: Mapping[str, Any]
    superseded: Mapping[str, Any] | None = None
    started: Mapping[str, Any] | None = None


def numbered_objects(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in JSON lines, each with its line's number from 1; blank lines are passed over.

    Raises:
      StoreError: a line is not a JSON object; names the file and the line.
    """
    for number, line in lines_in(text):
        yield number, object_in(line, f"{name} line {number}")


def lines_in(text: str, end: int | None = None) -> Iterator[tuple[int, str]]:
    """The lines of `text[:end]` that are not blank, one after the other, each with its number from 1."""
    found = _LINE.finditer(text, 0, len(text) if end is None else end)
    for number, match in enumerate(found, 1):  # splitlines() would also split at U+2028 within a string
        line = match[0].removesuffix("\n")
        if line.strip():
            yield number, line


def object_in(line: str, place: str) -> dict[str, Any]:
    """The JSON object in a line; `place` stands in the error.

    Raises:
      StoreError: it is not a JSON object.
    """
    try:
        line.encode("utf-8")  # bytes that are not UTF-8 were read as half characters
        value = load_json(line)
        if not isinstance(value, dict):
            raise ValueError(f"must be an object. Received: {line[:80]!r}")
    except ValueError as error:
        raise StoreError(f"{place} is damaged: {error}.") from error
    return value


def read_lines(
    values: Iterable[tuple[int, Mapping[str, Any]]], name: str
) -> tuple[list[HistoryLine], list[Mapping[str, Any]]]:
    """The records and the event lines of a history, each in order.

    A `resumed` event supersedes the records after its step; a `started` event holds for the records that follow it.

    Raises:
      StoreError: a line is neither a record nor an event; names the file and the line.
    """
    lines: list[HistoryLine] = []
    events: list[Mapping[str, Any]] = []
    counting: list[int] = []
    started: Mapping[str, Any] | None = None
    for number, value in values:
        try:
            if "event" not in value:
                counting.append(len(lines))
                rest = {key: each for key, each in value.items() if key != "metrics"}
                lines.append(HistoryLine(number, record_from_json(value), rest, started=started))
                continue
            events.append(value)
            if value["event"] == "started":
                started = value
            if value["event"] == "resumed":
                after = _after_step(value)
                for place in (place for place in counting if lines[place].record.step > after):
                    lines[place] = replace(lines[place], superseded=value)
                counting = [place for place in counting if lines[place].superseded is None]
        except ValueError as error:
            raise StoreError(f"{name} line {number} is not a record: {error}.") from error
    return lines, events


def _after_step(event: Mapping[str, Any]) -> int:
    step = event.get("after_step")
    if isinstance(step, bool) or not isinstance(step, int):
        raise ValueError(f"a resumed line needs a whole number after_step. Received: {step!r}")
    return step


def read_history(text: str, name: str) -> list[Record]:
    """The records that count in JSON lines, in order.

    Raises:
      StoreError: a line is neither a record nor an event; names the file and the line.
    """
    lines, _ = read_lines(numbered_objects(text, name), name)
    return [line.record for line in lines if line.superseded is None]
