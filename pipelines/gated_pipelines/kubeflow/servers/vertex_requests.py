"""The bodies of requests to Vertex AI's v1 API, as JSON. Pure.

Their fields are those of https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs and
…/projects.locations.schedules; they are those that the SDK's PipelineJob and PipelineJobSchedule would send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cron import Cron
from gated_pipelines.kubeflow.servers.backend import Change, Job, Request, Timing
from gated_pipelines.kubeflow.servers.kfp_requests import rfc3339

_LONGEST = 128
_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")


def vertex_cron(cron: Cron) -> str:
    """Five fields, after the time zone where there is one.

    Raises:
      ConfigError: the seconds are not 0.
    """
    if cron.fields[0] != "0":
        raise ConfigError(f"Vertex AI schedules to the minute: the seconds must be 0. Received: {cron.six()!r}.")
    return f"TZ={cron.zone} {cron.five()}" if cron.zone else cron.five()


def job_body(job: Job) -> dict[str, Any]:
    body: dict[str, Any] = {
        "pipelineSpec": dict(job.pipeline.spec),
        "runtimeConfig": {"gcsOutputDirectory": job.root, "parameterValues": dict(job.parameters)},
    }
    if job.service_account:
        body["serviceAccount"] = job.service_account
    return body


def schedule_body(job: Job, timing: Timing, parent: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "displayName": timing.name,
        "cron": vertex_cron(timing.cron),
        "maxConcurrentRunCount": "1",
        "createPipelineJobRequest": {"parent": parent, "pipelineJob": job_body(job)},
    }
    if timing.start:
        body["startTime"] = rfc3339(timing.start)
    if timing.end:
        body["endTime"] = rfc3339(timing.end)
    return body


def require_name(name: str) -> None:
    """Refuses a schedule's name that Vertex AI would.

    Raises:
      ConfigError: it is too long.
    """
    if len(name) > _LONGEST:
        raise ConfigError(
            f"A schedule's name must have at most {_LONGEST} characters for Vertex AI. Received: {name!r}."
        )


def job_id(name: str) -> str:
    """A run's name as an id: small letters, digits and hyphens.

    Raises:
      ConfigError: nothing of the name can stand in an id, or it is longer than 128.
    """
    made = re.sub("[^-0-9a-z]+", "-", name.lower()).strip("-")
    if not _ID.fullmatch(made):
        raise ConfigError(
            "Vertex AI makes a run's id of the pipeline's name: it must begin with a letter, and be at most 100 long. "
            f"Received: {name!r}."
        )
    return made


def submit_requests(job: Job, name: str, parent: str) -> Sequence[Request]:
    body = {"displayName": name, **job_body(job)}
    return (Request("POST", f"/v1/{parent}/pipelineJobs?pipelineJobId={job_id(name)}", body),)


def create_requests(job: Job, timing: Timing, parent: str) -> Sequence[Request]:
    return (Request("POST", f"/v1/{parent}/schedules", schedule_body(job, timing, parent)),)


def change_requests(change: Change, parent: str) -> Sequence[Request]:
    """What changing a schedule sends, once its id is known."""
    schedule = f"/v1/{parent}/schedules/<schedule_id>"
    if change == "delete":
        return (Request("DELETE", schedule),)
    return (Request("POST", f"{schedule}:{change}", {}),)


def parent_of(project: str, location: str) -> str:
    return f"projects/{project}/locations/{location}"
