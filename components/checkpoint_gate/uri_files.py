"""Files on a local disk, by plain `os` calls, or behind a URL, by TFX's `fileio`.

Neither TFX nor TensorFlow is imported for local ones.
"""

from __future__ import annotations

import os


def is_local(uri: str) -> bool:
    """Whether plain `os` calls can reach `uri`."""
    return "://" not in uri


def names_in(folder: str) -> list[str]:
    """The names in a folder.

    Raises:
        OSError: it cannot be listed; FileNotFoundError where there is none.
    """
    if is_local(folder):
        return os.listdir(folder)
    import tensorflow as tf
    from tfx.dsl.io import fileio

    try:
        return [str(name).rstrip("/") for name in fileio.listdir(folder)]  # object stores end folders with a slash
    except fileio.NotFoundError:
        raise FileNotFoundError(folder) from None
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def is_there(path: str) -> bool:
    """Whether there is a file of this name."""
    if is_local(path):
        return os.path.isfile(path)
    from tfx.dsl.io import fileio

    return bool(fileio.exists(path))


def read_file(path: str, limit: int = -1) -> bytes | None:
    """The first `limit` bytes of a file, all of them when it is negative; None when there is no such file."""
    if not is_there(path):
        return None
    if is_local(path):
        with open(path, "rb") as file:
            return file.read(limit)
    from tfx.dsl.io import fileio

    with fileio.open(path, "rb") as file:
        return bytes(file.read(limit))


def write_file(path: str, data: bytes) -> None:
    """Writes a file, and the folder that it lies in."""
    folder = os.path.dirname(path)
    if is_local(path):
        os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as local:
            local.write(data)
        return
    from tfx.dsl.io import fileio

    fileio.makedirs(folder)
    with fileio.open(path, "wb") as file:
        file.write(data)
