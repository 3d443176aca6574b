"""What is done to a push folder, as works to be tried under faults: pushes, rollbacks, prunings of old versions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.pushed.push_log import read_log, withdrawn_from
from checkpoint_gate.pusher.pruning import TRASH, prune_versions
from checkpoint_gate.pusher.publish import exclusive, publish
from checkpoint_gate.pusher.rollback import plan_rollback, plan_undo, roll_back, undo_rollback
from checkpoint_gate.rules.retention import Keep
from faults.papers import write_version
from faults.trees import tree_of
from faults.world import World

VERSION = 1_790_000_000
SAVED_MODEL = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
)


def saved_model(name: str) -> dict[str, bytes]:
    """The files of a model, in small."""
    return {path: f"{path} of {name}".encode() * 3 for path in SAVED_MODEL}


@dataclass(frozen=True)
class Push:
    """A model becomes a version of the push folder, beside one that is there or as the first one."""

    first: bool

    @property
    def name(self) -> str:
        return "first push" if self.first else "push"

    def prepare(self, world: World) -> None:
        _write(world.folder / "model", "new")
        if not self.first:
            _write(self._folder(world) / str(VERSION), "old")

    def _folder(self, world: World) -> Path:
        return world.folder / "disk" / "push" / "models"

    def do(self, world: World) -> Sequence[str]:
        """What the Pusher does once the model is blessed."""
        folder = str(self._folder(world))
        with exclusive(folder):
            if "new" not in self._versions(world).values():
                publish(str(world.folder / "model"), folder, VERSION, _require_whole)
        world.note("pushed")
        return ()

    def _versions(self, world: World) -> dict[int, str]:
        """Version -> whose files are in it, byte for byte; "" where they are nobody's."""
        folder = self._folder(world)
        content = {version: _files(folder / str(version)) for version in live_versions(str(folder))}
        return {v: next((n for n in ("old", "new") if files == saved_model(n)), "") for v, files in content.items()}

    def broken(self, world: World) -> Iterator[str]:
        versions = self._versions(world)
        yield from (f"version {version} is visible and not whole" for version, name in versions.items() if not name)
        if not self.first and versions.get(VERSION) != "old":
            yield "the version before is lost"
        if list(versions.values()).count("new") > 1:
            yield "the model was pushed twice"

    def unkept(self, world: World, what: str) -> Iterator[str]:
        if "new" not in self._versions(world).values():
            yield "the pushed version is lost"

    def outcome(self, world: World) -> object:
        return self._versions(world)

    def leftovers(self, world: World) -> Iterator[str]:
        names = os.listdir(self._folder(world))
        yield from (f"{name} is left over" for name in names if not name.isdecimal())


def _write(folder: Path, name: str) -> None:
    os.makedirs(folder / "variables", exist_ok=True)
    for path, data in saved_model(name).items():
        (folder / path).write_bytes(data)


def _files(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree_of(folder).items() if data is not None}


def _require_whole(folder: str) -> None:
    if _files(Path(folder)) != saved_model("new"):
        raise ValueError(f"{folder} cannot serve")


FIRST, SECOND, THIRD = VERSION, VERSION + 10, VERSION + 20
NEXT = VERSION + 100
FILES = {"saved_model.pb", "fingerprint.pb", "variables/variables.index", "assets.extra/checkpoint_gate.json"}


@dataclass(frozen=True)
class PushFolderWork:
    """What all works on a push folder of three versions share."""

    def prepare(self, world: World) -> None:
        for version, weights in ((FIRST, "w1"), (SECOND, "w2"), (THIRD, "w3")):
            write_version(self.folder(world), version, weights)

    def folder(self, world: World) -> Path:
        return world.folder / "disk" / "push"

    def live(self, world: World) -> dict[int, str]:
        """Version -> its weights; "" where it is not whole."""
        folder = self.folder(world)
        return {version: _weights(folder / str(version)) for version in live_versions(str(folder))}

    def champion(self, world: World) -> str:
        return list(self.live(world).values())[-1]

    def broken(self, world: World) -> Iterator[str]:
        yield from (f"version {v} is visible and not whole" for v, weights in self.live(world).items() if not weights)

    def leftovers(self, world: World) -> Iterator[str]:
        names = os.listdir(self.folder(world))
        yield from (f"{name} is left over" for name in names if not name.isdecimal() and name != ".checkpoint-gate")


@dataclass(frozen=True)
class RollBack(PushFolderWork):
    """The version before becomes the champion again, or `undo`: the one that was withdrawn does."""

    undo: bool

    @property
    def name(self) -> str:
        return "undo a rollback" if self.undo else "rollback"

    def prepare(self, world: World) -> None:
        super().prepare(world)
        if self.undo:
            self._back(world)
            world.returned.clear()

    def do(self, world: World) -> Sequence[str]:
        (self._undo if self.undo else self._back)(world)
        world.note("rolled back")
        return ()

    def _back(self, world: World) -> None:
        folder = str(self.folder(world))
        with exclusive(folder):
            if self.champion(world) == "w3":
                roll_back(plan_rollback(folder, None, NEXT), "wrong", world.clock(), _fine)

    def _undo(self, world: World) -> None:
        folder = str(self.folder(world))
        with exclusive(folder):
            if withdrawn_from(folder):
                undo_rollback(plan_undo(folder, NEXT), "it was fine", world.clock(), _fine)

    def broken(self, world: World) -> Iterator[str]:
        yield from super().broken(world)
        live = self.live(world)
        yield from (f"version {version} is lost" for version in (FIRST, SECOND, THIRD) if version not in live)
        if self.champion(world) == "w2" and self._withdrawn(world) != ["w3"]:
            yield "the weights that were left may be pushed again"

    def unkept(self, world: World, what: str) -> Iterator[str]:
        if (self.champion(world), self._withdrawn(world)) != (("w3", []) if self.undo else ("w2", ["w3"])):
            yield "the rollback is lost"

    def outcome(self, world: World) -> object:
        return list(self.live(world).values()), self._withdrawn(world)

    def _withdrawn(self, world: World) -> list[str]:
        return [withdrawal.weights for withdrawal in withdrawn_from(str(self.folder(world)))]


@dataclass(frozen=True)
class PruneVersions(PushFolderWork):
    """Old versions go, by a rule that protects the newest two."""

    grace: float

    @property
    def name(self) -> str:
        return f"prune versions, grace {self.grace:g}"

    def do(self, world: World) -> Sequence[str]:
        folder = str(self.folder(world))
        with exclusive(folder):
            done = prune_versions(folder, Keep(last=2), self.grace, world.clock)
        if not done.left:
            world.note("pruned")
        return done.left

    def broken(self, world: World) -> Iterator[str]:
        yield from super().broken(world)
        live = self.live(world)
        yield from (f"version {version} is lost" for version in (SECOND, THIRD) if version not in live)
        events = self._events(world)
        if FIRST not in live:
            if "pruning" not in events:
                yield "a version was moved without a mark"
            if _weights(self._trash(world)) != "w1" and ("trashed" not in events or self.grace):
                yield "a version was removed before its grace was over"

    def unkept(self, world: World, what: str) -> Iterator[str]:
        if self.outcome(world) != (
            [SECOND, THIRD],
            "" if not self.grace else "w1",
            "trashed" if self.grace else "swept",
        ):
            yield "the pruning is lost"

    def outcome(self, world: World) -> object:
        return list(self.live(world)), _weights(self._trash(world)), ([*self._events(world)] or [""])[-1]

    def _trash(self, world: World) -> Path:
        return self.folder(world) / TRASH / str(FIRST)

    def _events(self, world: World) -> list[str]:
        return [line["event"] for line in read_log(str(self.folder(world))) if line["version"] == FIRST]


def _weights(model: Path) -> str:
    """The name of a small version's weights; "" where it is not there or not whole."""
    if not model.is_dir() or {path for path, data in tree_of(model).items() if data is not None} != FILES:
        return ""
    name = (model / "fingerprint.pb").read_bytes().decode().removeprefix("fingerprint of ")
    papers = read_papers(model)
    whole = (model / "variables" / "variables.index").read_bytes() == f"index of {name}".encode()
    return name if whole and papers is not None and papers.push is not None and papers.push.weights == name else ""


def _fine(model: str) -> None:
    """A check that finds nothing wrong in a whole model."""
    if not _weights(Path(model)):
        raise ValueError(f"{model} cannot serve")
