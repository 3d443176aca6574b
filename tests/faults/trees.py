"""Folders as plain data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

Tree = Mapping[str, "bytes | None"]
"""Path -> bytes of a file, None for a folder; a folder comes before what is in it."""


def tree_of(root: Path) -> Tree:
    """Everything below a folder."""
    tree: dict[str, bytes | None] = {}
    _read_tree(str(root), "", tree)
    return tree


def _read_tree(place: str, prefix: str, tree: dict[str, bytes | None]) -> None:
    if not os.path.isdir(place):
        return
    for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            tree[path] = None
            _read_tree(entry.path, path + "/", tree)
        else:
            with open(entry.path, "rb") as file:
                tree[path] = file.read()


def write_tree(root: Path, tree: Tree) -> None:
    """Makes a folder hold exactly this."""
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    for path, data in tree.items():
        if data is None:
            os.mkdir(f"{root}/{path}")
        else:
            with open(f"{root}/{path}", "wb") as file:
                file.write(data)
