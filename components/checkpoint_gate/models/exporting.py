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

    Two attributes may be set besides, tf.functions that `serving_default` is made of: `features`, from what it takes to
    a dict of tensors, without the model, and `answer`, from that dict to its outputs. CheckpointEvaluator then calls
    `features` once for all checkpoints.
    """

    def __init__(self, model: keras.Model, **parts: Any) -> None:
        super().__init__()
        # A functional model over the same layers leaves the optimizer's slots behind and keeps the layers' places.
        self.model = keras.Model(model.inputs, model.outputs) if _is_functional(model) else model
        for name, part in parts.items():
            setattr(self, name, part)


def _is_functional(model: keras.Model) -> bool:
    return isinstance(model, keras.Model) and hasattr(model, "operations") and hasattr(model, "inputs")


def load_trained(trained: str) -> Any:
    """The Trainer's export, as `tf.saved_model.load` gives it.

    Raises:
      ModelError: it does not load, or has no attribute `model`.
    """
    try:
        loaded = tf.saved_model.load(trained)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"The Trainer's export {trained} does not load: {_first_line(error)}") from error
    if not hasattr(loaded, "model"):
        raise ModelError(
            f"The Trainer's export {trained} has no attribute `model` to restore checkpoints into. "
            f"Export with checkpoint_gate.models.exporting.ServedModel."
        )
    return loaded


def restore(loaded: Any, prefix: str) -> None:
    """Puts a checkpoint's weights into a loaded export.

    Raises:
      ModelError: the checkpoint is of another model.
    """
    try:
        status = tf.train.Checkpoint(model=loaded.model).read(prefix)
        status.assert_existing_objects_matched()
        status.expect_partial()  # the optimizer stays behind
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise ModelError(
            f"The checkpoint {prefix} is not of the model in the Trainer's export: {_first_line(error)}"
        ) from error


def weights_of(loaded: Any) -> dict[str, tf.Variable]:
    """The variables below `model` of a loaded export, by their way through the object graph, each once."""
    found: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    below = [("model", loaded.model)]
    while below:
        path, holder = below.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        if isinstance(holder, tf.Variable):
            found[path] = holder
        below += [(f"{path}/{name}", child) for name, child in tf.train.TrackableView.children(holder).items()]
    return dict(sorted(found.items()))


def weights_used(loaded: Any, function: Any) -> dict[str, tf.Variable]:
    """Those of `weights_of` that a signature of the export reads."""
    captured = {id(tensor) for tensor in function.captured_inputs}
    return {path: weight for path, weight in weights_of(loaded).items() if id(weight.handle) in captured}


def state_beside_variables(prefix: str) -> str | None:
    """The name of something in the checkpoint's model that is no variable, such as a lookup table; None without."""
    for name, _ in tf.train.list_variables(prefix):
        holder, _, kind = str(name).partition("/.ATTRIBUTES/")
        if holder.startswith("model/") and kind not in ("VARIABLE_VALUE", "OBJECT_CONFIG_JSON"):
            return holder
    return None


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
    loaded = load_trained(trained)
    for prefix, folder in checkpoints:
        restore(loaded, prefix)
        tf.saved_model.save(loaded, folder, signatures=dict(loaded.signatures))
        yield folder


def write_sample(folder: str, examples: Iterable[bytes]) -> None:
    """Puts serialized examples beside a SavedModel, for the check that it predicts before it is pushed."""
    extra = os.path.join(folder, "assets.extra")
    tf.io.gfile.makedirs(extra)
    with tf.io.TFRecordWriter(os.path.join(extra, "examples.tfrecord")) as writer:
        for example in examples:
            writer.write(example)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
