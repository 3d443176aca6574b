"""The metrics that training logs, and the rules that name another one. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

from checkpoint_gate.rule_text.located_yaml import KeyPath
from gated_pipelines.config.tfma_names import Task

_OF_MODEL: dict[Task, tuple[str, ...]] = {
    "multiclass": ("loss", "accuracy"),
    "binary": ("loss", "accuracy", "auc"),
    "regression": ("loss", "mae", "rmse"),
}

LOGGED: dict[Task, tuple[str, ...]] = {
    task: (*names, *(f"val_{name}" for name in names)) for task, names in _OF_MODEL.items()
}
"""What `tabular.model` is compiled with, on the train and on the eval split."""


def metrics_named(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every metric that rules name, as they stand in the file, with its place; the champion's in a limit, too.

    What a rule of one's own takes by `with` is its own affair.
    """
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from metrics_named(part, (*path, index))
    elif isinstance(value, dict) and "rule" not in value:
        for key, part in value.items():
            if key in ("metric", "champion") and isinstance(part, str):
                yield (*path, key), part
            else:
                yield from metrics_named(part, (*path, key))
