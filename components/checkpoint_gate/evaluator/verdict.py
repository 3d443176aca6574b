"""The verdict on a candidate: blessed or not, and why; stored beside TFX's BLESSED or NOT_BLESSED file."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from checkpoint_gate.rules.records import decode_metrics, encode_metrics
from checkpoint_gate.uri_files import read_file

VERDICT_FILE = "verdict.json"

Outcome = Literal["blessed", "not_blessed", "already_champion", "no_candidate"]
Against = Literal["last", "best"]
AGAINST: tuple[Against, ...] = get_args(Against)
FirstRun = Literal["refuse", "bless_on_value_thresholds"]
FIRST_RUN: tuple[FirstRun, ...] = get_args(FirstRun)


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """A threshold on a slice, candidate and champion side by side.

    Attributes:
        metric: TFMA's name, with class or output where it has one.
        slice: "all examples", or the slice in words.
        candidate: its value; None when none was computed.
        champion: its value; None when none was computed, or when there was no champion to compare with.
        required: the bound in words.
        holds: whether the candidate keeps the bound.
        best: the value of the best version so far; None when none was computed, or when that is the champion.
    """

    metric: str
    slice: str
    candidate: float | None
    champion: float | None
    required: str
    holds: bool
    best: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Strict JSON: a value that is not finite is the string "nan", "inf" or "-inf"."""
        return {
            **dataclasses.asdict(self),
            "candidate": _encoded(self.candidate),
            "champion": _encoded(self.champion),
            "best": _encoded(self.best),
        }

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Comparison:
        """The inverse of `to_json`."""
        return Comparison(
            metric=str(row["metric"]),
            slice=str(row["slice"]),
            candidate=_decoded(row["candidate"]),
            champion=_decoded(row["champion"]),
            required=str(row["required"]),
            holds=bool(row["holds"]),
            best=_decoded(row.get("best")),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class BlessingVerdict:
    """What Evaluator decided about a candidate.

    Attributes:
        outcome: how it ended; only "blessed" lets the model be pushed.
        reason: one sentence for a person.
        first_run: there was no champion to compare with.
        champion: where the champion stands, the pushed version if it is known; None while there is none.
        rebaselined: the champion was set aside by request, so that value thresholds alone decided.
        candidate_metrics: the candidate's scalar metrics over all examples of the split that blesses; empty when
            nothing was evaluated.
        champion_metrics: the champion's; empty when it was not compared with.
        comparison: thresholds on slices, those that failed first; at most 50.
        best: where the best version so far stands; None where the candidate was not held against it.
        best_metrics: that version's; empty when it is the champion, or was not evaluated.
        improves_on_best: whether the candidate is at least as good as the best so far; None where it was not held
            against it.
    """

    outcome: Outcome
    reason: str
    first_run: bool
    champion: str | None = None
    rebaselined: bool = False
    candidate_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    champion_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    comparison: tuple[Comparison, ...] = ()
    best: str | None = None
    best_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    improves_on_best: bool | None = None

    @property
    def blessed(self) -> bool:
        return self.outcome == "blessed"

    def to_json(self) -> str:
        """The text of `verdict.json`."""
        value = {
            "blessed": self.blessed,
            "outcome": self.outcome,
            "reason": self.reason,
            "first_run": self.first_run,
            "champion": self.champion,
            "rebaselined": self.rebaselined,
            "candidate_metrics": encode_metrics(self.candidate_metrics),
            "champion_metrics": encode_metrics(self.champion_metrics),
            "comparison": [row.to_json() for row in self.comparison],
            "best": self.best,
            "best_metrics": encode_metrics(self.best_metrics),
            "improves_on_best": self.improves_on_best,
        }
        return json.dumps(value, indent=2, allow_nan=False) + "\n"


def read_verdict(blessing_uri: str) -> BlessingVerdict | None:
    """The verdict in the folder of a blessing artifact; None when the blessing carries none."""
    data = read_file(os.path.join(blessing_uri, VERDICT_FILE))
    if data is None:
        return None
    value = json.loads(data)
    return BlessingVerdict(
        outcome=value["outcome"],
        reason=str(value["reason"]),
        first_run=bool(value["first_run"]),
        # A blessing of an earlier release, taken from the cache, has none of these.
        champion=value.get("champion"),
        rebaselined=bool(value.get("rebaselined", False)),
        candidate_metrics=decode_metrics(value.get("candidate_metrics", {})),
        champion_metrics=decode_metrics(value.get("champion_metrics", {})),
        comparison=tuple(map(Comparison.from_json, value.get("comparison", ()))),
        best=value.get("best"),
        best_metrics=decode_metrics(value.get("best_metrics", {})),
        improves_on_best=value.get("improves_on_best"),
    )


def _encoded(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _decoded(value: float | str | None) -> float | None:
    return None if value is None else float(value)
