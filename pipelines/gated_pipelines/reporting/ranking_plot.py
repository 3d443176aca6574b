"""The picture of the choice among candidates, as SVG to stand in an HTML page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from checkpoint_gate.report.plot import COLOURS, dress, for_page, printable
from gated_pipelines.reporting.ranking import Row

_WIDTH, _ROW, _REST = 10.0, 0.3, 1.15  # inches


def ranking_svg(
    rows: Sequence[Row], title: str, within_noise: bool, measured: str = "", epochs: Mapping[str, int] | None = None
) -> str | None:
    """A dot for each candidate in the ranking, the best at the top, with its confidence interval.

    Args:
      rows: best first; those that are out are left out.
      title: what they are ranked by.
      within_noise: whether the choice was among those whose interval overlaps the best one's, which is shaded then.
      measured: the metric, and on what, for the axis.
      epochs: name of a candidate -> its epoch, from 1, where that is known.

    Returns:
      An `<svg>` element, or None for fewer than two candidates. The same input gives the same text.
    """
    ranked = [row for row in rows if row.value is not None]
    if len(ranked) < 2:
        return None
    import matplotlib

    style = {"svg.hashsalt": "ranking", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.5}
    target = io.StringIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has its own fonts
        figure = _figure(ranked, title, within_noise, measured, epochs or {})
        figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return for_page(target.getvalue(), "ranking")


def _figure(ranked: Sequence[Row], title: str, within_noise: bool, measured: str, epochs: Mapping[str, int]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(_WIDTH, _ROW * len(ranked) + _REST), layout="constrained", facecolor="none")
    axis: Any = figure.subplots()
    best = ranked[0].interval
    if within_noise and best is not None:
        axis.axvspan(*best, color=COLOURS["winner"], alpha=0.15, linewidth=0, label="the best one's interval")
    first = next((place for place, row in enumerate(ranked) if not row.won), None)
    for place, row in enumerate(ranked):
        _draw(axis, place, row, "other survivors" if place == first else None)
    axis.set_ylim(len(ranked) - 0.4, -0.6)
    axis.set_yticks(range(len(ranked)), [_name(row, epochs) for row in ranked])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_title(printable(title), loc="left", color=COLOURS["ink"], fontweight="bold")
    axis.set_xlabel(printable(measured), color=COLOURS["ink"])
    dress(axis, "x")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, labelcolor=COLOURS["ink"],
        fontsize=8.5, borderaxespad=0.0,
    )  # fmt: skip
    return figure


def _draw(axis: Any, place: int, row: Row, others: str | None) -> None:
    if row.interval is not None:
        label = "95 % confidence interval" if place == 0 else None
        axis.plot(row.interval, (place, place), color=COLOURS["value"], linewidth=2.0, alpha=0.6, zorder=2, label=label)
    if row.won:
        look = {"marker": "*", "markersize": 14, "markerfacecolor": COLOURS["winner"], "color": COLOURS["ink"]}
    else:
        look = {"marker": "o", "markersize": 6, "color": COLOURS["value"]}
    axis.plot([row.value], [place], linestyle="none", zorder=3, label="winner" if row.won else others, **look)


def _name(row: Row, epochs: Mapping[str, int]) -> str:
    name = row.name if row.survivor["averaged"] else f"step {row.name}"
    if row.name in epochs:
        name = f"epoch {epochs[row.name]} ({name})"
    return printable(f"{name}, {row.where}" if row.where is not None else name)
