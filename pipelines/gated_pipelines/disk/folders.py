"""Where artifacts lie: only what is strictly inside the artifacts folder, on a path without links, may be removed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.files import LocalFiles

_FILE_URL = "file://"


def folder_inside(files: LocalFiles, root: str, uri: str) -> str | None:
    """The path of an artifact relative to the artifacts folder; None when it is not one that may be removed.

    Args:
      files: the artifacts folder.
      root: how it is spelled in URIs.
      uri: an artifact's; an absolute path, plainly spelled.
    """
    base = next((base for base in (root.rstrip("/"), str(files.root)) if uri.startswith(f"{base}/")), None)
    if base is None:
        return None
    path = uri[len(base) + 1 :].removesuffix("/")
    parts = path.split("/")
    if any(part.startswith(".") for part in parts):  # what climbs, and what TFX keeps for itself
        return None
    try:
        plain = files.is_folder(path) or files.is_file(path) or not files.exists(path)
    except (StoreError, OSError):  # a link on the way, or a spelling of its own
        return None
    return path if plain else None


def real_place(uri: str) -> str | None:
    """The real path that a URI leads to; None where it is not on this disk."""
    path = uri.removeprefix(_FILE_URL)
    return os.path.realpath(path) if "\0" not in path and path.startswith("/") else None


@dataclass
class Places:
    """Real paths that must stay; answers whether another one contains one of them, is inside one, or is one."""

    _exact: dict[str, int] = field(default_factory=dict)
    _above: dict[str, int] = field(default_factory=dict)

    def add(self, place: str, artifact: int) -> None:
        self._exact.setdefault(place, artifact)
        for parent in _parents(place):
            self._above.setdefault(parent, artifact)

    def sharing(self, place: str) -> int | None:
        """The artifact that shares bytes with `place`; None without one."""
        inside = (self._exact[each] for each in (place, *_parents(place)) if each in self._exact)
        return next(inside, self._above.get(place))


def _parents(place: str) -> Iterator[str]:
    while place not in ("/", ""):
        place = os.path.dirname(place)
        yield place


def unknown_folders(files: LocalFiles, known: Iterable[str]) -> list[str]:
    """What lies below the artifacts folder beside the `known` paths, TFX's `.system` folders excepted; topmost only."""
    known = set(known)
    above = {parent for path in known for parent in _parents(f"/{path}")}
    return list(_unknown(files, None, known, above))


def _unknown(files: LocalFiles, folder: str | None, known: set[str], above: set[str]) -> Iterator[str]:
    for name in files.names(folder):
        path = name if folder is None else f"{folder}/{name}"
        if path in known or name == ".system":
            continue
        if f"/{path}" in above and files.is_folder(path):
            yield from _unknown(files, path, known, above)
        elif _holds_something(files, path):
            yield path


def _holds_something(files: LocalFiles, path: str) -> bool:
    """Whether there is anything but folders, and TFX's own."""
    if not files.is_folder(path):
        return True
    return any(_holds_something(files, f"{path}/{name}") for name in files.names(path) if name != ".system")


def remains(files: LocalFiles, failed: Mapping[int, str], known: Iterable[str]) -> list[str]:
    """Folders that TFX made for executions which then were killed: their outputs, and what they had at hand.

    Args:
      failed: execution -> its component, of those that ended without success.
      known: paths of artifacts; no such folder is one of them, inside one, or above one.
    """
    known = set(known)
    above = {parent for path in known for parent in _parents(f"/{path}")}
    found = []
    for execution, component in sorted(failed.items()):
        if not files.is_folder(component):
            continue
        outputs = [f"{component}/{key}" for key in files.names(component) if key != ".system"]
        for place in (f"{component}/.system/executor_execution", *outputs):
            path = f"{place}/{execution}"
            own = {path, *(parent[1:] for parent in _parents(f"/{path}"))}
            if known.isdisjoint(own) and f"/{path}" not in above and _holds_something_here(files, path):
                found.append(path)
    return found


def _holds_something_here(files: LocalFiles, path: str) -> bool:
    try:
        return files.is_folder(path) and _holds_something(files, path)
    except (StoreError, OSError):  # a link on the way or in it
        return False


def empty_leftovers(files: LocalFiles, finished: Iterable[int], all_finished: bool) -> list[str]:
    """Empty folders of TFX's `.system` that finished executions have left, each before those above it.

    Args:
      finished: ids of executions that have ended.
      all_finished: whether none is at work; a driver's folders do not tell of which execution they are.
    """
    ids = {str(each) for each in finished}
    found = []
    for component in files.names():
        system = f"{component}/.system"
        if not (files.is_folder(component) and files.is_folder(system)):
            continue
        for kind in files.names(system):
            if not files.is_folder(f"{system}/{kind}"):
                continue
            for name in files.names(f"{system}/{kind}"):
                path = f"{system}/{kind}/{name}"
                done = name in ids if kind == "executor_execution" else all_finished
                if done and files.is_folder(path) and not files.names(path):
                    found.append(path)
    return found
