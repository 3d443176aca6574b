"""A compiled pipeline whose executor is a few lines of Python: what a rehearsal does, without any framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

EXECUTOR = Path(__file__).with_name("small_executor.py")


def artifact_type(title: str) -> dict[str, str]:
    return {"instanceSchema": f"title: {title}\ntype: object\n"}


def compiled(tasks: dict[str, dict[str, Any]], parameters: dict[str, Any] | None = None, **other: Any) -> dict:
    """A pipeline spec of tasks that are told what to do.

    Args:
      tasks: name -> `inputs` (key -> "Producer.key"), `outputs` (keys), `parameters` (name -> constant, or "$name" for
        one of the pipeline's), `after` (names), `do` (words for the executor), `retries`, `env`.
      parameters: the pipeline's own, name -> default; None for no default.
    """
    spec: dict[str, Any] = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "small"},
        "components": {},
        "deploymentSpec": {"executors": {}},
        "root": {"dag": {"tasks": {}}},
    }
    if parameters:
        spec["root"]["inputDefinitions"] = {"parameters": {n: _definition(v) for n, v in parameters.items()}}
    for name, task in tasks.items():
        spec["components"][name] = _component(name, task)
        spec["root"]["dag"]["tasks"][name] = _task(name, task)
        spec["deploymentSpec"]["executors"][f"{name}_executor"] = {"container": container(task)}
    return spec | other


def write(path: Path, spec: dict) -> Path:
    path.write_text(yaml.safe_dump(spec))
    return path


def container(task: dict[str, Any]) -> dict[str, Any]:
    return {
        "image": "no-such-image",
        "command": ["python", str(EXECUTOR)],
        "args": ["{{$}}", *task.get("do", [])],
        "env": [{"name": name, "value": value} for name, value in task.get("env", {}).items()],
    }


def _definition(default: Any) -> dict[str, Any]:
    kinds = {str: "STRING", bool: "BOOLEAN", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", list: "LIST"}
    if default is None:
        return {"parameterType": "STRING"}
    return {"parameterType": kinds[type(default)], "defaultValue": default}


def _component(name: str, task: dict[str, Any]) -> dict[str, Any]:
    parameters = {key: {"parameterType": "STRING"} for key in task.get("parameters", {})}
    return {
        "executorLabel": f"{name}_executor",
        "inputDefinitions": {
            "artifacts": {key: {"artifactType": artifact_type("tfx.Model")} for key in task.get("inputs", {})},
            "parameters": parameters | task.get("definitions", {}),
        },
        "outputDefinitions": {
            "artifacts": {key: {"artifactType": artifact_type("tfx.Model")} for key in task.get("outputs", [])}
        },
    }


def _task(name: str, task: dict[str, Any]) -> dict[str, Any]:
    sources = {key: source.split(".") for key, source in task.get("inputs", {}).items()}
    return {
        "taskInfo": {"name": name},
        "componentRef": {"name": name},
        "dependentTasks": sorted({producer for producer, _ in sources.values()} | set(task.get("after", []))),
        "inputs": {
            "artifacts": {
                key: {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": output}}
                for key, (producer, output) in sources.items()
            },
            "parameters": {
                key: {"componentInputParameter": value[1:]}
                if isinstance(value, str) and value.startswith("$")
                else {"runtimeValue": {"constant": value}}
                for key, value in task.get("parameters", {}).items()
            },
        },
        "retryPolicy": {"maxRetryCount": task.get("retries", 0)},
    }
