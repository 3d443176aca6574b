"""The parameters of a rehearsed pipeline: its defaults, what the rehearsal fixes, and what a person gives instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.arguments import read_arguments
from gated_pipelines.kubeflow.rehearsal.compiled import Compiled


def root_parameters(compiled: Compiled, given: Sequence[str], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter of a pipeline.

    Args:
      given: texts NAME=VALUE.
      fixed: values that stand above the defaults and below what is given; names that the pipeline lacks are left out.

    Raises:
      ConfigError: an unknown name, a value of another type than declared, or none where there is no default.
    """
    definitions = {
        name: {**one, "defaultValue": fixed[name]} if name in fixed else one
        for name, one in compiled.parameters.items()
    }
    defaults = {name: one["defaultValue"] for name, one in definitions.items() if "defaultValue" in one}
    return defaults | read_arguments(given, definitions)


def require_table(parameters: Mapping[str, Any], root: Path) -> None:
    """Refuses a `data` that names a file on this machine that is not there; CsvExampleGen would find out later.

    Raises:
      ConfigError: there is no such file.
    """
    data = parameters.get("data")
    if isinstance(data, str) and "://" not in data and not (root / data).exists():
        raise ConfigError(f"There is no table {root / data}: give one with --data FILE.")
