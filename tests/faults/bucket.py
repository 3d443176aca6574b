"""A bucket in memory that fsspec reaches: no rename, no append, an exclusive create, listings that may be late."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFile

from faults.disk import Fuse

URL = "double://bucket/store"
_REMEMBERED = 6  # listings


class Double(AbstractFileSystem):
    """The bucket.

    Attributes:
      objects: key -> bytes.
      listed: the keys after each of the last few changes.
      late: a listing shows the names as they were so many changes ago.
      fuse: breaks a change.
      lost_answers: the store does what it is told, but this many answers are lost.
    """

    protocol = "double"
    cachable = True
    objects: dict[str, bytes] = {}
    listed: list[frozenset[str]] = [frozenset()]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fuse = Fuse()
        self.reset()

    def reset(self, objects: Mapping[str, bytes] | Iterable[tuple[str, bytes]] = ()) -> None:
        """Holds exactly these objects from now on, and lists them at once."""
        self.objects.clear()
        self.objects.update(objects)
        self.listed[:] = [frozenset(self.objects)]
        self.late = 0
        self.arm(None)

    def arm(self, at: int | None, error: int | None = None, sticky: bool = False, times: int = 1) -> None:
        """As `Fuse.arm`."""
        self.fuse.arm(at, error, sticky, times)
        self.lost_answers = 0

    @property
    def done(self) -> int:
        return self.fuse.done

    def change(self, key: str, data: bytes | None) -> None:
        """One more change; breaks when it is told to."""
        self.fuse.blow()
        if data is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = bytes(data)
        self.listed.append(frozenset(self.objects))
        del self.listed[:-_REMEMBERED]
        if self.lost_answers:
            self.lost_answers -= 1
            raise TimeoutError(errno.ETIMEDOUT, "the answer was lost")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path)).strip("/")

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        keys = self.listed[max(0, len(self.listed) - 1 - self.late)]
        below = {key[len(path) + 1 :].split("/")[0] for key in keys if key.startswith(path + "/")}
        if not below:
            raise FileNotFoundError(path)
        names = [f"{path}/{name}" for name in sorted(below)]
        return [self._entry(name) for name in names] if detail else names

    def _entry(self, name: str) -> dict[str, Any]:
        kind = "file" if name in self.objects else "directory"
        return {"name": name, "size": len(self.objects.get(name, b"")), "type": kind}

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return self._entry(self._key(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        return self.objects[self._key(path)][start:end]

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        with open(lpath, "wb") as file:
            file.write(self.objects[self._key(rpath)])

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> MemoryFile:
        assert mode == "rb"
        return MemoryFile(None, None, self.objects[self._key(path)])

    def _key(self, path: str) -> str:
        key = self._strip_protocol(path)
        if key not in self.objects:
            raise FileNotFoundError(key)
        return key

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.change(path, value)

    def put_file(self, lpath: str, rpath: str, callback: Any = None, mode: str = "overwrite", **kwargs: Any) -> None:
        with open(lpath, "rb") as file:
            self.pipe_file(rpath, file.read(), mode)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.change(self._strip_protocol(path2), self.objects[self._key(path1)])

    def rm_file(self, path: str) -> None:
        self.change(self._strip_protocol(path), None)


fsspec.register_implementation("double", Double, clobber=True)


def double() -> Double:
    """The bucket, empty."""
    bucket, _ = fsspec.url_to_fs(URL, use_listings_cache=False)
    bucket.reset()
    assert isinstance(bucket, Double)
    return bucket
