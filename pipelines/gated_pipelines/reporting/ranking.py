"""How the candidates ranked, for people. Pure: a summary in, rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gated_pipelines.reporting.summary import Summary


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate.

    Attributes:
      name: its step, or its name where it is an average of checkpoints.
      survivor: what the summary says of it.
      place: 1 for the best; None where it is out.
      out: why it is out, "" where it is in.
      won: whether it was chosen; not always the first.
      value: what it was ranked by; None where it is out.
      interval: low and high, the 95 % confidence bounds of the value; None where none were computed.
      where: the worst slice, whose value it is; None for all examples.
    """

    name: str
    survivor: Mapping[str, Any]
    place: int | None
    out: str
    won: bool
    value: float | None
    interval: tuple[float, float] | None
    where: str | None

    @property
    def score(self) -> str:
        """Interval and slice in words, which the table of metrics does not show; "" where there are none."""
        if self.value is None or (self.interval is None and self.where is None):
            return ""
        bounds = f" ({self.interval[0]:.4g} to {self.interval[1]:.4g})" if self.interval else ""
        return f"{self.value:.6g}{bounds}{f' on {self.where}' if self.where is not None else ''}"


def rows(summary: Summary) -> list[Row]:
    """The candidates, best first, then those that are out, in the order of the summary."""
    selection = summary.selection
    if selection is None:
        return []
    places = {name: place for place, name in enumerate(selection["ranking"], 1)}
    found = [_row(survivor, places, selection, summary.winner) for survivor in summary.candidates]
    return sorted(found, key=lambda row: (row.place is None, row.place))


def ranked_by(summary: Summary) -> str:
    """What the candidates were ranked by, in words."""
    selection = summary.selection
    if selection is None:
        return ""
    edge = "lowest" if selection["mode"] == "min" else "highest"
    where = " on the worst slice" if selection["worst_slice"] else ""
    return f"{edge} {selection['metric']}{where} first"


def _row(
    survivor: Mapping[str, Any],
    places: Mapping[str, int],
    selection: Mapping[str, Any],
    winner: Mapping[str, Any] | None,
) -> Row:
    score: Mapping[str, Any] = survivor["score"] or {"value": None, "interval": None, "slice": None}
    interval: Sequence[float] | None = score["interval"]
    return Row(
        name=survivor["name"] if survivor["averaged"] else str(survivor["step"]),
        survivor=survivor,
        place=places.get(survivor["name"]),
        out=selection["excluded"].get(survivor["name"], ""),
        won=winner is not None and winner["name"] == survivor["name"],
        value=score["value"],
        interval=(interval[0], interval[1]) if interval is not None else None,
        where=score["slice"],
    )
