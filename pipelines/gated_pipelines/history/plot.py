"""The history as a picture: the metric above, the disk below, one place a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.report.plot import COLOURS
from gated_pipelines.history.history import Ended, Past

_KINDS = (".svg", ".png", ".pdf")
_MARKS: dict[str, dict[str, Any]] = {
    "pushed": {"marker": "o", "color": COLOURS["saved"]},
    "not_blessed": {"marker": "x", "color": COLOURS["refused"]},
}
_MEBIBYTE = 1 << 20


def draw(runs: Sequence[Past], path: Path) -> None:
    """Writes the picture.

    Raises:
      ConfigError: no run has ended that measured anything, or the file cannot be written.
    """
    if path.suffix not in _KINDS:
        raise ConfigError(f"The plot's file must end in {', '.join(_KINDS)}. Received: {path}.")
    ended = [past.ended for past in runs if past.ended is not None and not past.ended.skipped]
    if not ended:
        raise ConfigError("There is nothing to draw: no run has ended that did anything.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 0.55 * len(ended) + 3), 6.0), layout="constrained")
    metric, disk = figure.subplots(2, 1, sharex=True)
    _metric(metric, ended)
    _disk(disk, ended)
    disk.set_xticks(range(len(ended)), [_label(end) for end in ended], rotation=45, ha="right")
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"The plot {path} cannot be written: {error.strerror}.") from error


def _label(end: Ended) -> str:
    from datetime import datetime, timezone

    return str(end.spans[-1]) if end.spans else f"{datetime.fromtimestamp(end.began, timezone.utc):%m-%d %H:%M}"


def _metric(axis: Any, ended: Sequence[Ended]) -> None:
    measured = [(place, end.metric, end.outcome) for place, end in enumerate(ended) if end.metric is not None]
    for outcome, look in _MARKS.items():
        points = [(p, m.challenger) for p, m, o in measured if o == outcome and m.challenger is not None]
        if points:
            axis.plot(*zip(*points, strict=True), linestyle="none", label=f"challenger, {outcome}", **look)
    lines = {"champion": COLOURS["value"], "best": COLOURS["muted"]}
    for name, colour in lines.items():
        points = [(p, value) for p, m, _ in measured if (value := getattr(m, name)) is not None]
        if points:
            words = "champion" if name == "champion" else "best champion so far"
            axis.plot(*zip(*points, strict=True), color=colour, label=words, linewidth=1.2)
    names = {m.name for _, m, _ in measured}
    axis.set_ylabel(names.pop().replace("_", " ") if len(names) == 1 else "metric")
    axis.grid(color=COLOURS["grid"])
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small")


def _disk(axis: Any, ended: Sequence[Ended]) -> None:
    parts = list(dict.fromkeys(part for end in ended for part in end.disk))
    bottoms = [0.0] * len(ended)
    for part in parts:
        heights = [end.disk.get(part, 0) / _MEBIBYTE for end in ended]
        axis.bar(range(len(ended)), heights, bottom=bottoms, label=part)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axis.set_ylabel("disk, MiB")
    if parts:
        axis.legend(fontsize="small")
