"""Planning: what of a root no recent run, no running execution and no live version needs."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_gate.artifact_files.pointer import read_pointer
from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.layout import POINTER_FILE
from checkpoint_gate.store.whole_folders import files_in
from gated_pipelines.disk.artifact_graph import DELETED, MARKED, Artifact, ArtifactGraph, read_graph
from gated_pipelines.disk.folders import empty_leftovers, folder_inside, remains, unknown_folders
from gated_pipelines.disk.keeping import Kept, Needs, needs, staying
from gated_pipelines.disk.old_runs import OldRuns, old_runs
from gated_pipelines.disk.plan import DiskPlan, Going, Staying
from gated_pipelines.disk.pushed_models import pushed_models
from gated_pipelines.disk.usage import bytes_freed, bytes_held
from gated_pipelines.running.places import Places

_LOG = re.compile(r"(\d{8}T\d{6}Z)(\.log|-\w+\.html)")  # as a run names its log, and its report beside it
_TABLE = re.compile(r"[0-9a-f]{16}")  # as a table is staged
_HALF = re.compile(r"\.[0-9a-f]{16}\.\d+\.tmp")  # while it is written


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much stays.

    Attributes:
      keep_runs: so many of the newest runs of each pipeline, >= 1, keep all that they used; None for all.
      keep_logs: so many log files, >= 1; None for all.
      grace: seconds that the checkpoints of an old run lie in the trash.
      rules: digest of the rules that hold now, for the tombstones.
    """

    keep_runs: int | None
    keep_logs: int | None
    grace: float
    rules: str


def plan_disk(places: Places, push_folder: str, bounds: Bounds, metadata: Any) -> DiskPlan:
    """Plans the pruning of a root; reads only. Call it under the root's lease.

    Args:
      push_folder: a path, or a URL.
      metadata: ML Metadata's store; None where no run has made one yet.

    Raises:
      ConfigError: the push folder cannot be listed.
      StoreError: the store is damaged as a whole.
    """
    logs = _old_logs(places, bounds.keep_logs)
    if metadata is None or bounds.keep_runs is None:
        return DiskPlan(going=logs, frees=_frees(places, logs))
    graph = read_graph(metadata)
    need = needs(graph, bounds.keep_runs, pushed_models(graph, push_folder))
    files, root = LocalFiles(places.artifacts), str(places.artifacts)
    stay = staying(graph, need.artifacts, files, root)
    artifacts, left = _old_artifacts(graph, stay, files, root)
    known = [path for a in graph.artifacts if (path := folder_inside(files, root, a.uri)) is not None]
    killed, stuck = _remains(graph, known, files)
    old = old_runs(places.store, _runs_used(graph, stay), need.since, bounds.grace, bounds.rules)
    ended = [execution.id for execution in graph.executions if not execution.unfinished]
    empty = empty_leftovers(files, ended, len(ended) == len(graph.executions))
    leftovers = tuple(Going("leftover", f"artifacts/{path}", 0) for path in empty)
    going = (*artifacts, *killed, *_old_tables(places, need), *_half_written(places, need), *leftovers, *logs)
    return DiskPlan(
        going=going,
        uncached=_leading_to(graph, old, {each.artifact for each in artifacts}),
        retiring=old.retiring,
        staying=_told(graph, stay, files, root),
        unknown=_unknown([*known, *(each.path.removeprefix("artifacts/") for each in killed)], files),
        left=(*left, *stuck, *old.left),
        frees=_frees(places, going),
    )


def _old_artifacts(
    graph: ArtifactGraph, stay: Mapping[int, Kept], files: LocalFiles, root: str
) -> tuple[tuple[Going, ...], list[str]]:
    """What goes by id; and what does not, since something in it stands in the way."""
    used = _last_used(graph)
    going, left = [], []
    for artifact in sorted(graph.artifacts, key=lambda each: each.id):
        if artifact.state == DELETED or artifact.id in stay:
            continue
        path = folder_inside(files, root, artifact.uri)
        assert path is not None  # else it stays
        try:
            size = _size(files, path)
        except StoreError as error:
            left.append(str(error))
            continue
        when = used.get(artifact.id, 0.0)
        going.append(Going("artifact", f"artifacts/{path}", size, when, artifact.id, artifact.kind))
    return tuple(going), left


def _remains(graph: ArtifactGraph, known: Sequence[str], files: LocalFiles) -> tuple[tuple[Going, ...], list[str]]:
    """What killed executions have left, and why some of it does not go."""
    failed = {execution.id: execution.component for execution in graph.executions if execution.failed}
    going, left = [], []
    for path in remains(files, failed, known):
        try:
            going.append(Going("remains", f"artifacts/{path}", _size(files, path)))
        except StoreError as error:
            left.append(str(error))
    return tuple(going), left


def _last_used(graph: ArtifactGraph) -> dict[int, float]:
    began = {run.id: run.began for run in graph.runs}
    last: dict[int, float] = {}
    for execution in graph.executions:
        when = max((began[run] for run in execution.runs if run in began), default=0.0)
        for artifact in execution.artifacts:
            last[artifact] = max(when, last.get(artifact, 0.0))
    return last


def _size(files: LocalFiles, path: str) -> int:
    paths = files_in(files, path)[0] if files.is_folder(path) else [path] * files.is_file(path)
    return sum(map(files.size, paths))


def _pointers(artifacts: Iterable[Artifact]) -> dict[int, str]:
    """Artifact id -> the run in the store that it leads to, of those that lead to one."""
    found = {}
    for artifact in artifacts:
        if artifact.state == DELETED or not (Path(artifact.uri) / POINTER_FILE).is_file():
            continue
        try:
            found[artifact.id] = read_pointer(Path(artifact.uri)).run
        except StoreError:
            continue  # whoever takes it is told, and finds no run by it
    return found


def _runs_used(graph: ArtifactGraph, stay: Mapping[int, Kept]) -> set[str]:
    """The runs of the store to which something leads that a later run may take from the cache.

    What stays for a live version's sake is taken out of the cache instead.
    """
    artifacts = (a for a in graph.artifacts if a.id in stay and stay[a.id].because != "pushed")
    return set(_pointers(artifacts).values())


def _leading_to(graph: ArtifactGraph, old: OldRuns, going: Container[int | None]) -> tuple[int, ...]:
    """The artifacts by which the cache would lead to an old run, less those that go."""
    artifacts = [each for each in graph.artifacts if each.state != MARKED and each.id not in going]
    return tuple(sorted(id for id, run in _pointers(artifacts).items() if run in old.keys))


def _old_tables(places: Places, need: Needs) -> tuple[Going, ...]:
    """Staged tables that no execution that counts names, and that were there before the oldest run that counts."""
    files = LocalFiles(places.root)
    said = "\n".join(text for execution in need.executions for text in execution.parameters)
    going = []
    for name in files.names(places.data.name):
        path = f"{places.data.name}/{name}"
        if not _TABLE.fullmatch(name) or not files.is_folder(path) or name in said:
            continue
        if files.local(path).stat().st_mtime >= need.since:
            continue
        try:
            going.append(Going("table", path, _size(files, path)))
        except StoreError:
            continue  # somebody put something else there
    return tuple(going)


def _half_written(places: Places, need: Needs) -> tuple[Going, ...]:
    """What was left by who was killed while staging a table, before the oldest run that counts."""
    files = LocalFiles(places.root)
    names = (name for name in files.names(places.data.name) if _HALF.fullmatch(name))
    paths = [path for name in names if files.is_file(path := f"{places.data.name}/{name}")]
    old = (path for path in paths if files.local(path).stat().st_mtime < need.since)
    return tuple(Going("remains", path, files.size(path)) for path in old)


def _old_logs(places: Places, keep: int | None) -> tuple[Going, ...]:
    """The logs and reports of all but the newest runs; the report of the last run that pushed stays."""
    if keep is None:
        return ()
    files = LocalFiles(places.root)
    found = {name: run for name in files.names(places.logs.name) if (run := _LOG.fullmatch(name))}
    kept = sorted({run[1] for run in found.values()})[-keep:]
    pushed = max((name for name in found if name.endswith("-pushed.html")), default=None)
    old = (name for name, run in found.items() if run[1] not in kept and name != pushed)
    paths = (f"{places.logs.name}/{name}" for name in old)
    return tuple(Going("log", path, files.size(path)) for path in paths if files.is_file(path))


def _frees(places: Places, going: Iterable[Going]) -> int:
    return bytes_freed(places.root / each.path for each in going)


def _told(graph: ArtifactGraph, stay: Mapping[int, Kept], files: LocalFiles, root: str) -> tuple[Staying, ...]:
    """What stays, the largest first; outside the artifacts folder nothing is counted."""
    told = []
    for artifact in graph.artifacts:
        if artifact.id not in stay:
            continue
        path = folder_inside(files, root, artifact.uri)
        size = bytes_held(files.local(path)) if path is not None else 0
        told.append(Staying(artifact.id, artifact.uri, artifact.kind, size, stay[artifact.id].reason))
    return tuple(sorted(told, key=lambda each: (-each.bytes, each.artifact)))


def _unknown(known: Iterable[str], files: LocalFiles) -> tuple[tuple[str, int], ...]:
    paths = unknown_folders(files, known)
    return tuple((f"artifacts/{path}", bytes_held(files.local(path))) for path in paths)
