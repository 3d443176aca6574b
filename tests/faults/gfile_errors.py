"""Errors of TensorFlow's own readers and writers, which are no OSError, at each of their calls in a training.

A training of half of the epochs and one that resumes it write by `tf.train.Checkpoint` and by captured values, and
read. Each class of `tf.errors` comes at each call, before it or when it is done, once or from there on. A disk that is
full is full for real: a small one in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from checkpoint_gate import GatedCheckpoint
from checkpoint_gate.errors import CheckpointGateError, NoRoom
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import check_store
from faults.figure import Measured, NotPossible
from faults.memory import memory_folder
from faults.trained import trained

ERRORS: tuple[type[tf.errors.OpError], ...] = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DataLossError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
    tf.errors.UnimplementedError,
    tf.errors.UnknownError,
)
CALLS = (
    (tf.train.Checkpoint, "write"),
    (tf.raw_ops, "SaveV2"),
    (tf.train, "load_checkpoint"),
    (tf.raw_ops, "RestoreV2"),
)
EPOCHS = 4
GATE = "save: {every: 1}\nkeep: {last: 2}"
DISK = 3 << 20  # bytes: room for two states of the large model, and not for three
LARGE = 16_000  # weights of the large model, times three with its optimizer


@dataclasses.dataclass
class _Fuse:
    """Counts TensorFlow's calls, and lets one of them fail, or all from it on."""

    at: int | None = None
    error: type[tf.errors.OpError] = tf.errors.UnknownError
    sticky: bool = False
    late: bool = False
    done: int = 0
    blown: bool = False

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def called(*args: Any, **kwargs: Any) -> Any:
            number, self.done = self.done, self.done + 1
            due = self.at is not None and (number >= self.at if self.sticky else number == self.at)
            if due and not self.late:
                self._blow()
            answer = call(*args, **kwargs)
            if due:
                self._blow()
            return answer

        return called

    def _blow(self) -> None:
        self.blown = True
        raise self.error(None, None, "/a/file; the disk said so\nand more")

    @contextlib.contextmanager
    def laid(self) -> Iterator[None]:
        with contextlib.ExitStack() as patches:
            for owner, name in CALLS:
                patches.enter_context(mock.patch.object(owner, name, self.around(getattr(owner, name))))
            yield


def measure_tensorflow(measured: Measured) -> str:
    """Counts cases; answers with how many of what."""
    before = measured.n
    with memory_folder() as folder:
        fuse = _Fuse()
        with fuse.laid():
            _train(folder / "alone", EPOCHS // 2)
            _train(folder / "alone", EPOCHS)
        expected = trained(folder / "alone")
        for at, error, sticky, late in itertools.product(range(fuse.done), ERRORS, (False, True), (False, True)):
            one = _Fuse(at, error, sticky, late)
            how = f"{error.__name__} {'from' if sticky else 'at'} call {at} of TensorFlow{', when it is done' * late}"
            measured.case(*(f"{how}: {wrong}" for wrong in _broken(folder / "store", one, expected)))
            shutil.rmtree(folder / "store")
    errors = measured.n - before
    with measured.part("a full disk"):
        for saving, on_no_room in itertools.product(("synchronous", "background"), ("stop", "skip")):
            measured.case(*(f"a full disk, {saving}, {on_no_room}: {w}" for w in _on_full_disk(saving, on_no_room)))
    return f"{errors} errors of TensorFlow's, {len(ERRORS)} classes at {fuse.done} calls; full disks"


def _train(store: Path, epochs: int, weights: int = 3, **about: Any) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(weights), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.03), "mse", run_eagerly=True)  # tracing takes longer than training
    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    gate = GatedCheckpoint(store, GATE, run="run", **about)
    model.fit(x, x.sum(axis=1), batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[gate])


def _broken(store: Path, fuse: _Fuse, expected: Mapping[str, Any]) -> Iterator[str]:
    """What goes wrong in a training with an error, and in the same without one."""
    failed = False
    with fuse.laid():
        for epochs in (EPOCHS // 2, EPOCHS):
            try:
                _train(store, epochs)
            except CheckpointGateError as error:
                failed = True
                misfit = fuse.error is tf.errors.NotFoundError  # TensorFlow says so of a variable that is not there
                named = misfit or fuse.error.__name__ in str(error)
                if "\n" in str(error) or not named or ("another run name" in str(error) and not misfit):
                    yield f"it is told as: {error}"
                break
            except Exception as error:
                failed = True
                yield f"it ends with {type(error).__name__}: {error}"
                break
    if not fuse.blown:
        yield "it was not met"
    if not failed and trained(store) != expected:
        yield f"it says that all is done, and comes to {trained(store)}"
    if (store / "store.json").exists():
        yield from (f"{each.place} {each.what}" for each in check_store(Store.open(store)) if each.severity == "fault")
    _train(store, EPOCHS // 2)
    _train(store, EPOCHS)
    if trained(store) != expected:
        yield f"done again, it comes to {trained(store)}"


def _on_full_disk(saving: str, on_no_room: str) -> list[str]:
    """What goes wrong where TensorFlow's writer meets a disk without room."""
    with memory_folder() as folder, _small_disk(folder / "disk") as disk:
        problems: list[str] = []
        try:
            _train(disk / "store", 6, LARGE, saving=saving, on_no_room=on_no_room)
            ended = "to its end"
        except NoRoom as error:
            ended = "stopped"
            if "\n" in str(error):
                problems.append(f"it is told as: {error}")
        if ended != {"stop": "stopped", "skip": "to its end"}[on_no_room]:
            problems.append(f"it went {ended}")
        store = Store.open(disk / "store")
        run = store.run("run")
        problems += [f"{each.place} {each.what}" for each in check_store(store) if each.severity == "fault"]
        problems += [f"{name} is left over" for name in run.files.names("run/tmp")]
        if not run.live():
            problems.append("no checkpoint is left")
        if on_no_room == "skip" and not any(entry.skipped for entry in run.ledger.read().entries):
            problems.append("nothing was skipped, so the disk was not full")
        return problems


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        raise NotPossible(f"a disk cannot be mounted here ({mounted.stderr.decode().strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
