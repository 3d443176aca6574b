"""The lease: one writer at a time in a run's folder.

A claim is a file made by exclusive create, `lease.000000007.json`; its number is the *token*. The owner is who has the
highest one. Who takes a lease over creates the next number, so of many who try exactly one goes on, and an owner who
was stopped meanwhile finds the higher number before it writes again. The newest claim stays, marked as released, when
it is given back: so tokens rise for ever.

    {"born": "8213", "expires": 1790000600.0, "format": 1, "host": "trainer-0", "nonce": "5f…", "pid": 412,
     "purpose": "training", "released": false, "token": 7}

A claim holds while its process lives, on this host, or until it expires, on another one. While a lease is held, a
thread puts its end off, so that an epoch may take as long as it likes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store.filesystem import Files
from checkpoint_gate.store.layout import FORMAT
from checkpoint_gate.store.process import born

_LOG = logging.getLogger(__name__)

SECONDS = 600.0  # from the last renewal to the end
_SKEW = 60.0  # by so much the clocks of two hosts may differ
UNTIL_FREE = SECONDS + 2 * _SKEW  # for so long the lease of a dead owner may hold, by the clock of another host
_LOOK_AGAIN = 5.0  # seconds for which a check is taken on trust
_PAUSE = 10.0  # seconds between two looks at a lease that is waited for
_KEPT = 8  # claims that stay where a listing may be late: so many it would have to leave out to mislead
_MAX_BYTES = 4096
_NOBODY: dict[str, Any] = {"token": 0, "pid": 0, "expires": 0.0}


class Lease:
    """Holds a run for writing; use it as a context manager.

    Args:
      files, path: the claims are named after `path`, such as "run/lease.json".
      purpose: stands in another writer's error.
      clock: seconds since 1970 (UTC).
      seconds: how long a claim holds after its last renewal.
      again: whether the same work that is begun again in this process takes over, as when a notebook's cell that was
        interrupted is run once more.
      floor: the highest token that is known to have been given; asked where no claim tells.
    """

    def __init__(
        self,
        files: Files,
        path: str,
        purpose: str,
        clock: Callable[[], float],
        seconds: float = SECONDS,
        *,
        again: bool = True,
        floor: Callable[[], int] = lambda: 0,
    ) -> None:
        self._files = files
        self._folder, _, name = path.rpartition("/")
        self._name = name
        self._purpose = purpose
        self._clock = clock
        self._seconds = seconds
        self._again = again
        self._floor = floor
        self._claim: dict[str, Any] | None = None
        self._lost = False
        self._looked = 0.0
        self._one_at_a_time = threading.RLock()  # the owner and the thread that puts the end off
        self._given_back = threading.Event()
        weakref.finalize(self, self._given_back.set)

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, FileNotFoundError):  # so an owner who was overtaken meets what the other one took away
                self.prove()
        finally:
            self.release()

    @property
    def token(self) -> int:
        """The number of this holding, greater than that of every earlier one; 0 while the lease is not held."""
        return int(self._claim["token"]) if self._claim is not None else 0

    def acquire(self, wait: float = 0.0) -> None:
        """Takes the lease.

        Args:
          wait: so many seconds, >= 0, an owner on another host may show no sign of life until its lease ends.

        Raises:
          LeaseHeld: another writer is at work, or may be; names it.
        """
        if wait > 0:
            self._outwait(wait)
        with self._one_at_a_time:
            newest = self.require_free() or self._floor()
            claim = self._new_claim(newest + 1)
            try:
                self._files.create(self._path(newest + 1), dump_json(claim).encode())
                self._clear_older(newest + 1)
            except FileExistsError:
                raise self._lost_race() from None
            except OSError as error:
                raise StoreError(f"{self._where} cannot be written to: {error.strerror}.") from error
            self._claim, self._lost, self._looked = claim, False, _now()
            self._given_back.clear()
            keeping = (weakref.ref(self), self._given_back, self._seconds / 3)
            threading.Thread(target=_keep, args=keeping, name="checkpoint-gate lease", daemon=True).start()

    def _outwait(self, longest: float) -> None:
        """Returns once the lease is free, its owner shows a sign of life, or so many seconds have passed."""
        _, held = self._newest()
        if held is None or self._is_stale(held) or held.get("host") == socket.gethostname():  # free, or surely alive
            return
        longest = min(longest, held["expires"] + _SKEW - self._clock() + _PAUSE)
        _LOG.warning(
            "%s was last in use by process %s on %s (%s), which may be dead: waiting for a sign of life, or for its "
            "lease to end, %.0f seconds at most",
            *(self._where, held.get("pid"), held.get("host"), held.get("purpose"), longest),
        )
        waited = 0.0
        while waited < longest and self._newest()[1] == held and not self._is_stale(held):
            pause = min(_PAUSE, longest - waited)
            time.sleep(pause)
            waited += pause

    def _clear_older(self, own: int) -> None:
        """Removes the claims before our own, lowest first."""
        if self._newest()[0] != own:  # a folder that was listed while it changed had hidden a newer claim
            self._clear(own)
            raise self._lost_race()
        older = [token for token in self._tokens() if token < own]
        for token in older if self._files.atomic else older[:-_KEPT]:
            self._clear(token)

    def _clear(self, token: int) -> None:
        """Removes a claim that a newer one has overtaken; whether it is there decides nothing any more.

        Of others who clear it, too, one may make one of the same number before it sees the newer one: then it is not
        found, and there a moment later.
        """
        with contextlib.suppress(FileNotFoundError):
            self._files.remove_file(self._path(token))

    def renew(self) -> None:
        """Proves that the lease is still ours and puts its end off in time; call it before each group of writes.

        Raises:
          LeaseHeld: another writer has taken it over.
        """
        with self._one_at_a_time:
            self._prove()
            assert self._claim is not None
            end = float(self._clock() + self._seconds)
            if abs(end - self._claim["expires"]) > self._seconds / 6:
                self._claim["expires"] = end
                self._files.replace(self._path(self.token), dump_json(self._claim).encode())
                self._prove()  # who took it over in between may have removed what we have just written again
                if max(self._tokens(), default=0) > self.token:
                    self._lose()

    def check(self) -> None:
        """As `renew` before a single step, without a look where the last one was a moment ago; nothing if not held."""
        if self._lost or (self._claim is not None and not 0 <= _now() - self._looked < _LOOK_AGAIN):
            self.renew()

    def prove(self) -> None:
        """As `check`, by a look at this moment."""
        if self._lost or self._claim is not None:
            with self._one_at_a_time:
                self._prove()

    def release(self) -> None:
        """Gives the lease back; fine when it is lost.

        Raises:
          StoreError: it cannot be written that it is free, and nothing worse is going wrong already.
        """
        failing = sys.exc_info()[0] is not None
        with self._one_at_a_time:
            self._given_back.set()
            try:
                if self._claim is not None:
                    self._prove()
                    self._files.replace(self._path(self.token), dump_json(self._claim | {"released": True}).encode())
            except LeaseHeld:
                pass
            except OSError as error:
                words = f"The lease of {self._where} could not be given back: {error.strerror}."
                if not failing:
                    raise StoreError(words) from error
                _LOG.warning("%s", words)
            finally:
                self._claim = None

    def require_free(self) -> int:
        """The number of the newest holding, 0 before the first; reads only.

        Raises:
          LeaseHeld: a writer is at work, or may be; names it.
        """
        newest, held = self._newest()
        if held is not None and not self._is_stale(held):
            raise LeaseHeld(
                f"{self._where} is in use by process {held.get('pid')} on {held.get('host')} "
                f"({held.get('purpose')}). Wait until it has ended, and try again."
            )
        return newest

    def holder(self) -> str | None:
        """The path of the claim of whoever holds the lease now, or died with it; None when it is free. Reads only."""
        token, claim = self._newest()
        return self._path(token) if claim is not None and claim.get("released") is not True else None

    def _new_claim(self, token: int) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": born(os.getpid()),
            "purpose": self._purpose,
            "token": token,
            "nonce": uuid.uuid4().hex,
            "expires": float(self._clock() + self._seconds),
            "released": False,
        }

    def _prove(self) -> None:
        """Looks whether our claim is there, and no higher one. Claims are removed in the order of their numbers."""
        higher = self._claim is not None and self._read(self.token + 1) is not None
        held = self._read(self.token) if self._claim is not None else None
        if self._claim is None or self._lost or higher or held is None or held.get("nonce") != self._claim["nonce"]:
            self._lose()
        self._looked = _now()

    def _lose(self) -> None:
        self._lost = self._claim is not None
        raise LeaseHeld(f"The lease of {self._where} was taken over by another writer.")

    def _newest(self) -> tuple[int, dict[str, Any] | None]:
        """The highest token there is, and its claim; 0 and None where there never was one."""
        for _ in range(20):
            token = max(self._tokens(), default=0)
            claim = self._read(token) if token else None
            while (higher := self._read(token + 1)) is not None:  # a listing may be late
                token, claim = token + 1, higher
            if token == 0 or claim is not None:
                return token, claim
        raise self._lost_race()  # claims come and go: others are at it

    def _tokens(self) -> list[int]:
        stem, dot, suffix = self._name.rpartition(".")
        pattern = re.compile(rf"{re.escape(stem)}\.(\d{{9,}}){re.escape(dot + suffix)}")
        found = (pattern.fullmatch(name) for name in self._files.names(self._folder or None))
        return sorted(int(match[1]) for match in found if match is not None)

    def _path(self, token: int) -> str:
        stem, dot, suffix = self._name.rpartition(".")
        name = f"{stem}.{token:09d}{dot}{suffix}"
        return f"{self._folder}/{name}" if self._folder else name

    def _read(self, token: int) -> dict[str, Any] | None:
        try:
            value = load_json(self._files.read(self._path(token), _MAX_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:  # torn, where a file system lets one be seen half-written
            return _NOBODY
        if isinstance(value, dict) and value.get("format", FORMAT) != FORMAT:
            raise StoreError(
                f"{self._files.place(self._path(token))} has the format {value['format']!r}; this version reads "
                f"format {FORMAT}."
            )
        whole = isinstance(value, dict) and all(isinstance(value.get(k), type(v)) for k, v in _NOBODY.items())
        return value if whole else _NOBODY

    def _is_stale(self, held: dict[str, Any]) -> bool:
        if held.get("released") is True or held is _NOBODY:
            return True
        if held.get("host") == socket.gethostname():
            if self._again and held.get("pid") == os.getpid() and held.get("purpose") == self._purpose:
                return True  # the old holder's next renewal fails
            return held.get("born") is None or born(held["pid"]) != held["born"]
        return bool(held["expires"] + _SKEW < self._clock())

    @property
    def _where(self) -> str:
        return self._files.place(self._folder or None)

    def _lost_race(self) -> LeaseHeld:
        return LeaseHeld(f"{self._where} was just taken by another writer.")


def _keep(lease: weakref.ref[Lease], given_back: threading.Event, pause: float) -> None:
    """Puts the end of a held lease off, as long as there is one."""
    while not given_back.wait(pause):
        held = lease()
        if held is None:
            return
        try:
            held.renew()
        except LeaseHeld:
            return  # the owner finds out at its next write
        except (OSError, StoreError):
            pass  # there are more tries before it ends
        del held


def _now() -> float:
    """Seconds that also pass while this process, or the machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def claim_name(name: str, of: str) -> bool:
    """Whether `name` is a claim on the lease that is called `of`."""
    stem, dot, suffix = of.rpartition(".")
    return re.fullmatch(rf"{re.escape(stem)}\.\d{{9,}}{re.escape(dot + suffix)}", name) is not None
