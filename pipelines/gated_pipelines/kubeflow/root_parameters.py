"""The parameters of a compiled pipeline: its defaults, and what a person gives instead."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.spelling import did_you_mean
from gated_pipelines.kubeflow.compiled import Compiled

_WORDS = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list in JSON",
    "STRUCT": "a mapping in JSON",
}


def root_parameters(compiled: Compiled, given: Sequence[str], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter of a pipeline.

    Args:
      given: texts NAME=VALUE; the last one for a name holds.
      fixed: values that stand above the defaults and below what is given; names that the pipeline lacks are left out.

    Raises:
      ConfigError: an unknown name, a value of another type than declared, or none where there is no default.
    """
    values = {name: one["defaultValue"] for name, one in compiled.parameters.items() if "defaultValue" in one}
    values |= {name: value for name, value in fixed.items() if name in compiled.parameters}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"A parameter must be given as NAME=VALUE. Received: {text!r}.")
        if name not in compiled.parameters:
            raise ConfigError(f"The pipeline has no parameter {name}{_known(name, compiled)}.")
        values[name] = _typed(name, value, compiled.parameters[name]["parameterType"])
    for name, one in sorted(compiled.parameters.items()):
        if name not in values and not one.get("isOptional", False):
            raise ConfigError(f"The parameter {name} has no default: give it with --parameter {name}=VALUE.")
    return values


def require_table(parameters: Mapping[str, Any], root: Path) -> None:
    """Refuses a `data` that names a file on this machine that is not there; CsvExampleGen would find out later.

    Raises:
      ConfigError: there is no such file.
    """
    data = parameters.get("data")
    if isinstance(data, str) and "://" not in data and not (root / data).exists():
        raise ConfigError(f"There is no table {root / data}: give one with --data FILE.")


def _known(name: str, compiled: Compiled) -> str:
    names = sorted(compiled.parameters)
    return f"{did_you_mean(name, names)}, known are {', '.join(names)}" if names else "s at all"


def _typed(name: str, text: str, declared: str) -> Any:
    if declared == "STRING":
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    kinds: dict[str, tuple[type, ...]] = {
        "NUMBER_INTEGER": (int,), "NUMBER_DOUBLE": (int, float), "BOOLEAN": (bool,), "LIST": (list,), "STRUCT": (dict,),
    }  # fmt: skip
    if not isinstance(value, kinds[declared]) or (isinstance(value, bool) and declared != "BOOLEAN"):
        raise ConfigError(f"The parameter {name} must be {_WORDS[declared]}. Received: {text!r}.")
    return value
