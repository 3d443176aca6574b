"""A store as one HTML page: of every run its training behind the gate, its refusals and its checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import RuleError
from checkpoint_gate.quantities import format_time
from checkpoint_gate.report.curves import by_steps
from checkpoint_gate.report.pages import not_finite, render_page, times_refused
from checkpoint_gate.report.plot import training_svg
from checkpoint_gate.reviewing.catalog import Row, rows
from checkpoint_gate.rule_text.rule_set import RuleSet, rules_from_mapping
from checkpoint_gate.store import Run
from checkpoint_gate.store.ledger import History


@dataclass(frozen=True)
class RunReport:
    """What the page tells of a run.

    Attributes:
      history: its ledger.
      checkpoints: all that it ever saved, by step, the pruned ones too.
      rules: whose limits are drawn.
    """

    run: str
    history: History
    checkpoints: tuple[Row, ...]
    rules: RuleSet

    @property
    def began(self) -> float:
        """When its first line was written, in seconds since 1970 (UTC); 0 where none says."""
        return float(next((event["time"] for event in self.history.events if "time" in event), 0.0))

    @property
    def saved(self) -> int:
        return sum(entry.decision.save for entry in self.history.entries)

    @property
    def refused(self) -> int:
        return len(self.history.entries) - self.saved

    @property
    def resumed(self) -> int:
        return sum(event["event"] == "resumed" for event in self.history.events)

    @property
    def refusals(self) -> dict[str, int]:
        """Clause -> how many records it refused, the commonest first."""
        decisions = (entry.decision for entry in self.history.entries)
        return dict(Counter(clause for d in decisions if not d.save for clause in d.clauses).most_common())

    @property
    def states(self) -> dict[str, int]:
        """State -> how many checkpoints are in it."""
        return dict(Counter(row.state for row in self.checkpoints))

    @property
    def bytes(self) -> int:
        """Of the checkpoints that are on the disk."""
        return sum(row.bytes for row in self.checkpoints if row.path is not None)

    def to_json(self) -> dict[str, Any]:
        """The same as strict JSON values."""
        return {
            "run": self.run,
            "records": len(self.history.entries),
            "saved": self.saved,
            "refused": self.refused,
            "resumed": self.resumed,
            "refusals": self.refusals,
            "states": self.states,
            "bytes": self.bytes,
        }


def report_of(run: Run, rules: RuleSet | None = None) -> RunReport:
    """Reads a run.

    Args:
      rules: whose limits are to be drawn; by default the gate that the ledger records.
    """
    history = run.ledger.read()
    return RunReport(run.key, history, tuple(rows(run)), rules if rules is not None else _recorded(history))


def render_store(place: str, reports: Sequence[RunReport]) -> str:
    """The page's text, the newest run first. The same input gives the same text."""
    newest = sorted(reports, key=lambda report: (-report.began, report.run))
    runs = [_run(number, report) for number, report in enumerate(newest)]
    return render_page("checkpoint_gate.report", "store.html.j2", place=place, runs=runs)


def _recorded(history: History) -> RuleSet:
    """Only for drawing: rules that this version cannot read are left out, the decisions stand in the ledger."""
    try:
        return rules_from_mapping(history.gate, "the ledger") if history.gate is not None else RuleSet()
    except RuleError:
        return RuleSet()


def _run(number: int, report: RunReport) -> dict[str, Any]:
    from markupsafe import Markup

    entries = report.history.entries
    plot = training_svg(entries, report.rules, (), None, f"run-{number}")
    return {
        "report": report,
        "began": format_time(report.began) if report.began else None,
        "records": "records" if by_steps(entries) else "epochs",
        "plot": Markup(plot) if plot else None,
        "not_finite": not_finite(report.history),
        "refusals": times_refused(report.refusals),
        "metrics": _metrics(report.checkpoints),
    }


def _metrics(checkpoints: Iterable[Row]) -> list[str]:
    return sorted({name for row in checkpoints for name in row.metrics})
