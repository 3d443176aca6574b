"""A run as one HTML page that stands alone: its outcome and why, the training behind the gate, who won."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from checkpoint_gate.report.curves import by_steps
from checkpoint_gate.report.pages import Bar, not_finite, render_page, times_refused, write_page
from checkpoint_gate.report.plot import training_svg
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.store.ledger import History
from gated_pipelines.reporting.ranking import Row, ranked_by, rows
from gated_pipelines.reporting.ranking_plot import ranking_svg
from gated_pipelines.reporting.summary import (
    CHAMPION_STAYS,
    Outcome,
    Summary,
    format_value,
    rows_in_words,
    winner_in_words,
)

_LINK = 'href="@/'  # to what lies beside the run's log

_HEADLINES: dict[Outcome, str] = {
    "pushed": "A new model was pushed",
    "not_blessed": "The winner was not blessed",
    "no_survivors": "No checkpoint survived",
    "no_candidate": "No survivor could be chosen",
    "skipped": "There was nothing to push",
    "interrupted": "The run was interrupted",
    "failed": "The run failed",
}


def write_report(
    summary: Summary,
    history: History,
    config_name: str,
    path: Path,
    *,
    rules: RuleSet | None = None,
    champion_before: str | None = None,
    log: Path | None = None,
) -> None:
    """Writes the report of a run; an older one is replaced whole, or stays whole.

    A copy that no later run replaces goes beside the run's log, named after it and the outcome.

    Args:
      summary: what the run did.
      history: its training; empty if it ended before.
      config_name: the pipeline's name.
      path: the HTML file to write, in a folder that exists.
      rules: those of the run; their limits are drawn beside what they look at.
      champion_before: folder of the newest live version before the run.
      log: the run's log, named by when it began, in a folder beside the report.

    Raises:
      OSError: the file cannot be written.
    """
    pushed = _last_pushed(log) if log is not None and summary.pushed is None else None
    text = render(summary, history, config_name, rules or RuleSet(), champion_before, log, pushed)
    if log is None:
        write_page(path, text)
        return
    write_page(path, text.replace(_LINK, f'href="{log.parent.name}/'))
    write_page(log.with_name(f"{log.stem}-{summary.outcome}.html"), text.replace(_LINK, 'href="'))


def _last_pushed(log: Path) -> str | None:
    """The name of the copy of the report of the last run that pushed, if there is one."""
    return max((path.name for path in log.parent.glob("*-pushed.html")), default=None)


def _when(log: Path) -> str:
    try:
        return f"{datetime.strptime(log.stem, '%Y%m%dT%H%M%SZ'):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return log.stem


def render(
    summary: Summary,
    history: History,
    config_name: str,
    rules: RuleSet,
    champion_before: str | None,
    log: Path | None = None,
    pushed: str | None = None,
) -> str:
    """The page's text. The same input gives the same text.

    Args:
      log, pushed: the run's log, and the name of a report beside it: links to both begin with `@/`.
    """
    from markupsafe import Markup

    ranked = rows(summary)
    here = {row.survivor["step"]: row.won for row in ranked if _of_run(row, summary)}
    winner = next((step for step, won in here.items() if won), None)
    plot = training_svg(history.entries, rules, here, winner)
    noise = summary.selection is not None and summary.selection["within_noise"]
    survivors = [_survivor(row, summary, history) for row in ranked]
    epochs = {one["row"].name: one["epoch"][0] for one in survivors if one["epoch"]}
    measured = f"{summary.selection['metric']} on the eval split" if summary.selection is not None else ""
    ranking = ranking_svg(ranked, ranked_by(summary), noise, measured, epochs)
    return render_page(
        "gated_pipelines",
        "report.html.j2",
        name=config_name,
        summary=summary,
        sentence=_sentence(summary),
        log=log.name if log is not None else None,
        when=_when(log) if log is not None else None,
        pushed_report=pushed,
        rows=rows_in_words(summary.rows) if summary.rows else "",
        records="records" if by_steps(history.entries) else "epochs",
        plot=Markup(plot) if plot else None,
        not_finite=not_finite(history),
        refusals=times_refused(summary.refusals),
        metrics=sorted({name for survivor in summary.candidates for name in survivor["metrics"]}),
        survivors=survivors,
        winner=winner_in_words(summary.winner).capitalize() if summary.winner else None,
        ranked_by=ranked_by(summary),
        ranking=Markup(ranking) if ranking else None,
        scored=any(row.score for row in ranked),
        comparison=[_compared(row) for row in summary.comparison],
        best=any(row.get("best") is not None for row in summary.comparison),
        seconds=list(_seconds(summary)),
        total=f"{sum(summary.seconds.values()):.1f} s",
        champion_before=champion_before,
        resumed=sum(event["event"] == "resumed" for event in history.events),
    )


def _sentence(summary: Summary) -> str:
    reason = summary.reason.strip().rstrip(".")
    headline = _HEADLINES[summary.outcome]
    if summary.champion is not None and summary.outcome in CHAMPION_STAYS:
        headline += ", the champion stays"
    return f"{headline}: {reason}." if reason else f"{headline}."


def _seconds(summary: Summary) -> Iterator[Bar]:
    most = max(summary.seconds.values(), default=0.0) or 1.0
    for name, seconds in summary.seconds.items():
        cached = name not in summary.executed
        yield Bar(name, "from the cache" if cached else f"{seconds:.1f} s", 100 * seconds / most, cached)


def _survivor(row: Row, summary: Summary, history: History) -> dict[str, Any]:
    survivor = row.survivor
    here = [e for e in history.entries if _of_run(row, summary) and e.record.step == survivor["step"]]
    epochs = [entry.record.epoch + 1 for entry in here]
    values = {name: format_value(value) for name, value in survivor["metrics"].items()}
    return {"row": row, "epoch": epochs[:1], "values": values}


def _of_run(row: Row, summary: Summary) -> bool:
    """Whether it is a checkpoint of the run whose curve is drawn."""
    return row.survivor["run"] == summary.run and not row.survivor["averaged"]


def _compared(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **{name: format_value(row.get(name)) for name in ("candidate", "champion", "best")}}
