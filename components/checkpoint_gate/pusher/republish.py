"""A version of the push folder published once more, byte for byte, with other papers."""

from __future__ import annotations

import os
from collections.abc import Callable

from checkpoint_gate.papers import FILE as PAPERS
from checkpoint_gate.papers import Papers
from checkpoint_gate.push_folder import GRAPH_FILE
from checkpoint_gate.pusher.publish import config_error, make_visible
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.uri_files import is_local, read_file, write_file


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
    check(source)
    target = os.path.join(folder, str(version))
    with config_error(folder):
        _copy_verified(source, target, papers)
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


def _copy_verified(source: str, target: str, papers: Papers | None) -> None:
    """Copies a version byte for byte, each file read back, the file that makes it live last."""
    from tfx.dsl.io import fileio

    paths = [os.path.join(str(folder), str(name)) for folder, _, names in fileio.walk(source) for name in names]
    graph = os.path.join(source, GRAPH_FILE)
    for path in (*(each for each in paths if each != graph), graph):
        relative = os.path.relpath(path, source)
        data = papers.to_bytes() if papers is not None and relative == PAPERS else read_file(path)
        place = os.path.join(target, relative)
        write_file(place, data or b"")
        if read_file(place) != data:
            raise OSError(f"the copy {place} differs from {path}")
