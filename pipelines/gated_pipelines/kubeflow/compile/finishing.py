"""What TFX's compiler leaves out of a pipeline spec, or puts in though a backend cannot do it. Needs no TFX."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from gated_pipelines.config.kubeflow_section import Kubeflow

LOOK_OUTSIDE = ("CsvExampleGen", "CheckpointFilter", "Champion", "Pusher")
"""Components whose result depends on more than their inputs: on a table, the store, the push folder."""

_GB = 1e9  # the unit of memoryLimit
_BACKOFF = {
    "backoffDuration": "30s",
    "backoffFactor": 2.0,
    # Argo counts it from the beginning of the first try: a week, so that a long Trainer is tried again, too. Without it
    # Kubeflow Pipelines says 0 from 2.14 on, and nothing is tried again.
    "backoffMaxDuration": "604800s",
}
_INPUTS = "--json_serialized_inputs_spec_args"
_OUTPUTS = "--json_serialized_outputs_spec_args"


def finish(spec: Mapping[str, Any], settings: Kubeflow, defaults: Mapping[str, str | int]) -> dict[str, Any]:
    """The spec with defaults, pipeline root, resources, environment, retries and caching.

    Args:
      spec: a PipelineSpec as TFX compiles it, schema 2.1.0, as plain data.
      settings: the section `kubeflow` of the pipeline.yaml.
      defaults: root parameter -> its default; `root` is one of them.
    """
    finished: dict[str, Any] = copy.deepcopy(dict(spec))
    finished["sdkVersion"] = f"checkpoint-gate-{metadata.version('checkpoint-gate')}"
    finished["defaultPipelineRoot"] = f"{defaults['root']}/artifacts"
    for name, parameter in finished["root"]["inputDefinitions"]["parameters"].items():
        parameter["defaultValue"] = defaults[name]
    for name, task in finished["root"]["dag"]["tasks"].items():
        _finish_task(name, task, settings)
    executors = finished["deploymentSpec"]["executors"]
    for name, component in finished["components"].items():
        container = executors[component["executorLabel"]]["container"]
        _finish_container(name, container, component["outputDefinitions"], settings)
    return finished


def _finish_task(name: str, task: dict[str, Any], settings: Kubeflow) -> None:
    task["cachingOptions"] = {"enableCache": True} if settings.cache and name not in LOOK_OUTSIDE else {}
    if settings.retries:
        task["retryPolicy"] = {"maxRetryCount": settings.retries, **_BACKOFF}


def _finish_container(name: str, container: dict[str, Any], outputs: Mapping[str, Any], settings: Kubeflow) -> None:
    # TFX's compiler tells the container what the component declares of its inputs, as a flag and its value. What it
    # declares of its outputs goes behind, for a launcher that sends those without their types, too.
    after_inputs = container["args"].index(_INPUTS) + 2
    container["args"][after_inputs:after_inputs] = [_OUTPUTS, json.dumps(outputs, indent=2, sort_keys=True)]
    if env := settings.env_of(name):
        container["env"] = [{"name": key, "value": env[key]} for key in sorted(env)]
    wanted = settings.resources_of(name)
    resources: dict[str, Any] = {}
    if wanted.cpu is not None:
        resources["cpuLimit"] = wanted.cpu
    if wanted.memory is not None:
        resources["memoryLimit"] = wanted.memory / _GB
    if wanted.gpu is not None:
        resources["accelerator"] = {"type": wanted.gpu.type, "count": str(wanted.gpu.count)}
    if resources:
        container["resources"] = resources
