"""Which marks are on the disk when a checkpoint moves or goes: a journal that names it, a tombstone before bytes go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

_STEP = re.compile(r"/(checkpoints|trash)/step-(\d{9})(?:--([0-9a-f]{12}))?(/|$)")


class Watch:
    """Hears of every call, remembers which marks are on the disk, and judges what moves and what goes.

    Args:
      case: is told of each change of a published checkpoint, with what it breaks.
    """

    def __init__(self, case: Callable[..., None]) -> None:
        self._case = case
        self._synced: set[str] = set()  # files whose bytes are on the disk
        self._renamed: dict[str, set[str]] = {}  # folder -> journals whose names are not on the disk yet
        self._journals: dict[str, set[int]] = {}  # first digits of a plan's digest -> the steps it names
        self._stones: set[tuple[str, int]] = set()

    def __call__(self, operation: str, places: tuple[str, ...]) -> None:
        match operation:
            case "fsync":
                self._sync(places[0])
            case "replace" if "/journal/" in places[1] and places[0] in self._synced:
                self._renamed.setdefault(places[1].rpartition("/")[0], set()).add(places[1])
            case "rename":
                self._judge(places[0], f"{places[0]} -> {places[1]}", places[1])
            case "unlink":
                self._judge(places[0], f"unlink {places[0]}")

    def believe(self, store: Path) -> None:
        """Takes the marks that a store has for being on the disk: those of processes that were heard before."""
        for path in store.glob("*/tombstones.jsonl"):
            self._read_tombstones(path)
        for path in store.glob("*/journal/*.json"):
            self._read_journal(path)

    def _sync(self, place: str) -> None:
        self._synced.add(place)
        if place.endswith("tombstones.jsonl"):
            self._read_tombstones(Path(place))
        for journal in self._renamed.pop(place, ()):
            self._read_journal(Path(journal))

    def _read_tombstones(self, path: Path) -> None:
        for line in map(json.loads, path.read_text().splitlines()):
            if line["event"] in ("trashed", "undeleted"):
                self._stones.add((line["plan"][:12], line["step"]))

    def _read_journal(self, path: Path) -> None:
        value = json.loads(path.read_text())
        self._journals[value["plan"][:12]] = {item["step"] for item in value["going"]}

    def _judge(self, source: str, what: str, target: str = "") -> None:
        """Tells of what changes a published checkpoint, and asks for its mark."""
        found = _STEP.search(source)
        if found is None or "/run/tmp/" in source:
            return
        goal = _STEP.search(target)
        plan, step = (goal or found)[3] or found[3], int(found[2])
        if found[1] == "checkpoints" and (goal is None or goal[1] != "trash") and "/superseded/" not in target:
            self._case(f"{what}: leaves its place for another one than the trash")
        elif found[1] == "checkpoints" and goal is not None:
            self._case(*[] if self._named(plan, step) else [f"{what}: no journal on the disk names it"])
        elif found[1] == "trash":
            marked = self._named(plan, step) and (plan, step) in self._stones
            self._case(*[] if marked else [f"{what}: no journal and tombstone on the disk name it"])

    def _named(self, plan: str, step: int) -> bool:
        return step in self._journals.get(plan, ())
