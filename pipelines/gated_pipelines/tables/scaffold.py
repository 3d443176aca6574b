"""A pipeline.yaml for a table that nobody has described yet.

The thresholds are levels of the loss that a model which ignores its features would reach: the entropy of the classes,
or the variance of the label. A checkpoint that does no better than that is not worth keeping.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rule_text.located_yaml import plain_scalar
from checkpoint_gate.uri_files import told
from gated_pipelines.config.pipeline_config import PipelineConfig, parse_config
from gated_pipelines.config.tfma_names import DEFAULT, LOSS, Task
from gated_pipelines.tables.normalise import Normalised, close_columns, normalise
from gated_pipelines.tables.spans import find_window
from gated_pipelines.tables.table import FeatureSet, infer_features, kind_of, read_table

FILE = "pipeline.yaml"

_MOST_CLASSES = 20
_ROWS_PER_CLASS = 5
_WIDEST = 100
_PLAIN = re.compile(r"([A-Za-z_]|\.{0,2}/)[A-Za-z0-9_ ()/.%+-]*(?<! )")


@dataclass(frozen=True)
class _Size:
    """How large a model, and how long a training, suits a number of rows."""

    rows_below: float
    hidden: tuple[int, int]
    learning_rate: float
    epochs: int
    batch_size: int


_SIZES = (
    _Size(2_000, (16, 8), 0.01, 40, 32),
    _Size(20_000, (32, 16), 0.005, 30, 64),
    _Size(math.inf, (64, 32), 0.003, 20, 256),
)


@dataclass(frozen=True)
class Draft:
    """A pipeline.yaml that is not written yet, and what was found in its table.

    Attributes:
        ignored: column -> why it is no feature.
    """

    path: Path
    text: str
    task: Task
    rows: int
    features: FeatureSet
    ignored: Mapping[str, str]

    def write(self) -> Path:
        """Writes the file and returns its path.

        Raises:
            ConfigError: that does not work, or there is one already.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "x", encoding="utf-8") as file:
                file.write(self.text)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}.") from None
        return self.path

    def words(self) -> Iterator[str]:
        """What was found, a line each: task and rows, the features by kind, and what is left out."""
        yield f"task: {self.task}, {self.rows:,} rows"
        for kind, names in (("numeric", self.features.numeric), ("categorical", self.features.categorical)):
            yield f"{kind}: {', '.join(names) or 'none'}"
        for name, reason in self.ignored.items():
            yield f"left out: {name}: {reason}"


def write_pipeline(csv: Path, label: str, directory: Path, task: str | None = None) -> Path:
    """Writes `directory/pipeline.yaml` for a CSV and returns its path; see `draft_pipeline`."""
    return draft_pipeline(csv, label, directory, task).write()


def draft_pipeline(csv: Path, label: str, directory: Path, task: str | None = None) -> Draft:
    """What `directory/pipeline.yaml` is to be for a CSV.

    Args:
        csv: the table; with `{SPAN}` in its name, the latest of the tables that it stands for.
        label: the column to predict.
        directory: made if it is not there.
        task: regression, binary or multiclass; None for what `infer_task` says of the label.

    Raises:
        ConfigError: there is a pipeline.yaml already, or the table cannot be used as it is.
    """
    path = Path(directory) / FILE
    if os.path.lexists(path):
        raise ConfigError(f"{path} is there already and stays as it is; remove it, or choose another folder.")
    with told(f"The table {csv} cannot be found"):
        frame = read_table(Path(find_window(str(csv), "", 1)[-1].file))
    if label not in frame.columns:
        raise ConfigError(f"The label {label!r} is no column of {csv}{close_columns(label, frame.columns)}.")
    chosen = _task(task) if task is not None else infer_task(frame[label])
    draft = _render(Path(csv), label, chosen, path, frame)
    parse_config(draft.text, path)
    return draft


def infer_task(label: pd.Series) -> Task:
    """Regression for decimals, and for whole numbers of more than 20 values or of fewer than 5 rows a value."""
    present = label.dropna()
    distinct = present.nunique()
    if kind_of(label) == "number":
        whole = np.isfinite(present).all() and (present == present.round()).all()
        if not whole or distinct > _MOST_CLASSES or distinct > max(2, len(present) / _ROWS_PER_CLASS):
            return "regression"
    return "binary" if distinct == 2 else "multiclass"


def _task(task: str) -> Task:
    for known in LOSS:
        if task == known:
            return known
    raise ConfigError(f"The task {task!r} is not known; it must be one of {', '.join(LOSS)}.")


def _render(csv: Path, label: str, task: Task, path: Path, frame: pd.DataFrame) -> Draft:
    least = _least(csv, label, task, path)
    table = normalise(least, frame)
    inference = infer_features(frame[frame[label].notna()], label)
    level = _level(table, label)
    rows = len(table.columns[label])
    size = next(size for size in _SIZES if rows < size.rows_below)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gated_pipelines"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(quoted=quoted, listed=_listed, comment=_comment)
    text = environment.get_template(f"{FILE}.j2").render(
        source=_comment(csv.name),
        rows=rows,
        name=least.name,
        csv=least.data.csv,
        label=label,
        task=task,
        positive=table.classes[1] if task == "binary" else None,
        features=[("numeric", table.features.numeric), ("categorical", table.features.categorical)],
        ignored=list(inference.ignored.items()),
        hidden=[max(units, min(256, len(table.classes) * 2)) for units in size.hidden],
        learning_rate=size.learning_rate,
        epochs=size.epochs,
        batch_size=size.batch_size,
        baseline=_baseline(task, level),
        gate=_gate(task, level, size.epochs),
        filter_at_most=_number(level if task == "regression" else 1.2 * level),
        metrics=DEFAULT[task],
        metric=LOSS[task],
        level=_number(level),
    )
    return Draft(path, text, task, rows, table.features, inference.ignored)


def _least(csv: Path, label: str, task: Task, path: Path) -> PipelineConfig:
    """The least that describes the table, so that it is checked before there is anything to write."""
    return parse_config(
        json.dumps(
            {
                "name": _name(path.parent),
                "data": {"csv": _relative(csv, path.parent)},
                "label": label,
                "task": task,
                "rules": {"save": {}, "filter": {}},
            }
        ),
        path,
    )


def _level(table: Normalised, label: str) -> float:
    """The loss of the best constant prediction: the label's variance, or the classes' entropy in nats."""
    cells = table.columns[label]
    if not table.classes:
        return float(np.var([float(cell) for cell in cells]))
    shares = [count / len(cells) for count in Counter(cells).values()]
    return -sum(share * math.log(share) for share in shares)


def _baseline(task: Task, level: float) -> str:
    if task == "regression":
        off = f"an error (RMSE) of {_number(math.sqrt(level))} in the label's unit"
        return f"Always predicting the mean would give a loss of {_number(level)}, the label's variance,\n# {off}."
    return f"Always predicting the shares of the classes would give a loss of {_number(level)}, their entropy."


def _gate(task: Task, level: float, epochs: int) -> list[tuple[str, str]]:
    """The gate's rules as YAML, each with what it is for."""
    half = epochs // 2

    def falling(start: float, end: float) -> str:
        return f"{{from: {_number(start * level)}, to: {_number(end * level)}, epochs: {half}, shape: linear}}"

    if task == "regression":
        training, validation, average = falling(1.5, 1.0), falling(1.5, 1.0), _number(1.2 * level)
    else:
        training, validation, average = _number(level), falling(1.2, 0.9), _number(level)
    return [
        (f"{{metric: loss, at_most: {training}}}", "training error"),
        (f"{{metric: val_loss, at_most: {validation}}}", "validation error, tightening"),
        (f"{{metric: loss, moving_average: 3, at_most: {average}}}", "one lucky epoch is not enough"),
    ]


def _number(value: float) -> str:
    """Three significant digits, as YAML reads a number."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:g}" if 1e-4 <= rounded < 1e6 else f"{rounded:.2e}"


def _name(directory: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-")
    return (name if re.match("[a-z]", name) else f"table-{name}")[:40].strip("-")


def _relative(csv: Path, directory: Path) -> str:
    """The path of the table as seen from the folder, or in full when they are far apart."""
    csv, directory = csv.resolve(), directory.resolve()
    relative = os.path.relpath(csv, directory)
    return relative if Path(relative).parts[:3].count("..") < 3 else str(csv)


def quoted(text: str) -> str:
    """`text` as one YAML scalar that reads as that text, without quotes where they are not needed."""
    if _PLAIN.fullmatch(text) and isinstance(plain_scalar(text), str):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _listed(names: Sequence[str], key: str) -> str:
    """What follows `key:`, a YAML list on one line, or on as many as it needs."""
    items = [quoted(name) for name in names]
    if sum(len(item) + 2 for item in items) + len(key) <= _WIDEST:
        return f" [{', '.join(items)}]"
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) > _WIDEST:
            lines.append("")
        lines[-1] += f"{item}, "
    return " [\n" + "\n".join(f"    {line.rstrip()}" for line in lines) + "\n  ]"


def _comment(text: str) -> str:
    """`text` as it can stand in a comment."""
    return text if text.isprintable() else json.dumps(text)
