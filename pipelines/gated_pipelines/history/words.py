"""The history as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from checkpoint_gate.quantities import format_size, format_time
from gated_pipelines.history.history import Ended, Measured, Past

_STYLES = {"pushed": "bold", "failed": "red", "skipped": "dim"}


def table(runs: Sequence[Past]) -> Table:
    """One row a run, oldest first."""
    page = Table()
    page.add_column("began", no_wrap=True)
    page.add_column("why", overflow="fold", ratio=2)
    page.add_column("data", overflow="fold")
    page.add_column("saved", justify="right")
    page.add_column("survived", justify="right")
    page.add_column("outcome", overflow="fold", ratio=3)
    page.add_column("champion", overflow="fold", justify="right")
    page.add_column(_metric_name(runs), overflow="fold", ratio=2)
    page.add_column("took", justify="right")
    page.add_column("disk", justify="right", no_wrap=True)
    for past in runs:
        page.add_row(format_time(past.began).removesuffix(" UTC"), *_cells(past), style=_style(past))
    page.caption = "times in UTC; the metric is on the test split of each run"
    page.caption_justify = "left"
    return page


def _style(past: Past) -> str:
    return _STYLES.get(past.ended.outcome, "") if past.ended is not None else "red"


def _cells(past: Past) -> list[str]:
    end = past.ended
    if end is None:
        assert past.begun is not None
        return [past.begun.why, *[""] * 3, "running" if past.running else "died", *[""] * 4]
    worked = not end.skipped and bool(end.saved or end.refused)
    return [
        "" if end.skipped else end.why,
        _data(end),
        f"{end.saved} of {end.saved + end.refused}" if worked else "",
        str(end.survivors) if worked else "",
        f"{end.outcome}: {end.reason}",
        _champion(end),
        _metric(end.metric),
        f"{end.seconds:.0f} s",
        format_size(sum(end.disk.values())) if end.disk else "",
    ]


def _data(end: Ended) -> str:
    rows = f"{end.rows:,} rows" if end.rows is not None else ""
    spans = [str(span) for span in end.spans]
    return " ".join(filter(None, ["–".join(dict.fromkeys((spans[0], spans[-1]))) if spans else "", rows]))


def _champion(end: Ended) -> str:
    before, after = (str(version or "none") for version in (end.champion_before, end.champion))
    return after if before == after else f"{before} → {after}"


def _metric_name(runs: Sequence[Past]) -> str:
    names = {past.ended.metric.name for past in runs if past.ended is not None and past.ended.metric is not None}
    return f"{names.pop().replace('_', ' ')}, challenger / champion" if len(names) == 1 else "challenger / champion"


def _metric(metric: Measured | None) -> str:
    if metric is None:
        return ""
    values = [metric.challenger, metric.champion]
    words = " / ".join("–" if value is None else f"{value:.6g}" for value in values)
    return words if metric.best is None else f"{words}; best so far {metric.best:.6g}"
