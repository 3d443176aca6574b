"""Why each record was saved or refused, and what became of its checkpoint. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from checkpoint_gate.catalog import Row, rows
from checkpoint_gate.records import At, encode_metrics
from checkpoint_gate.store import Run
from checkpoint_gate.store.ledger import Entry
from checkpoint_gate.store.trash import GONE, Mark, tombstones, trash_path

State = Literal["kept", "trashed", "pruned", "quarantined", "superseded", "missing"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One record of a ledger, or a checkpoint that the ledger has no record of.

    Attributes:
      run, step, epoch, at, metrics: of the record; epoch counts from 0.
      save: what the gate decided; None where the ledger has no record.
      reason: why.
      state: where its checkpoint is: as in the catalog, or "superseded" (set aside when training resumed before it),
        or "missing" (saved, but removed by nobody that left word); None where it never had one.
      pruned: of a trashed or pruned one: `by`, `rules` (their digest), `reason`, `time`, and `swept`, when its bytes
        were freed, None before that.
      superseded: when training resumed before this record, so that it does not count any more; else None.
      path: the checkpoint's folder, None where there is none.
      protected: why no pruning may take it: a pin, with its note, or that it is the champion; else None.
    """

    run: str
    step: int
    epoch: int | None
    at: At
    metrics: Mapping[str, float]
    save: bool | None
    reason: str
    state: State | None
    pruned: Mapping[str, Any] | None = None
    superseded: float | None = None
    path: str | None = None
    protected: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The explanation as strict JSON values."""
        return {
            "run": self.run,
            "step": self.step,
            "epoch": self.epoch,
            "at": self.at,
            "metrics": encode_metrics(self.metrics),
            "save": self.save,
            "reason": self.reason,
            "state": self.state,
            "pruned": dict(self.pruned) if self.pruned is not None else None,
            "superseded": self.superseded,
            "path": self.path,
            "protected": self.protected,
        }


def explain(run: Run) -> list[Explanation]:
    """Every record of the run as the ledger has them, superseded ones too, then checkpoints without a record.

    Raises:
      StoreError: the ledger or the tombstones are damaged.
    """
    entries = run.ledger.read().every_entry
    held = {(row.step, str(row.state)): row for row in rows(run)}
    found = _Found(run, _saved(entries), held, run.protected())
    gone, strays = _gone(run, entries, found.saved)
    explained = [_explain(found, index, entry, gone.get(index)) for index, entry in enumerate(entries)]
    return [*explained, *_without_record(found, strays)]


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to explain with.

    Attributes:
      saved: step -> the entries that saved it, oldest first.
      held: (step, state) -> the row.
      protected: step -> why no pruning may take it.
    """

    run: Run
    saved: Mapping[int, Sequence[int]]
    held: Mapping[tuple[int, str], Row]
    protected: Mapping[int, str]


def _saved(entries: Sequence[Entry]) -> dict[int, list[int]]:
    saved: dict[int, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry.decision.save:
            saved.setdefault(entry.record.step, []).append(index)
    return saved


def _gone(
    run: Run, entries: Sequence[Entry], saved: Mapping[int, Sequence[int]]
) -> tuple[dict[int, Mark], dict[int, Mark]]:
    """Entry -> the newest tombstone of its checkpoint; and step -> tombstone where no entry saved the step."""
    by_entry: dict[int, Mark] = {}
    by_step: dict[int, Mark] = {}
    for mark in sorted(tombstones(run).values(), key=lambda mark: float(mark["time"])):
        if mark["event"] not in GONE:
            continue
        indices = saved.get(mark["step"], ())
        if not indices:
            by_step[mark["step"]] = mark
            continue
        when = mark["times"].get("trashed", mark["time"])
        owner = next((i for i in indices if _overtaken_at(entries[i]) > when), indices[-1])
        by_entry[owner] = mark
    return by_entry, by_step


def _overtaken_at(entry: Entry) -> float:
    return float("inf") if entry.superseded is None else float(entry.superseded.get("time", 0.0))


def _explain(found: _Found, index: int, entry: Entry, mark: Mark | None) -> Explanation:
    record, decision = entry.record, entry.decision
    state, path = _place(found, index, entry, mark)
    return Explanation(
        run=found.run.key,
        step=record.step,
        epoch=record.epoch,
        at=record.at,
        metrics=record.metrics,
        save=decision.save,
        reason=decision.reason,
        state=state,
        pruned=_pruned(mark) if mark is not None and state in GONE else None,
        superseded=_overtaken_at(entry) if entry.superseded is not None else None,
        path=path,
        protected=found.protected.get(record.step) if state == "kept" else None,
    )


def _place(found: _Found, index: int, entry: Entry, mark: Mark | None) -> tuple[State | None, str | None]:
    """State and folder of the checkpoint of one entry."""
    step = entry.record.step
    if not entry.decision.save:
        return None, None
    newest = found.saved[step][-1] == index
    if newest and (row := found.held.get((step, "kept"))) is not None:
        return "kept", row.path
    if mark is not None:
        folder = trash_path(found.run, mark["plan"], step)
        lies = found.run.files.exists(folder)
        return ("trashed", str(found.run.files.local(folder))) if lies else ("pruned", None)
    for state in ("trashed", "quarantined"):  # trashed without a tombstone: the pruning was interrupted
        if newest and (row := found.held.get((step, state))) is not None:
            return row.state, row.path
    return ("superseded" if entry.superseded is not None else "missing"), None


def _without_record(found: _Found, strays: Mapping[int, Mark]) -> Iterator[Explanation]:
    for row in sorted((row for (step, _), row in found.held.items() if step not in found.saved), key=lambda r: r.step):
        mark = strays.get(row.step) if row.state in GONE else None
        yield Explanation(
            run=found.run.key,
            step=row.step,
            epoch=row.epoch,
            at="epoch",
            metrics=row.metrics,
            save=None,
            reason=f"the ledger has no record that saved it; the checkpoint says: {row.reason}",
            state=row.state,
            pruned=_pruned(mark) if mark is not None else None,
            path=row.path,
            protected=found.protected.get(row.step) if row.state == "kept" else None,
        )


def _pruned(mark: Mark) -> dict[str, Any]:
    return {
        "by": mark.get("by"),
        "rules": mark.get("rules"),
        "reason": mark.get("reason"),
        "time": mark["times"].get("trashed", mark["time"]),
        "swept": mark["times"].get("pruned"),
    }
