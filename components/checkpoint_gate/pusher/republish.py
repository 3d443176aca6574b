"""A version of the push folder published once more, byte for byte, with other papers."""

from __future__ import annotations

import os
from collections.abc import Callable

from checkpoint_gate.pushed.papers import FILE as PAPERS
from checkpoint_gate.pushed.papers import Papers, write_papers
from checkpoint_gate.pusher.publish import config_error, make_visible
from checkpoint_gate.pusher.uploading import upload_model
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.uri_files import is_local, local_copy


def republish(source: str, folder: str, version: int, papers: Papers | None, check: Callable[[str], None]) -> str:
    """Publishes a version again under another number, and returns the new version's path.

    On a disk by hard links, or by verified copies where there are none; elsewhere by copies that are read back.

    Args:
        source: folder of the version, in the push folder.
        folder: the push folder; call this within `exclusive(folder)`.
        version: a number that `next_version` gave.
        papers: those of the new version; None leaves them as they are.
        check: raises when the model in the given folder must not become visible.

    Raises:
        ConfigError: the folder cannot be written. Nothing is visible then, as after any other error.
        StoreError: the version is a symbolic link.
    """
    if is_local(folder):
        return make_visible(folder, version, lambda new: _link(folder, source, new, papers), check)
    target = os.path.join(folder, str(version))
    with config_error(folder), local_copy(source) as copy:
        check(copy)
        if papers is not None:
            write_papers(copy, papers)
        upload_model(copy, target)
    return target


def _link(push_folder: str, source: str, target: str, papers: Papers | None) -> None:
    """Fills the folder `target` with links to the files of `source`, or with verified copies of them."""
    files = LocalFiles(push_folder)
    old, new = os.path.basename(source), os.path.basename(target)
    for folder, name in _tree(files, old):
        there = new + folder.removeprefix(old)
        files.make_folder(there)
        if f"{there}/{name}" != f"{new}/{PAPERS}" or papers is None:
            files.link(f"{folder}/{name}", f"{there}/{name}")
    if papers is not None:
        files.create(f"{new}/{PAPERS}", papers.to_bytes())


def _tree(files: LocalFiles, folder: str) -> list[tuple[str, str]]:
    """(folder, name) of every file below a folder of the push folder."""
    found = []
    for name in files.names(folder):
        path = f"{folder}/{name}"
        found += _tree(files, path) if files.is_folder(path) else [(folder, name)]
    return found
