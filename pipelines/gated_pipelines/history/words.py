"""The history as a table for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from checkpoint_gate.quantities import format_size, format_time
from gated_pipelines.history.history import Ended, Measured, Past

_WIDE = 190  # columns; in fewer, the table's columns would be narrower than a word
_INDENT = "    "
_JOINED = "\N{NO-BREAK SPACE}"
_CAPTION = "times in UTC; the metric is on the test split of each run"
_STYLES = {"pushed": "bold", "failed": "red", "interrupted": "red", "skipped": "dim"}


def page(runs: Sequence[Past], width: int) -> RenderableType:
    """Every run, oldest first: a row each where there is room for a table, else some lines each."""
    return table(runs) if width >= _WIDE else Group(*_lines(runs, width), Text(_CAPTION, style="italic"))


def table(runs: Sequence[Past]) -> Table:
    """One row a run, oldest first."""
    page = Table()
    page.add_column("began", no_wrap=True)
    page.add_column("why", overflow="fold", ratio=2)
    page.add_column("data", max_width=22)
    page.add_column("saved", justify="right", no_wrap=True)
    page.add_column("survived", justify="right", no_wrap=True)
    page.add_column("outcome", overflow="fold", ratio=3)
    page.add_column("champion", justify="right", max_width=12)
    page.add_column(_metric_name(runs), overflow="fold", ratio=2)
    page.add_column("took", justify="right", no_wrap=True)
    page.add_column("disk", justify="right", no_wrap=True)
    for past in runs:
        told = _told(past)
        outcome = ": ".join(filter(None, (told.outcome, told.reason)))
        cells = (told.why, told.data, told.saved, told.survived, outcome, told.champion, told.metric)
        page.add_row(_began(past), *cells, told.took, told.disk, style=_style(past))
    page.caption = _CAPTION
    page.caption_justify = "left"
    return page


def _lines(runs: Sequence[Past], width: int) -> Iterator[Text]:
    """Of each run a line of numbers, and below it a paragraph each for why, outcome and metric."""
    metric = _metric_name(runs)
    for past in runs:
        told = _told(past)
        numbers = {"saved": told.saved, "survived": told.survived, "champion": told.champion}
        named = [f"{name} {value}" for name, value in numbers.items() if value]
        head = [word.replace(" ", _JOINED) for word in (_began(past), told.data, *named, told.took, told.disk) if word]
        below = {"why": told.why, told.outcome: told.reason, metric: told.metric}
        lines = _wrapped("  ".join(head), width, "")
        for name, text in below.items():
            if text or name == told.outcome:
                lines += _wrapped(": ".join(filter(None, (name, text))), width, _INDENT)
        yield Text("\n".join(lines).replace(_JOINED, " "), style=_style(past))


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    """A paragraph broken between words; what is wrapped stands further in than where it began."""
    further = indent + _INDENT
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=further, break_on_hyphens=False)


def _style(past: Past) -> str:
    return _STYLES.get(past.ended.outcome, "") if past.ended is not None else "red"


@dataclass(frozen=True, slots=True)
class _Told:
    """One run in words; "" for what there is nothing to say of."""

    why: str
    outcome: str
    reason: str = ""
    data: str = ""
    saved: str = ""
    survived: str = ""
    champion: str = ""
    metric: str = ""
    took: str = ""
    disk: str = ""


def _told(past: Past) -> _Told:
    end = past.ended
    if end is None:
        return _Told(past.told.why, "running" if past.running else "died")
    worked = not end.skipped and bool(end.saved or end.refused)
    return _Told(
        why="" if end.skipped or end.why == end.reason else end.why,
        outcome=end.outcome,
        reason=end.reason,
        data=_data(end),
        saved=f"{end.saved} of {end.saved + end.refused}" if worked else "",
        survived=str(end.survivors) if worked else "",
        champion=_champion(end),
        metric=_metric(end.metric),
        took=f"{end.seconds:.0f} s",
        disk=format_size(sum(end.disk.values())) if end.disk else "",
    )


def _began(past: Past) -> str:
    return format_time(past.began).removesuffix(" UTC")


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
