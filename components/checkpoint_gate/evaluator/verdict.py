"""The verdict on a candidate: blessed or not, and why; stored beside TFX's BLESSED or NOT_BLESSED file."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Literal

VERDICT_FILE = "verdict.json"

Outcome = Literal["blessed", "not_blessed", "already_champion", "no_candidate"]


@dataclasses.dataclass(frozen=True, slots=True)
class BlessingVerdict:
    """What Evaluator decided about a candidate.

    Attributes:
        outcome: how it ended; only "blessed" lets the model be pushed.
        reason: one sentence for a person.
        first_run: there was no champion to compare with.
    """

    outcome: Outcome
    reason: str
    first_run: bool

    @property
    def blessed(self) -> bool:
        return self.outcome == "blessed"

    def to_json(self) -> str:
        """The text of `verdict.json`."""
        return json.dumps({"blessed": self.blessed, **dataclasses.asdict(self)}, indent=2) + "\n"


def read_verdict(blessing_uri: str) -> BlessingVerdict | None:
    """The verdict in the folder of a blessing artifact; None when the blessing carries none."""
    path = os.path.join(blessing_uri, VERDICT_FILE)
    try:
        text = _read(path)
    except FileNotFoundError:
        return None
    record = json.loads(text)
    return BlessingVerdict(outcome=record["outcome"], reason=str(record["reason"]), first_run=bool(record["first_run"]))


def _read(path: str) -> str:
    if "://" not in path:
        with open(path, encoding="utf-8") as file:
            return file.read()
    from tfx.dsl.io import fileio  # only for object stores: it imports TensorFlow

    if not fileio.exists(path):
        raise FileNotFoundError(path)
    with fileio.open(path) as file:
        return str(file.read())
