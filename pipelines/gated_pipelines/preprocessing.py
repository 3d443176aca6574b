"""Transform's preprocessing_fn for one table: z-scores, vocabulary ids, class ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from gated_pipelines.config.spec import LABEL, TabularSpec

MISSING = "<missing>"
_LARGEST_VOCABULARY = 10_000


def preprocessing_fn(inputs: Mapping[str, Any], custom_config: Mapping[str, Any]) -> dict[str, Any]:
    """Raw columns to model features.

    Args:
      inputs: column -> SparseTensor, [batch, at most 1]; a missing value is an absent entry.
      custom_config: `table` holds the JSON of a TabularSpec.

    Returns:
      Feature -> dense tensor, [batch, 1]. A missing number becomes the mean (0 as a z-score), a missing category a
      category of its own.
    """
    spec = TabularSpec.from_json(custom_config["table"])
    outputs: dict[str, Any] = {}
    for column, key in spec.numeric_keys().items():
        outputs[key] = _dense(tft.scale_to_z_score(_cast(inputs[column], tf.float32)), 0.0)
    for column, key in spec.categorical_keys().items():
        text = _dense(_text(inputs[column]), MISSING)
        outputs[key] = tft.compute_and_apply_vocabulary(
            text, num_oov_buckets=1, top_k=_LARGEST_VOCABULARY, vocab_filename=key
        )
    outputs[LABEL] = _label(inputs[spec.label], spec)
    return outputs


def _label(column: Any, spec: TabularSpec) -> Any:
    if spec.task == "regression":
        return _dense(_cast(column, tf.float32), 0.0)
    matches = tf.equal(_dense(_text(column), MISSING), tf.constant([list(spec.classes)]))
    known = tf.reduce_any(matches, axis=1, keepdims=True)
    return tf.where(known, tf.argmax(tf.cast(matches, tf.int64), axis=1)[:, None], -1)


def _cast(column: Any, dtype: Any) -> Any:
    return tf.SparseTensor(column.indices, tf.cast(column.values, dtype), column.dense_shape)


def _text(column: Any) -> Any:
    values = column.values
    if values.dtype != tf.string:
        values = tf.strings.as_string(values)
    return tf.SparseTensor(column.indices, values, column.dense_shape)


def _dense(column: Any, default: Any) -> Any:
    rows = tf.SparseTensor(column.indices, column.values, [column.dense_shape[0], 1])
    dense = tf.sparse.to_dense(rows, default_value=default)
    dense.set_shape([None, 1])
    return dense
