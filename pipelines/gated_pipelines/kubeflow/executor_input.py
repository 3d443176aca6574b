"""The ExecutorInput that a launcher hands to a container, made one that TFX understands. Plain JSON in and out.

Open-source Kubeflow Pipelines adds an output `executor-logs` of its own, and sends input artifacts without their type;
the compiled file knows the types, and hands them on as arguments of the container.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from checkpoint_gate.errors import ConfigError

_LAUNCHERS_OWN = "executor-logs"

Direction = Literal["inputs", "outputs"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One artifact of an ExecutorInput: the key of the component's input or output, and what the launcher says of it.

    Attributes:
      artifact: the RuntimeArtifact itself, `name`, `type`, `uri` and `metadata`; changing it changes the ExecutorInput.
    """

    direction: Direction
    key: str
    artifact: Json

    def __str__(self) -> str:
        return f"the {self.direction.removesuffix('s')} {self.key}"


def read_json(text: str, what: str) -> Json:
    """The JSON object in an argument.

    Raises:
      ConfigError: it is none; `what` names the argument.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{what} must be JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{what} must be a JSON object. Received: {text[:80]}.")
    return value


def drop_launchers_own(executor_input: Json) -> None:
    """Takes away the output that open-source Kubeflow Pipelines keeps its logs in: no TFX executor knows of it."""
    executor_input.get("outputs", {}).get("artifacts", {}).pop(_LAUNCHERS_OWN, None)


def slots(executor_input: Json, *directions: Direction) -> Iterator[Slot]:
    """The artifacts, all of them or those of one direction."""
    for direction in directions or ("inputs", "outputs"):
        for key, artifacts in executor_input.get(direction, {}).get("artifacts", {}).items():
            for artifact in artifacts.get("artifacts", ()):
                yield Slot(direction, key, artifact)


def fill_types(executor_input: Json, specs: Mapping[Direction, Json]) -> None:
    """Gives each artifact that comes without a type the one that the compiled component declares.

    Args:
      specs: the component's inputDefinitions and outputDefinitions.

    Raises:
      ConfigError: neither tells the type of an artifact.
    """
    for slot in slots(executor_input):
        if title(slot.artifact.get("type")) is not None:
            continue
        declared = specs.get(slot.direction, {}).get("artifacts", {}).get(slot.key, {}).get("artifactType")
        if title(declared) is None:
            argument = f"--json_serialized_{slot.direction}_spec_args"
            raise ConfigError(
                f"Neither the launcher nor {argument} tells the type of {slot}: compile the pipeline with "
                f"`gated-pipeline compile`, which writes it there."
            )
        slot.artifact["type"] = declared


def title(schema: Mapping[str, Any] | None) -> str | None:
    """The name of an artifact type, such as `tfx.Model`; None where an ArtifactTypeSchema tells none."""
    if not schema:
        return None
    if schema.get("schemaTitle"):
        return str(schema["schemaTitle"])
    try:
        value = YAML(typ="safe").load(schema.get("instanceSchema") or "")
    except YAMLError:
        return None
    return str(value["title"]) if isinstance(value, dict) and value.get("title") else None


def change_text_parameters(executor_input: Json, change: Callable[[str], str]) -> None:
    """Applies `change` to the value of each parameter that is text."""
    values = executor_input.get("inputs", {}).get("parameterValues", {})
    for name, value in values.items():
        if isinstance(value, str):
            values[name] = change(value)


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The same JSON with `change` applied to each text in it; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: change_texts(each, change) for key, each in value.items()}
    return [change_texts(each, change) for each in value] if isinstance(value, list) else value
