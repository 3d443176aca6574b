"""What a push folder remembers beyond its versions: which weights were withdrawn, and what was pruned.

    <push folder>/.checkpoint-gate/log.jsonl      one JSON object a line; servers take no such name for a version

    {"by": 1790000400, "event": "withdrawn", "reason": "…", "time": …, "version": 1790000300, "weights": "9f…"}
    {"event": "allowed", "time": …, "version": 1790000300, "weights": "9f…"}

Weights are withdrawn until a line allows them again, whether or not their version still stands. The other events are
those of `checkpoint_gate.pusher.pruning`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from checkpoint_gate.errors import StoreError
from checkpoint_gate.quantities import format_time
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store.documents import JsonLines, parse_lines
from checkpoint_gate.store.filesystem import open_files
from checkpoint_gate.uri_files import read_file, write_file

HOME = ".checkpoint-gate"
FILE = f"{HOME}/log.jsonl"
_HANDED_ON = "withdrawn.json"

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Weights that are not to be pushed again.

    Attributes:
        version: the pushed version that had them.
        weights: their digest, as `weights.weights_digest` makes it.
        by: the version that took its place.
        reason: one phrase for a person.
        time: seconds since 1970.
    """

    version: int
    weights: str
    by: int
    reason: str
    time: float

    def __str__(self) -> str:
        return f"withdrawn on {format_time(self.time)}: {self.reason}"


def read_log(folder: str) -> list[dict[str, Any]]:
    """The lines of a push folder's log, oldest first; none where there is no log.

    Raises:
        StoreError: a line is damaged; names it.
    """
    path = os.path.join(folder, FILE)
    data = read_file(path)
    lines = list(parse_lines((data or b"").decode("utf-8", errors="surrogateescape"), path))
    for line in lines:
        if not isinstance(line.get("event"), str) or type(line.get("version")) is not int:
            raise StoreError(f"{path} is damaged: a line needs event and version. Received: {line}.")
    return lines


def add_to_log(folder: str, event: str, version: int, **fields: Any) -> None:
    """Adds a line; it survives a power cut once this returns. Call it within `exclusive(folder)`."""
    files = open_files(folder)
    files.make_folder(HOME)
    JsonLines(files, FILE).append({"event": event, "version": version, **fields})


def withdrawals(log: Iterable[Event]) -> tuple[Withdrawal, ...]:
    """The withdrawals that are in force, oldest first.

    Raises:
        StoreError: a line does not tell what was withdrawn.
    """
    found: dict[str, Withdrawal] = {}
    for line in log:
        if line["event"] == "withdrawn":
            withdrawal = _withdrawal(line)
            found.pop(withdrawal.weights, None)
            found[withdrawal.weights] = withdrawal
        elif line["event"] == "allowed":
            found.pop(str(line.get("weights")), None)
    return tuple(found.values())


def withdrawn_from(folder: str) -> tuple[Withdrawal, ...]:
    """The withdrawals in force in a push folder, oldest first."""
    return withdrawals(read_log(folder))


def withdrawal_of(weights: str, among: Iterable[Withdrawal]) -> Withdrawal | None:
    """The withdrawal of these weights, or None."""
    return next((each for each in among if each.weights == weights), None)


def numbers_used(log: Iterable[Event]) -> list[int]:
    """Every version number that the log tells of, whether or not it still stands."""
    return [number for line in log for key in ("version", "by") if type(number := line.get(key)) is int]


def hand_on(uri: str, among: Sequence[Withdrawal]) -> None:
    """Writes withdrawals into the folder of a champion's artifact, for those who do not know the push folder."""
    value = {"withdrawn": [asdict(each) for each in among]}
    write_file(os.path.join(uri, _HANDED_ON), (dump_json(value, indent=1) + "\n").encode())


def handed_on(uri: str) -> tuple[Withdrawal, ...]:
    """What `hand_on` wrote; none where it wrote nothing."""
    data = read_file(os.path.join(uri, _HANDED_ON))
    return () if data is None else tuple(_withdrawal(each) for each in load_json(data)["withdrawn"])


def _withdrawal(line: Event) -> Withdrawal:
    version, by, time = (line.get(key) for key in ("version", "by", "time"))
    weights, reason = line.get("weights"), line.get("reason")
    if not (
        type(version) is int
        and type(by) is int
        and isinstance(time, (int, float))
        and isinstance(weights, str)
        and isinstance(reason, str)
    ):
        raise StoreError(f"A withdrawal must tell version, by, weights, reason and time. Received: {dict(line)}.")
    return Withdrawal(version, weights, by, reason, float(time))
