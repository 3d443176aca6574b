"""SIGTERM while training: the last state gets to the disk, and the exit code says that it can be resumed from.

Cloud schedulers send SIGTERM before they take a machine away, and SIGKILL when the grace is over.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry the operation"


class Preemption:
    """Calls `leave` after SIGTERM has come, but never within a `shield`.

    With `at_once` it does so from the signal's handler, that is between two bytecodes of the main thread. Otherwise it
    is only `asked` to, and leaves when SIGTERM comes a second time.

    A handler that the program has installed itself is left alone, and so is SIGTERM outside the main thread.
    """

    def __init__(self, leave: Callable[[], None], at_once: bool) -> None:
        self._leave = leave
        self._at_once = at_once
        self._shields = 0
        self._due = False  # to leave, as soon as no shield stands
        self._handler: _Handler | None = None
        self.asked = False

    def install(self) -> None:
        """Begins to listen; fine when it does already."""
        present = signal.getsignal(signal.SIGTERM)
        free = present == signal.SIG_DFL or (isinstance(present, _Handler) and present.preemption() is None)
        if self._handler is None and free and threading.current_thread() is threading.main_thread():
            self.asked = self._due = False
            self._handler = _Handler(weakref.ref(self))
            signal.signal(signal.SIGTERM, self._handler)

    def restore(self) -> None:
        """Gives the signal back; fine when it was never taken, or somebody has taken it since."""
        if self._handler is not None and threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGTERM) is self._handler:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._handler = None

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """What stands within is done whole before anybody leaves."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    def check(self) -> None:
        """Leaves if that is due: an exception out of a signal's handler is lost where the signal met a `__del__`."""
        if self._due and not self._shields:
            self.restore()
            self._leave()

    def ask(self) -> None:
        """SIGTERM has come."""
        self._due = self._at_once or self.asked
        self.asked = True
        self.check()


@dataclass(frozen=True)
class _Handler:
    """Stands in the table of signals, and keeps nothing alive: a fit that breaks off does not say so to anybody."""

    preemption: Callable[[], Preemption | None]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        preemption = self.preemption()
        if preemption is not None:
            preemption.ask()
            return
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
