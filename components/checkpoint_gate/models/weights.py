"""Whether two SavedModels hold the same weights."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import tensorflow as tf

from checkpoint_gate.errors import ModelError, StoreError
from checkpoint_gate.uri_files import files_below, local_copy

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OF_THE_MODEL = "model/"  # our exports keep the Keras model in the attribute `model`, beside the transform
_NOT_WEIGHTS = ("optimizer/", "model/optimizer/", "save_counter/")

_DAMAGE = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError),
    *(tf.errors.OpError, ValueError, RuntimeError, IndexError),  # IndexError: a file is too short
)


def weights_digest(saved_model_dir: str) -> str:
    """Digest of the names, dtypes, shapes and bytes of a SavedModel's weights, and of nothing else.

    Two exports of one checkpoint are equal, whatever graph, signatures, assets and optimizer state they carry.
    Of a SavedModel with an attribute `model`, only what is below it counts; of any other, every numeric variable.

    Args:
        saved_model_dir: folder of a SavedModel, local or behind a URL.

    Raises:
        ModelError: the variables are missing, or their content cannot be read.
        StoreError: they cannot be reached: no right, no answer, no room for a copy. They may be whole.
    """
    digest = hashlib.sha256()
    try:
        with local_copy(os.path.join(saved_model_dir, "variables")) as variables:
            _open_each(variables)
            _add_weights(digest, variables)
    except _DAMAGE as error:
        raise ModelError(
            f"The weights of the SavedModel in {saved_model_dir} cannot be read ({_first_line(error)}): the folder is "
            "damaged or holds no SavedModel; move it away and run again."
        ) from error
    except OSError as error:
        raise StoreError(
            f"The weights of the SavedModel in {saved_model_dir} cannot be reached ({error.strerror or error}), so "
            "they cannot be compared with others; run again when they can."
        ) from error
    return digest.hexdigest()


def _open_each(variables: str) -> None:
    """Raises the `OSError` of a file that cannot be opened: TensorFlow takes it for a damaged one."""
    for name in files_below(variables):
        with open(os.path.join(variables, name), "rb") as file:
            file.read(1)


def _add_weights(digest: hashlib._Hash, variables: str) -> None:
    reader = tf.train.load_checkpoint(os.path.join(variables, "variables"))
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    names = _weight_names(dtypes)
    if not names:  # else all models without weights would be the same model
        raise ValueError("it has no weights")
    for name in names:
        digest.update(f"{name} {dtypes[name].name} {shapes[name]}\n".encode())
        digest.update(np.asarray(reader.get_tensor(name)).tobytes())


def _weight_names(dtypes: dict[str, tf.DType]) -> list[str]:
    """The names that count, in the order in which they are digested."""
    numeric = {name for name, dtype in dtypes.items() if dtype != tf.string and name != _OBJECT_GRAPH}
    of_the_model = {name for name in numeric if name.startswith(_OF_THE_MODEL)}
    return sorted(name for name in of_the_model or numeric if not name.startswith(_NOT_WEIGHTS))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
