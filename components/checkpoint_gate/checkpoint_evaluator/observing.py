"""What the pass over the examples shows beside TFMA's metrics: empty columns, and predictions that are no numbers.

Some metrics hide a NaN: the arg max of NaNs is the first class, and NaN is not above one half.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma

_COLUMNS = "columns.json"
_NOT_FINITE = "not_finite.json"


class WriteColumns(beam.PTransform):
    """Writes into `folder` which columns of Arrow RecordBatches have a value, for `read_columns`."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | "Columns" >> beam.Map(_columns) | "Write" >> _WriteSum(os.path.join(self._folder, _COLUMNS))


def read_columns(folder: str) -> dict[str, int]:
    """Column -> how many batches have a value in it, of those that have any."""
    return _read(os.path.join(folder, _COLUMNS))


class CountNotFinite(beam.PTransform):
    """Hands extracts on as they are, and writes which of the candidates `names` predict what is not finite."""

    def __init__(self, names: Sequence[str], folder: str) -> None:
        super().__init__()
        self._names = tuple(names)
        self._path = os.path.join(folder, _NOT_FINITE)

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        _ = extracts | "NotFinite" >> beam.Map(_not_finite, self._names) | "Write" >> _WriteSum(self._path)
        return extracts


def read_not_finite(folder: str) -> dict[str, int]:
    """Candidate -> for how many examples it predicts a NaN or an infinity, of those that do."""
    return _read(os.path.join(folder, _NOT_FINITE))


class _WriteSum(beam.PTransform):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        return (
            counts
            | "Sum" >> beam.CombineGlobally(_sum)
            | "Json" >> beam.Map(json.dumps)
            | "File" >> beam.io.WriteToText(self._path, shard_name_template="")
        )


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _read(path: str) -> dict[str, int]:
    with tf.io.gfile.GFile(path) as file:
        value: dict[str, int] = json.loads(file.read())
    return value


def _columns(batch: Any) -> Counter[str]:
    named = zip(batch.schema.names, batch.columns, strict=True)
    return Counter(name for name, column in named if column.null_count < len(column))


def _not_finite(extracts: Any, names: tuple[str, ...]) -> Counter[str]:
    """Candidate -> rows of a batch of extracts."""
    predictions = extracts[tfma.constants.PREDICTIONS_KEY]
    by_name = predictions if len(names) > 1 else {names[0]: predictions}
    rows = {name: _rows(by_name[name]) for name in names}
    return Counter({name: count for name, count in rows.items() if count})


def _rows(prediction: Any) -> int:
    bad = [~np.isfinite(values.reshape(len(values), -1)).all(axis=1) for values in _floats(prediction)]
    return int(np.logical_or.reduce(bad).sum()) if bad else 0


def _floats(prediction: Any) -> Iterator[Any]:
    values = prediction.values() if isinstance(prediction, Mapping) else [prediction]
    yield from (array for array in map(np.asarray, values) if array.dtype.kind in "fc")
