"""Files on a local disk, by plain `os` calls, or behind a URL, by fsspec.

Neither TFX nor TensorFlow is imported. What fails behind a URL is tried again where that can help, and is an `OSError`
with words in the end; a driver that is not installed is a `StoreError`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from checkpoint_gate.errors import StoreError

_CHUNK = 4 << 20


def is_local(uri: str) -> bool:
    """Whether plain `os` calls can reach `uri`."""
    return "://" not in uri


def below(root: str | None, place: str) -> str:
    """`place` itself when it is a URL or absolute, or without a root; else that place below `root`, a path or URL."""
    if not root or not is_local(place) or os.path.isabs(place):
        return place
    return f"{root.rstrip('/')}/{place}"


def names_in(folder: str) -> list[str]:
    """The names in a folder.

    Raises:
        OSError: it cannot be listed; FileNotFoundError where there is none.
    """
    if is_local(folder):
        return os.listdir(folder)
    fs, path = _open(folder)
    found = _call(folder, fs.ls, path, detail=False)
    return sorted({name for each in found if (name := _below(path, str(each)))})


def files_below(folder: str) -> dict[str, int]:
    """Path relative to `folder`, with "/" between names -> bytes, of every file below it; none where it is not there.

    Raises:
        OSError: it cannot be listed.
        StoreError: a name there leads out of the folder, as object stores allow and disks do not.
    """
    if is_local(folder):
        paths = (os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)
        return {os.path.relpath(path, folder): os.path.getsize(path) for path in sorted(paths)}
    fs, root = _open(folder)
    found = _call(folder, fs.find, root, detail=True)
    sizes = {_below(root, str(path)): info.get("size") for path, info in sorted(found.items())}
    if odd := next((name for name in sizes if not {".", ".."}.isdisjoint(name.split("/"))), None):
        raise StoreError(f"{folder} holds the name {odd!r}, which leads elsewhere on a disk.")
    return {name: int(size or 0) for name, size in sizes.items() if name and not name.endswith("/")}


def is_there(path: str) -> bool:
    """Whether there is a file of this name."""
    return _size(path) is not None


def read_file(path: str, limit: int = -1) -> bytes | None:
    """The first `limit` bytes of a file, all of them when it is negative; None when there is no such file."""
    size = _size(path)
    return None if size is None else _read(path, 0, size if limit < 0 else min(limit, size))


def write_file(path: str, data: bytes) -> None:
    """Writes a file, and the folder that it lies in."""
    if is_local(path):
        _make_folder_of(path)
        with open(path, "wb") as local:
            local.write(data)
        return
    fs, place = _open(path)
    _call(path, fs.pipe_file, place, data)


def remove_file(path: str) -> None:
    """Removes a file; fine when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        if is_local(path):
            os.unlink(path)
        else:
            fs, place = _open(path)
            _call(path, fs.rm_file, place)


def copy_file(source: str, target: str) -> None:
    """Copies a file, and makes the folder that it is to lie in; either may be behind a URL.

    Raises:
        OSError: it cannot be copied, or the copy is of another size.
    """
    if is_local(target):
        _make_folder_of(target)
    if is_local(source) and is_local(target):
        shutil.copyfile(source, target)
    elif is_local(source):
        fs, place = _open(target)
        _call(target, fs.put_file, source, place)
    elif is_local(target):
        fs, place = _open(source)
        _call(source, fs.get_file, place, target)
    else:
        with tempfile.TemporaryDirectory() as between:
            copy_file(source, held := os.path.join(between, "file"))
            copy_file(held, target)
        return
    wanted, found = _size(source), _size(target)
    if wanted != found:
        raise OSError(None, f"the copy has {found} bytes, and {source} {wanted}", target)


def same_bytes(one: str, other: str) -> bool:
    """Whether two files, each local or behind a URL, are there and have the same content."""
    size = _size(one)
    if size is None or size != _size(other):
        return False
    parts = ((start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK))
    return all(_read(one, *part) == _read(other, *part) for part in parts)


def copy_below(source: str, target: str) -> int:
    """Copies every file below a folder, and answers with their bytes together; as `copy_file`."""
    sizes = files_below(source)
    for name in sizes:
        copy_file(f"{source}/{name}", f"{target}/{name}")
    return sum(sizes.values())


@contextlib.contextmanager
def local_copy(folder: str) -> Iterator[str]:
    """The folder itself when it is local, else a copy of it on the disk, which is gone afterwards."""
    if is_local(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as held:
        copy_below(folder, held)
        yield held


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Makes one sentence of an error of the disk or of the object store; it begins with `what`.

    Raises:
        StoreError: that sentence.
    """
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(f"{what}: {error.strerror or error}{where}.") from error


def _make_folder_of(path: str) -> None:
    if folder := os.path.dirname(path):
        os.makedirs(folder, exist_ok=True)


def _size(path: str) -> int | None:
    """Bytes of a file; None where there is no file of this name."""
    if is_local(path):
        return os.path.getsize(path) if os.path.isfile(path) else None
    fs, place = _open(path)
    try:
        info = _call(path, fs.info, place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return int(info["size"] or 0) if info["type"] == "file" else None


def _read(path: str, start: int, end: int) -> bytes:
    """The bytes of a file from `start` up to `end`."""
    if is_local(path):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end - start)
    if start == end:  # object stores know no empty range
        return b""
    fs, place = _open(path)
    return bytes(_call(path, fs.cat_file, place, start=start, end=end))


def _below(folder: str, path: str) -> str:
    """`path` relative to `folder`, as drivers write them; "" for the folder itself and for what is elsewhere."""
    prefix = folder.strip("/") + "/"
    path = path.lstrip("/")
    return path[len(prefix) :].rstrip("/") if path.startswith(prefix) else ""


def _open(url: str) -> tuple[Any, str]:
    from checkpoint_gate.store import object_calls  # fsspec is needed only here

    return object_calls.open_filesystem(url)


def _call(url: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
    from checkpoint_gate.store import object_calls

    return object_calls.call(url, operation, *args, **kwargs)
