"""What a store holds, one row a checkpoint. Reads only, and no byte of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.records import At, decode_metrics, encode_metrics
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import Stored, bytes_held, read_checkpoint
from checkpoint_gate.store.trash import GONE, SET_ASIDE, marks_in_trash, tombstones, trash_place, trashed

State = Literal["kept", "trashed", "pruned", "quarantined", "lost"]


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint.

    Attributes:
      run, step: which one.
      epoch: Keras' zero-based epoch; None where its manifest is damaged and the ledger has no record of it.
      metrics: by name; {} where the manifest is damaged.
      state: "kept" (live), "trashed" (within its grace), "pruned" (its bytes are gone), or "quarantined" (set aside
        as damaged, or live with a damaged manifest), or "lost" (removed by others; a repair found it so).
      pinned: whether a pin keeps the step from every pruning.
      bytes: of its files; of those that it had, once pruned; 0 when lost.
      path: its folder, absolute, or its URL; None once pruned or lost.
      reason: why it was saved, pruned or set aside.
      time: seconds since 1970 of what made its state, where that is known.
      at: whether its record is of an epoch or of a step, where that is known: by its manifest.
    """

    run: str
    step: int
    epoch: int | None
    metrics: Mapping[str, float]
    state: State
    pinned: bool
    bytes: int
    path: str | None
    reason: str
    time: float | None = None
    at: At | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as strict JSON values."""
        return {
            "run": self.run,
            "step": self.step,
            "epoch": self.epoch,
            "metrics": encode_metrics(self.metrics),
            "state": self.state,
            "pinned": self.pinned,
            "bytes": self.bytes,
            "path": self.path,
            "reason": self.reason,
        }


def chosen_runs(store: Store, key: str | None) -> list[Run]:
    """The run `key`, or every run of the store.

    Raises:
      RunMissing: there is no such run.
      StoreError: one of them cannot be opened; names it.
    """
    return [store.run(each) for each in ([key] if key is not None else store.keys())]


def catalog(runs: Iterable[Run]) -> Iterator[Row]:
    """Every checkpoint of the runs, by run and step."""
    for run in runs:
        yield from rows(run)


def rows(run: Run) -> list[Row]:
    """Every checkpoint of one run, by step: what is on the disk, and of the other steps the newest that was pruned."""
    pins = run.pins()
    held = [*_live(run, pins), *_trashed(run, pins), *_quarantined(run, pins)]
    steps = {row.step for row in held}
    gone = [row for row in _gone(run, pins) if row.step not in steps]
    return sorted([*held, *gone], key=lambda row: row.step)


def _live(run: Run, pins: Mapping[int, str]) -> Iterator[Row]:
    epochs: Mapping[int, int] | None = None
    for stored in run.live():
        if stored.manifest is None:
            epochs = _epochs(run) if epochs is None else epochs
            yield _damaged(run, stored, stored.step, epochs, pins, stored.damage or "its manifest is damaged")
        else:
            yield _whole(run, stored, "kept", stored.manifest.decision, stored.manifest.time, pins)


def _trashed(run: Run, pins: Mapping[int, str]) -> Iterator[Row]:
    marks = marks_in_trash(run)
    for stored in trashed(run):
        name = stored.folder.rpartition("/")[2]
        mark = marks.get(name, {})
        reason = str(mark.get("reason", "a pruning that moved it was interrupted"))
        if stored.manifest is not None:
            yield _whole(run, stored, "trashed", reason, mark.get("time"), pins)
        else:  # half swept, or damaged
            yield _row_of_mark(run, {"step": trash_place(name)[0]} | mark, "trashed", reason, stored.folder, pins)


def _quarantined(run: Run, pins: Mapping[int, str]) -> Iterator[Row]:
    folder = f"{run.key}/quarantine"
    epochs: Mapping[int, int] | None = None
    for name in run.files.names(folder):
        match = SET_ASIDE.fullmatch(name)
        if match is None:
            continue
        stored = read_checkpoint(run.files, f"{folder}/{name}", run.key)
        if not run.files.holds(stored.folder, manifests.NAME):
            continue
        reason = run.reason(f"{folder}/{name}") or stored.damage or "set aside as damaged"
        if stored.manifest is not None and stored.manifest.kind == "gated":
            yield _whole(run, stored, "quarantined", reason, None, pins)
        elif stored.manifest is None:
            epochs = _epochs(run) if epochs is None else epochs
            yield _damaged(run, stored, int(match[1]), epochs, pins, reason)


def _gone(run: Run, pins: Mapping[int, str]) -> list[Row]:
    """Of each step the newest that went; a trashed one whose folder is gone was swept, but its sweep was cut."""
    gone = [mark for mark in tombstones(run).values() if mark["event"] in GONE]
    newest = {mark["step"]: mark for mark in sorted(gone, key=lambda mark: float(mark["time"]))}
    marks = newest.values()
    return [_row_of_mark(run, mark, _state_of(mark), str(mark.get("reason", "")), None, pins) for mark in marks]


def _state_of(mark: Mapping[str, Any]) -> State:
    return "lost" if mark["event"] == "lost" else "pruned"


def _whole(run: Run, stored: Stored, state: State, reason: str, time: float | None, pins: Mapping[int, str]) -> Row:
    manifest = stored.manifest
    assert manifest is not None
    record = manifest.record
    place = run.files.place(stored.folder)
    pinned = manifest.step in pins
    size = manifest.size
    return Row(
        run.key, manifest.step, manifest.epoch, record.metrics, state, pinned, size, place, reason, time, record.at
    )


def _damaged(
    run: Run, stored: Stored, step: int, epochs: Mapping[int, int], pins: Mapping[int, str], reason: str
) -> Row:
    size = bytes_held(run.files, stored.folder)
    place = run.files.place(stored.folder)
    return Row(run.key, step, epochs.get(step), {}, "quarantined", step in pins, size, place, reason)


def _row_of_mark(
    run: Run, mark: Mapping[str, Any], state: State, reason: str, folder: str | None, pins: Mapping[int, str]
) -> Row:
    step, epoch, size = mark["step"], mark.get("epoch"), mark.get("bytes", 0)
    place = None if folder is None else run.files.place(folder)
    try:
        metrics = decode_metrics(mark.get("metrics", {}))
    except ValueError as error:
        raise StoreError(f"A tombstone of {run.key}, step {step}, is damaged: {error}.") from error
    return Row(run.key, step, epoch, metrics, state, step in pins, size, place, reason, mark.get("time"))


def _epochs(run: Run) -> Mapping[int, int]:
    """Step -> epoch, by the ledger; empty where it cannot be read: a list of what is there goes on without it."""
    try:
        return {record.step: record.epoch for record in run.ledger.read().records}
    except StoreError:
        return {}
