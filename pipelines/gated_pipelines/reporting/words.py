"""A summary as a page of words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console, RenderableType
from rich.table import Table

from checkpoint_gate.quantities import format_size
from gated_pipelines.reporting.anomalies import in_words
from gated_pipelines.reporting.ranking import ranked_by, rows
from gated_pipelines.reporting.summary import (
    CHAMPION_STAYS,
    Summary,
    commonest,
    format_value,
    rows_in_words,
    winner_in_words,
)
from gated_pipelines.tables.spans import spans_in_words

_OUT = 5  # candidates whose reason is told; more of them would bury the winner
_ROWS = 10
_STYLE = {True: "", False: "bold"}

_HEADLINES = {
    "pushed": "pushed",
    "not_blessed": "not blessed",
    "no_survivors": "no survivors",
    "no_candidate": "no candidate",
    "skipped": "skipped, nothing to push",
    "interrupted": "interrupted",
    "failed": "failed",
}


def tell_end(summary: Summary, as_json: bool) -> int:
    """Ends a command that ran a pipeline; answers with its exit code.

    Args:
      as_json: whether standard output is for one JSON object, so that words go to standard error.
    """
    if summary.green or summary.seconds:  # before anything was executed there is only the reason to tell
        tell(summary, Console(stderr=as_json, highlight=False), with_reason=summary.green)
    if not summary.green:
        click.echo(f"Error: {summary.reason}", err=True)
    if as_json:
        click.echo(summary.to_json())
    return 0 if summary.green else 1


def tell(summary: Summary, console: Console, *, with_reason: bool = True) -> None:
    """Prints a summary for a person; without the reason of its outcome where that is told beside it."""
    page = Table.grid(padding=(0, 2))
    page.add_column(no_wrap=True)
    page.add_column(overflow="fold")
    for word, text in _lines(summary, with_reason):
        page.add_row(word, text)
    console.print()
    console.print(page)


def _lines(summary: Summary, with_reason: bool) -> Iterator[tuple[str, RenderableType]]:
    data = [spans_in_words(summary.spans)] if summary.spans else []
    if data := data + ([rows_in_words(summary.rows)] if summary.rows else []):
        yield "data", "; ".join(data)
    for warning in summary.warnings:
        yield "warning", warning
    if summary.anomalies and summary.reason != (said := in_words(summary.anomalies)):
        yield "anomalies", said
    if summary.epochs:
        yield "epochs", f"{summary.epochs}: {summary.saved} saved, {summary.refused} refused"
        if summary.refusals:
            yield "", f"refused most often by: {'; '.join(commonest(summary.refusals))}"
    if summary.survivors:
        yield "survivors", _survivors(summary)
        out = [row for row in rows(summary) if row.out]
        for row in out[:_OUT]:
            yield "", f"{row.name} is out: {row.out}"
        if len(out) > _OUT:
            yield "", f"{len(out) - _OUT} more are out; the report says why"
    if summary.pruned_earlier:
        epochs = ", ".join(str(mark["epoch"] + 1) for mark in summary.pruned_earlier)
        yield "", f"these rules would also keep epochs {epochs}, but an earlier run had pruned them"
    if summary.winner is not None:
        yield "winner", f"{winner_in_words(summary.winner)}: {summary.winner['reason']}"
    if summary.average is not None and not summary.average["won"]:
        yield "average", f"of the survivors' weights, did not win: {summary.average['reason']}"
    if summary.comparison and summary.outcome == "not_blessed":
        yield "blessing", _comparison(summary)
    if summary.epochs:
        freed, held = format_size(summary.pruned_bytes), format_size(summary.trashed_bytes)
        yield "pruning", f"{freed} freed, {held} in the trash until their grace is over"
    if summary.prune_refused:
        yield "", summary.prune_refused
    if summary.seconds:
        yield "time", _times(summary)
    yield "outcome", f"{_headline(summary)}: {summary.reason}" if with_reason else _headline(summary)
    if summary.pushed is None and summary.champion is not None:
        yield "champion", _short(summary.champion)
    for word, place in (("model", summary.pushed), ("store", summary.store), ("report", summary.report)):
        if place:
            yield word, _short(place)


def _headline(summary: Summary) -> str:
    words = _HEADLINES[summary.outcome]
    stays = summary.champion is not None and summary.outcome in CHAMPION_STAYS
    return f"{words}, the champion stays" if stays else words


def _short(place: str) -> str:
    """The place as seen from here, where it lies below."""
    here = Path.cwd()
    return str(Path(place).relative_to(here)) if "://" not in place and Path(place).is_relative_to(here) else place


def _survivors(summary: Summary) -> Table:
    table = Table(caption=f"by TFMA on the eval split; ▾ decides: {ranked_by(summary)}", caption_justify="left")
    found = rows(summary)
    metrics = sorted({name for survivor in summary.candidates for name in survivor["metrics"]})
    scored = any(row.score for row in found)
    table.add_column("step", justify="right")
    for name in metrics:
        decides = summary.selection is not None and name == summary.selection["metric"]
        table.add_column(name.replace("_", " ") + (" ▾" if decides else ""), justify="right")
    if scored:
        table.add_column("ranked by", justify="right")
    for row in found:
        values = [row.survivor["metrics"].get(name, "") for name in metrics]
        cells = [f"{value:.6g}" if isinstance(value, (int, float)) else value for value in values]
        style = "bold" if row.won else "dim" if row.out else ""
        table.add_row(
            row.name, *cells, *[row.score or ("out" if row.out else f"{row.value:.6g}")] * scored, style=style
        )
    return table


def _comparison(summary: Summary) -> Table:
    more = len(summary.comparison) - _ROWS
    table = Table(
        caption="by TFMA on the test split" + (f"; and {more} more in the report" if more > 0 else ""),
        caption_justify="left",
    )
    sides = {"challenger": "candidate", "champion": "champion"}
    if any(row.get("best") is not None for row in summary.comparison):
        sides["best so far"] = "best"
    for name in ("metric", "slice", *sides, "required"):
        table.add_column(name, justify="right" if name in sides else "left")
    for row in summary.comparison[:_ROWS]:
        values = [format_value(row[key]) for key in sides.values()]
        required = row["required"] if row["holds"] else f"{row['required']}: fails"
        table.add_row(row["metric"].replace("_", " "), row["slice"], *values, required, style=_STYLE[row["holds"]])
    return table


def _times(summary: Summary) -> str:
    taken = [f"{name} {seconds:.1f} s" for name, seconds in summary.seconds.items() if name in summary.executed]
    cached = [name for name in summary.seconds if name not in summary.executed]
    parts = [", ".join(taken) or "nothing was executed"]
    if cached:
        parts.append(f"from the cache: {', '.join(cached)}")
    return "\n".join(parts)
