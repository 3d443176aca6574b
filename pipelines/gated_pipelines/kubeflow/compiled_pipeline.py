"""A compiled pipeline as it is handed to a server: the spec, its name, and a digest of what it says."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.one_line import one_line

SCHEMA = "2.1.0"


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """A pipeline spec of schema 2.1.0, and nothing around it.

    Attributes:
      name: the pipeline's, within the spec.
      spec: the whole spec, as JSON values.
    """

    name: str
    spec: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """The root's parameters: name to parameterType and, where there is one, defaultValue."""
        inputs: Mapping[str, Any] = self.spec["root"].get("inputDefinitions") or {}
        return inputs.get("parameters") or {}

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(_tasks(self.spec["root"]))

    @property
    def default_root(self) -> str:
        """Where artifacts go if nothing else is said, "" where the spec does not say."""
        return str(self.spec.get("defaultPipelineRoot") or "")

    @property
    def version(self) -> str:
        """The name of a version: a digest of the spec's content, whatever its order, comments and way with numbers."""
        content = json.dumps(_as_servers_keep(self.spec), sort_keys=True, separators=(",", ":"))
        return "sha256-" + hashlib.sha256(content.encode()).hexdigest()[:16]

    def without_cache(self) -> CompiledPipeline:
        """The same pipeline, each task of which is executed whatever was executed before."""
        spec = copy.deepcopy(dict(self.spec))
        for component in (spec["root"], *(spec.get("components") or {}).values()):
            for task in _tasks(component).values():
                task["cachingOptions"] = {"enableCache": False}
        return replace(self, spec=spec)

    def to_yaml(self) -> str:
        import yaml

        return str(yaml.safe_dump(self.spec, sort_keys=True, allow_unicode=True))


def read_compiled(path: Path) -> CompiledPipeline:
    """Reads a compiled file.

    Raises:
      ConfigError: the file is missing, is no YAML, or is not one bare pipeline spec of schema 2.1.0.
    """
    import yaml

    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"The compiled pipeline {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The compiled pipeline {path} must be YAML: {' '.join(str(error).split())}.") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ConfigError(f"The compiled pipeline {path} must hold one mapping. Received: {_told(documents)}.")
    spec = documents[0]
    if "pipelineSpec" in spec:
        raise ConfigError(
            f"The compiled pipeline {path} must be a bare pipeline spec, as gated-pipeline compile writes it. "
            "Received: a PipelineJob, which holds its spec below the key pipelineSpec."
        )
    if spec.get("schemaVersion") != SCHEMA:
        raise ConfigError(
            f"The compiled pipeline {path} must have schemaVersion {SCHEMA}. Received: {spec.get('schemaVersion')!r}."
        )
    name = (spec.get("pipelineInfo") or {}).get("name")
    if not (isinstance(name, str) and name.strip() and isinstance(spec.get("root"), dict)):
        raise ConfigError(f"The compiled pipeline {path} must have a name at pipelineInfo.name, and a root.")
    _require_spec(path, spec)
    return CompiledPipeline(name, spec)


def _require_spec(path: Path, spec: Mapping[str, Any]) -> None:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The compiled pipeline {path} must hold JSON values only: {error}.") from error
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as error:
        raise ConfigError(f"The compiled pipeline {path} must be a pipeline spec: {one_line(str(error))}.") from error


def _tasks(component: Mapping[str, Any]) -> dict[str, Any]:
    tasks: dict[str, Any] = (component.get("dag") or {}).get("tasks") or {}
    return tasks


def _as_servers_keep(value: Any) -> Any:
    """JSON values whose whole numbers are integers, as they come back from a server that keeps all as doubles."""
    if isinstance(value, Mapping):
        return {key: _as_servers_keep(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_servers_keep(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _told(documents: list[Any]) -> str:
    return f"{len(documents)} documents" if len(documents) != 1 else type(documents[0]).__name__
