"""Kubeflow Pipelines as a place that runs compiled pipelines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ServerError
from gated_pipelines.kubeflow.compiled_pipeline import CompiledPipeline
from gated_pipelines.kubeflow.servers.backend import Job, Progress, Schedule, State, Submitted, Timing
from gated_pipelines.kubeflow.servers.kfp_connection import Connection
from gated_pipelines.kubeflow.servers.kfp_requests import (
    DEFAULT_EXPERIMENT,
    experiment_body,
    kfp_cron,
    name_filter,
    pipeline_body,
    recurring_run_body,
    rfc3339,
    run_body,
)
from gated_pipelines.kubeflow.servers.refusals import Refusal, no_api

_STATES: Mapping[str, State] = {
    "RUNNING": "running",
    "CANCELING": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELED": "canceled",
}
_PAGE = 100


@dataclass(frozen=True, slots=True)
class KubeflowPipelines:
    """A server of Kubeflow Pipelines 2; see Backend."""

    server: Connection

    def submit(self, job: Job, name: str) -> Submitted:
        pipeline_id, version_id, uploaded = self._upload(job.pipeline)
        body = run_body(job, name, pipeline_id, version_id, self._experiment(job.experiment))
        run_id = self._id(self.server.call("runs", "create_run", body), "run_id")
        return Submitted(run_id, f"{self.server.ui}/#/runs/details/{run_id}", job.pipeline.version, uploaded)

    def progress(self, run_id: str, tasks: Sequence[str]) -> Progress:
        run = self.server.call("runs", "get_run", run_id)
        details = (run.get("run_details") or {}).get("task_details") or []
        begun = {task["display_name"]: _state(task.get("state")) for task in details}  # drivers are among them
        error = (run.get("error") or {}).get("message") or ""
        return Progress(_state(run.get("state")), {task: begun[task] for task in tasks if task in begun}, error)

    def schedules(self, name: str | None = None) -> list[Schedule]:
        wanted = {} if name is None else {"filter": json.dumps(name_filter(name))}
        found = self._pages("recurring_runs", "list_recurring_runs", "recurring_runs", **self._namespace(), **wanted)
        return [self._schedule(recurring) for recurring in found]

    def content(self, schedule: Schedule) -> Mapping[str, Any]:
        recurring = self.server.call("recurring_runs", "get_recurring_run", schedule.id)
        cron = (recurring.get("trigger") or {}).get("cron_schedule") or {}
        runtime = recurring.get("runtime_config") or {}
        pipeline, version = self._version(recurring.get("pipeline_version_reference") or {})
        return {
            "cron": cron.get("cron"),
            "start": _time(cron.get("start_time")),
            "end": _time(cron.get("end_time")),
            "pipeline": pipeline,
            "version": version,
            "parameters": runtime.get("parameters") or {},
            "root": runtime.get("pipeline_root"),
            "experiment": self._named_by("experiments", "get_experiment", recurring.get("experiment_id")),
            "concurrency": str(recurring.get("max_concurrency")),
            "catch-up": not recurring.get("no_catchup"),
            "service account": recurring.get("service_account"),
        }

    def wanted(self, job: Job, timing: Timing) -> Mapping[str, Any]:
        content = {
            "cron": kfp_cron(timing.cron),
            "start": _time(timing.start),
            "end": _time(timing.end),
            "pipeline": job.pipeline.name,
            "version": job.pipeline.version,
            "parameters": dict(job.parameters),
            "root": job.root,
            "experiment": job.experiment or DEFAULT_EXPERIMENT,
            "concurrency": "1",
            "catch-up": False,
        }
        return {**content, "service account": job.service_account} if job.service_account else content

    def create(self, job: Job, timing: Timing) -> Schedule:
        pipeline_id, version_id, _ = self._upload(job.pipeline)
        body = recurring_run_body(job, timing, pipeline_id, version_id, self._experiment(job.experiment))
        return self._schedule(self.server.call("recurring_runs", "create_recurring_run", body))

    def pause(self, schedule: Schedule) -> None:
        self.server.call("recurring_runs", "disable_recurring_run", schedule.id)

    def resume(self, schedule: Schedule) -> None:
        self.server.call("recurring_runs", "enable_recurring_run", schedule.id)

    def delete(self, schedule: Schedule) -> None:
        self.server.call("recurring_runs", "delete_recurring_run", schedule.id)

    def _upload(self, pipeline: CompiledPipeline) -> tuple[str, str, bool]:
        """The ids of the pipeline and of the version with this content, and whether the version is new."""
        found = self._pages("pipelines", "list_pipelines", "pipelines", **self._namespace(), **_named(pipeline.name))
        known = next(found, None) or self.server.call(
            "pipelines", "create_pipeline", pipeline_body(pipeline, self.server.namespace)
        )
        pipeline_id = self._id(known, "pipeline_id")
        versions = self._pages(
            "pipelines", "list_pipeline_versions", "pipeline_versions", pipeline_id, **_named(pipeline.version)
        )
        version = next(versions, None)
        if version:
            return pipeline_id, self._id(version, "pipeline_version_id"), False
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pipeline.yaml"
            path.write_text(pipeline.to_yaml(), encoding="utf-8")
            made = self.server.call(
                "uploads", "upload_pipeline_version", str(path), name=pipeline.version, pipelineid=pipeline_id
            )
        return pipeline_id, self._id(made, "pipeline_version_id"), True

    def _experiment(self, name: str) -> str:
        name = name or DEFAULT_EXPERIMENT
        found = self._pages("experiments", "list_experiments", "experiments", **self._namespace(), **_named(name))
        known = next(found, None) or self.server.call(
            "experiments", "create_experiment", experiment_body(name, self.server.namespace)
        )
        return self._id(known, "experiment_id")

    def _schedule(self, recurring: Mapping[str, Any]) -> Schedule:
        key = self._id(recurring, "recurring_run_id")
        return Schedule(
            name=recurring.get("display_name") or "",
            id=key,
            url=f"{self.server.ui}/#/recurringrun/details/{key}",
            cron=((recurring.get("trigger") or {}).get("cron_schedule") or {}).get("cron") or "",
            paused=recurring.get("status") == "DISABLED",
        )

    def _version(self, reference: Mapping[str, Any]) -> tuple[str | None, str | None]:
        pipeline_id, version_id = reference.get("pipeline_id"), reference.get("pipeline_version_id")
        pipeline = self._named_by("pipelines", "get_pipeline", pipeline_id)
        if not version_id:
            return pipeline, None
        return pipeline, self._named_by("pipelines", "get_pipeline_version", pipeline_id, version_id)

    def _named_by(self, service: str, method: str, *ids: str | None) -> str | None:
        """The name of what has an id; None where it is gone."""
        if not all(ids):
            return None
        try:
            return str(self.server.call(service, method, *ids)["display_name"])
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def _pages(self, service: str, method: str, key: str, *args: str, **wanted: str) -> Iterator[Mapping[str, Any]]:
        """What stands below `key` in all pages of a list."""
        token: str | None = ""
        while token is not None:
            page = self.server.call(service, method, *args, page_size=_PAGE, page_token=token, **wanted)
            yield from page.get(key) or []
            token = page.get("next_page_token") or None

    def _id(self, answer: Mapping[str, Any], key: str) -> str:
        if not answer.get(key):
            raise ServerError(no_api(self.server.host))
        return str(answer[key])

    def _namespace(self) -> dict[str, str]:
        return {"namespace": self.server.namespace} if self.server.namespace else {}


def _named(name: str) -> dict[str, str]:
    return {"filter": json.dumps(name_filter(name))}


def _state(told: str | None) -> State:
    return _STATES.get(told or "", "pending")


def _time(time: datetime | None) -> str | None:
    return rfc3339(time) if time else None
