"""The bodies of requests to Kubeflow Pipelines' v2beta1 API. Pure.

Their fields are those of https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cron import Cron
from gated_pipelines.kubeflow.compiled_pipeline import CompiledPipeline
from gated_pipelines.kubeflow.servers.backend import Change, Job, Request, Timing

API = "/apis/v2beta1"
DEFAULT_EXPERIMENT = "Default"


def kfp_cron(cron: Cron) -> str:
    """Six fields, without a time zone.

    Raises:
      ConfigError: the expression has a time zone.
    """
    if cron.zone:
        raise ConfigError(
            "Kubeflow Pipelines takes no time zone with a schedule: its own one holds, UTC unless the cluster sets "
            f"CRON_SCHEDULE_TIMEZONE. Received: {cron.zone}."
        )
    return cron.six()


def pipeline_body(pipeline: CompiledPipeline, namespace: str) -> dict[str, Any]:
    return {"display_name": pipeline.name, **_in_namespace(namespace)}


def experiment_body(name: str, namespace: str) -> dict[str, Any]:
    return {"display_name": name, **_in_namespace(namespace)}


def run_body(job: Job, name: str, pipeline_id: str, version_id: str, experiment_id: str) -> dict[str, Any]:
    return {"display_name": name, **_job(job, pipeline_id, version_id, experiment_id)}


def recurring_run_body(
    job: Job, timing: Timing, pipeline_id: str, version_id: str, experiment_id: str
) -> dict[str, Any]:
    schedule: dict[str, Any] = {"cron": kfp_cron(timing.cron)}
    if timing.start:
        schedule["start_time"] = rfc3339(timing.start)
    if timing.end:
        schedule["end_time"] = rfc3339(timing.end)
    return {
        "display_name": timing.name,
        "mode": "DISABLE" if timing.paused else "ENABLE",
        "trigger": {"cron_schedule": schedule},
        "max_concurrency": "1",
        "no_catchup": True,
        **_job(job, pipeline_id, version_id, experiment_id),
    }


def name_filter(name: str) -> dict[str, Any]:
    """Only what is named just so."""
    return {"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]}


def submit_requests(job: Job, name: str, namespace: str) -> Sequence[Request]:
    """What a submission sends to a server that knows neither the pipeline nor the experiment."""
    return (*_first_requests(job, namespace), Request("POST", f"{API}/runs", run_body(job, name, *_UNKNOWN)))


def create_requests(job: Job, timing: Timing, namespace: str) -> Sequence[Request]:
    """What making a schedule sends to a server that knows neither the pipeline nor the experiment."""
    body = recurring_run_body(job, timing, *_UNKNOWN)
    return (*_first_requests(job, namespace), Request("POST", f"{API}/recurringruns", body))


def change_requests(change: Change) -> Sequence[Request]:
    """What changing a schedule sends, once its id is known."""
    method, verb = {"pause": ("POST", ":disable"), "resume": ("POST", ":enable"), "delete": ("DELETE", "")}[change]
    return (Request(method, f"{API}/recurringruns/<recurring_run_id>{verb}"),)


def rfc3339(time: datetime) -> str:
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_UNKNOWN = ("<pipeline_id>", "<pipeline_version_id>", "<experiment_id>")


def _first_requests(job: Job, namespace: str) -> tuple[Request, ...]:
    version = urlencode({"name": job.pipeline.version, "pipelineid": "<pipeline_id>"}, safe="<>")
    experiment = experiment_body(job.experiment or DEFAULT_EXPERIMENT, namespace)
    return (
        Request("POST", f"{API}/pipelines", pipeline_body(job.pipeline, namespace)),
        Request("POST", f"{API}/pipelines/upload_version?{version}", {"uploadfile": job.pipeline.spec}),
        Request("POST", f"{API}/experiments", experiment),
    )


def _job(job: Job, pipeline_id: str, version_id: str, experiment_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "experiment_id": experiment_id,
        "pipeline_version_reference": {"pipeline_id": pipeline_id, "pipeline_version_id": version_id},
        # The server does not read the spec's defaultPipelineRoot.
        "runtime_config": {"parameters": dict(job.parameters), "pipeline_root": job.root},
    }
    if job.service_account:
        body["service_account"] = job.service_account
    return body


def _in_namespace(namespace: str) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}
