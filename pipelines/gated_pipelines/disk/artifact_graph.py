"""Runs, executions and artifacts as ML Metadata knows them. Reads without TFX, which takes long to load."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from gated_pipelines.running.metadata import notes_of

LIVE = "live"
MARKED = "marked_for_deletion"
DELETED = "deleted"
_UNFINISHED = ("new", "running")
_FAILED = ("failed", "canceled")
_READ = (mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT, mlmd.Event.INTERNAL_INPUT)
_SOME = 20_000  # ids in one question to the database


@dataclass(frozen=True, slots=True)
class Artifact:
    """Attributes:
    state: "live", "marked_for_deletion", "deleted", or another of ML Metadata's words in lower case.
    notes: its custom properties that are texts or whole numbers.
    """

    id: int
    uri: str
    state: str = LIVE
    kind: str = "Model"
    notes: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Execution:
    """Attributes:
    state: "complete", "cached", "running", or another of ML Metadata's words in lower case.
    inputs, outputs: ids of artifacts. Those of a cached execution are what it took.
    runs: ids of the pipeline runs that it belongs to.
    parameters: the texts among its properties.
    """

    id: int
    component: str
    state: str
    inputs: frozenset[int]
    outputs: frozenset[int]
    runs: frozenset[int]
    parameters: tuple[str, ...] = ()

    @property
    def unfinished(self) -> bool:
        return self.state in _UNFINISHED

    @property
    def failed(self) -> bool:
        return self.state in _FAILED

    @property
    def artifacts(self) -> frozenset[int]:
        return self.inputs | self.outputs


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """Attributes:
    id: rises with time.
    pipeline: its name.
    began: seconds since 1970 (UTC).
    """

    id: int
    pipeline: str
    began: float


@dataclass(frozen=True, slots=True)
class ArtifactGraph:
    """All that the database tells."""

    runs: tuple[PipelineRun, ...]
    executions: tuple[Execution, ...]
    artifacts: tuple[Artifact, ...]

    def newest_runs(self, count: int) -> tuple[PipelineRun, ...]:
        """The newest `count` runs, >= 1, of each pipeline, by id."""
        by_pipeline: dict[str, list[PipelineRun]] = defaultdict(list)
        for run in sorted(self.runs, key=lambda run: run.id):
            by_pipeline[run.pipeline].append(run)
        newest = (run for runs in by_pipeline.values() for run in runs[-count:])
        return tuple(sorted(newest, key=lambda run: run.id))

    def upstream(self, ids: Iterable[int]) -> set[int]:
        """These artifacts, and all that they were made of."""
        sources: dict[int, set[int]] = defaultdict(set)
        for execution in self.executions:
            for made in execution.outputs:
                sources[made] |= execution.inputs
        found: set[int] = set()
        left = set(ids)
        while left:
            found |= left
            left = {source for artifact in left for source in sources[artifact]} - found
        return found


def read_graph(store: Any) -> ArtifactGraph:
    """All that the database tells of runs, executions and artifacts."""
    contexts = store.get_contexts_by_type("pipeline_run")
    runs_of: dict[int, set[int]] = defaultdict(set)
    for context in contexts:
        for execution in store.get_executions_by_context(context.id):
            runs_of[execution.id].add(context.id)
    executions = store.get_executions()
    inputs, outputs = _events(store, [execution.id for execution in executions])
    return ArtifactGraph(
        runs=_runs(store, contexts, runs_of),
        executions=tuple(
            Execution(
                id=each.id,
                component=each.type.rpartition(".")[2],
                state=mlmd.Execution.State.Name(each.last_known_state).lower(),
                inputs=frozenset(inputs[each.id]),
                outputs=frozenset(outputs[each.id]),
                runs=frozenset(runs_of[each.id]),
                parameters=tuple(_texts(each)),
            )
            for each in executions
        ),
        artifacts=tuple(
            Artifact(
                id=each.id,
                uri=each.uri,
                state=mlmd.Artifact.State.Name(each.state).lower(),
                kind=each.type,
                notes=notes_of(each),
            )
            for each in store.get_artifacts()
        ),
    )


def _runs(store: Any, contexts: Iterable[Any], runs_of: Mapping[int, set[int]]) -> tuple[PipelineRun, ...]:
    names: dict[int, str] = {}
    for pipeline in store.get_contexts_by_type("pipeline"):
        for execution in store.get_executions_by_context(pipeline.id):
            names |= dict.fromkeys(runs_of.get(execution.id, ()), pipeline.name)
    return tuple(PipelineRun(c.id, names.get(c.id, ""), c.create_time_since_epoch / 1000) for c in contexts)


def _events(store: Any, ids: list[int]) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    inputs: dict[int, set[int]] = defaultdict(set)
    outputs: dict[int, set[int]] = defaultdict(set)
    for begin in range(0, len(ids), _SOME):
        for event in store.get_events_by_execution_ids(ids[begin : begin + _SOME]):
            of = inputs if event.type in _READ else outputs
            of[event.execution_id].add(event.artifact_id)
    return inputs, outputs


def _texts(execution: Any) -> Iterator[str]:
    for properties in (execution.properties, execution.custom_properties):
        for value in properties.values():
            if value.WhichOneof("value") == "string_value":
                yield value.string_value
