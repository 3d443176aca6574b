"""What ExampleValidator found wrong with the data, in words. Needs no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from checkpoint_gate.errors import CheckpointGateError

FILE = "SchemaDiff.pb"
Comparison = Literal["drift", "skew"]
DRIFT: Comparison = "drift"
SKEW: Comparison = "skew"
"""The folders, beside those of the splits, of what was found by comparing spans."""

_MOST = 5
_SPLIT = "Split-"
_COMPARED = {DRIFT: "the span before", SKEW: "the span that is served"}
_DIVERGENCE = re.compile(r"Jensen-Shannon divergence .* is ([0-9.e+-]+)\b.*threshold ([0-9.e+-]+?)\.?$")


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One finding.

    Attributes:
      feature: the column; "" for one of the whole table.
      where: the split, or "drift" or "skew".
      short, long: TensorFlow Data Validation's words.
    """

    feature: str
    where: str
    short: str
    long: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def anomalies_in(message: Any, where: str) -> list[Anomaly]:
    """The findings of an Anomalies message, by column."""
    found = [
        Anomaly(name, where, info.short_description, info.description)
        for name, info in sorted(message.anomaly_info.items())
    ]
    if message.HasField("dataset_anomaly_info"):
        info = message.dataset_anomaly_info
        found.insert(0, Anomaly("", where, info.short_description, info.description))
    return found


def read_anomalies(folder: Path) -> list[Anomaly]:
    """The findings below the folder of an ExampleAnomalies artifact, the splits first.

    Raises:
      CheckpointGateError: a file there is damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    found: list[Anomaly] = []
    for path in sorted(folder.glob(f"*/{FILE}"), key=lambda path: (path.parent.name in _COMPARED, path)):
        try:
            message = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        except (OSError, DecodeError) as error:
            raise CheckpointGateError(f"The anomalies {path} cannot be read: {error}.") from error
        found += anomalies_in(message, path.parent.name.removeprefix(_SPLIT))
    return found


def in_words(anomalies: Sequence[Mapping[str, str]]) -> str:
    """One sentence that names at most 5 columns, each with its reasons; of `Anomaly.to_json`, at least one."""
    by_feature: dict[str, dict[str, list[str]]] = {}
    for one in anomalies:
        by_feature.setdefault(one["feature"], {}).setdefault(_reason(one), []).append(one["where"])
    told = [_column(feature, reasons) for feature, reasons in list(by_feature.items())[:_MOST]]
    if more := len(by_feature) - len(told):
        told.append(f"and {more} more column{'s' if more > 1 else ''}")
    return f"The data have anomalies: {'; '.join(told)}."


def _column(feature: str, reasons: Mapping[str, Iterable[str]]) -> str:
    words = [
        reason if set(places) <= set(_COMPARED) else f"{reason} ({', '.join(places)})"
        for reason, places in reasons.items()
    ]
    return f"{repr(feature) if feature else 'the table'}: {', '.join(words)}"


def _reason(one: Mapping[str, str]) -> str:
    if one["where"] not in _COMPARED:
        return one["short"].rstrip(".")
    numbers = _DIVERGENCE.search(one["long"])
    if numbers is None:
        return f"{one['short'].rstrip('.')} ({one['where']})"
    return f"{one['where']} of {float(numbers[1]):.3g} from {_COMPARED[one['where']]}, above {float(numbers[2]):g}"
