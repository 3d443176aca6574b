"""Replays rules over a recorded history: what they decide, or would have decided. Reads only.

The rules are given, or they are those that the ledger itself records: then every decision has to come out as recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from checkpoint_gate.errors import RuleError, StoreError, UnknownMetricError
from checkpoint_gate.rule_text.rule_set import RuleSet, rules_from_mapping
from checkpoint_gate.rules.gate import Gate, RunningGate
from checkpoint_gate.rules.records import HistoryLine, Record, load_json, numbered_objects, read_lines
from checkpoint_gate.spelling import name_a_logged_one

Section = Literal["save", "filter"]

_LEDGER = "ledger.jsonl"


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


def history_files(path: Path) -> list[Path]:
    """The histories that `path` names: itself, or of a folder the ledger of that run, or of every run of that store.

    Raises:
      StoreError: it is a folder with none.
    """
    if not path.is_dir():
        return [path]
    if (path / _LEDGER).is_file():
        return [path / _LEDGER]
    found = sorted(ledger for ledger in path.glob(f"*/{_LEDGER}") if not ledger.parent.name.startswith("."))
    if not found:
        raise StoreError(f"{path} is a folder without a {_LEDGER}, and neither a run nor a store of runs.")
    return found


def history_file(path: Path) -> Path:
    """The one history that `path` names.

    Raises:
      StoreError: it is a folder with none, or with several.
    """
    found = history_files(path)
    if len(found) > 1:
        raise StoreError(f"{path} holds {len(found)} ledgers: name one of {', '.join(map(str, found))}.")
    return found[0]


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
    return [_replayed(line, holds, reason) for line, (holds, reason) in zip(lines, answers, strict=True)]


def replay_recorded(lines: Sequence[HistoryLine], name: str) -> list[Replayed]:
    """One answer a record, in order, each under the gate that its `started` event records.

    As while training, a gate starts from the decisions recorded before its `started` event and goes on with its own.

    Args:
      lines: the records that count.
      name: stands in errors for the history.

    Raises:
      RuleError: a record came under no recorded gate, or under one that cannot be read; names the line.
      StoreError: a record has no decision; names the line.
    """
    answers: list[Replayed] = []
    decided: list[tuple[Record, bool]] = []
    running: RunningGate | None = None
    gate: Gate | None = None
    agreed = True
    for number, line in enumerate(lines):
        if running is None or line.started is not lines[number - 1].started:
            before, gate = gate, _recorded_gate(line, name)
            if running is None or gate != before or not agreed:  # otherwise it is in this state already
                running = gate.start(decided)
        decided.append((line.record, _decision(line, name)))
        decision = running.decide(line.record)
        answers.append(_replayed(line, decision.save, decision.reason))
        agreed = agreed and decision.save == decided[-1][1]
    return answers


def _recorded_gate(line: HistoryLine, name: str) -> Gate:
    text = line.started.get("gate") if line.started is not None else None
    if text is None:
        raise RuleError(
            f"{name} does not say by which rules its record in line {line.number} was decided: name them with --rules."
        )
    where = f"{name}, the gate recorded before line {line.number}"
    if not isinstance(text, Mapping):
        raise RuleError(f"{where}, must be a mapping with the section `save`. Received: {text!r}.")
    gate = rules_from_mapping(text, where).save
    if gate is None:
        raise RuleError(f"{where}, has no section `save`. Received: {sorted(text)}.")
    return gate


def _decision(line: HistoryLine, name: str) -> bool:
    saved = _recorded(line)
    if saved is None:
        raise StoreError(
            f"{name} line {line.number} has no decision to compare with: save must be true or false. "
            f"Received: save={line.value.get('save')!r}."
        )
    return saved


def _replayed(line: HistoryLine, holds: bool, reason: str) -> Replayed:
    return Replayed(line.record, holds, reason, _recorded(line), str(line.value.get("reason", "")))


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
            f"{name_a_logged_one(unknown, logged)}."
        )
