"""Who writes a captured state, and when: at once, or behind training. Knows nothing of what is written."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal, Protocol

from checkpoint_gate.errors import RuleError

_LOG = logging.getLogger(__name__)

Saving = Literal["background", "latest", "synchronous"]
SAVING: tuple[Saving, ...] = ("background", "latest", "synchronous")
Work = Callable[[], None]
Write = Callable[[str], None]


class State(Protocol):
    """What a checkpoint holds, and how it gets to the disk."""

    def capture(self) -> Write | None:
        """A function that later writes the state as it is now; None where it can only be written at once."""
        ...

    def write(self, prefix: str) -> None:
        """Writes the state as it is now to files whose names begin with `prefix`."""
        ...


class Saver(Protocol):
    """Does the work of one training run in the order in which it was given."""

    def ready(self) -> None:
        """Returns when another state may be captured.

        Raises:
          what earlier work raised, every time from then on: nothing is done after a failure.
        """
        ...

    def check(self) -> None:
        """The same error as `ready`, without waiting."""
        ...

    def add(self, work: Work, instead: Work | None = None) -> None:
        """Takes work on; `instead` is done in its place should a newer state overtake it."""
        ...

    def settle(self) -> None:
        """Returns when all is done, well or not."""
        ...

    def wait(self) -> None:
        """Returns when all is done; the same error as `ready`."""
        ...

    def close(self) -> None:
        """Waits for what is under way and ends; raises nothing. Only to be told of in the log if nobody else did."""
        ...


def saver(saving: Saving) -> Saver:
    """The saver of this name.

    Raises:
      RuleError: there is none.
    """
    if saving not in SAVING:
        raise RuleError(f"saving must be one of {', '.join(SAVING)}. Received: saving={saving!r}.")
    return AtOnce() if saving == "synchronous" else Behind(latest_only=saving == "latest")


class AtOnce:
    """Works while training waits."""

    def ready(self) -> None: ...

    def check(self) -> None: ...

    def add(self, work: Work, instead: Work | None = None) -> None:
        work()

    def settle(self) -> None: ...

    def wait(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Job:
    work: Work
    instead: Work | None

    def overtake(self) -> None:
        """Lets go of the work, and with it of the state that was captured for it."""
        if self.instead is not None:
            self.work, self.instead = self.instead, None


class Behind:
    """Works in one thread behind training, in order; what is captured waits in memory, so at most one state at a time.

    With `latest_only` training never waits: of the states that wait while another is being written, only the newest is
    written. At most two are in memory then, and for a moment the one that overtakes.

    The thread is the standard library's: a program that ends waits for it.
    """

    def __init__(self, latest_only: bool) -> None:
        self._latest_only = latest_only
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-gate")
        self._jobs: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._saves: list[Future[None]] = []
        self._last: Future[None] | None = None
        self._error: BaseException | None = None
        self._told = False

    def ready(self) -> None:
        if not self._latest_only:
            wait(self._saves)
            self._saves = []
        self.check()

    def check(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def add(self, work: Work, instead: Work | None = None) -> None:
        self.check()
        job = _Job(work, instead)
        with self._lock:
            if self._latest_only and instead is not None:
                for waiting in self._jobs:
                    waiting.overtake()
            self._jobs.append(job)
        self._last = self._thread.submit(self._next)
        if instead is not None and not self._latest_only:
            self._saves = [self._last]

    def _next(self) -> None:
        with self._lock:
            job = self._jobs.popleft()
        if self._error is not None:
            return
        try:
            job.work()
        except BaseException as error:
            self._error = error

    def settle(self) -> None:
        if self._last is not None:
            wait([self._last])

    def wait(self) -> None:
        self.settle()
        self.check()

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        if self._error is not None and not self._told:
            self._told = True
            _LOG.error("saving behind training failed: %s", self._error)
