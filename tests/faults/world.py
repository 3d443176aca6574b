"""A place with a store in it: put back to a known state, killed, looked at, and started again as another process."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import PREFIX
from faults.bucket import URL, Double, double
from faults.crowd import Clock
from faults.disk import Disk, Fuse
from faults.memory import memory_folder
from faults.power import RecordingDisk
from faults.trees import Tree, tree_of, write_tree

START = 1_790_000_000.0  # seconds since 1970
STEP_SECONDS = 60.0  # between the end of one process and the start of the next


class World(Protocol):
    """What the figures do with a store, on whichever kind of filesystem.

    Attributes:
      fuse: breaks the operations of the process.
      returned: names of what the process was told is done.
      late: so many operations late a listing may be.
    """

    name: str
    late: int
    fuse: Fuse
    clock: Clock
    disk: Disk
    folder: Path
    returned: list[str]

    def store(self) -> Store: ...

    def snapshot(self) -> Any:
        """All that is stored, to be put back and to be compared."""

    def put(self, state: Any) -> None:
        """Makes the store what `snapshot` saw, late listings included."""

    def begin(self, now: float) -> None:
        """The first process begins."""

    def reset(self, state: Any, now: float) -> None:
        """Makes the store what `snapshot` saw, nothing late in it, and begins the first process."""

    def restart(self) -> None:
        """The process is gone, however it ended, and another one begins: nothing breaks in it."""

    def clear(self) -> None:
        """Holds nothing any more, and begins the first process."""

    def settled(self) -> contextlib.AbstractContextManager[None]:
        """Within, nothing is late."""

    def files_in(self, folder: str) -> dict[str, bytes]:
        """The files of a folder of the store, read past the store's own code."""

    def leftovers(self) -> list[str]:
        """What is there beside the store's own files and belongs to nobody."""

    def note(self, what: str) -> None:
        """A call has returned: `what` is done, whatever happens from now on."""


class _Threads:
    """Stands in for `threading` where leases are held for a moment: the thread that puts their end off is not begun."""

    RLock = threading.RLock
    Event = threading.Event

    class Thread:
        def __init__(self, **about: object) -> None:
            """Takes what a thread would do."""

        def start(self) -> None:
            """Does nothing of it."""


class _Processes:
    """The processes of a world: one at a time, each with a number, and names that are the same in every repetition."""

    def __init__(self) -> None:
        self.fuse = Fuse()
        self.clock = Clock()
        self.disk = Disk(self.fuse)
        self.returned: list[str] = []
        self._pid = 1
        self._names = itertools.count()

    def begin(self, now: float) -> None:
        self.clock.now = now
        self._begun = now
        self._pid = 1
        self._names = itertools.count()
        self.returned = []
        self.fuse.arm(None)

    def restart(self) -> None:
        self._begun += STEP_SECONDS
        self.clock.now = self._begun
        self._pid += 1
        self.fuse.arm(None)

    def note(self, what: str) -> None:
        self.returned.append(what)
        self.disk.note(what)

    def getpid(self) -> int:
        return self._pid

    def _born(self, pid: int) -> str | None:
        return "born" if pid == self._pid else None

    def _uuid4(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(hex=f"{self._pid:04x}{next(self._names):08x}{0:020x}")

    def patches(self, disk: Disk) -> Iterator[Any]:
        """What makes the store's modules run as the process of this world, on its disk."""
        names = types.SimpleNamespace(uuid4=self._uuid4)
        process = types.SimpleNamespace(getpid=self.getpid)
        for module in ("files", "opened_files", "opened_folders"):
            yield mock.patch(f"checkpoint_gate.store.{module}.os", disk)
        yield mock.patch("checkpoint_gate.store.lease.os", process)
        yield mock.patch("checkpoint_gate.store.lease.born", self._born)
        for name in ("os", "shutil"):
            yield mock.patch(f"checkpoint_gate.pusher.publish.{name}", disk)
        yield mock.patch("checkpoint_gate.folder_lock.os", disk)
        yield mock.patch("checkpoint_gate.folder_lock.fcntl", types.SimpleNamespace(flock=_no_lock, LOCK_EX=None))
        yield mock.patch("checkpoint_gate.store.lease.threading", _Threads)
        for module in ("opened_files", "checkpoints", "lease"):
            yield mock.patch(f"checkpoint_gate.store.{module}.uuid", names)


def _no_lock(handle: int, how: object) -> None:
    """There is one process at a time, and a folder in memory needs no lock."""


class LocalWorld(_Processes):
    """A store in a folder on the disk."""

    name = "disk"
    late = 0

    def __init__(self, folder: Path, syncs: bool = False, records: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self.root = folder / "disk"
        self.disk = RecordingDisk(self.fuse, self.root) if records else Disk(self.fuse, syncs)

    def store(self) -> Store:
        return Store(self.root / "store", self.clock)

    def snapshot(self) -> Tree:
        return tree_of(self.root)

    def put(self, state: Tree) -> None:
        write_tree(self.root, state)

    def reset(self, state: Tree, now: float) -> None:
        self.put(state)
        self.begin(now)

    def clear(self) -> None:
        self.reset({}, START)

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        yield

    def files_in(self, folder: str) -> dict[str, bytes]:
        content = {}
        for entry in os.scandir(f"{self.root}/store/{folder}"):
            with open(entry.path, "rb") as file:
                content[entry.name] = file.read()
        return content

    def leftovers(self) -> list[str]:
        return []


class BucketWorld(_Processes):
    """A store in a bucket whose listings are `late`; staged files lie on the disk of the machine."""

    def __init__(self, folder: Path, late: int = 0) -> None:
        super().__init__()
        self.name = f"bucket, listings {late} late" if late else "bucket"
        self.folder = folder
        self.bucket: Double = double()
        self.bucket.fuse = self.fuse
        self.late = late

    def store(self) -> Store:
        return Store(URL, self.clock)

    def snapshot(self) -> tuple[Mapping[str, bytes], tuple[frozenset[str], ...], Tree]:
        return dict(self.bucket.objects), tuple(self.bucket.listed), tree_of(self._staging)

    def put(self, state: tuple[Mapping[str, bytes], tuple[frozenset[str], ...], Tree]) -> None:
        objects, listed, staged = state
        self.bucket.reset(objects)
        self.bucket.listed[:] = listed
        self.bucket.late = self.late
        write_tree(self._staging, staged)

    def reset(self, state: tuple[Mapping[str, bytes], tuple[frozenset[str], ...], Tree], now: float) -> None:
        self.put(state)
        self.bucket.listed[:] = [frozenset(self.bucket.objects)]
        self.begin(now)

    def clear(self) -> None:
        self.reset(({}, (frozenset(),), {}), START)

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        self.bucket.late = 0
        yield
        self.bucket.late = self.late

    @property
    def _staging(self) -> Path:
        return self.folder / f"checkpoint-gate-{os.getuid()}"

    def files_in(self, folder: str) -> dict[str, bytes]:
        prefix = f"bucket/store/{folder}/"
        return {key[len(prefix) :]: data for key, data in self.bucket.objects.items() if key.startswith(prefix)}

    def leftovers(self) -> list[str]:
        staged = [path for path, data in tree_of(self._staging).items() if data is not None]
        return [*staged, *(key for key in self.bucket.objects if key.endswith("/unfinished.json"))]


@contextlib.contextmanager
def local_world(syncs: bool = False, records: bool = False) -> Iterator[LocalWorld]:
    """A world on a disk in memory; its fsyncs may fail, or its disk remembers what it was told."""
    with contextlib.ExitStack() as stack:
        world = LocalWorld(stack.enter_context(memory_folder()), syncs, records)
        for patch in world.patches(world.disk):
            stack.enter_context(patch)
        yield world


@contextlib.contextmanager
def bucket_world(late: int = 0) -> Iterator[BucketWorld]:
    """A world in a bucket; pauses between attempts cost no time."""
    with contextlib.ExitStack() as stack:
        world = BucketWorld(stack.enter_context(memory_folder()), late)
        for patch in world.patches(world.disk):
            stack.enter_context(patch)
        stack.enter_context(mock.patch.object(tempfile, "tempdir", str(world.folder)))
        stack.enter_context(mock.patch("checkpoint_gate.store.object_calls.FIRST_PAUSE", 0.0))
        yield world


def state_files(step: int, files: int) -> dict[str, bytes]:
    """What TensorFlow writes for a step, in small: so many files."""
    shards = files - 1
    content = {f"{PREFIX}.data-{n:05d}-of-{shards:05d}": b"%d of %d," % (n, step) * 9 for n in range(shards)}
    return {f"{PREFIX}.index": b"index of %d" % step} | content


def write_files(world: World, folder: Path | str, content: Mapping[str, bytes]) -> None:
    """Writes files as TensorFlow does: through the disk of the process, and with no fsync."""
    for name, data in content.items():
        world.disk.put(f"{folder}/{name}", data)
