"""How much of the disk a pipeline's root holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from checkpoint_gate.uri_files import is_local
from gated_pipelines.config.sections import Push
from gated_pipelines.running.places import Places

_Inode = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes of the files in each part of a root. What several parts link to counts once, in the first of them.

    Attributes:
      store: checkpoints, with those in the trash, and what tells of them.
      artifacts: TFX's artifacts. A survivor that the store holds too counts there.
      pushed: the versions in the push folder, with those in its trash; 0 where that is not on this disk.
      data: staged tables.
      logs: one file a run.
      metadata: ML Metadata's database, which only grows.
    """

    store: int
    artifacts: int
    pushed: int
    data: int
    logs: int
    metadata: int

    @property
    def total(self) -> int:
        return sum(getattr(self, part.name) for part in fields(self))


def disk_used(root: Path, push_folder: str | None = None) -> DiskUsage:
    """What the runs below `root` hold on the disk; reads only. What goes meanwhile may be missed.

    Args:
      root: that of the runs; what is not there counts as 0.
      push_folder: a path, or a URL; None for the default one, below the root.
    """
    places = Places(Path(root).expanduser().absolute())
    pushed = push_folder if push_folder is not None else Push().under(places.root)
    seen: set[_Inode] = set()
    return DiskUsage(
        store=_bytes_below(places.store, seen),
        artifacts=_bytes_below(places.artifacts, seen),
        pushed=_bytes_below(Path(pushed), seen) if is_local(pushed) else 0,
        data=_bytes_below(places.data, seen),
        logs=_bytes_below(places.logs, seen),
        metadata=_bytes_below(places.metadata, seen),
    )


def bytes_held(path: Path) -> int:
    """Bytes of a file, or of those below a folder, whether or not they have another name elsewhere."""
    return _bytes_below(path, set())


def bytes_freed(paths: Iterable[Path]) -> int:
    """The bytes that the disk gets back when these files and folders go: a file with a name elsewhere gives none."""
    names: dict[_Inode, int] = {}
    found: dict[_Inode, os.stat_result] = {}
    for path in paths:
        for about in _files(path):
            inode = about.st_dev, about.st_ino
            names[inode] = names.get(inode, 0) + 1
            found[inode] = about
    return sum(about.st_size for inode, about in found.items() if names[inode] >= about.st_nlink)


def _bytes_below(path: Path, seen: set[_Inode]) -> int:
    total = 0
    for about in _files(path):
        inode = about.st_dev, about.st_ino
        if inode not in seen:
            seen.add(inode)
            total += about.st_size
    return total


def _files(path: Path) -> Iterator[os.stat_result]:
    """What lstat says of `path`, or of every file below it; links are not followed."""
    try:
        if not path.is_symlink() and path.is_dir():
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                yield from _files(Path(entry.path))
        else:
            yield os.lstat(path)
    except FileNotFoundError:
        return
