"""A store without rename: killed at every operation, with errors and late listings, on a test double."""

from __future__ import annotations

import errno
import json
import os
import tempfile

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFile

from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.filtering import PrunePolicy
from checkpoint_gate.records import Record
from checkpoint_gate.rule_text import parse_rules
from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.pruning import execute_prune, plan_prune, recover, sweep, tombstones, trashed, undelete
from checkpoint_gate.training import GatedTraining

DAY = 86400.0
RULES = "f" * 64
URL = "double://bucket/store"
LATE = pytest.mark.parametrize("late", [0, 2, 5], ids=lambda late: f"listings {late} operations late")


class Killed(BaseException):
    """The process is gone: nothing after this runs, no handler and no clean-up."""


class Double(AbstractFileSystem):
    """A bucket in memory: no rename, no append, an exclusive create, and listings that may be late.

    Attributes:
      objects: key -> bytes.
      late: a listing shows the names as they were so many changes ago.
      at, error, sticky: the change number `at` fails; with no error the process is killed there, for good.
      answers: the store does what it is told, but this many answers are lost.
    """

    protocol = "double"
    cachable = True
    objects: dict[str, bytes] = {}
    listed: list[frozenset[str]] = [frozenset()]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reset()

    def reset(self, objects=()):
        self.objects.clear()
        self.objects.update(objects)
        self.listed[:] = [frozenset(self.objects)]
        self.late = 0
        self.arm(None)

    def arm(self, at, error=None, sticky=False):
        self.at, self.error, self.sticky, self.done, self.lost_answers, self.times = at, error, sticky, 0, 0, 1

    def change(self, key, data):
        """One more change; breaks when it is told to."""
        self.done += 1
        if self.at is not None and self.done > self.at:
            if self.error is None:
                raise Killed
            if self.sticky or self.done <= self.at + self.times:
                raise OSError(self.error, os.strerror(self.error))
        if data is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = bytes(data)
        self.listed.append(frozenset(self.objects))
        del self.listed[:-6]
        if self.lost_answers:
            self.lost_answers -= 1
            raise TimeoutError(errno.ETIMEDOUT, "the answer was lost")

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path).strip("/")

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path)
        keys = self.listed[max(0, len(self.listed) - 1 - self.late)]
        below = {key[len(path) + 1 :].split("/")[0] for key in keys if key.startswith(path + "/")}
        if not below:
            raise FileNotFoundError(path)
        names = [f"{path}/{name}" for name in sorted(below)]
        return [self._entry(name) for name in names] if detail else names

    def _entry(self, name):
        kind = "file" if name in self.objects else "directory"
        return {"name": name, "size": len(self.objects.get(name, b"")), "type": kind}

    def info(self, path, **kwargs):
        path = self._strip_protocol(path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self._entry(path)

    def cat_file(self, path, start=None, end=None, **kwargs):
        return self.objects[self._key(path)][start:end]

    def get_file(self, rpath, lpath, **kwargs):
        with open(lpath, "wb") as file:
            file.write(self.objects[self._key(rpath)])

    def _open(self, path, mode="rb", **kwargs):
        assert mode == "rb"
        return MemoryFile(None, None, self.objects[self._key(path)])

    def _key(self, path):
        if self._strip_protocol(path) not in self.objects:
            raise FileNotFoundError(path)
        return self._strip_protocol(path)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        path = self._strip_protocol(path)
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.change(path, value)

    def put_file(self, lpath, rpath, callback=None, mode="overwrite", **kwargs):
        with open(lpath, "rb") as file:
            self.pipe_file(rpath, file.read(), mode)

    def cp_file(self, path1, path2, **kwargs):
        self.change(self._strip_protocol(path2), self.objects[self._key(path1)])

    def rm_file(self, path):
        self.change(self._strip_protocol(path), None)


fsspec.register_implementation("double", Double, clobber=True)


@pytest.fixture
def bucket(monkeypatch, memory_path):
    """The bucket, empty; pauses between attempts cost no time, and staged files go to a folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(memory_path))
    monkeypatch.setattr("checkpoint_gate.store.object_calls.FIRST_PAUSE", 0.0)
    fs, _ = fsspec.url_to_fs(URL, use_listings_cache=False)
    fs.reset()
    return fs


@pytest.fixture
def store(bucket, clock):
    return Store(URL, clock)


def prune(run, rejected, survivors, grace):
    with run.lease("pruning") as lease:
        recover(run, lease)
        return execute_prune(run, plan_prune(run, rejected, survivors, PrunePolicy(grace=grace), RULES), lease)


def live_steps(run):
    return [stored.step for stored in run.live()]


def events(run):
    return {mark["step"]: mark["event"] for mark in tombstones(run).values()}


def whole(run, stored):
    return stored.manifest is not None and verify_files(run.files, stored) is None


def leftovers(bucket, run):
    """Objects that belong to nothing, and staged files."""
    folders = [stored.folder for stored in (*run.live(), *run.resumable.stored(), *trashed(run))]
    folders += [f"run/{shelf}/{n}" for shelf in ("superseded", "quarantine") for n in run.files.names(f"run/{shelf}")]
    left = []
    for key in bucket.objects:
        path = key.removeprefix("bucket/store/")
        if path.endswith("unfinished.json") or (path.count("/") > 2 and path.rpartition("/")[0] not in folders):
            left.append(path)
    return left + run.files.staging.names("run/tmp")


# Pruning: in the trash lie one checkpoint beyond its grace and one within, three more are to go.

REJECTED, SURVIVORS = {3: "too high", 4: "too high", 6: "too high"}, [5, 7]


@pytest.fixture
def template(bucket, store, clock, crowd):
    crowd.store = store
    run = crowd.run([0.9, 0.8, 0.7, 0.6, 0.2, 0.5, 0.1])
    prune(run, {1: "too high"}, SURVIVORS, DAY)
    clock.now += DAY - 5
    prune(run, {2: "too high"}, SURVIVORS, DAY)
    clock.now += 10
    return dict(bucket.objects)


def work(run, grace):
    """A pruning and a sweep, as at the end of a pipeline's run."""
    done = prune(run, REJECTED, SURVIVORS, grace)
    with run.lease("pruning") as lease:
        swept = sweep(run, lease)
    return (*done.left, *swept.left)


def check_nothing_is_lost(run):
    """Survivors verify; each rejected one is wholly live, wholly in the trash, or gone and in the tombstones."""
    live = {stored.step: stored for stored in run.live()}
    assert all(whole(run, live[step]) for step in SURVIVORS)
    assert [stored.damage for stored in live.values() if not whole(run, stored)] == []
    in_trash = {stored.step for stored in trashed(run) if whole(run, stored)}
    said = events(run)
    for step in (1, 2, *REJECTED):
        assert step in live or step in in_trash or step in said, step


def outcome(bucket, run):
    kept = [key for key in bucket.objects if "/lease." not in key and "/journal/" not in key]
    return sorted(kept), live_steps(run), events(run), len(run.files.names("run/journal"))


@pytest.mark.parametrize(
    ("grace", "late"),
    [
        pytest.param(DAY, 0, id="a grace of a day"),
        pytest.param(0.0, 0, id="no grace"),
        pytest.param(DAY, 5, id="a grace of a day, listings 5 operations late"),
        pytest.param(0.0, 2, id="no grace, listings 2 operations late"),
    ],
)
def test_killed_at_any_operation_of_a_pruning_nothing_is_lost(bucket, store, template, grace, late, record_property):
    bucket.reset(template)
    assert work(store.run("run"), grace) == ()
    operations, expected = bucket.done, outcome(bucket, store.run("run"))
    assert operations > 40
    assert leftovers(bucket, store.run("run")) == []
    record_property("kill points", operations)
    for at in range(operations):
        bucket.reset(template)
        bucket.late = late
        bucket.arm(at)
        with pytest.raises(Killed):
            work(store.run("run"), grace)
        bucket.arm(None)
        check_nothing_is_lost(store.run("run"))
        assert work(store.run("run"), grace) == (), at
        check_nothing_is_lost(store.run("run"))
        if late:  # what a late listing had hidden
            work(store.run("run"), grace)
        bucket.late = 0
        assert outcome(bucket, store.run("run")) == expected, at
        assert leftovers(bucket, store.run("run")) == [], at
