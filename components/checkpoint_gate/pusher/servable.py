"""Whether a SavedModel can serve: it loads, and predicts real examples."""

from __future__ import annotations

import logging
import os
from typing import Any

import tensorflow as tf

from checkpoint_gate.brief_errors import brief
from checkpoint_gate.errors import ModelError

EXAMPLES_FILE = os.path.join("assets.extra", "examples.tfrecord")
SIGNATURE = "serving_default"

_log = logging.getLogger("checkpoint_gate")


def require_servable(saved_model_dir: str) -> None:
    """Loads the model and lets `serving_default` predict the examples that it carries.

    The examples are the serialized tf.Examples of `assets.extra/examples.tfrecord` (uncompressed). Each output must
    answer with one row an example, and what is a number in it must be finite; so it is for regression, binary and
    multiclass models alike. A model without examples, or with none in the file, only has to load and to have the
    signature: there is nothing to ask it, and a warning says so.

    Raises:
        ModelError: it does not load, has no such signature, or does not answer every example with finite numbers.
    """
    try:
        loaded = tf.saved_model.load(saved_model_dir)
    except Exception as error:  # loading runs the model's own code: anything may come out
        raise ModelError(f"The model does not load, so it is not pushed ({brief(error)}).") from error
    signature = loaded.signatures.get(SIGNATURE)
    if signature is None:
        raise ModelError(f"The model has no signature {SIGNATURE}, so it is not pushed.")
    examples = _examples(os.path.join(saved_model_dir, EXAMPLES_FILE))
    if not examples:
        _log.warning("The model carries no examples: it loads, but was not asked for a prediction before the push.")
        return
    outputs = _predict(signature, examples)
    _require_rows(outputs, len(examples))
    _require_finite(outputs)


def _examples(path: str) -> list[bytes]:
    if not tf.io.gfile.exists(path):
        return []
    return list(tf.data.TFRecordDataset(path).as_numpy_iterator())


def _predict(signature: Any, examples: list[bytes]) -> dict[str, tf.Tensor]:
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ModelError(
            f"{SIGNATURE} must take one batch of serialized tf.Examples, so the model is not pushed. "
            f"Received: inputs {', '.join(sorted(inputs)) or 'none'}."
        )
    try:
        return dict(signature(**{next(iter(inputs)): tf.constant(examples)}))
    except Exception as error:  # predicting runs the model's own code too
        raise ModelError(
            f"The model loads but {SIGNATURE} fails on real examples, so it is not pushed ({brief(error)})."
        ) from error


def _require_rows(outputs: dict[str, tf.Tensor], count: int) -> None:
    for name, output in sorted(outputs.items()):
        if output.shape.rank == 0 or output.shape[0] != count:
            raise ModelError(
                f"The model's output {name} of {SIGNATURE} must have one row an example, so the model is not pushed. "
                f"Received: shape {tuple(output.shape)} for {count} examples."
            )


def _require_finite(outputs: dict[str, tf.Tensor]) -> None:
    for name, output in sorted(outputs.items()):
        if output.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(output))):
            raise ModelError(
                f"The model's output {name} of {SIGNATURE} is not finite on real examples, so it is not pushed."
            )
