"""The examples that candidates are measured on: where they are, and whether they fit the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.types import artifact_utils

from checkpoint_gate.brief_errors import brief_cause
from checkpoint_gate.errors import EvaluationError

_IN_USE = (schema_pb2.UNKNOWN_STAGE, schema_pb2.BETA, schema_pb2.PRODUCTION)  # the stages that TFDV validates


def split_uris(examples: Sequence[types.Artifact], splits: Sequence[str]) -> list[tuple[str, str]]:
    """(split, folder) of each split of each artifact.

    Raises:
      EvaluationError: an artifact has no such split.
    """
    for artifact in examples:
        have = artifact_utils.decode_split_names(artifact.split_names)
        for split in splits:
            if split not in have:
                raise EvaluationError(f"The examples have no split {split!r}. Received: {', '.join(have) or 'none'}.")
    return [(split, uri) for split in splits for uri in artifact_utils.get_split_uris(list(examples), split)]


def first_examples(examples: Sequence[types.Artifact], splits: Sequence[str], count: int) -> list[bytes]:
    """The first serialized examples of the splits, at most `count`.

    Raises:
      EvaluationError: there is no such split, no example in them, or they cannot be read.
    """
    files = [file for _, uri in split_uris(examples, splits) for file in sorted(tf.io.gfile.glob(f"{uri}/*"))]
    records = tf.data.TFRecordDataset(files, compression_type="GZIP") if files else []
    try:
        found = [record.numpy() for record in itertools.islice(records, count)]
    except tf.errors.OpError as error:
        raise EvaluationError(f"The examples of {_named(splits)} cannot be read: {brief_cause(error)}.") from error
    if not found:
        raise EvaluationError(f"There are no examples in {_named(splits)}, so that no survivor can be measured.")
    return found


def require_fit(loaded: Any, signatures: Iterable[str], sample: Sequence[bytes], splits: Sequence[str]) -> None:
    """Lets an export answer the sample, where its signatures take serialized examples.

    Raises:
      EvaluationError: a signature fails on them.
    """
    for name in signatures:
        inputs = loaded.signatures[name].structured_input_signature[1]
        if len(inputs) != 1 or next(iter(inputs.values())).dtype != tf.string:
            continue  # takes features, which TFMA will parse
        try:
            loaded.signatures[name](**{next(iter(inputs)): tf.constant(list(sample))})
        except Exception as error:  # whatever the model's own code raises
            raise EvaluationError(
                f"The examples of {_named(splits)} do not fit the model: {name} fails on them ({brief_cause(error)})."
            ) from error


def require_columns(schema: Any, present: Mapping[str, int], splits: Sequence[str]) -> None:
    """Refuses examples without a column that the schema says some example has.

    Args:
      schema: a Schema proto. Features in use count, that are in every environment and whose presence has a
        `min_count` or `min_fraction` above 0.
      present: columns that have a value in some example.
      splits: the splits, for the words.

    Raises:
      EvaluationError: names what is missing.
    """
    wanted = {feature.name for feature in schema.feature if _is_wanted(feature)}
    missing = sorted(wanted - set(present))
    if missing:
        columns = ", ".join(missing)
        raise EvaluationError(f"No example in {_named(splits)} has a value of {columns}, which the schema asks for.")


def _is_wanted(feature: Any) -> bool:
    in_use = feature.lifecycle_stage in _IN_USE and not feature.deprecated and not feature.not_in_environment
    return in_use and (feature.presence.min_count > 0 or feature.presence.min_fraction > 0)


def _named(splits: Sequence[str]) -> str:
    return f"the split{'s' if len(splits) > 1 else ''} {', '.join(splits)}"
