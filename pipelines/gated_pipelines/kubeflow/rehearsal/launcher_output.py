"""What an executor says of its outputs, read back as the launcher reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.rehearsal.driver_input import LOGS, Artifact, Mode, Produced
from gated_pipelines.kubeflow.rehearsal.task_graph import Task


def read_produced(mode: Mode, task: Task, given: Mapping[str, Any], number: int) -> Produced:
    """What a task left: its outputs as they were asked for, with the URIs and metadata that its executor changed.

    Args:
      given: the ExecutorInput.
      number: of its first output artifact.

    Raises:
      ConfigError: the file of outputs cannot be read, or holds what the backend cannot keep.
    """
    said = _said(task.name, Path(given["outputs"]["outputFile"]))
    artifacts = {}
    keys = sorted(key for key in given["outputs"]["artifacts"] if key != LOGS)  # the launcher's own
    for index, key in enumerate(keys):
        asked = given["outputs"]["artifacts"][key]["artifacts"][0]
        answers = said.get("artifacts", {}).get(key, {}).get("artifacts", [])
        answer = answers[0] if answers else {}
        metadata = asked.get("metadata", {}) | answer.get("metadata", {})
        if mode == "open-source":
            _require_storable(f"{key} of {task.name}", metadata)
        artifacts[key] = Artifact(number + index, answer.get("uri") or asked["uri"], asked["type"], metadata)
    return Produced(artifacts, _parameters(task, given, said.get("parameterValues", {})))


def _said(task: str, path: Path) -> Mapping[str, Any]:
    from google.protobuf import json_format
    from kfp.pipeline_spec.pipeline_spec_pb2 import ExecutorOutput

    try:
        said = json_format.Parse(path.read_text(encoding="utf-8"), ExecutorOutput())
    except FileNotFoundError:  # a task need not say anything
        return {}
    except (OSError, UnicodeDecodeError, json_format.ParseError) as error:
        raise ConfigError(f"What the task {task} said of its outputs cannot be read from {path}: {error}.") from error
    found: Mapping[str, Any] = json_format.MessageToDict(said)
    return found


def _require_storable(what: str, metadata: Mapping[str, Any]) -> None:
    for name, value in metadata.items():
        if value is None:
            raise ConfigError(f"{name} in the metadata of {what} must not be null: ML Metadata has no such value.")


def _parameters(task: Task, given: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(said)
    for name, definition in task.output_parameters.items():
        if name in values:
            continue
        path = Path(given["outputs"]["parameters"][name]["outputFile"])
        try:
            text = path.read_text(encoding="utf-8")
            values[name] = text if definition["parameterType"] == "STRING" else json.loads(text)
        except (OSError, ValueError) as error:
            raise ConfigError(f"The output {name} of {task.name} cannot be read from {path}: {error}.") from error
    return values
