"""Which artifacts stay, and why. Pure, but for looking at where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

from checkpoint_gate.store.files import LocalFiles
from gated_pipelines.disk.artifact_graph import DELETED, LIVE, MARKED, Artifact, ArtifactGraph, Execution
from gated_pipelines.disk.folders import Places, folder_inside, real_place

Because = Literal["recent", "running", "pushed", "foreign", "state", "outside", "shared"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Why an artifact stays; `because` tells the kind of the reason."""

    because: Because
    reason: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What the runs that count need.

    Attributes:
      artifacts: id -> why it stays.
      executions: those of the newest runs, those that have not ended, and those of the runs that pushed live versions.
      since: when the oldest of the newest runs began, in seconds since 1970 (UTC).
    """

    artifacts: Mapping[int, Kept]
    executions: tuple[Execution, ...]
    since: float


def needs(graph: ArtifactGraph, keep_runs: int, pushed: Mapping[int, str]) -> Needs:
    """What the newest runs, the executions at work, and the live versions need.

    Args:
      keep_runs: so many of the newest runs of each pipeline count, >= 1.
      pushed: artifact id -> the live version of the push folder that was copied from it.
    """
    newest = graph.newest_runs(keep_runs)
    recent = {run.id for run in newest}
    kept: dict[int, Kept] = {}
    executions: dict[int, Execution] = {}
    for execution in graph.executions:
        if execution.runs & recent:
            kept |= dict.fromkeys(execution.artifacts, Kept("recent", f"one of the newest {keep_runs} runs used it"))
            executions[execution.id] = execution
    for execution in graph.executions:
        if execution.unfinished:
            why = Kept("running", f"{execution.component} (execution {execution.id}) uses it and has not ended")
            kept = dict.fromkeys(execution.artifacts, why) | kept
            executions[execution.id] = execution
    for artifact, version in sorted(pushed.items()):
        why = Kept("pushed", f"of the run that pushed version {version}")
        family, used = _family(graph, artifact)
        kept = dict.fromkeys(family, why) | kept
        executions |= {execution.id: execution for execution in used}
    return Needs(kept, tuple(executions.values()), min((run.began for run in newest), default=0.0))


def _family(graph: ArtifactGraph, artifact: int) -> tuple[Set[int], list[Execution]]:
    """All artifacts of the runs that made this one, and all that it was made of; and the executions of these runs."""
    makers = (e for e in graph.executions if artifact in e.outputs and e.state != "cached")
    runs = {run for execution in makers for run in execution.runs}
    executions = [execution for execution in graph.executions if execution.runs & runs]
    used = {each for execution in executions for each in execution.artifacts}
    return graph.upstream(used | {artifact}), executions


def staying(graph: ArtifactGraph, kept: Mapping[int, Kept], files: LocalFiles, root: str) -> dict[int, Kept]:
    """Every artifact whose bytes must stay, with the reason; what is deleted already is in neither.

    Besides `kept`: what no pipeline run made, what is neither live nor marked, what does not lie in the artifacts
    folder on a path without links, and whatever shares its folder with one that stays.

    Args:
      files: the artifacts folder.
      root: how it is spelled in URIs.
    """
    made = {each for e in graph.executions if e.runs for each in e.outputs}
    foreign = {each for e in graph.executions if not e.runs for each in e.outputs}
    present = [artifact for artifact in graph.artifacts if artifact.state != DELETED]
    stay = {each.id: kept[each.id] for each in present if each.id in kept}
    for artifact in present:
        if artifact.id not in stay and (why := _own_reason(artifact, made - foreign, files, root)) is not None:
            stay[artifact.id] = why
    _keep_what_is_shared(present, stay)
    return stay


def _own_reason(artifact: Artifact, made: Set[int], files: LocalFiles, root: str) -> Kept | None:
    if artifact.state not in (LIVE, MARKED):
        return Kept("state", f"its state is {artifact.state}")
    if artifact.id not in made:
        return Kept("foreign", "no pipeline run made it")
    if folder_inside(files, root, artifact.uri) is None:
        return Kept("outside", f"it does not lie in the artifacts folder on a path without links: {artifact.uri!r}")
    return None


def _keep_what_is_shared(present: list[Artifact], stay: dict[int, Kept]) -> None:
    """Adds what shares bytes with one that stays, until there is none."""
    places = Places()
    open_ones: dict[int, str] = {}
    for artifact in present:
        place = real_place(artifact.uri)
        if place is None:
            continue
        if artifact.id in stay:
            places.add(place, artifact.id)
        else:
            open_ones[artifact.id] = place
    while found := {id: other for id, place in open_ones.items() if (other := places.sharing(place)) is not None}:
        for id, other in found.items():
            stay[id] = Kept("shared", f"its folder is shared with artifact {other}, which stays")
            places.add(open_ones.pop(id), id)
