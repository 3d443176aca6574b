"""Old versions of a push folder on a disk go: mark, move to the trash, and after the grace sweep.

    .checkpoint-gate/trash/<version>     whole versions, from where they can be moved back by hand until they are swept

The order of steps is that of the store's prunings, with the push folder's log in the place of journal and tombstones:

    1. "pruning": the mark, with the reason and the grace; on the disk before anything moves
    2. one rename to the trash
    3. "trashed": from here on the grace is counted, by the clock and by a second witness (`store.elapsed`)
    4. its files are removed one by one
    5. "swept"

Killed anywhere, doing it again goes on from there. Only versions with our papers go, never the champion, the version
before it, the best so far, or the one that a rollback would go back to; links are neither followed nor removed.
Everything is done by `LocalFiles`, which does not leave the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import ModelError, StoreError
from checkpoint_gate.pushed.best_so_far import best_so_far
from checkpoint_gate.pushed.papers import FILE as PAPERS
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.pushed.push_folder import live_versions, version_path
from checkpoint_gate.pushed.push_log import HOME, Event, add_to_log, read_log
from checkpoint_gate.pusher.rollback import previous_version, recorded_weights
from checkpoint_gate.rules.retention import Held, Keep
from checkpoint_gate.store.elapsed import SystemClock, is_news, is_over, look
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.whole_folders import files_in, remove_whole

TRASH = f"{HOME}/trash"
_OURS = ("pruning", "trashed", "swept", "restored")

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class PrunedVersions:
    """What a pruning did: versions moved to the trash, versions whose bytes were freed, what was left alone and why."""

    trashed: tuple[int, ...] = ()
    swept: tuple[int, ...] = ()
    left: tuple[str, ...] = ()


def prune_versions(folder: str, keep: Keep | None, grace: float, clock: Clock | None = None) -> PrunedVersions:
    """Applies `keep` to a push folder on a disk, and frees what is in its trash beyond its grace.

    Call it within `exclusive(folder)`.

    Args:
        keep: its `last` and `within` count, a version's age from its push; None keeps every version.
        grace: seconds that a version stays in the trash.
        clock: seconds since 1970 (UTC); without one, the system's.

    Raises:
        StoreError: the folder's log is damaged; nothing was done then.
    """
    clock = clock if clock is not None else SystemClock()
    files = LocalFiles(folder)
    _recover(files, folder, clock)
    trashed, left = _trash(files, folder, keep, grace, clock) if keep is not None else ([], [])
    swept, stuck = _sweep(files, folder, clock)
    return PrunedVersions(tuple(trashed), tuple(swept), (*left, *stuck))


def surplus_versions(folder: str, keep: Keep, now: float) -> dict[int, str]:
    """Version -> why it may go, of the live versions that carry our papers; reads only."""
    versions = live_versions(folder)
    best = best_so_far(folder)
    stay = {*versions[-2:], previous_version(folder, recorded_weights) or 0, best.version if best is not None else 0}
    held = [Held(version, 0, {}, _pushed_at(folder, version), 0) for version in versions]
    files = LocalFiles(folder)
    surplus = keep.surplus(held, now, also_stay=stay)
    return {version: why for version, why in surplus.items() if _is_ours(files, version)}


def _is_ours(files: LocalFiles, version: int) -> bool:
    """Whether this is a folder of ours, and no link on the way to its papers."""
    try:
        return files.is_file(f"{version}/{PAPERS}")
    except StoreError:
        return False


def _pushed_at(folder: str, version: int) -> float:
    """When a version was pushed; where its papers do not tell, its number, which is a time unless clocks went back."""
    try:
        papers = read_papers(version_path(folder, version))
    except ModelError:
        return float(version)
    return papers.push.time if papers is not None and papers.push is not None else float(version)


def _trash(files: LocalFiles, folder: str, keep: Keep, grace: float, clock: Clock) -> tuple[list[int], list[str]]:
    """Moves what may go to the trash; the versions that went, and what was left alone and why."""
    trashed, left = [], []
    marked = _last(read_log(folder))
    for version, reason in surplus_versions(folder, keep, clock()).items():
        try:
            size = sum(files.size(path) for path in files_in(files, str(version))[0])
            if marked.get(version, {}).get("event") != "pruning":
                add_to_log(folder, "pruning", version, reason=reason, grace=grace, bytes=size, time=clock())
            files.make_folder(TRASH)
            files.rename(str(version), f"{TRASH}/{version}")
        except StoreError as error:
            left.append(f"version {version} stays: {error}")
            continue
        except OSError as error:  # one that cannot be moved does not keep the others
            left.append(f"version {version} cannot be moved to the trash: {error.strerror or error}")
            continue
        add_to_log(folder, "trashed", version, grace=grace, **look(clock))
        trashed.append(version)
    return trashed, left


def _recover(files: LocalFiles, folder: str, clock: Clock) -> None:
    """Writes down what a killed pruning did not, and what others did by hand."""
    for version, mark in _last(read_log(folder)).items():
        lies = files.is_folder(f"{TRASH}/{version}")
        if mark["event"] == "pruning" and lies:
            add_to_log(folder, "trashed", version, grace=mark["grace"], **look(clock))
        elif mark["event"] == "trashed" and not lies:
            event = "restored" if files.is_folder(str(version)) else "swept"
            add_to_log(folder, event, version, time=clock())


def _sweep(files: LocalFiles, folder: str, clock: Clock) -> tuple[list[int], list[str]]:
    swept, left = [], []
    log = read_log(folder)
    for version, mark in _last(log).items():
        if mark["event"] != "trashed":
            continue
        journal = {"grace": mark["grace"], "looks": _looks(log, version, mark)}
        now = look(clock)
        if not is_over(mark, journal, now):
            if is_news(mark, journal, now):
                add_to_log(folder, "look", version, **now)
            continue
        why = remove_whole(files, f"{TRASH}/{version}")
        if why is not None:
            left.append(why)
            continue
        add_to_log(folder, "swept", version, time=clock())
        swept.append(version)
    return swept, left


def _last(log: Iterable[Event]) -> dict[int, Mapping[str, Any]]:
    """Version -> the last line on its pruning."""
    return {line["version"]: line for line in log if line["event"] in _OURS}


def _looks(log: Iterable[Event], version: int, mark: Event) -> list[Event]:
    """The looks at a version since it was moved to the trash."""
    lines = [line for line in log if line["version"] == version]
    since = max(index for index, line in enumerate(lines) if line == mark)
    return [line for line in lines[since:] if line["event"] == "look"]
