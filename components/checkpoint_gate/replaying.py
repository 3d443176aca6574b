"""Replays rules over a recorded history: what they decide, or would have decided. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from checkpoint_gate.errors import RuleError, StoreError, UnknownMetricError
from checkpoint_gate.records import HistoryLine, Record, load_json, numbered_objects, read_lines
from checkpoint_gate.rule_text import RuleSet

Section = Literal["save", "filter"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the rules say of one record.

    Attributes:
      record: the record.
      holds: whether it is saved (section `save`), or its checkpoint kept (section `filter`).
      reason: why.
      recorded: what the history says that was decided about saving; None where it does not say.
      recorded_reason: why, as the history says.
    """

    record: Record
    holds: bool
    reason: str
    recorded: bool | None = None
    recorded_reason: str = ""


def read_ledger_file(path: Path) -> tuple[list[HistoryLine], bool]:
    """The records that count in a history file, and whether a torn last line was passed over.

    Only the last line of a ledger, where a crash may have cut it, is ever passed over.

    Raises:
      StoreError: the file cannot be read, or a line is not a record; names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"The history {path} cannot be read: {error}.") from error
    whole, _, last = text.rpartition("\n")
    torn = _is_torn(last)
    lines, events = read_lines(numbered_objects(whole if torn else text, str(path)), str(path))
    if torn and not events and not any("save" in line.value for line in lines):  # no ledger: nothing excuses the line
        lines, _ = read_lines(numbered_objects(text, str(path)), str(path))
    return [line for line in lines if line.superseded is None], torn


def replay(rules: RuleSet, section: Section, lines: Sequence[HistoryLine], name: str = "the rules") -> list[Replayed]:
    """One answer a record, in order; `name` stands in errors for the rules.

    A record that lacks a metric which other records have cannot be judged by it, as while training.

    Raises:
      RuleError: the rules do not have the section.
      UnknownMetricError: the rules name a metric that no record has, though something was logged.
    """
    records = [line.record for line in lines]
    if section == "save":
        if rules.save is None:
            raise _no_section(name, section)
        _check_names(rules.save.rule.metrics(), records, f"{section} of {name}")
        answers = [(decision.save, decision.reason) for decision in rules.save.replay(records)]
    else:
        if rules.filter is None:
            raise _no_section(name, section)
        wanted = rules.filter.rule.metrics() if rules.filter.rule is not None else frozenset()
        top = {rules.filter.top.metric} if rules.filter.top is not None else set()
        _check_names(wanted | top, records, f"{section} of {name}")
        answers = [(verdict.outcome == "keep", verdict.reason) for verdict in rules.filter.replay(records)]
    return [
        Replayed(line.record, holds, reason, _recorded(line), str(line.value.get("reason", "")))
        for line, (holds, reason) in zip(lines, answers, strict=True)
    ]


def _is_torn(last: str) -> bool:
    if not last.lstrip().startswith("{"):
        return False
    try:
        load_json(last)
    except ValueError:
        return True
    return False


def _recorded(line: HistoryLine) -> bool | None:
    save = line.value.get("save")
    return save if isinstance(save, bool) else None


def _no_section(name: str, section: Section) -> RuleError:
    return RuleError(f"{name} has no section `{section}`, so there is nothing to replay.")


def _check_names(wanted: frozenset[str], records: Sequence[Record], whose: str) -> None:
    logged = {name for record in records for name in record.metrics}
    unknown = sorted(wanted - logged)
    if unknown and logged:
        raise UnknownMetricError(
            f"{whose} names {', '.join(map(repr, unknown))}, which no record of the history has. "
            f"Logged were: {', '.join(sorted(logged))}. Name one of these in the rules."
        )
