"""Repairs a store: finishes or takes back what was interrupted, and sets aside what is damaged.

Damaged checkpoints go to the quarantine; their bytes are evidence and stay. What is not this store's is left alone, and
so is what only a person can decide. Begun again after a crash, a repair goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from checkpoint_gate.errors import LeaseHeld, NewerFormat, StoreError, sentence
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checking import check_root, closed_runs
from checkpoint_gate.store.checkpoints import (
    STEP_FOLDER,
    Progress,
    Stored,
    half_removed,
    is_movable,
    read_checkpoint,
    remove_checkpoint,
    verify_files,
)
from checkpoint_gate.store.findings import QUARANTINED, TAKEN_FOR_LOST, Finding
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.losses import missing, take_for_lost
from checkpoint_gate.store.pruning import bring_back, give_up, recover
from checkpoint_gate.store.revision import by_hand, raise_revision
from checkpoint_gate.store.run import Run
from checkpoint_gate.store.run_check import check_run
from checkpoint_gate.store.store import Store
from checkpoint_gate.store.trash import (
    Mark,
    bury,
    half_swept,
    is_stranded,
    journals,
    marks_in_trash,
    read_journal,
    revived,
    set_journal_aside,
    stones,
    tombstones,
    trash_path,
    trash_place,
    trashed,
)


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair of a store, or of a part of it, came to.

    Attributes:
      mended: the findings that were there before and are not any more; the remedy of each says what was done.
      findings: what a check says now, and why something could not be repaired.
    """

    mended: tuple[Finding, ...]
    findings: tuple[Finding, ...]


def repair_store(store: Store, progress: Progress = lambda _: None) -> Iterator[Repaired]:
    """Checks the store and repairs what can be, part by part: its own files, then run by run.

    `progress` is told of the bytes that the first look verified.

    A run in which another writer is at work is left alone, and told as a fault.
    """
    root = partial(check_root, store)
    yield _repaired(None, store.files.place(), tuple(root()), root, partial(_repair_root, store))
    runs, closed = store.runs()
    yield Repaired((), tuple(closed_runs(store, closed)))
    for run in runs:
        before = tuple(check_run(run, progress))
        place = store.files.place(run.key)
        yield _repaired(run.key, place, before, partial(check_run, run), partial(_repair_run, run))


def _repaired(
    key: str | None,
    place: str,
    before: tuple[Finding, ...],
    check: Callable[[], Iterable[Finding]],
    repair: Callable[[Iterable[Finding]], Iterable[str]],
) -> Repaired:
    """Repairs a part where a finding can be mended, and checks it again."""
    if all(finding.remedy is None for finding in before):
        return Repaired((), before)
    try:
        failures: Iterable[str] = repair(before)
    except (StoreError, OSError) as error:  # another writer is at work, or it may not be written to
        failures = (sentence(error),)
    after = tuple(check())
    told = {(finding.place, finding.what) for finding in after}
    mended = tuple(f for f in before if f.remedy is not None and (f.place, f.what) not in told)
    advice = "see to that, and repair again"
    left = (
        Finding(key, place, "fault", f"could not be repaired: {why.rstrip('.')}", advice=advice) for why in failures
    )
    return Repaired(mended, (*after, *left))


def _repair_root(store: Store, findings: Iterable[Finding]) -> Iterable[str]:
    with by_hand(store.files, store.clock, "repairing"):
        store.files.remove_temporary()
    return ()


def _repair_run(run: Run, findings: Iterable[Finding]) -> Iterable[str]:
    """Repairs a run under its lease; answers with why parts of it failed."""
    damaged, missed = (
        frozenset(finding.place for finding in findings if finding.remedy == remedy)
        for remedy in (QUARANTINED, TAKEN_FOR_LOST)
    )
    with run.lease("repairing") as lease:
        return tuple(_Repair(run, lease, damaged, missed).failures())


class _Repair:
    """One repair of one run. Each part starts from what is there, so that it can be begun again after a crash.

    Args:
      damaged, missed: places of checkpoints that a check found damaged, or gone; each is looked at again.
    """

    def __init__(self, run: Run, lease: Lease, damaged: frozenset[str], missed: frozenset[str] = frozenset()) -> None:
        self._run = run
        self._files = run.files
        self._lease = lease
        self._damaged = damaged
        self._missed = missed
        self._counted = False

    def failures(self) -> Iterator[str]:
        """Does all of it; a part that fails does not keep the others."""
        parts = (self._lines, self._leftovers, self._journals, self._live, self._trash, self._recover, self._stranded)
        for part in (*parts, self._overtaken, self._revived, self._lost, self._resumable, self._reasons):
            self._lease.renew()
            try:
                part()
            except LeaseHeld:
                raise
            except (StoreError, OSError) as error:
                yield sentence(error)

    def _count_change(self) -> None:
        """Raises the store's revision, once, before the first change that a filter would see."""
        if not self._counted:
            with by_hand(self._files, self._run.clock, "repairing"):
                raise_revision(self._files)
            self._counted = True

    def _lines(self) -> None:
        self._run.ledger.mend()
        stones(self._run).mend()

    def _leftovers(self) -> None:
        self._run.clear_leftovers()
        self._run.gated.clear_staged()
        for stored in self._run.live():
            self._files.remove_temporary(stored.folder)

    def _journals(self) -> None:
        for digest in journals(self._run):
            try:
                read_journal(self._run, digest)
            except NewerFormat:
                continue
            except StoreError:
                self._count_change()
                set_journal_aside(self._run, digest)

    def _live(self) -> None:
        for stored, damage in self._still_damaged(self._run.live()):
            self._count_change()
            self._give_up(f"step {stored.step} is damaged")
            self._run.quarantine(stored, damage)

    def _give_up(self, why: str) -> None:
        """What an interrupted pruning was yet to move stays: it may be worth more than when that was planned."""
        give_up(self._run, why)

    def _trash(self) -> None:
        marks = marks_in_trash(self._run)
        for stored, damage in self._still_damaged(trashed(self._run)):
            name = stored.folder.rpartition("/")[2]
            mark = marks.get(name, {})
            if mark.get("event") != "spared":
                self._bury("spared", name, mark, why=f"set aside as damaged: {damage}")
            self._run.quarantine(stored, damage)
        for stored in trashed(self._run):
            mark = marks.get(stored.folder.rpartition("/")[2], {})
            if half_swept(self._run, stored, mark) and remove_checkpoint(self._files, stored, self._run.fence):
                bury(self._run, "pruned", mark["plan"], {"step": stored.step})

    def _recover(self) -> None:
        recover(self._run, self._lease)

    def _stranded(self) -> None:
        for name, mark in marks_in_trash(self._run).items():
            step = trash_place(name)[0]
            stored = read_checkpoint(self._files, f"{self._run.key}/trash/{name}", self._run.key)
            if is_stranded(self._run, name, mark) and not self._run.gated.holds(step) and self._verifies(stored):
                self._count_change()
                if mark:
                    self._bury("undeleted", name, mark)
                bring_back(self._run, stored.folder, self._run.gated.path(step))

    def _overtaken(self) -> None:
        history = self._run.ledger.read()
        saved = {entry.record.step for entry in history.saved}
        for stored in self._run.live():
            manifest = stored.manifest
            if manifest is not None and stored.step not in saved and history.overtook(stored.step, manifest.time):
                self._count_change()
                self._run.supersede(stored)

    def _revived(self) -> None:
        for mark in revived(self._run, tombstones(self._run), self._run.live()):
            if not self._files.holds(trash_path(self._run, mark["plan"], mark["step"]), manifests.NAME):
                self._count_change()
                bury(self._run, "undeleted", mark["plan"], {"step": mark["step"]})

    def _lost(self) -> None:
        for record in missing(self._run, self._run.live(), self._run.ledger.read()):
            if self._files.place(self._run.gated.path(record.step)) in self._missed:
                self._count_change()
                self._give_up(f"step {record.step} is gone")
                take_for_lost(self._run, record)

    def _resumable(self) -> None:
        states = self._run.resumable.stored()
        for stored in states[:-1]:
            if half_removed(self._files, stored):
                self._run.resumable.remove(stored)
        for stored, damage in self._still_damaged(states):
            self._run.quarantine(stored, damage)

    def _reasons(self) -> None:
        folder = f"{self._run.key}/quarantine"
        for name in self._files.names(folder):
            path = f"{folder}/{name}"
            if STEP_FOLDER.match(name) and self._files.is_folder(path) and not self._files.is_file(f"{path}.reason"):
                damage = verify_files(self._files, read_checkpoint(self._files, path, self._run.key))
                self._run.tell_reason(path, damage or "it verifies now")

    def _still_damaged(self, candidates: Iterable[Stored]) -> Iterator[tuple[Stored, str]]:
        """Those that a check found damaged, are so still, and may be moved."""
        for stored in candidates:
            if self._files.place(stored.folder) not in self._damaged or not is_movable(self._files, stored):
                continue
            self._lease.renew()
            damage = verify_files(self._files, stored)
            if damage is not None and self._files.holds(stored.folder, manifests.NAME):
                yield stored, damage

    def _verifies(self, stored: Stored) -> bool:
        return verify_files(self._files, stored) is None

    def _bury(self, event: str, name: str, mark: Mark, **fields: str) -> None:
        step, plan = trash_place(name)
        bury(self._run, event, str(mark.get("plan", plan)), {"step": step, **fields})
