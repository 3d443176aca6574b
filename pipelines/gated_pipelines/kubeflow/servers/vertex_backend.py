"""Vertex AI as a place that runs compiled pipelines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gated_pipelines.kubeflow.compiled_pipeline import CompiledPipeline
from gated_pipelines.kubeflow.servers.backend import Job, Progress, Schedule, State, Submitted, Timing
from gated_pipelines.kubeflow.servers.kfp_requests import rfc3339
from gated_pipelines.kubeflow.servers.vertex_connection import TIMEOUT, VertexConnection
from gated_pipelines.kubeflow.servers.vertex_requests import job_body, job_id, schedule_body, vertex_cron

_STATES: Mapping[str, State] = {
    "RUNNING": "running",
    "CANCEL_PENDING": "running",
    "CANCELLING": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "skipped",
    "NOT_TRIGGERED": "skipped",
    "FAILED": "failed",
    "CANCELLED": "canceled",
}


@dataclass(frozen=True, slots=True)
class VertexAI:
    """A project's pipelines at Vertex AI; see Backend."""

    server: VertexConnection

    def submit(self, job: Job, name: str) -> Submitted:
        from google.cloud.aiplatform_v1 import PipelineJob

        body = PipelineJob.from_json(json.dumps({"displayName": name, **job_body(job)}))
        key = job_id(name)
        with self.server.asking():
            made = self.server.pipelines.create_pipeline_job(
                parent=self.server.parent, pipeline_job=body, pipeline_job_id=key, timeout=TIMEOUT
            )
        return Submitted(made.name, self.server.console("runs", made.name), job.pipeline.version, True)

    def progress(self, run_id: str, tasks: Sequence[str]) -> Progress:
        with self.server.asking():
            run = self.server.pipelines.get_pipeline_job(name=run_id, timeout=TIMEOUT)
        begun = {task.task_name: _state(task.state.name) for task in run.job_detail.task_details}
        state = _state(run.state.name.removeprefix("PIPELINE_STATE_"))
        return Progress(state, {task: begun[task] for task in tasks if task in begun}, run.error.message)

    def schedules(self, name: str | None = None) -> list[Schedule]:
        # How a name is to be written in the server's filters is not documented, so that names are compared here.
        with self.server.asking():
            found = list(self.server.schedules.list_schedules({"parent": self.server.parent}, timeout=TIMEOUT))
        return [self._schedule(schedule) for schedule in found if name is None or schedule.display_name == name]

    def content(self, schedule: Schedule) -> Mapping[str, Any]:
        with self.server.asking():
            found = self.server.schedules.get_schedule(name=schedule.id, timeout=TIMEOUT)
        kept = json.loads(type(found).to_json(found))
        job = kept.get("createPipelineJobRequest", {}).get("pipelineJob", {})
        runtime = job.get("runtimeConfig", {})
        return {
            "cron": found.cron,
            "start": _time(found.start_time),
            "end": _time(found.end_time),
            "version": CompiledPipeline(found.display_name, job.get("pipelineSpec") or {}).version,
            "parameters": runtime.get("parameterValues") or {},
            "root": runtime.get("gcsOutputDirectory"),
            "concurrency": found.max_concurrent_run_count,
            "service account": job.get("serviceAccount"),
        }

    def wanted(self, job: Job, timing: Timing) -> Mapping[str, Any]:
        content: dict[str, Any] = {
            "cron": vertex_cron(timing.cron),
            "end": _time(timing.end),
            "version": job.pipeline.version,
            "parameters": dict(job.parameters),
            "root": job.root,
            "concurrency": 1,
        }
        if timing.start:  # otherwise the server's own: when the schedule was made
            content["start"] = _time(timing.start)
        return {**content, "service account": job.service_account} if job.service_account else content

    def create(self, job: Job, timing: Timing) -> Schedule:
        from google.cloud.aiplatform_v1 import Schedule as Wanted

        body = Wanted.from_json(json.dumps(schedule_body(job, timing, self.server.parent)))
        with self.server.asking():
            made = self.server.schedules.create_schedule(parent=self.server.parent, schedule=body, timeout=TIMEOUT)
        return self._schedule(made)

    def pause(self, schedule: Schedule) -> None:
        with self.server.asking():
            self.server.schedules.pause_schedule(name=schedule.id, timeout=TIMEOUT)

    def resume(self, schedule: Schedule) -> None:
        """Resumes without running what was missed."""
        with self.server.asking():
            self.server.schedules.resume_schedule(name=schedule.id, timeout=TIMEOUT)

    def delete(self, schedule: Schedule) -> None:
        with self.server.asking():
            self.server.schedules.delete_schedule(name=schedule.id, timeout=TIMEOUT).result(timeout=TIMEOUT)

    def _schedule(self, schedule: Any) -> Schedule:
        return Schedule(
            name=schedule.display_name,
            id=schedule.name,
            url=self.server.console("schedules", schedule.name),
            cron=schedule.cron,
            paused=schedule.state.name == "PAUSED",
        )


def _state(told: str) -> State:
    return _STATES.get(told, "pending")


def _time(time: datetime | None) -> str | None:
    return rfc3339(time) if time else None
