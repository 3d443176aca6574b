"""The best champion so far of a push folder, as the papers of its versions tell.

Each version that was measured against the best before it says in its papers which one was the best as of its push. So a
champion cannot drift down by losses that are tolerated one by one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import ModelError
from checkpoint_gate.pushed.papers import Push, read_papers
from checkpoint_gate.pushed.push_folder import live_versions, version_path
from checkpoint_gate.pushed.push_log import withdrawal_of, withdrawn_from
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.uri_files import read_file, write_file

_HANDED_ON = "best.json"
_FOLDER = "best"


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """A pushed version.

    Attributes:
        version: its number.
        passed_over: why it is this one though papers name others; one phrase each.
    """

    version: int
    passed_over: tuple[str, ...] = ()


def best_so_far(folder: str) -> BestSoFar | None:
    """The best version as of the newest live one whose papers tell, else the champion; None while no version is live.

    One that is gone or withdrawn cannot be it: what the papers before it tell counts then.

    Raises:
        ConfigError: the folder cannot be listed.
        StoreError: its log is damaged.
    """
    versions = live_versions(folder)
    if not versions:
        return None
    passed_over: dict[int, str] = {}
    withdrawn = withdrawn_from(folder)
    pushes = {version: _push(folder, version) for version in versions}
    for version in reversed(versions):
        best = _told(pushes[version])
        if best is None or best in passed_over:
            continue
        if best not in pushes:
            passed_over[best] = f"version {best}, the best so far, is gone"
        elif (push := pushes[best]) is not None and (withdrawal := withdrawal_of(push.weights, withdrawn)) is not None:
            passed_over[best] = f"version {best}, the best so far, was {withdrawal}"
        else:
            return BestSoFar(best, tuple(passed_over.values()))
    return BestSoFar(versions[-1], tuple(passed_over.values()))


def best_after(push_blessing: Mapping[str, Any] | None, version: int) -> int | None:
    """Which version is the best once `version` is pushed; None where that was not measured.

    Args:
        push_blessing: what verdict.json says.
    """
    improves = (push_blessing or {}).get("improves_on_best")
    if push_blessing is None or improves is None:
        return None
    name = os.path.basename(str(push_blessing.get("best") or ""))
    return version if improves else int(name) if name.isdigit() else None


def _push(folder: str, version: int) -> Push | None:
    try:
        papers = read_papers(version_path(folder, version))
    except ModelError:
        return None
    return papers.push if papers is not None else None


def _told(push: Push | None) -> int | None:
    return push.best if push is not None else None


def place_for(uri: str) -> str:
    """Where in a champion's artifact the best version lies, in the layout of a Model of its own."""
    return os.path.join(uri, _FOLDER)


def hand_on(uri: str, folder: str, version: int) -> None:
    """Writes into a champion's artifact which version lies at `place_for(uri)`."""
    value = {"version": version, "path": version_path(folder, version)}
    write_file(os.path.join(uri, _HANDED_ON), (dump_json(value, indent=1) + "\n").encode())


def handed_on(uri: str) -> str | None:
    """Where the version at `place_for(uri)` stands in the push folder; None where the champion is the best itself."""
    data = read_file(os.path.join(uri, _HANDED_ON))
    return None if data is None else str(load_json(data)["path"])
