"""The parameters of a rehearsed pipeline: its defaults, what the rehearsal fixes, and what a person gives instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.arguments import read_arguments
from gated_pipelines.kubeflow.rehearsal.task_graph import TaskGraph
from gated_pipelines.tables.spans import SPAN, find_window


def root_parameters(compiled: TaskGraph, given: Sequence[str], fixed: Mapping[str, Any]) -> dict[str, Any]:
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
    """Refuses a `data` that names no file of this machine; CsvExampleGen would find out later.

    Args:
      parameters: of them `data`, and `span` for one with {SPAN} in its name.

    Raises:
      ConfigError: there is no such file, or none of the span.
    """
    data = parameters.get("data")
    if not isinstance(data, str) or "://" in data:
        return
    table = root / data
    if SPAN in data:
        find_window(str(table), str(parameters.get("span") or ""), 1)
    elif not table.is_file():
        raise ConfigError(f"There is no table {table}: give one with --data FILE.")
