"""A machine's two clocks: one that may be set to anything, and the seconds since boot."""

from __future__ import annotations

import itertools

from faults.crowd import Clock


class Machine(Clock):
    """The clock of a machine: time passes, jumps, and the machine is restarted."""

    _boots = itertools.count()

    def __init__(self, now: float | None = None) -> None:
        super().__init__()
        self.now = self.now if now is None else now
        self.restart()

    def uptime(self) -> tuple[str, float]:
        return self._boot, self._seconds

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self._seconds += seconds

    def jump(self, seconds: float) -> None:
        """The clock is set to something else; no time passes."""
        self.now += seconds

    def restart(self) -> None:
        """Another boot begins."""
        self._boot = f"boot {next(self._boots)}"
        self._seconds = 0.0
