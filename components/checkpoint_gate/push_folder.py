"""The push folder: which versions of the model stand in it, and which one is the champion.

A version is live when its folder is named by a positive integer and holds `saved_model.pb`, the file that
is written last; that is also when TensorFlow Serving would load it. The champion is the newest live version.

Local folders are read with plain `os` calls, so that this module imports neither TFX nor TensorFlow for them;
object stores are read through TFX's `fileio`.
"""

from __future__ import annotations

import hashlib
import os
import re

from checkpoint_gate.errors import ConfigError

GRAPH_FILE = "saved_model.pb"

# What identifies the content of a SavedModel without reading its weights: the fingerprint is a checksum of graph
# and variables; the index, for models older than fingerprints, holds a checksum of each tensor.
_IDENTITY_FILES = ("fingerprint.pb", "variables/variables.index")

_INTEGER = re.compile(r"[0-9]+")
_LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving reads versions as signed 64-bit integers


def is_local(uri: str) -> bool:
    """Whether plain `os` calls can reach `uri`."""
    return "://" not in uri


def live_versions(folder: str) -> tuple[int, ...]:
    """The live versions in `folder`, ascending; none when the folder does not exist.

    Raises:
        ConfigError: the folder exists but cannot be listed.
    """
    candidates = (_positive_version(name) for name in _names(folder))
    return tuple(sorted(v for v in candidates if v is not None and _exists(os.path.join(folder, str(v), GRAPH_FILE))))


def champion_path(folder: str) -> str | None:
    """The newest live version's folder, or None when no version is live."""
    versions = live_versions(folder)
    return os.path.join(folder, str(versions[-1])) if versions else None


def listing_digest(folder: str) -> str:
    """Digest of the live versions and of what identifies their content, without reading their weights.

    It changes when a version appears, vanishes or is replaced, and only then; a folder that does not exist is as
    one without versions.
    """
    digest = hashlib.sha256()
    for version in live_versions(folder):
        digest.update(f"{version}\n".encode())
        for name in _IDENTITY_FILES:
            content = _read(os.path.join(folder, str(version), name))
            digest.update(f"{name} {'absent' if content is None else len(content)}\n".encode())
            digest.update(content or b"")
    return digest.hexdigest()


def next_version(folder: str, now: int) -> int:
    """The version to push at the time `now` (whole seconds): above every present one, even if the clock is behind.

    Every name made of digits counts, half-written versions too.
    """
    present = [int(name) for name in _names(folder) if _INTEGER.fullmatch(name)]
    return max([now, *(version + 1 for version in present if version < _LARGEST_VERSION)])


def _positive_version(name: str) -> int | None:
    """The version that `name` stands for; None for any other spelling (`007`, `+7`, `7.tmp`)."""
    if not _INTEGER.fullmatch(name) or name.startswith("0"):
        return None
    version = int(name)
    return version if version <= _LARGEST_VERSION else None


def _names(folder: str) -> list[str]:
    try:
        if is_local(folder):
            return os.listdir(folder)
        return _remote_names(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(
            f"The push folder {folder} cannot be listed ({error.strerror or error}): name a folder that can be read "
            "and written, or one that does not exist yet."
        ) from error


def _remote_names(folder: str) -> list[str]:
    import tensorflow as tf
    from tfx.dsl.io import fileio

    try:
        return [str(name).rstrip("/") for name in fileio.listdir(folder)]  # object stores end folders with a slash
    except fileio.NotFoundError:
        raise FileNotFoundError(folder) from None
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _exists(path: str) -> bool:
    if is_local(path):
        return os.path.isfile(path)
    from tfx.dsl.io import fileio

    return bool(fileio.exists(path))


def _read(path: str) -> bytes | None:
    """The file's bytes; None when there is no such file."""
    if not _exists(path):
        return None
    if is_local(path):
        with open(path, "rb") as file:
            return file.read()
    from tfx.dsl.io import fileio

    with fileio.open(path, "rb") as file:
        return bytes(file.read())
