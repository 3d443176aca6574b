"""What preprocessing, model and training need to know of a table; travels to the executors as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from gated_pipelines.config.tfma_names import Task

LABEL = "label_xf"  # the transformed label


@dataclass(frozen=True, slots=True)
class TabularSpec:
    """The table's columns by use.

    Attributes:
      label: the label's column.
      task: regression, binary or multiclass.
      numeric, categorical: feature columns.
      classes: texts of the classes in the order of their ids; for binary tasks (negative, positive); empty for
        regression.
    """

    label: str
    task: Task
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    classes: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> TabularSpec:
        value: dict[str, Any] = json.loads(text)
        lists = {key: tuple(value[key]) for key in ("numeric", "categorical", "classes")}
        return TabularSpec(label=value["label"], task=value["task"], **lists)

    def numeric_keys(self) -> dict[str, str]:
        """Column -> name of the transformed feature, a z-score."""
        return _keys("numeric", self.numeric)

    def categorical_keys(self) -> dict[str, str]:
        """Column -> name of the transformed feature, a vocabulary id; also the vocabulary's name."""
        return _keys("categorical", self.categorical)


def _keys(kind: str, columns: tuple[str, ...]) -> dict[str, str]:
    # Columns may have any name; names in a graph may not. The number keeps two columns apart that look the same.
    return {
        column: f"{kind}_{place}_{re.sub(r'[^A-Za-z0-9]+', '_', column).strip('_').lower()[:40]}"
        for place, column in enumerate(columns)
    }
