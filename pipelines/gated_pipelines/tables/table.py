"""A CSV as a checked table, and which of its columns can be features."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

from checkpoint_gate.errors import ConfigError

LOGGER = logging.getLogger("gated_pipelines")

Kind = Literal["empty", "number", "boolean", "text"]

MISSING = frozenset(
    {"", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
"""What stands for a missing value: the markers of pandas 2, and `?`."""

MOST_TEXTS = 1000
"""A text column of more distinct values than this is no category."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity)", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
_MOMENT = re.compile(
    r"([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.]([0-9]{4}|[0-9]{2}))([T ].*)?"
    r"|[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?[AaPp][Mm])?"
)
_GROUPED = re.compile(r"[+-]?([0-9]{1,3}(,[0-9]{3})+|[0-9]{1,3})(\.[0-9]+)?")
_EXACT = 2**53
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class FeatureSet:
    """The columns that a model reads, by kind."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Both kinds, the numeric first."""
        return (*self.numeric, *self.categorical)


@dataclass(frozen=True)
class Inference:
    """Which columns can be features, and why the others cannot."""

    features: FeatureSet
    ignored: Mapping[str, str]


def read_table(path: Path) -> pd.DataFrame:
    """Reads a comma-separated UTF-8 file with a header; see `read_tables`."""
    return read_tables([path])


def read_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Reads comma-separated UTF-8 files with headers as one table; its columns are those of the last.

    A column is of int64, float64 or bool when every value present reads as such; otherwise it holds text, and NaN
    where a value is missing. Whole numbers with missing values are float64; digits with leading zeros, and whole
    numbers beyond 2**53, stay text. White space around names and values is dropped. Where an earlier file lacks a
    column, its values are missing.

    The index holds each row's file, as text, and its number there, from 1.

    Raises:
        ConfigError: no such file, not UTF-8, no rows, columns without a name or with the same one, or a row whose
            number of fields differs from the header's.
    """
    tables = [_Lines.read(path) for path in paths]
    header = tables[-1].header
    frame = pd.DataFrame({name: _typed([cell for table in tables for cell in table.column(name)]) for name in header})
    frame.index = pd.MultiIndex.from_arrays(
        [
            [str(table.path) for table in tables for _ in table.rows],
            [number for table in tables for number, _ in enumerate(table.rows, start=1)],
        ]
    )
    if empty := [name for name in header if kind_of(frame[name]) == "empty"]:
        LOGGER.warning("%s: %s has no values and is left out.", paths[-1], " and ".join(map(repr, empty)))
    return frame


@dataclass(frozen=True)
class _Lines:
    """A file taken apart: its rows have as many fields as the header."""

    path: Path
    header: list[str]
    rows: list[list[str]]

    @staticmethod
    def read(path: Path) -> _Lines:
        rows = _rows(_text(path), path)
        header = _header(rows, path)
        if len(rows) == 1:
            raise ConfigError(f"{path} has a header and no rows; a table needs rows.")
        return _Lines(path, header, rows[1:])

    def column(self, name: str) -> list[str]:
        if name not in self.header:
            LOGGER.warning("%s has no column %r: its values count as missing.", self.path, name)
            return [""] * len(self.rows)
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def kind_of(column: pd.Series) -> Kind:
    """What a column of `read_table` holds."""
    present = column.dropna()
    if present.empty:
        return "empty"
    if pd.api.types.is_bool_dtype(column) or isinstance(present.iloc[0], (bool, np.bool_)):
        return "boolean"
    return "number" if pd.api.types.is_numeric_dtype(column) else "text"


def numbers(column: pd.Series) -> pd.Series:
    """The column as float64.

    Raises:
        ValueError: a value is no number; its arguments are a sentence, the value's index and the value.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.astype("float64")
    values = np.full(len(column), np.nan)
    for place, (index, value) in enumerate(column.items()):
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            values[place] = float(value)
        elif isinstance(value, (str, bool, np.bool_)):
            raise ValueError(f"{value!r} is no number", index, value)
    return pd.Series(values, index=column.index)


def infer_features(frame: pd.DataFrame, label: str) -> Inference:
    """Numbers are numeric; booleans and text are categorical; what cannot teach a model is ignored, with the reason."""
    numeric, categorical, ignored = [], [], {}
    for name in frame.columns:
        if name == label:
            continue
        if reason := _useless(name, frame[name]):
            ignored[name] = reason
        elif kind_of(frame[name]) == "number":
            numeric.append(name)
        else:
            categorical.append(name)
    return Inference(FeatureSet(tuple(numeric), tuple(categorical)), MappingProxyType(ignored))


def unfit_name(name: str) -> str | None:
    """Why TFX's CSV reader, which splits the header at every comma, could not read a column of this name."""
    held = next((word for mark, word in ((",", "a comma"), ('"', "a quote")) if mark in name), None)
    return f"its name holds {held}" if held else None


def _useless(name: str, column: pd.Series) -> str | None:
    """Why a column is no feature, or None."""
    kind = kind_of(column)
    present = column.dropna()
    distinct = present.nunique()
    if kind == "empty":
        return "it has no values"
    if unfit := unfit_name(name):
        return unfit
    if distinct == 1 and (kind == "number" or len(present) == len(column)):
        return "it is the same in every row"
    if kind == "number":
        whole = pd.api.types.is_integer_dtype(column)
        if whole and distinct == len(column) and present.max() - present.min() == len(column) - 1:
            return "it numbers the rows"
    if kind == "text":
        if all(_MOMENT.fullmatch(value) for value in present.unique()):
            return "it holds dates or times"
        if distinct > min(0.9 * len(present), MOST_TEXTS) and all(_GROUPED.fullmatch(text) for text in present):
            return "it holds numbers with thousands separators, as 7,123; write them without"
        if distinct > 0.9 * len(present):
            return "nearly every row has a text of its own, as names and ids have"
        if distinct > MOST_TEXTS:
            return f"it has {distinct:,} different texts, more than {MOST_TEXTS:,}"
    return None


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}; name a CSV that exists.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name the CSV in it.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} line {line} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}; save it as UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(f"{path} line {line} holds a zero byte, so it is no CSV in UTF-8; save it as one.")
    if not text.removeprefix("\ufeff").strip():
        raise ConfigError(f"{path} is empty; a table needs a header and rows.")
    return text.removeprefix("\ufeff")


def _rows(text: str, path: Path) -> list[list[str]]:
    """The fields of every line that is not blank, the header first, all of the same number."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not row:
                continue
            if rows and len(row) != len(rows[0]):
                _refuse_separators(rows[0], path, ", decimal=','")
                raise ConfigError(
                    f"{path} line {reader.line_num} has {len(row)} fields where the header has {len(rows[0])}; "
                    "put quotes around a field that holds a comma."
                )
            rows.append(row)
    except csv.Error as error:
        raise ConfigError(f"{path} line {reader.line_num} is not CSV: {error}.") from None
    return rows


def _header(rows: Sequence[Sequence[str]], path: Path) -> list[str]:
    header = [name.strip() for name in rows[0]]
    _refuse_separators(header, path, "")
    for place, name in enumerate(header, start=1):
        if not name:
            raise ConfigError(f"{path}: column {place} has no name; name it or remove it.")
        if "\n" in name or "\r" in name:
            raise ConfigError(f"{path}: the name of column {place}, {name!r}, holds a line break; rename it.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ConfigError(f"{path}: {' and '.join(map(repr, twice))} names more than one column; rename all but one.")
    return header


def _refuse_separators(header: Sequence[str], path: Path, decimal: str) -> None:
    """Refuses a header without a comma that is taken apart by something else.

    Args:
      decimal: what pandas must be told of the decimals, where there are commas all the same.
    """
    if len(header) > 1:
        return
    for mark, word in _SEPARATORS.items():
        if mark in header[0]:
            raise ConfigError(
                f"{path} has one column, {header[0].strip()!r}, and seems to be separated by {word}; separate it by "
                f"commas, for example with pandas.read_csv(path, sep={mark!r}{decimal}).to_csv(path, index=False)."
            )


def _typed(values: Sequence[str]) -> pd.Series:
    codes, uniques = pd.factorize(np.array(values, dtype=object))
    texts = [value.strip() for value in uniques]
    present = [text for text in texts if text not in MISSING]
    whole = len(present) == len(texts)
    convert = _converter(present)
    converted = [np.nan if text in MISSING else convert(text) for text in texts]
    dtypes: dict[object, str] = {int: "int64" if whole else "float64", float: "float64"}
    if whole:
        dtypes[_truth] = "bool"
    pool = np.empty(len(converted), dtype=object)
    pool[:] = converted
    return pd.Series(pool[codes], dtype=dtypes.get(convert, "object"))


def _converter(present: Sequence[str]) -> Callable[[str], object]:
    if all(_NUMBER.fullmatch(text) for text in present) and not any(map(_LEADING_ZERO.fullmatch, present)):
        if not all(map(_INTEGER.fullmatch, present)) or not present:
            return float
        return int if all(abs(int(text)) <= _EXACT for text in present) else str
    return _truth if {text.lower() for text in present} <= {"true", "false"} else str


def _truth(text: str) -> bool:
    return text.lower() == "true"
