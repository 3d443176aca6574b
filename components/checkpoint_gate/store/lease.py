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

from checkpoint_gate.errors import LeaseHeld
from checkpoint_gate.records import dump_json, load_json
from checkpoint_gate.store.files import LocalFiles

_SECONDS = 600.0
_MAX_BYTES = 4096


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
        held = self._read()
        if held is not None:
            if not self._is_stale(held):
                raise LeaseHeld(
                    f"{self._files.local(self._path).parent} is in use by process {held.get('pid')} on "
                    f"{held.get('host')} ({held.get('purpose')}). Wait until it has ended, and try again."
                )
            # Whoever renames the stale file first goes on; the other finds it gone and meets the new one below.
            with contextlib.suppress(FileNotFoundError):
                aside = f"{self._path}.stale-{uuid.uuid4().hex[:8]}"
                self._files.rename(self._path, aside)
                self._files.remove_file(aside)
        claim = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "purpose": self._purpose,
            "token": int(held["token"]) + 1 if held is not None else 1,
            "nonce": uuid.uuid4().hex,
            "expires": self._clock() + _SECONDS,
        }
        try:
            self._files.create(self._path, dump_json(claim).encode())
        except FileExistsError:
            raise LeaseHeld(f"{self._files.local(self._path).parent} was just taken by another writer.") from None
        self._claim = claim

    def renew(self) -> None:
        """Proves that the lease is still ours and puts its end off; call it before each group of writes.

        Raises:
          LeaseHeld: another writer has taken it over.
        """
        held = self._read()
        if self._claim is None or held is None or held.get("nonce") != self._claim["nonce"]:
            raise LeaseHeld(f"The lease of {self._files.local(self._path).parent} was taken over by another writer.")
        self._claim["expires"] = self._clock() + _SECONDS
        self._files.replace(self._path, dump_json(self._claim).encode())

    def release(self) -> None:
        """Gives the lease back; fine when it is lost."""
        held = self._read()
        if self._claim is not None and held is not None and held.get("nonce") == self._claim["nonce"]:
            self._files.remove_file(self._path)
        self._claim = None

    def _read(self) -> dict[str, Any] | None:
        try:
            value = load_json(self._files.read(self._path, _MAX_BYTES))
        except FileNotFoundError:
            return None
        except ValueError:  # torn by a crash while it was written: nobody's
            return {"token": 0, "expires": 0.0}
        return (
            value if isinstance(value, dict) and isinstance(value.get("token"), int) else {"token": 0, "expires": 0.0}
        )

    def _is_stale(self, held: dict[str, Any]) -> bool:
        if held.get("host") == socket.gethostname():
            if held.get("pid") == os.getpid() and held.get("purpose") == self._purpose:
                return True  # the same work begun again in this process; the old holder's next renewal fails
            return _born(int(held.get("pid", 0))) != held.get("born") or held.get("born") is None
        return float(held.get("expires", 0.0)) < self._clock()


def _born(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; tells a living owner from a reused number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
