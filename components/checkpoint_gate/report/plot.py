"""The picture of a training run, as SVG to stand in an HTML page."""

from __future__ import annotations

import io
import itertools
import math
import re
import textwrap
import warnings
from collections.abc import Collection, Sequence
from typing import Any

from checkpoint_gate.report.curves import LARGEST, Curve, Fate, Kind, Panel, Point, by_steps, panels
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.store.ledger import Entry

# By name in the page's style sheet. Drawn in the light ones; the page puts its own in their place.
COLOURS = {
    "ink": "#1b1f24",
    "muted": "#6b7480",
    "grid": "#d9dee4",
    "paper": "#fefefe",
    "value": "#0b62a8",
    "gate": "#c4321d",
    "filter": "#7a3fb0",
    "saved": "#177a3a",
    "refused": "#c2187f",
    "winner": "#e0a106",
}
_LINES: dict[Kind, dict[str, Any]] = {
    "value": {"color": COLOURS["value"], "linewidth": 1.5},
    "within epochs": {"color": COLOURS["value"], "linewidth": 1.0, "alpha": 0.5},
    "average": {"color": COLOURS["value"], "linewidth": 1.2, "alpha": 0.75},
    "gate": {"color": COLOURS["gate"], "linewidth": 1.3},
    "to beat": {"color": COLOURS["gate"], "linewidth": 1.1, "drawstyle": "steps-mid"},
    "filter": {"color": COLOURS["filter"], "linewidth": 1.3},
}
_LIMIT_DASHES: dict[Kind, tuple[tuple[float, ...], ...]] = {
    "gate": ((6, 3), (2.5, 2.5), (9, 2, 2, 2), (9, 2, 2, 2, 2, 2)),
    "filter": ((1, 1.5), (1, 4), (1, 1.5, 1, 5)),
}  # of the limits of one panel, in turn
_DASHES = ((4, 1.5), (1.5, 1.5), (6, 1.5, 1.5, 1.5))  # of the averages, in turn
_MEASURED = ("value", "within epochs", "average")
_FATES: dict[Fate, dict[str, Any]] = {
    "saved": {"marker": "o", "color": COLOURS["saved"]},
    "refused by this metric": {"marker": "x", "color": COLOURS["refused"]},
    "refused for another reason": {"marker": "x", "color": COLOURS["muted"]},
}
_LOG_FROM = 20.0  # the ratio of largest to smallest value from which a logarithmic axis tells more
_FAR = 1e30  # values below its inverse count as 0
_WIDTH, _PANEL = 10.0, 3.1  # inches


def training_svg(
    entries: Sequence[Entry], rules: RuleSet, survivors: Collection[int], winner: int | None, name: str = "training"
) -> str | None:
    """One panel below the other for each metric that the rules look at.

    Args:
      entries: the ledger's.
      rules: those of the run; `save` and `filter` are drawn.
      survivors: steps of this run's checkpoints that survived the filter.
      winner: the step of the one that was chosen, if it is of this run.
      name: of the picture; one of several on a page needs its own.

    Returns:
      An `<svg>` element, or None when there is nothing to draw. The same input gives the same text.
    """
    drawn = [panel for panel in panels(entries, rules) if panel.points or panel.gaps]
    if not drawn:
        return None
    import matplotlib

    style = {"svg.hashsalt": "training", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.5}
    target = io.StringIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has its own fonts
        figure = _figure(drawn, by_steps(entries), rules.save.after if rules.save else 0, set(survivors), winner)
        figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return for_page(target.getvalue(), name)


def _figure(drawn: Sequence[Panel], stepwise: bool, after: int, survivors: set[int], winner: int | None) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(_WIDTH, _PANEL * len(drawn) + 0.3), layout="constrained", facecolor="none")
    axes: Any = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, drawn, strict=True):
        _draw(axis, panel, survivors, winner)
        if after and not stepwise:
            last_epoch = max([*panel.gaps, *(point.x for point in panel.points)])
            axis.axvspan(
                0.5,
                min(after, last_epoch) + 0.5,
                color=COLOURS["muted"],
                alpha=0.15,
                linewidth=0,
                label="warm-up, not judged",
            )
        _finish(axis, panel.metric)
    last = axes[-1]
    last.set_xlabel("optimizer steps" if stepwise else "epoch", color=COLOURS["ink"])
    last.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    low, high = last.get_xlim()
    last.set_xlim(min(low, 0.5), max(high, 1.5))
    return figure


def _draw(axis: Any, panel: Panel, survivors: set[int], winner: int | None) -> None:
    logarithmic, low, high = _window(panel.curves)
    if logarithmic:
        axis.set_yscale("log")
    axis.set_ylim(low, high)
    axis.margins(x=0.015)
    many = len(panel.points) > 200
    dashes = itertools.cycle(_DASHES)
    of_limits = {kind: itertools.cycle(styles) for kind, styles in _LIMIT_DASHES.items()}
    for curve in panel.curves:
        look = dict(_LINES[curve.kind])
        if curve.kind in _MEASURED:
            look["linestyle"] = (0, next(dashes)) if curve.kind == "average" else "-"
            look["linewidth"] *= 0.5 if many else 1.0
            axis.plot(curve.xs, curve.ys, label=curve.words, zorder=2, **look)
            continue
        if curve.kind in of_limits:
            look["linestyle"] = (0, next(of_limits[curve.kind]))
        xs, ys = _widened(curve)
        finite = [y for y in ys if math.isfinite(y)]
        seen = min(finite) <= high and max(finite) >= low
        beyond = "" if seen else f" ({'above' if min(finite) > high else 'below'} the plot)"
        axis.plot(xs, ys, label=curve.words + beyond, zorder=1.5, **look)
    size = 2.2 if many else 4.5 if len(panel.points) > 60 else 6.0
    for fate, look in _FATES.items():
        _mark(axis, [p for p in panel.points if p.fate == fate], fate, size, zorder=3, **look)
    kept = [p for p in panel.points if p.fate == "saved" and p.step in survivors]
    ring = {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 1.6, "color": COLOURS["ink"]}
    _mark(axis, kept, "survivor", 11, zorder=4, **ring)
    star = {"marker": "*", "markerfacecolor": COLOURS["winner"], "markeredgewidth": 0.9, "color": COLOURS["ink"]}
    _mark(axis, [p for p in kept if p.step == winner], "winner", 15, zorder=5, **star)
    if panel.gaps:
        label = f"not finite, or beyond {LARGEST:g}"
        marks = {"marker": "v", "color": COLOURS["refused"], "markerfacecolor": "none", "markersize": 6}
        axis.plot(
            panel.gaps, [0.03] * len(panel.gaps), transform=axis.get_xaxis_transform(), linestyle="none", label=label,
            zorder=5, **marks,
        )  # fmt: skip


def _mark(axis: Any, points: Sequence[Point], label: str, size: float, **look: Any) -> None:
    if points:
        xs, ys = [p.x for p in points], [p.y for p in points]
        axis.plot(xs, ys, linestyle="none", markersize=size, label=label, **look)


def _window(curves: Sequence[Curve]) -> tuple[bool, float, float]:
    """Whether the scale is logarithmic, and its ends: all values, and the limits that are not far from them."""
    measured = [y for c in curves if c.kind in _MEASURED for y in c.ys if math.isfinite(y)]
    limits = [y for c in curves if c.kind not in _MEASURED for y in c.ys if math.isfinite(y)]
    measured = measured or limits or [0.0]
    near = _near(measured, limits)
    low, high = min(near), max(near)
    if low > 1 / _FAR and high / low > _LOG_FROM:
        room = (high / low) ** 0.08
        return True, low / room, high * room
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return False, low - room, high + room


def _near(measured: list[float], limits: list[float]) -> list[float]:
    """`measured`, and those `limits` that do not press it flat; a limit far off is told in the legend."""
    low, high = min(measured), max(measured)
    if low > 1 / _FAR and high / low > _LOG_FROM:
        reach = max(high / low, 10.0)
        return measured + [y for y in limits if low / reach <= y <= high * reach]
    reach = max(high - low, abs(high), abs(low))
    return measured + [y for y in limits if low - reach <= y <= high + reach]


def _widened(curve: Curve) -> tuple[list[float], list[float]]:
    """The curve with half an interval more at both ends: a limit also shows where there is a single record."""
    xs, ys = list(curve.xs), list(curve.ys)
    half = (xs[-1] - xs[0]) / (len(xs) - 1) / 2 if len(xs) > 1 else 0.5
    return [xs[0] - half, *xs, xs[-1] + half], [ys[0], *ys, ys[-1]]


def _finish(axis: Any, metric: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    name = textwrap.shorten(printable(metric), 48, placeholder="…") or "…"
    scale = axis.get_yscale()
    if scale == "log":
        low, high = axis.get_ylim()
        subs = (1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,)
        axis.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_title(name, loc="left", color=COLOURS["ink"], fontweight="bold")
    axis.set_ylabel(f"{name}, log scale" if scale == "log" and len(name) < 24 else name[:32], color=COLOURS["ink"])
    dress(axis, "both")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles, [textwrap.fill(printable(label), 34) for label in labels], loc="upper left",
        bbox_to_anchor=(1.01, 1.0), frameon=False, labelcolor=COLOURS["ink"], fontsize=8.5, borderaxespad=0.0,
    )  # fmt: skip


def dress(axis: Any, grid: str) -> None:
    """Gives an axis the page's colours; `grid` is "x", "y" or "both"."""
    axis.set_facecolor("none")
    axis.grid(True, axis=grid, color=COLOURS["grid"], linewidth=0.7)
    axis.set_axisbelow(True)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(COLOURS["muted"])
    axis.tick_params(which="both", color=COLOURS["muted"], labelcolor=COLOURS["ink"])


def printable(text: str) -> str:
    """The text without signs that SVG cannot hold."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def for_page(svg: str, name: str) -> str:
    """The `<svg>` element alone, with the page's colours, as wide as the page allows, its ids beginning with `name`."""
    element = svg[svg.index("<svg") :].strip()
    for colour, light in COLOURS.items():
        element = re.sub(rf"\b(fill|stroke): {light}\b", rf"\1: var(--{colour})", element)
    ids = re.compile(r'(\bid="|href="#|url\(#)')
    return re.sub(r"<[^>]*>", lambda tag: ids.sub(rf"\1{name}-", tag[0]), element)
