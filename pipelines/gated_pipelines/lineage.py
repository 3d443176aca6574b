"""What a pipeline run did, from ML Metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from gated_pipelines.step import Step


def last_run(database: Path) -> dict[str, Step]:
    """Component id -> what it did in the newest run; empty where there is none."""
    store = metadata_store.MetadataStore(sqlite_metadata_connection_config(str(database)))
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        return {}
    newest = max(runs, key=lambda context: context.id)
    executions = sorted(store.get_executions_by_context(newest.id), key=lambda execution: execution.id)
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
    )
