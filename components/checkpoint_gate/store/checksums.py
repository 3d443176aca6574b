"""Checksums of a checkpoint's files, as manifests have them: "kind:digits".

Files are read back whole for every save, resume and pruning, so the time that a checksum takes is lost to training.
XXH3 with 128 bits (https://xxhash.com) takes a fifteenth of sha256's. Both tell every accident, which is what a
checksum in a file beside its data can be for: who is able to change the one can change the other. Stores written
before hold sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

import xxhash

WRITTEN = "xxh3-128"
PATTERN = r"^(xxh3-128:[0-9a-f]{32}|sha256:[0-9a-f]{64})\Z"
_CHUNK = 1 << 18  # small enough to stay in the processor's cache between the read and the checksum


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


_KINDS: dict[str, Callable[[], _Digest]] = {WRITTEN: xxhash.xxh3_128, "sha256": hashlib.sha256}


def checksum_of(file: BinaryIO, kind: str = WRITTEN) -> str:
    """The checksum of what is left to read of `file`."""
    return measure(file, kind)[1]


def measure(file: BinaryIO, kind: str = WRITTEN) -> tuple[int, str]:
    """How many bytes are left to read of `file`, and their checksum."""
    digest, size = _KINDS[kind](), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return size, f"{kind}:{digest.hexdigest()}"


def kind_of(checksum: str) -> str:
    """What kind of checksum a manifest holds."""
    return checksum.partition(":")[0]
