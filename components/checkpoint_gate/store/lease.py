"""The lease: one writer at a time in a run's folder.

The lease is a file made by exclusive create. It names its owner; one whose process is gone, or that ran out on another
machine, is taken over. Every taking raises the token, so that an owner who lost the lease notices before it writes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.records import dump_json, load_json
from checkpoint_gate.store.files import LocalFiles

_SECONDS = 600.0
_MAX_BYTES = 4096
_STALE = ".stale-"


class Lease:
    """Holds a run for writing; use it as a context manager."""

    def __init__(self, files: LocalFiles, path: str, purpose: str, clock: Callable[[], float]) -> None:
        self._files = files
        self._path = path
        self._purpose = purpose
        self._clock = clock
        self._claim: dict[str, Any] | None = None

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Takes the lease.

        Raises:
          LeaseHeld: another writer is at work; names it.
        """
        held = self._read(self._path)
        if held is not None:
            if not self._is_stale(held):
                raise LeaseHeld(
                    f"{self._files.local(self._path).parent} is in use by process {held.get('pid')} on "
                    f"{held.get('host')} ({held.get('purpose')}). Wait until it has ended, and try again."
                )
            self._set_aside(held)
        claim = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "purpose": self._purpose,
            "token": int(held["token"]) + 1 if held is not None else 1,
            "nonce": uuid.uuid4().hex,
            "expires": float(self._clock() + _SECONDS),
        }
        try:
            self._files.create(self._path, dump_json(claim).encode())
        except FileExistsError:
            raise self._lost_race() from None
        except OSError as error:
            folder = self._files.local(self._path).parent
            raise StoreError(f"{folder} cannot be written to: {error.strerror}.") from error
        self._claim = claim

    def _set_aside(self, held: dict[str, Any]) -> None:
        """Takes a stale lease away. Whoever renames it first goes on; the other finds it gone, or a living one."""
        aside = f"{self._path}{_STALE}{uuid.uuid4().hex[:8]}"
        try:
            self._files.rename(self._path, aside)
        except FileNotFoundError:
            return
        moved = self._read(aside)
        if moved is not None and moved.get("nonce") != held.get("nonce"):  # not what we had judged
            with contextlib.suppress(FileExistsError):
                self._files.rename(aside, self._path)
            raise self._lost_race()
        self._files.remove_file(aside)

    def _lost_race(self) -> LeaseHeld:
        return LeaseHeld(f"{self._files.local(self._path).parent} was just taken by another writer.")

    def clear_stale(self) -> None:
        """Removes what takers of the lease who were killed have left; only while the lease is held."""
        folder, _, name = self._path.rpartition("/")
        for other in self._files.names(folder or None):
            if other.startswith(name + _STALE):
                self._files.remove_file(f"{folder}/{other}" if folder else other)

    def renew(self) -> None:
        """Proves that the lease is still ours and puts its end off; call it before each group of writes.

        Raises:
          LeaseHeld: another writer has taken it over.
        """
        held = self._read(self._path)
        if self._claim is None or held is None or held.get("nonce") != self._claim["nonce"]:
            raise LeaseHeld(f"The lease of {self._files.local(self._path).parent} was taken over by another writer.")
        self._claim["expires"] = float(self._clock() + _SECONDS)
        self._files.replace(self._path, dump_json(self._claim).encode())

    def release(self) -> None:
        """Gives the lease back; fine when it is lost."""
        held = self._read(self._path)
        if self._claim is not None and held is not None and held.get("nonce") == self._claim["nonce"]:
            self._files.remove_file(self._path)
        self._claim = None

    def _read(self, path: str) -> dict[str, Any] | None:
        nobody = {"token": 0, "pid": 0, "expires": 0.0}
        try:
            value = load_json(self._files.read(path, _MAX_BYTES))
        except FileNotFoundError:
            return None
        except ValueError:  # torn, where a file system lets one be seen half-written
            return nobody
        whole = isinstance(value, dict) and all(isinstance(value.get(k), type(v)) for k, v in nobody.items())
        return value if whole else nobody

    def _is_stale(self, held: dict[str, Any]) -> bool:
        if held.get("host") == socket.gethostname():
            if held.get("pid") == os.getpid() and held.get("purpose") == self._purpose:
                return True  # the same work begun again in this process; the old holder's next renewal fails
            return held.get("born") is None or _born(held["pid"]) != held["born"]
        return bool(held["expires"] < self._clock())


def _born(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; tells a living owner from a reused number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
