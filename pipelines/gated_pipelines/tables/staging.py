"""The table as TFX will read it: only the columns that are used, in one fixed spelling, named by content."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.uri_files import told
from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.config.tfma_names import Task
from gated_pipelines.tables.normalise import Normalised, normalise
from gated_pipelines.tables.spans import SpanFile, find_window
from gated_pipelines.tables.table import LOGGER, FeatureSet, read_tables

FILE = "table.csv"
NEWEST, PREVIOUS = "newest.csv", "previous.csv"
"""Beside the examples of a compiled pipeline, if its table has spans: the rows of the last one, and of that before."""


@dataclass(frozen=True)
class StagedTable:
    """A normalised CSV, alone in its folder.

    Attributes:
        folder: what CsvExampleGen takes as its input base.
        file: the file's name in it; that of a span has its number after a hyphen.
        digest: sha256 of the file's bytes, in hex.
        rows: the number of rows, all of them labelled.
        features: the columns that the model reads; every one has at least one value.
        classes: the texts of the classes in order, for binary tasks (negative, positive); empty for regression.
        label: the label's column.
        task: regression, binary or multiclass.
        spans: the numbers of the spans whose rows these are, in order; none where the table is but one file.
        newest, previous: the rows of the last span, and of the one before it where there is one, each alone in a CSV of
            the same spelling; None without spans.
    """

    folder: Path
    file: str
    digest: str
    rows: int
    features: FeatureSet
    classes: tuple[str, ...]
    label: str
    task: Task
    spans: tuple[int, ...] = ()
    newest: Path | None = None
    previous: Path | None = None

    @property
    def span(self) -> int | None:
        """The last of its spans."""
        return self.spans[-1] if self.spans else None

    @property
    def spec(self) -> TabularSpec:
        """What preprocessing, model and training need to know of it."""
        return TabularSpec(self.label, self.task, self.features.numeric, self.features.categorical, self.classes)


def stage_table(config: PipelineConfig, folder: Path, known: TabularSpec | None = None, span: str = "") -> StagedTable:
    """Writes the config's table, normalised, to `folder/<digest>/table.csv`, unless it is there already.

    Numeric columns are written as decimals (`3.0`, never `3`), so that CsvExampleGen finds the same type whether or
    not some value is fractional or missing; categories and classes as texts (`3`, `True`); missing values as nothing.
    The same content gives the same bytes.

    Where the table's name has `{SPAN}`, the rows are those of the last `data.window` spans up to `span`, the oldest
    first; "" stands for the largest span there is.

    With `known`, features and classes are those, and a table that does not fit them is refused: a compiled pipeline has
    them in its graph, whatever table it meets later.

    Raises:
        ConfigError: there is no such span, the table does not fit the config, or the folder cannot be written.
    """
    with told(f"The table {config.csv} cannot be found"):
        window = find_window(str(config.csv), span, config.data.window)
    one = config.with_csv(Path(window[-1].file)) if len(window) == 1 else config
    normalised = normalise(one, read_tables([Path(each.file) for each in window]), known)
    data = _csv_bytes(normalised.columns)
    digest = hashlib.sha256(data).hexdigest()
    newest = window[-1]
    file = FILE if newest.span is None else f"{Path(FILE).stem}-{newest.span}.csv"
    table = StagedTable(
        folder=_write_named(data, folder, file),
        file=file,
        digest=digest,
        rows=len(normalised.columns[config.label]),
        features=normalised.features,
        classes=normalised.classes,
        label=config.label,
        task=config.task,
    )
    if newest.span is None:
        return table
    return replace(
        table,
        spans=tuple(each.span for each in window if each.span is not None),
        newest=_stage_rows(normalised, newest, folder),
        previous=_stage_previous(config, normalised, newest, folder, table.spec),
    )


def _stage_previous(
    config: PipelineConfig, window: Normalised, newest: SpanFile, folder: Path, known: TabularSpec
) -> Path | None:
    """Writes the rows of the span before the newest, in the window or not; None where it cannot be compared with."""
    found = find_window(str(config.csv), str(newest.span), 2)
    if len(found) == 1:
        return None
    previous = found[0]
    if previous.file in window.files:
        return _stage_rows(window, previous, folder)
    try:
        alone = normalise(config.with_csv(Path(previous.file)), read_tables([Path(previous.file)]), known)
    except ConfigError as error:
        LOGGER.warning("The span before, %s, is not compared with: %s", previous.span, error)
        return None
    return _stage_rows(alone, previous, folder)


def _stage_rows(table: Normalised, part: SpanFile, folder: Path) -> Path | None:
    """Writes the rows of one span; None where none of them has a label."""
    mine = [file == part.file for file in table.files]
    if not any(mine):
        LOGGER.warning("%s has no labelled row, and is not compared with other spans.", part.file)
        return None
    columns = {name: list(compress(cells, mine)) for name, cells in table.columns.items()}
    return _write_named(_csv_bytes(columns), folder, FILE) / FILE


def _write_named(data: bytes, folder: Path, file: str) -> Path:
    """Writes a file into the folder of its content's name, and answers with that folder."""
    target = Path(folder) / hashlib.sha256(data).hexdigest()[:16]
    try:
        _write_once(target / file, data)
    except OSError as error:
        raise ConfigError(f"The table cannot be written to {target}: {error.strerror}.") from None
    return target


def read_staged(path: Path) -> dict[str, list[str]]:
    """The columns of a staged table, as it spells them."""
    with open(path, encoding="utf-8", newline="") as file:
        header = file.readline().rstrip("\n").split(",")
        rows = list(csv.reader(file))
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _csv_bytes(columns: dict[str, list[str]]) -> bytes:
    text = io.StringIO()
    text.write(",".join(columns) + "\n")  # never quoted: TFX takes the header apart at its commas
    csv.writer(text, lineterminator="\n").writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8")


def _write_once(path: Path, data: bytes) -> None:
    """Writes `path` whole or not at all. The temporary file stands outside its folder, where nothing reads it."""
    if path.is_file() and path.read_bytes() == data:
        os.utime(path.parent)  # a pruning leaves what was staged of late; TFX goes by the time of the file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent.with_name(f".{path.parent.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
