"""The push folder: which versions of the model stand in it, and which one is the champion.

A version is live when its folder is named by a positive integer and holds `saved_model.pb`, the file that
is written last; that is also when TensorFlow Serving would load it. The champion is the newest live version.
"""

from __future__ import annotations

import hashlib
import os
import re

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.pushed.push_log import numbers_used, read_log, withdrawals
from checkpoint_gate.uri_files import is_there, names_in, read_file

GRAPH_FILE = "saved_model.pb"

# What identifies the content of a SavedModel without reading its weights: the fingerprint is a checksum of graph
# and variables; the index, for models older than fingerprints, holds a checksum of each tensor.
_IDENTITY_FILES = ("fingerprint.pb", "variables/variables.index")

_INTEGER = re.compile(r"[0-9]+")
_LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving reads versions as signed 64-bit integers


def live_versions(folder: str) -> tuple[int, ...]:
    """The live versions in `folder`, ascending; none when the folder does not exist.

    Raises:
        ConfigError: the folder exists but cannot be listed.
    """
    candidates = (_positive_version(name) for name in _names(folder))
    return tuple(sorted(v for v in candidates if v is not None and is_there(os.path.join(folder, str(v), GRAPH_FILE))))


def version_path(folder: str, version: int) -> str:
    """The folder of a version."""
    return os.path.join(folder, str(version))


def champion_path(folder: str) -> str | None:
    """The newest live version's folder, or None when no version is live."""
    versions = live_versions(folder)
    return version_path(folder, versions[-1]) if versions else None


def listing_digest(folder: str) -> str:
    """Digest of the live versions, of what identifies their content, without reading their weights, and of withdrawals.

    It changes when a version appears, vanishes or is replaced, when weights are withdrawn or allowed again, and only
    then; a folder that does not exist is as one without versions.

    Raises:
        StoreError: the folder's log is damaged.
    """
    digest = hashlib.sha256()
    for version in live_versions(folder):
        digest.update(f"{version}\n".encode())
        for name in _IDENTITY_FILES:
            content = read_file(os.path.join(folder, str(version), name))
            digest.update(f"{name} {'absent' if content is None else len(content)}\n".encode())
            digest.update(content or b"")
    for withdrawn in sorted(each.weights for each in withdrawals(read_log(folder))):
        digest.update(f"withdrawn {withdrawn}\n".encode())
    return digest.hexdigest()


def next_version(folder: str, now: int) -> int:
    """The version to push at the time `now` (whole seconds): above 0 and every present one, even with the clock behind.

    Every name made of digits counts, half-written versions too, and every number of a version that has gone since.

    Raises:
        StoreError: the folder's log is damaged.
    """
    present = [int(name) for name in _names(folder) if _INTEGER.fullmatch(name)] + numbers_used(read_log(folder))
    return max([1, now, *(version + 1 for version in present if version < _LARGEST_VERSION)])


def _positive_version(name: str) -> int | None:
    """The version that `name` stands for; None for any other spelling (`007`, `+7`, `7.tmp`)."""
    if not _INTEGER.fullmatch(name) or name.startswith("0"):
        return None
    version = int(name)
    return version if version <= _LARGEST_VERSION else None


def _names(folder: str) -> list[str]:
    try:
        return names_in(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(
            f"The push folder {folder} cannot be listed ({error.strerror or error}): name a folder that can be read "
            "and written, or one that does not exist yet."
        ) from error
