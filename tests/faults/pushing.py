"""A push to the push folder, as a work to be tried under faults."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import checkpoint_gate
from checkpoint_gate.push_folder import live_versions
from faults.disk import Disk
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
        publish = load_publish(world.disk)
        with publish.exclusive(folder):
            if "new" not in self._versions(world).values():
                publish.publish(str(world.folder / "model"), folder, VERSION, _require_whole)
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


def load_publish(disk: Disk) -> Any:
    """The module `checkpoint_gate.pusher.publish` on this disk.

    TensorFlow, with which it writes files, goes past the disk; its file functions have stand-ins here.
    """
    fileio = types.SimpleNamespace(walk=os.walk, makedirs=_makedirs(disk), copy=_copy(disk))
    tf = types.SimpleNamespace(errors=types.SimpleNamespace(OpError=_OpError))
    modules = {"tensorflow": tf, "tfx": types.ModuleType("tfx"), "tfx.dsl.io": types.SimpleNamespace(fileio=fileio)}
    place = Path(checkpoint_gate.__file__).parent / "pusher" / "publish.py"
    spec = importlib.util.spec_from_file_location("publish_under_faults", place)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, modules):
        spec.loader.exec_module(module)
    module.os = disk
    module.shutil = disk
    module.fcntl = types.SimpleNamespace(flock=lambda handle, how: None, LOCK_EX=None)
    return module


class _OpError(Exception):
    """What TensorFlow's file functions raise; the stand-ins raise `OSError`."""

    message = ""


def _makedirs(disk: Disk) -> Any:
    return lambda path: disk.makedirs(path, exist_ok=True)


def _copy(disk: Disk) -> Any:
    def copy(source: str, target: str) -> None:
        with open(source, "rb") as file:
            disk.put(target, file.read())

    return copy
