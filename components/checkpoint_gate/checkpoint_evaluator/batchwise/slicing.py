"""Slicing of whole batches: TFMA's slice keys, asked for once for rows that are alike in what slices look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import util

from checkpoint_gate.checkpoint_evaluator.batchwise.rows import KEYS, Rows, extracts_of, rows_in, take

STAGE = "SliceBatches"
_FEATURES = (tfma.constants.FEATURES_KEY, tfma.constants.TRANSFORMED_FEATURES_KEY)


def slicing_extractor(config: config_pb2.EvalConfig, each_alone: bool) -> Any:
    """The extractor that takes the place of TFMA's for unbatching and for slice keys.

    Args:
      config: says what to slice by.
      each_alone: give every example by itself with all its slice keys, as TFMA's do, rather than the examples of each
        slice together.
    """
    return tfma.extractors.Extractor(STAGE, beam.ParDo(_Slice(config, each_alone)))


class _Slice(beam.DoFn):
    def __init__(self, config: config_pb2.EvalConfig, each_alone: bool) -> None:
        self._specs = [slicer_lib.SingleSliceSpec(spec=spec) for spec in config.slicing_specs] or [
            slicer_lib.SingleSliceSpec()
        ]
        self._columns = {
            column for spec in config.slicing_specs for column in (*spec.feature_keys, *spec.feature_values)
        }
        self._each_alone = each_alone
        self._keys = slice_key_extractor.ExtractSliceKeysFn(config, False)

    def process(self, extracts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        batch = {key: extracts[key] for key in KEYS if key in extracts}
        features = {key: self._wanted(extracts[key]) for key in _FEATURES if extracts.get(key) is not None}
        alike, keys = self._alike(features, rows_in(batch))
        if self._each_alone:
            for number, group in enumerate(alike):
                yield extracts_of(Rows(batch, number)) | {tfma.constants.SLICE_KEY_TYPES_KEY: keys[group]}
            return
        for key, rows in _rows_by_key(alike, keys).items():
            some = batch if len(rows) == len(alike) else take(batch, rows)
            keyed = slicer_lib.slice_keys_to_numpy_array([key])
            yield extracts_of(Rows(some)) | {tfma.constants.SLICE_KEY_TYPES_KEY: keyed}

    def _wanted(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that slices look at; where every model has its own, the same ones only once."""
        wanted: dict[str, Any] = {}
        for name, value in features.items():
            if not isinstance(value, Mapping):
                if name in self._columns:
                    wanted[name] = value
            elif not any(value is features[earlier] for earlier in wanted):
                wanted[name] = self._wanted(value)
        return wanted

    def _alike(self, features: Mapping[str, Any], rows: int) -> tuple[Any, list[Any]]:
        """The group of each row, and the slice keys of each group."""
        columns = list(_columns(features))
        if not columns:
            return np.zeros(rows, np.int64), [self._keys_of({})]
        if all(isinstance(column, np.ndarray) and column.size == rows for column in columns):
            _, first, alike = _groups(columns)
            features = take(features, first)
        else:
            alike = np.arange(rows)
        return alike, [self._keys_of(row) for row in util.split_extracts(features)]

    def _keys_of(self, row: dict[str, Any]) -> Any:
        (sliced,) = self._keys.process(row, self._specs)
        return sliced[tfma.constants.SLICE_KEY_TYPES_KEY]


def _columns(features: Mapping[str, Any]) -> Iterator[Any]:
    for value in features.values():
        if isinstance(value, Mapping):
            yield from _columns(value)
        else:
            yield value


def _groups(columns: list[Any]) -> tuple[Any, Any, Any]:
    """As numpy.unique: rows that are alike in all columns."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        _, code = np.unique(column.reshape(-1), return_inverse=True)
        _, codes = np.unique(codes * (code.max() + 1) + code.reshape(-1), return_inverse=True)
    return np.unique(codes, return_index=True, return_inverse=True)


def _rows_by_key(alike: Any, keys: list[Any]) -> dict[Any, Any]:
    """Slice key -> its rows, ascending."""
    order = np.argsort(alike, kind="stable")
    ends = np.cumsum(np.bincount(alike, minlength=len(keys)))
    groups = np.split(order, ends[:-1])
    members: dict[Any, list[Any]] = {}
    for rows, found in zip(groups, keys, strict=True):
        for key in found:
            members.setdefault(key, []).append(rows)
    return {key: np.sort(np.concatenate(rows)) for key, rows in members.items()}
