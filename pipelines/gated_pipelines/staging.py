"""The table as TFX will read it: only the columns that are used, in one fixed spelling, named by content."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.errors import ConfigError
from gated_pipelines.config import PipelineConfig
from gated_pipelines.normalise import normalise
from gated_pipelines.spec import TabularSpec
from gated_pipelines.table import FeatureSet, read_table
from gated_pipelines.tfma_names import Task

FILE = "table.csv"


@dataclass(frozen=True)
class StagedTable:
    """A normalised CSV, alone in its folder.

    Attributes:
        folder: what CsvExampleGen takes as its input base.
        file: the file's name in it.
        digest: sha256 of the file's bytes, in hex.
        rows: the number of rows, all of them labelled.
        features: the columns that the model reads; every one has at least one value.
        classes: the texts of the classes in order, for binary tasks (negative, positive); empty for regression.
        label: the label's column.
        task: regression, binary or multiclass.
    """

    folder: Path
    file: str
    digest: str
    rows: int
    features: FeatureSet
    classes: tuple[str, ...]
    label: str
    task: Task

    @property
    def spec(self) -> TabularSpec:
        """What preprocessing, model and training need to know of it."""
        return TabularSpec(self.label, self.task, self.features.numeric, self.features.categorical, self.classes)


def stage_table(config: PipelineConfig, folder: Path, known: TabularSpec | None = None) -> StagedTable:
    """Writes the config's table, normalised, to `folder/<digest>/table.csv`, unless it is there already.

    Numeric columns are written as decimals (`3.0`, never `3`), so that CsvExampleGen finds the same type whether or
    not some value is fractional or missing; categories and classes as texts (`3`, `True`); missing values as nothing.
    The same content gives the same bytes.

    With `known`, features and classes are those, and a table that does not fit them is refused: a compiled pipeline has
    them in its graph, whatever table it meets later.

    Raises:
        ConfigError: the table does not fit the config, or the folder cannot be written.
    """
    normalised = normalise(config, read_table(config.csv), known)
    data = _csv_bytes(normalised.columns)
    digest = hashlib.sha256(data).hexdigest()
    target = Path(folder) / digest[:16]
    try:
        _write_once(target / FILE, data)
    except OSError as error:
        raise ConfigError(f"The table cannot be written to {target}: {error.strerror}.") from None
    return StagedTable(
        folder=target,
        file=FILE,
        digest=digest,
        rows=len(normalised.columns[config.label]),
        features=normalised.features,
        classes=normalised.classes,
        label=config.label,
        task=config.task,
    )


def _csv_bytes(columns: dict[str, list[str]]) -> bytes:
    text = io.StringIO()
    text.write(",".join(columns) + "\n")  # never quoted: TFX takes the header apart at its commas
    csv.writer(text, lineterminator="\n").writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8")


def _write_once(path: Path, data: bytes) -> None:
    """Writes `path` whole or not at all. The temporary file stands outside its folder, where nothing reads it."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent.with_name(f".{path.parent.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
