"""Transformed examples as Keras reads them: in memory, shuffled as a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from checkpoint_gate.errors import ConfigError
from gated_pipelines.config.spec import LABEL


@dataclass(frozen=True)
class Split:
    """One split: feature -> [rows, 1], and labels [rows, 1]."""

    features: Mapping[str, Any]
    labels: Any

    @property
    def rows(self) -> int:
        return int(self.labels.shape[0])


def read_split(files: Sequence[str], feature_spec: Mapping[str, Any], name: str) -> Split:
    """Reads all of a split into memory.

    Args:
      files: gzipped TFRecord files of transformed tf.Examples.
      feature_spec: Transform's transformed feature spec, all dense.
      name: of the split, for errors.

    Raises:
      ConfigError: the split is empty.
    """
    records = list(tf.data.TFRecordDataset(list(files), compression_type="GZIP").as_numpy_iterator())
    if not records:
        raise ConfigError(f"The {name} split is empty: give it a larger share in data.splits, or add rows.")
    parsed = tf.io.parse_example(tf.constant(records), dict(feature_spec))
    columns = {key: tf.reshape(value, [len(records), 1]) for key, value in parsed.items()}
    return Split({key: value for key, value in columns.items() if key != LABEL}, columns[LABEL])


def training_batches(split: Split, batch_size: int, seed: int, first_epoch: int) -> tuple[tf.data.Dataset, int]:
    """An endless dataset that begins with `first_epoch`, and the number of batches in each epoch.

    The order of an epoch depends on seed and epoch alone, so that a resumed training sees what it would have seen.
    """

    def epoch(number: Any) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(split.rows), seed=[seed, number])
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(rows)

    def rows(places: Any) -> tuple[Any, Any]:
        return {key: tf.gather(value, places) for key, value in split.features.items()}, tf.gather(split.labels, places)

    numbers = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max).map(lambda n: tf.cast(n, tf.int32))
    return numbers.flat_map(epoch).prefetch(2), -(-split.rows // batch_size)


def validation_batches(split: Split) -> tf.data.Dataset:
    """The whole split once, in large batches."""
    return tf.data.Dataset.from_tensor_slices((dict(split.features), split.labels)).batch(4096)
