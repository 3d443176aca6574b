"""A table in the one spelling that training reads, checked against its pipeline.yaml."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from checkpoint_gate.errors import ConfigError
from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.tables.table import LOGGER, MOST_TEXTS, FeatureSet, infer_features, kind_of, numbers, unfit_name

FEWEST_ROWS = 20
"""With fewer labelled rows, three splits cannot all be filled."""

_SPLITS = 3
_LONGEST_CELL = 100_000  # Python's csv module, which TFX reads with, refuses fields of more than 131,072
_LARGEST = float(np.finfo("float32").max)


@dataclass(frozen=True)
class Normalised:
    """What a staged table will hold: the label's, the features' and the slices' columns as text, in source order.

    Attributes:
        files: of each row, the file that it is of.
    """

    columns: dict[str, list[str]]
    files: list[str]
    features: FeatureSet
    classes: tuple[str, ...]


def normalise(config: PipelineConfig, frame: pd.DataFrame, known: TabularSpec | None = None) -> Normalised:
    """Checks `frame` against the config, and what is known of it, and spells it out; see `stage_table`."""
    if known is not None:
        config = config.with_features(known.numeric, known.categorical)
    _check_columns(config, frame)
    frame = _labelled(config, frame)
    label, classes = _label(config, frame[config.label])
    if known is not None:
        classes = _known_classes(config, classes, known)
    columns = {config.label: label}
    features = _features(config, frame)
    kept = []
    for name in features.numeric:
        column = _finite(config, name, _numeric(config, name, frame[name]))
        if _has_values(name, column):
            kept.append(name)
            columns[name] = ["" if np.isnan(value) else repr(value) for value in column.tolist()]
    for name in features.categorical:
        if _has_values(name, frame[name]):
            kept.append(name)
            columns[name] = _texts(frame[name])
    if known is not None and len(kept) < len(features.all):
        gone = next(name for name in features.all if name not in kept)
        raise ConfigError(f"{config.csv} has no value of {gone!r}, which the pipeline was compiled to read.")
    if not kept:
        raise ConfigError(f"{config.csv} has no column that can be a feature beside the label {config.label!r}.")
    for name in config.slice_columns:
        if name not in columns:
            columns[name] = _texts(frame[name])
        if not any(columns[name]):
            raise ConfigError(f"{config.where('evaluate', 'slices')} slices by {name!r}, which has no values.")
    _check_cells(config, columns)
    numeric = tuple(name for name in features.numeric if name in kept)
    categorical = tuple(name for name in features.categorical if name in kept)
    ordered = {name: columns[name] for name in frame.columns if name in columns}
    files = frame.index.get_level_values(0).tolist()
    return Normalised(ordered, files, FeatureSet(numeric, categorical), classes)


def _check_columns(config: PipelineConfig, frame: pd.DataFrame) -> None:
    given = config.features
    named: list[tuple[tuple[str, ...], str]] = [(("label",), config.label)]
    if given is not None:
        named += [(("features", "numeric"), name) for name in given.numeric]
        named += [(("features", "categorical"), name) for name in given.categorical]
    named += [(("evaluate", "slices"), name) for name in config.slice_columns]
    for path, name in named:
        if name not in frame.columns:
            raise ConfigError(
                f"{config.where(*path)}: {'.'.join(path)} names {name!r}, which is no column of {_newest(frame)}"
                f"{close_columns(name, frame.columns)}."
            )
        if reason := unfit_name(name):
            raise ConfigError(f"{config.csv}: {name!r} cannot be used because {reason}; rename the column.")


def _newest(frame: pd.DataFrame) -> str:
    """The file whose columns the table has."""
    return str(frame.index[-1][0])


def _labelled(config: PipelineConfig, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a label; their index still counts the rows of the files."""
    labelled = frame[frame[config.label].notna()]
    if missing := len(frame) - len(labelled):
        LOGGER.warning("%s: %d of %d rows have no %s and are left out.", config.csv, missing, len(frame), config.label)
    if len(labelled) < FEWEST_ROWS:
        raise ConfigError(
            f"{config.csv} has {len(labelled)} rows with a {config.label}; "
            f"at least {FEWEST_ROWS} are needed for three splits."
        )
    return labelled


def _label(config: PipelineConfig, column: pd.Series) -> tuple[list[str], tuple[str, ...]]:
    """The label's cells, and the classes in order."""
    if config.task == "regression":
        values = _numeric(config, config.label, column)
        _refuse_infinite(config, values)
        if values.nunique() == 1:
            raise ConfigError(f"{config.csv}: the label {config.label!r} is {values.tolist()[0]!r} in every row.")
        return [repr(value) for value in values.tolist()], ()
    if kind_of(column) == "number":
        _refuse_infinite(config, column)
        classes = tuple(_texts(pd.Series(sorted(column.unique()))))
    else:
        classes = tuple(sorted(set(_texts(column))))
    cells = _texts(column)
    _check_classes(config, classes, pd.Series(cells).value_counts())
    _warn_of_rare(config, cells)
    if config.task == "binary":
        classes = _negative_positive(config, classes)
    return cells, classes


def _warn_of_rare(config: PipelineConfig, cells: Sequence[str]) -> None:
    counts = Counter(cells)
    rare = [name for name in sorted(counts) if counts[name] < _SPLITS]
    if not rare:
        return
    words = f"classes {_some(rare)} have fewer than {_SPLITS} rows each"
    if len(rare) == 1:
        rows = counts[rare[0]]
        words = f"class {rare[0]!r} has {rows} row{'' if rows == 1 else 's'}"
    LOGGER.warning("%s: %s, so that train, eval and test cannot all have one.", config.csv, words)


def _check_classes(config: PipelineConfig, classes: tuple[str, ...], counts: pd.Series) -> None:
    what = f"{config.csv}: the label {config.label!r}"
    if len(classes) == 1:
        raise ConfigError(f"{what} has one class, {classes[0]!r}, in every row; there is nothing to learn.")
    if config.task == "binary" and len(classes) != 2:
        raise ConfigError(f"{what} has {len(classes)} classes ({_some(classes)}); task: binary needs exactly 2.")
    lonely = int((counts == 1).sum())
    if len(classes) > MOST_TEXTS or (len(classes) > 10 and lonely > len(classes) / 2):
        detail = f"{len(classes)} classes ({_some(classes)}), {lonely} of them in one row only"
        raise ConfigError(
            f"{what} has {detail}; it looks like a quantity or an id: for a quantity say task: regression."
        )
    if any(map(_reads_otherwise, classes)) and all(map(_reads_as_number, classes)):
        odd = next(filter(_reads_otherwise, classes))
        raise ConfigError(
            f"{what} has the class {odd!r}, which TFX reads as a number and not as that text; "
            f"give the classes names that are not numbers, such as 'class {odd}'."
        )


def _negative_positive(config: PipelineConfig, classes: tuple[str, ...]) -> tuple[str, ...]:
    positive = config.positive if config.positive is not None else classes[-1]
    if positive not in classes:
        raise ConfigError(
            f"{config.where('positive')}: positive is {positive!r}, and the classes of {config.label!r} are "
            f"{_some(classes)}."
        )
    return (*(name for name in classes if name != positive), positive)


def _known_classes(config: PipelineConfig, found: Sequence[str], known: TabularSpec) -> tuple[str, ...]:
    """The known classes, each of which has its id, whether or not this table has a row of it."""
    if new := [name for name in found if name not in known.classes]:
        raise ConfigError(
            f"{config.csv}: the label {config.label!r} has {_some(new)}, and the pipeline was compiled for the classes "
            f"{_some(known.classes)}; compile it again with a table that has all of them."
        )
    return known.classes


def _features(config: PipelineConfig, frame: pd.DataFrame) -> FeatureSet:
    if config.features is not None:
        return FeatureSet(config.features.numeric, config.features.categorical)
    inference = infer_features(frame, config.label)
    for name, reason in inference.ignored.items():
        LOGGER.info("%s: %r is no feature because %s.", config.csv, name, reason)
    return inference.features


def _numeric(config: PipelineConfig, name: str, column: pd.Series) -> pd.Series:
    try:
        return numbers(column)
    except ValueError as error:
        _, (file, row), value = error.args
        if name == config.label:
            rule, hint = f"the label {name!r} must be a number for task: regression", ""
        else:
            rule, hint = f"the numeric feature {name!r} must hold numbers", " (or list it under categorical)"
        raise ConfigError(f"{file}: {rule}{hint}; row {row} has {value!r}.") from None


def _refuse_infinite(config: PipelineConfig, column: pd.Series) -> None:
    infinite = column[_infinite(column)]
    if len(infinite):
        file, row = infinite.index[0]
        raise ConfigError(
            f"{file}: the label {config.label!r} must be a finite 32-bit number; row {row} has {infinite.iloc[0]}."
        )


def _finite(config: PipelineConfig, name: str, column: pd.Series) -> pd.Series:
    infinite = _infinite(column)
    if infinite.any():
        LOGGER.warning("%s: %d infinite values of %r count as missing.", config.csv, infinite.sum(), name)
    return column.mask(infinite)


def _infinite(column: pd.Series) -> pd.Series:
    """Which values are infinite in the 32 bits that a tf.Example gives a decimal."""
    return column.abs() > _LARGEST


def _has_values(name: str, column: pd.Series) -> bool:
    if column.notna().any():
        return True
    LOGGER.warning("The feature %r has no values and is left out.", name)
    return False


def _texts(column: pd.Series) -> list[str]:
    """The column as categories: whole numbers without a point, other numbers in their shortest form."""
    kind = kind_of(column)
    if kind == "number":
        present = column.dropna()
        whole = bool(np.isfinite(present).all() and (present == present.round()).all())
        spell: Callable[[float], str] = (lambda value: str(int(value))) if whole else repr
    else:
        spell = lambda value: re.sub(r"[\r\n]+", " ", str(value))  # noqa: E731
    return ["" if pd.isna(value) else spell(value) for value in column.tolist()]


def _check_cells(config: PipelineConfig, columns: dict[str, list[str]]) -> None:
    for name, cells in columns.items():
        if max(map(len, cells)) > _LONGEST_CELL:
            raise ConfigError(f"{config.csv}: a value of {name!r} is longer than {_LONGEST_CELL:,} characters.")


def _reads_as_number(text: str) -> bool:
    """Whether CsvExampleGen takes `text` for an INT or FLOAT; the same conversions as tfx_bsl's csv_decoder."""
    try:
        return -(2**63) <= int(text.encode()) < 2**63
    except ValueError:
        pass
    try:
        float(text.encode())
    except ValueError:
        return False
    return True


def _reads_otherwise(text: str) -> bool:
    return not (re.fullmatch(r"0|-?[1-9][0-9]*", text) and _reads_as_number(text))


def close_columns(name: str, known: Iterable[str]) -> str:
    """Words that suggest the column nearest to `name`, and list them."""
    known = [str(one) for one in known]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{hint}; its columns are {_some(known)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
