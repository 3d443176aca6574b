"""SavedModels of checkpoints: the graph and signatures of one export, the weights of another step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from checkpoint_gate.errors import ModelError


class ServedModel(tf.Module):
    """The root of an export: `model` holds the weights, `signatures` are given when it is saved.

    Args:
      model: a Keras model. Of a functional model only the inference part is tracked, without its optimizer.
      parts: other things that the signatures use and the SavedModel must hold, by name; such as a Transform layer.
    """

    def __init__(self, model: keras.Model, **parts: Any) -> None:
        super().__init__()
        # A functional model over the same layers leaves the optimizer's slots behind and keeps the layers' places.
        self.model = keras.Model(model.inputs, model.outputs) if _is_functional(model) else model
        for name, part in parts.items():
            setattr(self, name, part)


def _is_functional(model: keras.Model) -> bool:
    return isinstance(model, keras.Model) and hasattr(model, "operations") and hasattr(model, "inputs")


def export_steps(trained: str, checkpoints: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Writes one SavedModel for each checkpoint, with everything but the weights from `trained`.

    Args:
      trained: SavedModel whose root has an attribute `model`, saved from the model that the checkpoints are of.
      checkpoints: (TensorFlow prefix, folder to write) pairs.

    Yields:
      Each folder once it is written.

    Raises:
      ModelError: the export has no `model`, or a checkpoint is of another model.
    """
    loaded = tf.saved_model.load(trained)
    if not hasattr(loaded, "model"):
        raise ModelError(
            f"The Trainer's export {trained} has no attribute `model` to restore checkpoints into. "
            f"Export with checkpoint_gate.exporting.ServedModel."
        )
    for prefix, folder in checkpoints:
        try:
            status = tf.train.Checkpoint(model=loaded.model).read(prefix)
            status.assert_existing_objects_matched()
            status.expect_partial()  # the optimizer stays behind
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"The checkpoint {prefix} is not of the model in {trained}: {reason}") from error
        tf.saved_model.save(loaded, folder, signatures=dict(loaded.signatures))
        yield folder


def write_sample(folder: str, examples: Iterable[bytes]) -> None:
    """Puts serialized examples beside a SavedModel, for the check that it predicts before it is pushed."""
    extra = os.path.join(folder, "assets.extra")
    tf.io.gfile.makedirs(extra)
    with tf.io.TFRecordWriter(os.path.join(extra, "examples.tfrecord")) as writer:
        for example in examples:
            writer.write(example)
