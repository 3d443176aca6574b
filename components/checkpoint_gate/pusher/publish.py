"""Makes a model visible in the push folder: whole, checked and durable, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.folder_lock import locked
from checkpoint_gate.pushed.push_folder import next_version
from checkpoint_gate.pusher.uploading import upload_model
from checkpoint_gate.uri_files import is_local, local_copy

_TEMPORARY = re.compile(r"\.tmp-[0-9]+-[0-9]+")  # .tmp-<version>-<process id>; no server takes it for a version


@contextlib.contextmanager
def exclusive(folder: str) -> Iterator[None]:
    """Makes the push folder if need be, and keeps other pushes of this machine out of it for the time being.

    Object stores, and disks that know no locks, go without.

    Raises:
        ConfigError: the folder cannot be made or opened.
    """
    if not is_local(folder):
        yield
        return
    with contextlib.ExitStack() as held:
        with config_error(folder):
            _make(folder)
            held.enter_context(locked(folder))
        yield


def publish(model: str, folder: str, now: int, check: Callable[[str], None]) -> str:
    """Copies the SavedModel in `model` to a new version of `folder`, and returns the version's path.

    On a local disk the copy is made under a temporary name, flushed to disk, checked and then renamed. Elsewhere, for
    want of a rename, the model is checked where it is, each file is read back after it was written, and
    `saved_model.pb`, which makes the version live, is written last.

    Args:
        model: folder of the SavedModel.
        folder: the push folder; call this within `exclusive(folder)`.
        now: seconds since 1970, the version unless a present one is as large.
        check: raises when the model in the given folder must not become visible.

    Raises:
        ConfigError: the folder cannot be written. Nothing is visible then, as after any other error.
    """
    version = next_version(folder, now)
    with config_error(folder), local_copy(model) as here:
        if is_local(folder):
            return make_visible(folder, version, lambda temporary: _copy(here, temporary), check)
        check(here)
        target = os.path.join(folder, str(version))
        upload_model(here, target)
        return target


def make_visible(folder: str, version: int, fill: Callable[[str], None], check: Callable[[str], None]) -> str:
    """Makes a new version of a local push folder: filled under a temporary name, flushed, checked, renamed.

    Args:
        folder: the push folder; call this within `exclusive(folder)`.
        version: a number that `next_version` gave.
        fill: writes the model into the empty folder that it is given.
        check: raises when the model in the given folder must not become visible.

    Raises:
        ConfigError: the folder cannot be written. Nothing is visible then, as after any other error.
    """
    _remove_leftovers(folder)
    temporary = os.path.join(folder, f".tmp-{version}-{os.getpid()}")
    target = os.path.join(folder, str(version))
    try:
        with config_error(folder):
            os.mkdir(temporary)
            fill(temporary)
            _flush(temporary)
        check(temporary)
        with config_error(folder):
            os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _fsync(folder)
    return target


def _make(folder: str) -> None:
    """Makes a local folder and its parents, and brings their names to disk; fine when it is there."""
    place = os.path.abspath(folder)
    missing = []
    while not os.path.isdir(place):
        missing.append(place)
        place = os.path.dirname(place)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each)
        _fsync(os.path.dirname(each))


def _remove_leftovers(folder: str) -> None:
    """Removes what pushes that were killed left behind; only names of our own pattern."""
    for name in os.listdir(folder):
        if _TEMPORARY.fullmatch(name):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _copy(source: str, target: str) -> None:
    for folder, _, names in os.walk(source):
        there = os.path.normpath(os.path.join(target, os.path.relpath(folder, source)))
        os.makedirs(there, exist_ok=True)
        for name in names:
            shutil.copyfile(os.path.join(folder, name), os.path.join(there, name))


def _flush(folder: str) -> None:
    """Brings the files of a local folder, and then their names, to disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _fsync(os.path.join(parent, name))
        _fsync(parent)


def _fsync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def config_error(folder: str) -> Iterator[None]:
    """Turns what the file system says into one sentence."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"Nothing was pushed: the push folder {folder} cannot be made or written ({error.strerror or error}); name "
            "one that can be, or make room and give the right to write there."
        ) from error
