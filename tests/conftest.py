"""What several test files share: a clock, small stores on a real disk, and a process that can be killed anywhere."""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
import types

import pytest

from checkpoint_gate.judgement import Decision
from checkpoint_gate.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import PREFIX


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def write_state(prefix: str, step: int, weight: int = 40) -> None:
    """What TensorFlow writes, in small."""
    with open(prefix + ".index", "wb") as file:
        file.write(b"index of %d" % step)
    with open(prefix + ".data-00000-of-00001", "wb") as file:
        file.write((b"%d," % step) * weight)


@pytest.fixture
def write():
    return write_state


class Crowd:
    """Runs with checkpoints, made by the store's own writer."""

    def __init__(self, root, clock) -> None:
        self.root = root
        self.clock = clock
        self.store = Store(root, clock)

    def run(self, losses, key="run", saved=None):
        """A run with one epoch for each of `losses`; `saved` are the steps with a checkpoint, by default all."""
        run = self.store.start(key, gate={"save": {"metric": "val_loss", "at_most": 1.0}})
        for epoch, loss in enumerate(losses):
            record = Record(epoch + 1, epoch, {"loss": 0.5, "val_loss": loss}, time=self.clock())
            keep = saved is None or record.step in saved
            run.ledger.append(record, Decision(keep, "as told"))
            if keep:
                self.publish(run, record)
        return run

    def publish(self, run, record, weight=40):
        staged, place = run.stage()
        write_state(str(place / PREFIX), record.step, weight)
        return run.publish(staged, record, "as told", "0" * 64)


@pytest.fixture
def memory_path(tmp_path):
    """A folder in memory where there is one: thousands of stores are made, killed and looked at."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", ignore_cleanup_errors=True) as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def crowd(memory_path, clock):
    return Crowd(memory_path / "store", clock)


class Killed(BaseException):
    """The process is gone: nothing after this runs, no handler and no clean-up."""


class KillableOs(types.SimpleNamespace):
    """The module `os` for the store's files: counts what changes the disk, and breaks the operation number `at`.

    With no `error` the process dies there: nothing works any more; a write dies in its middle, half of its bytes are
    there. With an errno the operation fails with it, once or, `sticky`, from there on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arm(None)

    def arm(self, at: int | None, error: int | None = None, sticky: bool = False) -> None:
        self.at = at
        self.error = error
        self.sticky = sticky or error is None
        self.done = 0

    def breaks(self) -> BaseException | None:
        """Counts one more operation; what it breaks with, None when it goes well."""
        self.done += 1
        if self.at is None or self.done <= self.at or (self.done > self.at + 1 and not self.sticky):
            return None
        return Killed() if self.error is None else OSError(self.error, os.strerror(self.error))

    def _change(self, operation):
        def change(*args, **kwargs):
            if error := self.breaks():
                raise error
            return operation(*args, **kwargs)

        return change

    def __getattr__(self, name):
        value = getattr(os, name)
        return self._change(value) if name in ("rename", "replace", "link", "unlink", "rmdir", "mkdir") else value

    def open(self, path, flags, *args):
        if flags & os.O_CREAT and (error := self.breaks()):
            raise error
        return os.open(path, flags, *args)

    def fdopen(self, handle, mode):
        return _BreakableFile(os.fdopen(handle, mode, buffering=0), self) if mode == "wb" else os.fdopen(handle, mode)

    def fsync(self, handle) -> None:
        """Left out: a killed process loses nothing that it wrote."""


class _BreakableFile:
    def __init__(self, file, os) -> None:
        self._file = file
        self._os = os

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data: bytes) -> None:
        if error := self._os.breaks():
            self._file.write(data[: len(data) // 2])
            raise error
        self._file.write(data)


@pytest.fixture
def killable(monkeypatch):
    """The disk of the store's files: `killable.arm(n)` lets n operations go well and no more, `arm(None)` all."""
    fake = KillableOs()
    monkeypatch.setattr("checkpoint_gate.store.files.os", fake)
    return fake


@pytest.fixture
def killed():
    return Killed


def tree_of(root) -> dict[str, bytes]:
    """Every file below `root` with its bytes, and every folder; without the claims on leases, whose numbers rise."""
    paths = sorted(path for path in root.rglob("*") if not re.fullmatch(r"lease\.\d+\.json", path.name))
    return {
        str(p.relative_to(root)) + ("/" if p.is_dir() else ""): b"" if p.is_dir() else p.read_bytes() for p in paths
    }


@pytest.fixture
def tree():
    return tree_of
