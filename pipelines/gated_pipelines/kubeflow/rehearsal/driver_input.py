"""The ExecutorInput of a task, as the two backends build it.

A task's executor gets one JSON text that says where its inputs are, what its parameters are, and where its outputs
belong. Open-source Kubeflow Pipelines (v2's driver and launcher, backend/src/v2 of kubeflow/pipelines) and Vertex AI
fill it differently:

| | open-source | vertex |
|---|---|---|
| task's folder | `<root>/<pipeline>/<run>/<task>/<uuid>` | `<root>/<project>/<pipeline>-<run>/<task>_<number>` |
| output file | `output_metadata.json`, on the pod's disk | `executor_output.json`, at the root |
| type of an input | an empty `instanceSchema`: ML Metadata's answer is not turned back into a schema | as compiled |
| type of an output | as compiled | as compiled |
| name of an input | its number in ML Metadata | its resource name |
| name of an output | its key | its resource name |
| further outputs | `executor-logs`, a system.Artifact | none |
| metadata of an input | as ML Metadata holds it: truth values as numbers, lists and mappings wrapped; and `display_name`, `store_session_info` | as the executor wrote it |
| preCacheCheck | never runs | runs before the task |
| URIs | the launcher copies gs://, s3:// and minio:// to and from /gcs, /s3 and /minio | as they are |
| another attempt | a new pod: the task's folder is empty again | finds what the last one left |

The functions here are pure: they say what the text is, and touch no disk.
"""  # noqa: E501

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.rehearsal.task_graph import Task
from gated_pipelines.kubeflow.rehearsal.wire import as_text, local_path

Mode = Literal["vertex", "open-source"]
LOGS = "executor-logs"
_RESOURCE = "projects/0/locations/local/metadataStores/default/artifacts/"
_NO_SESSION = '{"Provider":"","Params":null}'


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact as the backend keeps it after its task.

    Attributes:
      number: of this artifact among all of its root.
      type: as compiled, `{"instanceSchema": …}` or `{"schemaTitle": …}`.
      metadata: as the executor wrote it.
    """

    number: int
    uri: str
    type: Mapping[str, str]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Produced:
    """What a task that is done left: its artifacts and its output parameters, by key."""

    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One run as a backend knows it.

    Attributes:
      root: the pipeline root, a folder or a URL.
      parameters: the pipeline's own, by name.
      created: when, by RFC 3339, in UTC; also the time for which a run is scheduled that nobody scheduled.
      mirror: the folder that /gcs, /minio and /s3 of the pods are in.
    """

    mode: Mode
    pipeline: str
    id: str
    root: str
    parameters: Mapping[str, Any]
    created: str
    mirror: str = "/"

    def local(self, uri: str) -> str:
        """Where a pod finds a URI on its disk; a folder is itself."""
        return local_path(uri, self.mirror)

    def task_root(self, task: str, salt: int) -> str:
        """Below which a task's outputs belong. The salt keeps executions of the same run apart."""
        root = self.root.rstrip("/")
        if self.mode == "vertex":
            return f"{root}/0/{self.pipeline}-{self.id}/{task}_{salt % 2**63}"
        return f"{root}/{self.pipeline}/{self.id}/{task}/{_uuid(salt)}"


def executor_input(
    run: Run, task: Task, salt: int, produced: Mapping[str, Produced], number: int, attempt: int, scratch: str
) -> dict[str, Any]:
    """What the executor of a task is given, in protobuf's JSON names.

    Args:
      salt: 128 random bits.
      produced: task -> what it left, at least of those that this one needs.
      number: the first of the numbers for its output artifacts.
      attempt: 0 for the first one.
      scratch: folder on the pod's own disk for the values of output parameters.

    Raises:
      ConfigError: an input has no value, or one of another type.
    """
    place = run.task_root(task.name, salt)
    file = "executor_output.json" if run.mode == "vertex" else "output_metadata.json"
    given: dict[str, Any] = {
        "inputs": {
            "artifacts": {key: _list(_input(run.mode, key, source, produced)) for key, source in _sources(task)},
            "parameterValues": input_parameters(run, task, produced),
        },
        "outputs": {
            "artifacts": {key: _list(one) for key, one in _outputs(run.mode, task, place, number, attempt).items()},
            "outputFile": f"{run.local(place)}/{file}",
        },
    }
    if task.output_parameters:
        given["outputs"]["parameters"] = {
            key: {"outputFile": f"{scratch}/{key}"} for key in sorted(task.output_parameters)
        }
    return given


def _sources(task: Task) -> list[tuple[str, Mapping[str, str]]]:
    for key, one in task.artifacts.items():
        if "taskOutputArtifact" not in one:
            raise ConfigError(f"The input {key} of {task.name} must come from another task. Received: {dict(one)}.")
    return sorted((key, one["taskOutputArtifact"]) for key, one in task.artifacts.items())


def _input(mode: Mode, key: str, source: Mapping[str, str], produced: Mapping[str, Produced]) -> dict[str, Any]:
    producer, output = source["producerTask"], source["outputArtifactKey"]
    artifact = produced[producer].artifacts.get(output)
    if artifact is None:
        raise ConfigError(f"The input {key} must be an output of {producer}, which has no output {output}.")
    if mode == "vertex":
        return {
            "name": f"{_RESOURCE}{artifact.number}",
            "uri": artifact.uri,
            "type": dict(artifact.type),
            "metadata": dict(artifact.metadata),
        }
    stored = {name: _through_ml_metadata(value) for name, value in artifact.metadata.items()}
    return {
        "name": str(artifact.number),
        "uri": artifact.uri,
        "type": {"instanceSchema": ""},
        "metadata": {"display_name": output, "store_session_info": _NO_SESSION} | stored,
    }


def _outputs(mode: Mode, task: Task, place: str, number: int, attempt: int) -> dict[str, dict[str, Any]]:
    found = {}
    for index, (key, output) in enumerate(sorted(task.output_artifacts.items())):
        found[key] = {
            "name": f"{_RESOURCE}{number + index}" if mode == "vertex" else key,
            "uri": f"{place}/{key}",
            "type": dict(output["artifactType"]),
            "metadata": dict(output.get("metadata", {})),
        }
    if mode == "open-source":
        found[LOGS] = {"name": LOGS, "uri": f"{place}/{LOGS}-{attempt}", "type": {"schemaTitle": "system.Artifact"}}
    return found


def _list(artifact: dict[str, Any]) -> dict[str, Any]:
    return {"artifacts": [artifact]}


def _through_ml_metadata(value: Any) -> Any:
    """What is left of a value that has been a property in ML Metadata."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return {"list": value}
    return {"struct": value} if isinstance(value, dict) else value


def input_parameters(run: Run, task: Task, produced: Mapping[str, Produced]) -> dict[str, Any]:
    """The values of a task's input parameters; those that the component gives a default have one in any case.

    Raises:
      ConfigError: one has no value, or one of another type.
    """
    found = {}
    for name, source in sorted(task.parameters.items()):
        found[name] = _parameter(run, task.name, name, source, produced)
    for name, definition in sorted(task.input_parameters.items()):
        if name not in found and "defaultValue" in definition:
            found[name] = definition["defaultValue"]
        if name in found:
            found[name] = _as_declared(f"{name} of {task.name}", found[name], definition["parameterType"])
        elif not definition.get("isOptional", False):
            raise ConfigError(f"The parameter {name} of {task.name} must have a value. The file gives it none.")
    return found


def _parameter(run: Run, task: str, name: str, source: Mapping[str, Any], produced: Mapping[str, Produced]) -> Any:
    if "componentInputParameter" in source:
        own = source["componentInputParameter"]
        if own not in run.parameters:
            raise ConfigError(f"The parameter {name} of {task} is the pipeline's {own}, which has no value.")
        return run.parameters[own]
    if "taskOutputParameter" in source:
        output = source["taskOutputParameter"]
        producer, key = output["producerTask"], output["outputParameterKey"]
        if key not in produced[producer].parameters:
            raise ConfigError(f"The parameter {name} of {task} is {key} of {producer}, which has no such output.")
        return produced[producer].parameters[key]
    if "constant" not in source.get("runtimeValue", {}):
        raise ConfigError(
            f"The parameter {name} of {task} must be a constant, the pipeline's or another task's. "
            f"Received: {dict(source)}."
        )
    constant = source["runtimeValue"]["constant"]
    known = {
        "{{$.pipeline_job_name}}": f"{run.pipeline}-{run.id}",
        "{{$.pipeline_job_resource_name}}": f"{run.pipeline}-{run.id}",
        "{{$.pipeline_job_uuid}}": run.id,
        "{{$.pipeline_task_name}}": task,
        "{{$.pipeline_job_create_time_utc}}": run.created,
        "{{$.pipeline_job_schedule_time_utc}}": run.created,
    }
    return known.get(constant, constant) if isinstance(constant, str) else constant


def _as_declared(what: str, value: Any, declared: str) -> Any:
    """The value, checked; a text is made of whatever is given where a text is declared, as the driver does."""
    if declared == "STRING":
        return value if isinstance(value, str) else as_text(value)
    kinds: dict[str, tuple[type, ...]] = {
        "NUMBER_INTEGER": (int, float), "NUMBER_DOUBLE": (int, float), "BOOLEAN": (bool,),
        "LIST": (list,), "STRUCT": (dict,),
    }  # fmt: skip
    kind = kinds.get(declared, (object,))
    if not isinstance(value, kind) or (isinstance(value, bool) and declared != "BOOLEAN"):
        raise ConfigError(f"The parameter {what} must be of type {declared}. Received: {value!r}.")
    return value


def _uuid(salt: int) -> str:
    return str(uuid.UUID(int=salt))
