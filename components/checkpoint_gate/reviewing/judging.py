"""Judges the checkpoints of training runs, bytes included. Reads only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from checkpoint_gate.errors import RuleError, UnknownMetricError
from checkpoint_gate.rule_text.rule_set import rules_from_mapping
from checkpoint_gate.rules.filtering import Filter, Saved, Verdict, closest_misses
from checkpoint_gate.rules.records import Record
from checkpoint_gate.spelling import name_a_logged_one
from checkpoint_gate.store import Run
from checkpoint_gate.store.checkpoints import Progress, Stored, cannot_be_read, verify_files
from checkpoint_gate.store.losses import missing
from checkpoint_gate.store.trash import pruned_before


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts, and what they are about.

    Attributes:
      verdicts: one for each live checkpoint of every run.
      stored: (run, step) -> the checkpoint.
      histories: run -> its records.
      missing: run -> the records of the checkpoints that others removed, see `store.losses`.
      missed: tombstones of checkpoints that these rules would keep, but an earlier run had pruned.
      unreadable: (run, step) of those with the verdict "quarantine" that could not be read: they may be whole.
    """

    verdicts: tuple[Verdict, ...]
    stored: Mapping[tuple[str, int], Stored]
    histories: Mapping[str, Sequence[Record]]
    missing: Mapping[str, Sequence[Record]]
    missed: tuple[Mapping[str, Any], ...]
    unreadable: Set[tuple[str, int]] = frozenset()

    @property
    def survivors(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.outcome == "keep"]

    def removable(self, run: str) -> dict[int, str]:
        """Step -> reason, of the rejected of one run; without those whose record the ledger lost."""
        steps = {record.step for record in self.histories[run]}
        return {step: reason for step, reason in self.of_run(run, "reject").items() if step in steps}

    def live(self, run: str) -> list[Stored]:
        """The live checkpoints of one run, by step; the bytes of those with the verdict "keep" were verified."""
        return [stored for (key, _), stored in self.stored.items() if key == run]

    def of_run(self, run: str, outcome: str) -> dict[int, str]:
        """Step -> reason, of the verdicts of one run with this outcome."""
        return {v.step: v.reason for v in self.verdicts if v.run == run and v.outcome == outcome}


def judge_runs(runs: Sequence[Run], rules: Filter, progress: Progress = lambda _: None) -> Judged:
    """Judges every live checkpoint over the whole history of its run; `progress` is told of the bytes verified.

    Raises:
      UnknownMetricError: the rules name a metric that no record of any run has.
    """
    ledgers = {run.key: run.ledger.read() for run in runs}
    histories = {key: ledger.records for key, ledger in ledgers.items()}
    _check_names(rules, [record for history in histories.values() for record in history])
    stored, saved, gone, lost = {}, [], [], {}
    unreadable = set()
    for run in runs:
        by_step = {record.step: record for record in histories[run.key]}
        live = run.live()
        lost[run.key] = missing(run, live, ledgers.pop(run.key))
        for checkpoint in live:
            record = _record(checkpoint, by_step.get(checkpoint.step))
            stored[run.key, checkpoint.step] = checkpoint
            try:
                damage = verify_files(run.files, checkpoint, progress)
            except OSError as error:
                damage = cannot_be_read(error, run.files.place(checkpoint.folder))
                unreadable.add((run.key, checkpoint.step))
            saved.append(Saved(run.key, record, damage))
        gone += [(run.key, by_step[mark["step"]], mark) for mark in pruned_before(run) if mark["step"] in by_step]
    verdicts = rules.judge(histories, saved)
    missed = _missed(rules, histories, saved, gone) if gone else []
    return Judged(tuple(verdicts), stored, histories, lost, tuple(missed), unreadable)


def _missed(
    rules: Filter,
    histories: Mapping[str, Sequence[Record]],
    saved: Sequence[Saved],
    gone: Sequence[tuple[str, Record, Mapping[str, Any]]],
) -> list[Mapping[str, Any]]:
    """The tombstones of those of `gone` that the rules would keep, were they still there."""
    verdicts = rules.judge(histories, [*saved, *(Saved(run, record) for run, record, _ in gone)])[len(saved) :]
    judged = zip(gone, verdicts, strict=True)
    return [{"run": run, **mark} for (run, _, mark), verdict in judged if verdict.outcome == "keep"]


def _record(checkpoint: Stored, in_ledger: Record | None) -> Record:
    """What a checkpoint was saved for; that of the ledger where it says the same, so that it is held once."""
    if checkpoint.manifest is None:
        return in_ledger or Record(checkpoint.step, 0)
    record = checkpoint.manifest.record
    same = in_ledger is not None and replace(record, time=in_ledger.time) == in_ledger
    return in_ledger if in_ledger is not None and same else record


def _check_names(rules: Filter, records: Sequence[Record]) -> None:
    wanted = set(rules.rule.metrics()) if rules.rule else set()
    wanted |= {rules.top.metric} if rules.top else set()
    logged = {name for record in records for name in record.metrics}
    unknown = sorted(wanted - logged)
    if unknown and logged:
        raise UnknownMetricError(
            f"filter names {', '.join(map(repr, unknown))}, which training never logged. "
            f"{name_a_logged_one(unknown, logged)}."
        )


def why_none(runs: Sequence[Run], judged: Judged) -> str:
    """One sentence: why there is no survivor, and which came closest."""
    if judged.verdicts:
        misses = [f"{v.run} epoch {v.epoch + 1}: {v.reason}" for v in closest_misses(judged.verdicts)]
        damaged = [v.reason for v in judged.verdicts if v.outcome == "quarantine"]
        if not misses:
            return f"All {len(damaged)} checkpoints are damaged: {damaged[0]}. Run again with --retrain."
        earlier = f" {len(judged.missed)} that it would keep were pruned by an earlier run." if judged.missed else ""
        return (
            f"The filter rejected all {len(judged.verdicts) - len(damaged)} checkpoints"
            f"{f', and {len(damaged)} more are damaged' if damaged else ''}.{earlier} "
            f"{_listed('Closest', misses)}Loosen `filter`, or train on."
        )
    if judged.missed:
        return "Every checkpoint that these rules would keep was pruned by an earlier run. Run again with --retrain."
    lost = sum(len(missing(run, (), run.ledger.read())) for run in runs)
    if lost:
        return f"All {lost} checkpoints were removed by somebody else. Bring them back, or run again with --retrain."
    records = [record for run in runs for record in run.ledger.read().records]
    misses = [line for run in runs for line in _gate_misses(run)]
    return (
        f"The gate refused all {len(records)} epochs, so there is no checkpoint to filter. "
        f"{_listed('Closest', misses[:3])}Loosen `save`, or train on."
    )


def _gate_misses(run: Run) -> list[str]:
    history = run.ledger.read()
    records = history.records
    text = history.gate or run.about().get("gate")
    try:
        gate = rules_from_mapping(text).save if isinstance(text, Mapping) else None
    except RuleError:  # a rule of one's own that is not at hand here
        gate = None
    if gate is None or any(entry.decision.save for entry in history.entries):
        return []
    refused = zip(gate.replay(records), records, strict=True)
    ranked = sorted((d.shortfall, -r.step, r.epoch, d.reason) for d, r in refused if math.isfinite(d.shortfall))
    return [f"epoch {epoch + 1}: {reason}" for _, _, epoch, reason in ranked]


def _listed(word: str, lines: Sequence[str]) -> str:
    return f"{word}: {'; '.join(lines)}. " if lines else ""
