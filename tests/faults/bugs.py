"""Bugs in the store's protocol, put in on purpose: each is a change of the product, and where it has to be caught."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

from checkpoint_gate.store import opened_files, prune_plan, pruning, trash, undeleting
from checkpoint_gate.store.checkpoints import Shelf, remove_checkpoint
from checkpoint_gate.store.documents import JsonLines
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.marked_folders import MarkedFolders
from checkpoint_gate.store.run import Run
from checkpoint_gate.training.gated_training import GatedTraining
from faults.pruning_works import Prune, Recover, Sweep, Undelete
from faults.reference import Reference
from faults.training_works import Save
from faults.works import Kind

How = Literal["B1", "B3", "B4", "B6", "B11"]
Patch = contextlib.AbstractContextManager[Any]


@dataclass(frozen=True)
class Bug:
    """A change of the product.

    Attributes:
      patch: makes it.
      kind: the work that shows it.
      by: the figure that catches it.
    """

    name: str
    patch: Callable[[], Patch]
    kind: Kind
    by: How


def _instead(owner: Any, name: str, bug: Callable[..., Any]) -> Callable[[], Patch]:
    """Puts `bug` in a function's place; it is called with the right one first."""
    right = getattr(owner, name)

    def wrong(*args: Any, **kwargs: Any) -> Any:
        return bug(right, *args, **kwargs)

    return lambda: mock.patch.object(owner, name, wrong)


def _nothing(right: Any, *args: Any, **kwargs: Any) -> None:
    """Leaves it out."""


def _rename_without_sync(right: Any, files: LocalFiles, source: str, target: str) -> None:
    with mock.patch.object(opened_files, "sync"):
        right(files, source, target)


def _trash_without_sync(right: Any, files: LocalFiles, source: str, target: str) -> None:
    if "/trash/" in target:
        _rename_without_sync(right, files, source, target)
    else:
        right(files, source, target)


def _write_without_sync(right: Any, handle: int, data: bytes) -> None:
    with mock.patch.object(opened_files.os, "fsync"):
        right(handle, data)


def _manifest_removed_first(right: Any, files: LocalFiles, folder: str, marker: str, names: Any, fence: Any) -> bool:
    fence()
    for name in (marker, *sorted(names)):
        files.remove_file(f"{folder}/{name}")
    return files.remove_folder(folder)


def _manifest_removed_without_sync(
    right: Any, files: LocalFiles, folder: str, marker: str, names: Any, fence: Any
) -> bool:
    with mock.patch.object(files, "sync_folder"):
        return bool(right(files, folder, marker, names, fence))


def _swept_where_it_is(right: Any, run: Run, digest: str, item: Any, protected: Any) -> str | None:
    """No trash: the files are removed in their place."""
    stored = run.gated.read(f"step-{item['step']:09d}")
    for entry in stored.manifest.files if stored.manifest is not None else ():
        run.files.remove_file(f"{stored.folder}/{entry.path}")
    remove_checkpoint(run.files, stored, run.fence)
    trash.bury(run, "pruned", digest, item)
    return "removed at once"


def _journal_dropped_first(right: Any, run: Run, lease: Any) -> Any:
    journals = [(digest, trash.read_journal(run, digest)) for digest in trash.journals(run)]
    for digest, _ in journals:
        run.files.remove_file(trash.journal_path(run, digest))
    known = dict(journals)
    with (
        mock.patch.object(pruning, "journals", return_value=list(known)),
        mock.patch.object(pruning, "read_journal", side_effect=lambda run, digest: known[digest]),
    ):
        return right(run, lease)


def _tombstone_before_the_move(right: Any, run: Run, digest: str, item: Any, protected: Any) -> Any:
    journal = trash.read_journal(run, digest)
    trash.bury(run, "trashed", digest, item | {"rules": journal["rules"], "by": journal["by"]})
    return right(run, digest, item, protected)


def _pruned_before_the_sweep(right: Any, run: Run, stored: Any) -> Any:
    name = stored.folder.rpartition("/")[2]
    step, short = trash.trash_place(name)
    digest = next(plan for plan, _ in trash.tombstones(run) if plan.startswith(short))
    trash.bury(run, "pruned", digest, {"step": step})
    return right(run, stored)


def _published_without_staging(
    right: Any, files: LocalFiles, staged: str, target: str, marker: str, data: bytes, fence: Any
) -> None:
    """The manifest first, and then the files one by one."""
    files.make_folder(target)
    files.create(f"{target}/{marker}", data)
    for name in files.names(staged):
        files.rename(f"{staged}/{name}", f"{target}/{name}")


def _renamed_before_the_manifest(
    right: Any, files: LocalFiles, staged: str, target: str, marker: str, data: bytes, fence: Any
) -> None:
    files.make_folder(target.rpartition("/")[0])
    files.rename(staged, target)
    files.create(f"{target}/{marker}", data)


def _without_grace(right: Any, run: Run, digest: str) -> Any:
    return right(run, digest) | {"grace": 0.0}


def _survivors_rejected(right: Any, run: Run, live: Any, rejected: Any, *args: Any) -> Any:
    return right(run, live, rejected | {stored.step: "all go" for stored in list(live)[-3:-1]}, *args)


def _nothing_protected(right: Any, training: GatedTraining) -> None:
    first = training.run.live()[:1]
    right(training)
    for stored in first:
        training.run.gated.remove(stored)


def _moved_before_its_tombstone(right: Any, run: Run, event: str, digest: str, item: Any) -> None:
    if event == "undeleted":
        name = trash.trash_path(run, digest, item["step"])
        run.files.rename(name, run.gated.path(item["step"]))
    right(run, event, digest, item)


def _moves_nothing(right: Any, *args: Any) -> Any:
    return pruning._Done({}, ())


def _torn_line_kept(right: Any, lines: JsonLines, line: Any) -> None:
    with mock.patch.object(JsonLines, "torn", False):
        right(lines, line)


def _errors_passed_over(right: Any, files: LocalFiles, path: str) -> None:
    with contextlib.suppress(OSError):
        right(files, path)


def _marker_removed_last(right: Any, files: MarkedFolders, folder: str, marker: str, names: Any, fence: Any) -> bool:
    for name in itertools.chain(sorted(names), (marker,)):
        files.remove_file(f"{folder}/{name}")
    return True


def _marker_written_first(
    right: Any, files: MarkedFolders, staged: str, target: str, marker: str, data: bytes, fence: Any
) -> None:
    files.create(f"{target}/{marker}", data)
    for name in files.staging.names(staged):
        files._upload(f"{staged}/{name}", f"{target}/{name}")


def _at_once(store: Reference) -> Prune:
    return Prune(store, 0.0)


def _with_grace(store: Reference) -> Prune:
    return Prune(store, 86400.0)


BUGS = (
    Bug("a rename is not made to last", _instead(LocalFiles, "rename", _rename_without_sync), Save, "B4"),
    Bug(
        "a move to the trash does not last before the sweep",
        _instead(LocalFiles, "rename", _trash_without_sync),
        _at_once,
        "B4",
    ),
    Bug(
        "what the store writes is not fsynced",
        _instead(opened_files, "write", _write_without_sync),
        _with_grace,
        "B4",
    ),
    Bug(
        "what TensorFlow wrote is not fsynced before the rename",
        _instead(LocalFiles, "sync_file", _nothing),
        Save,
        "B4",
    ),
    Bug(
        "a manifest goes before the loss of its files lasts",
        _instead(LocalFiles, "discard_folder", _manifest_removed_without_sync),
        _at_once,
        "B4",
    ),
    Bug(
        "a manifest is removed before its files",
        _instead(LocalFiles, "discard_folder", _manifest_removed_first),
        Sweep,
        "B1",
    ),
    Bug(
        "checkpoints are removed where they are", _instead(pruning, "_to_trash", _swept_where_it_is), _with_grace, "B1"
    ),
    Bug("a journal is dropped before the sweep", _instead(pruning, "sweep", _journal_dropped_first), Sweep, "B1"),
    Bug("no journal is written", _instead(prune_plan.PrunePlan, "write", _nothing), _with_grace, "B1"),
    Bug(
        "a tombstone comes before its move",
        _instead(pruning, "_to_trash", _tombstone_before_the_move),
        _with_grace,
        "B1",
    ),
    Bug("a tombstone tells of a sweep before it", _instead(pruning, "_remove", _pruned_before_the_sweep), Sweep, "B1"),
    Bug("a sweep does not wait for the grace", _instead(pruning, "read_journal", _without_grace), _with_grace, "B1"),
    Bug("recovering finishes no moves", _instead(pruning, "_move", _moves_nothing), Recover, "B1"),
    Bug("recovering finishes no undeletion", _instead(pruning, "bring_back", _nothing), Recover, "B1"),
    Bug(
        "an undeleted one is moved before its tombstone",
        _instead(undeleting, "bury", _moved_before_its_tombstone),
        Undelete,
        "B1",
    ),
    Bug("survivors are pruned, too", _instead(prune_plan, "_plan", _survivors_rejected), _with_grace, "B1"),
    Bug(
        "retention removes without journal and tombstone",
        _instead(GatedTraining, "retain", _nothing_protected),
        Save,
        "B1",
    ),
    Bug(
        "a manifest is published before its files",
        _instead(LocalFiles, "publish_folder", _published_without_staging),
        Save,
        "B1",
    ),
    Bug(
        "a checkpoint is published before its manifest",
        _instead(LocalFiles, "publish_folder", _renamed_before_the_manifest),
        Save,
        "B1",
    ),
    Bug("what killed writers staged is never cleared", _instead(Shelf, "clear_staged", _nothing), Save, "B1"),
    Bug("what killed writers left is never cleared", _instead(Run, "clear_leftovers", _nothing), _with_grace, "B1"),
    Bug("a torn line is written on", _instead(JsonLines, "append", _torn_line_kept), _with_grace, "B1"),
    Bug("an error of a removal is passed over", _instead(LocalFiles, "remove_file", _errors_passed_over), Sweep, "B3"),
    Bug("a sweep does not look at what stays", _instead(pruning, "why_all_stays", _nothing), Sweep, "B6"),
    Bug(
        "a marker is removed last", _instead(MarkedFolders, "discard_folder", _marker_removed_last), _with_grace, "B11"
    ),
    Bug("a marker is written first", _instead(MarkedFolders, "publish_folder", _marker_written_first), Save, "B11"),
)
