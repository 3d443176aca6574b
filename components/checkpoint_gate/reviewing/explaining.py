"""Why each record was saved or refused, and what became of its checkpoint. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from checkpoint_gate.reviewing.catalog import Row, rows
from checkpoint_gate.rules.records import At, encode_metrics
from checkpoint_gate.store import Run
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.ledger import Entry
from checkpoint_gate.store.trash import GONE, Mark, tombstones, trash_path

State = Literal[
    "kept", "trashed", "pruned", "quarantined", "superseded", "overtaken", "skipped", "amended", "missing", "lost"
]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One record of a ledger, or a checkpoint that the ledger has no record of.

    Attributes:
      run, step, epoch, at, metrics: of the record; epoch counts from 0.
      save: what the gate decided; None where the ledger has no record.
      reason: why.
      state: where its checkpoint is: as in the catalog, or "superseded" (set aside when training resumed before it),
        "overtaken" (never written: a newer state overtook it while it waited), "skipped" (never written: there was no
        room for it), "amended" (of an epoch's last step: the
        checkpoint tells of the epoch, which was saved too), "missing" (saved, but removed by nobody that left word), or
        "lost" (it was missing, and a repair took it for lost); None where it never was to have one.
      pruned: of a trashed, pruned or lost one: `by`, `rules` (their digest), `reason`, `time`, and `swept`, when its
        bytes were freed, None before that.
      superseded: when training resumed before this record, so that it does not count any more; else None.
      path: the checkpoint's folder, None where there is none.
      protected: why no pruning may take it: a pin, with its note, or that it is the champion; else None.
      damage: what is wrong with a quarantined one; else None.
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
    damage: str | None = None

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
            "damage": self.damage,
        }


def explain(run: Run) -> list[Explanation]:
    """Every record of the run as the ledger has them, superseded ones too, then checkpoints without a record.

    Raises:
      StoreError: the ledger or the tombstones are damaged.
    """
    history = run.ledger.read()
    entries = history.every_entry
    overtaken = history.overtaken
    saved: dict[int, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry.decision.save and entry.skipped is None and index not in overtaken:
            saved.setdefault(entry.record.step, []).append(index)
    listed = rows(run)
    found = _Found(run, entries, saved, overtaken, _held(listed, entries, saved), run.protected())
    gone, strays = _gone(run, entries, saved)
    explained = [_explain(found, index, gone.get(index)) for index in range(len(entries))]
    return [*explained, *_without_record(found, (row for row in listed if row.step not in saved), strays)]


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to explain with. Entries are told by their place in the ledger.

    Attributes:
      saved: step -> the entries that saved it, oldest first, without what was never written.
      overtaken: the entries that saved a state which was overtaken before it was written.
      held: (entry, state) -> the row of its checkpoint.
      protected: step -> why no pruning may take it.
    """

    run: Run
    entries: Sequence[Entry]
    saved: Mapping[int, Sequence[int]]
    overtaken: Set[int]
    held: Mapping[tuple[int, str], Row]
    protected: Mapping[int, str]


def _held(
    listed: Sequence[Row], entries: Sequence[Entry], saved: Mapping[int, Sequence[int]]
) -> dict[tuple[int, str], Row]:
    """(entry, state) -> row: a checkpoint belongs to the newest entry of its step, of the kind that it carries."""
    held = {}
    for row in listed:
        indices = saved.get(row.step, ())
        owners = [index for index in indices if entries[index].record.at == row.at] or indices
        if owners:
            held[owners[-1], str(row.state)] = row
    return held


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
        then = next((i for i in indices if entries[i].superseded_at > when), indices[-1])
        peers = [i for i in indices if entries[i].superseded is entries[then].superseded]  # as a step, and as an epoch
        carried = [i for i in peers if encode_metrics(entries[i].record.metrics) == mark.get("metrics")]
        by_entry[(carried or peers)[-1]] = mark
    return by_entry, by_step


def _explain(found: _Found, index: int, mark: Mark | None) -> Explanation:
    entry = found.entries[index]
    record, decision = entry.record, entry.decision
    state, path = _place(found, index, mark)
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
        superseded=entry.superseded_at if entry.superseded is not None else None,
        path=path,
        protected=found.protected.get(record.step) if state == "kept" else None,
        damage=found.held[index, "quarantined"].reason if state == "quarantined" else None,
    )


def _place(found: _Found, index: int, mark: Mark | None) -> tuple[State | None, str | None]:
    """State and folder of the checkpoint of one entry."""
    entry = found.entries[index]
    step = entry.record.step
    if not entry.decision.save:
        return None, None
    if entry.skipped is not None:
        return "skipped", None
    if index in found.overtaken:
        return "overtaken", None
    if (row := found.held.get((index, "kept"))) is not None:
        return "kept", row.path
    if mark is not None and mark["event"] == "lost":
        return "lost", None
    if mark is not None:
        folder = trash_path(found.run, mark["plan"], step)
        lies = found.run.files.holds(folder, manifests.NAME)
        return ("trashed", found.run.files.place(folder)) if lies else ("pruned", None)
    for state in ("trashed", "quarantined"):  # trashed without a tombstone: the pruning was interrupted
        if (row := found.held.get((index, state))) is not None:
            return row.state, row.path
    if entry.superseded is not None:
        return "superseded", None
    return ("amended" if _amended(found, index) else "missing"), None


def _amended(found: _Found, index: int) -> bool:
    """Whether the epoch whose last step it was has been saved too."""
    later = [other for other in found.saved[found.entries[index].record.step] if other > index]
    return found.entries[index].record.at == "step" and any(found.entries[i].record.at == "epoch" for i in later)


def _without_record(found: _Found, listed: Iterable[Row], strays: Mapping[int, Mark]) -> Iterator[Explanation]:
    for row in listed:
        mark = strays.get(row.step) if row.state in GONE else None
        yield Explanation(
            run=found.run.key,
            step=row.step,
            epoch=row.epoch,
            at=row.at or "epoch",
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
