"""The classes of a classifier's label, carried in its SavedModel.

`serving_default` answers with numbers by class; which class each number is for stands in the SavedModel's
`assets/label_classes.json`, a JSON array of texts in the order of the numbers. It stays when the model is loaded and
saved again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from checkpoint_gate.errors import ModelError
from checkpoint_gate.rules.records import dump_json, load_json

_FILE = "label_classes.json"


def classes_asset(classes: Sequence[str], folder: str) -> Any:
    """The classes as a `tf.saved_model.Asset`: make it an attribute of what is saved.

    Args:
        classes: texts in the order of the model's outputs; for a binary label (negative, positive).
        folder: an existing local folder that stays until the model is saved.
    """
    path = os.path.join(folder, _FILE)
    with open(path, "w", encoding="utf-8") as file:
        file.write(dump_json(list(classes)) + "\n")
    return tf.saved_model.Asset(path)


def read_classes(saved_model_dir: str) -> tuple[str, ...] | None:
    """The classes that a SavedModel carries; None when it carries none.

    Raises:
        ModelError: they are there but cannot be read.
    """
    path = os.path.join(saved_model_dir, "assets", _FILE)
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path) as file:
            value = load_json(file.read())
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError("it must be a list of texts")
    except (tf.errors.OpError, ValueError) as error:
        raise ModelError(f"The label's classes {path} cannot be read ({error}).") from error
    return tuple(value)
