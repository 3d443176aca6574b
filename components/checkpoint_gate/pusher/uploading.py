"""A model brought to where there is no rename: the file that makes it a live version is written last."""

from __future__ import annotations

from checkpoint_gate.pushed.push_folder import GRAPH_FILE
from checkpoint_gate.uri_files import copy_file, files_below, remove_file, same_bytes


def upload_model(model: str, target: str) -> None:
    """Copies a SavedModel byte for byte, each file read back; nothing is live before the last one is.

    Args:
        model: its folder on the disk.
        target: the URL of the new version's folder.

    Raises:
        OSError: it cannot be written, or what was written differs. No version is live then.
    """
    for name in sorted(files_below(model).keys() - {GRAPH_FILE}):
        _copy_verified(f"{model}/{name}", f"{target}/{name}")
    try:
        _copy_verified(f"{model}/{GRAPH_FILE}", f"{target}/{GRAPH_FILE}")
    except OSError:
        remove_file(f"{target}/{GRAPH_FILE}")
        raise


def _copy_verified(source: str, target: str) -> None:
    copy_file(source, target)
    if not same_bytes(source, target):
        raise OSError(f"the copy {target} differs from {source}")
