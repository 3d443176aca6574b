"""What a pipeline run did, from ML Metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from gated_pipelines.reporting.step import Step
from gated_pipelines.running.metadata import notes_of, open_metadata


def newest_run(database: Path) -> int:
    """ML Metadata's id of the newest pipeline run; 0 where there is none.

    Raises:
      CheckpointGateError: the database is locked by another process, or damaged.
    """
    if not database.exists():
        return 0
    return max((context.id for context in open_metadata(database).get_contexts_by_type("pipeline_run")), default=0)


def last_run(database: Path, after: int = 0) -> dict[str, Step]:
    """Component id -> what it did in the newest run, if that is newer than the run of id `after`; else empty."""
    newest = newest_run(database)
    if newest <= after:
        return {}
    store = open_metadata(database)
    executions = sorted(store.get_executions_by_context(newest), key=lambda execution: execution.id)
    return {_component(store, execution): _step(store, execution) for execution in executions}


def _component(store: Any, execution: Any) -> str:
    for context in store.get_contexts_by_execution(execution.id):
        if context.type == "node":
            return str(context.name.rpartition(".")[2])
    return str(execution.type)


def _step(store: Any, execution: Any) -> Step:
    state = mlmd.Execution.State.Name(execution.last_known_state).lower()
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    events = store.get_events_by_execution_ids([execution.id])
    keys = {
        event.artifact_id: event.path.steps[0].key
        for event in events
        if event.type == mlmd.Event.OUTPUT and event.path.steps
    }
    artifacts = store.get_artifacts_by_id(list(keys)) if keys else []
    return Step(
        state=state,
        seconds=0.0 if state == "cached" else round(milliseconds / 1000, 3),
        outputs={keys[artifact.id]: artifact.uri for artifact in artifacts},
        notes={keys[artifact.id]: notes_of(artifact) for artifact in artifacts},
    )
