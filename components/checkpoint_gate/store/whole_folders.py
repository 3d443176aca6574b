"""Folders that go as a whole, file by file: links are neither followed nor removed."""

from __future__ import annotations

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.files import LocalFiles


def files_in(files: LocalFiles, folder: str) -> tuple[list[str], list[str]]:
    """The files below a folder, and the folders, itself first, each before those in it.

    Raises:
        StoreError: there is something else in it, such as a link.
    """
    paths, folders = [], [folder]
    for name in files.names(folder):
        path = f"{folder}/{name}"
        if files.is_folder(path):
            below = files_in(files, path)
            paths += below[0]
            folders += below[1]
        elif files.is_file(path):
            paths.append(path)
        else:
            raise StoreError(f"{files.place(path)} is neither a file nor a folder, and is left alone.")
    return paths, folders


def remove_whole(files: LocalFiles, folder: str) -> str | None:
    """Removes a folder, file by file; what stands in the way, None when it is gone or was never there."""
    try:
        paths, folders = files_in(files, folder)
        for path in paths:
            files.remove_file(path)
        for below in reversed(folders):
            files.remove_folder(below)
    except StoreError as error:
        return str(error)
    except OSError as error:
        return f"{files.place(folder)} cannot be removed: {error.strerror or error}"
    return None
