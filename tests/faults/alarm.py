"""Stops a figure at the first case that breaks its promise."""

from __future__ import annotations

from faults.figure import Measured


class Caught(Exception):
    """The first violation: one is enough."""


class Alarm(Measured):
    """Counts nothing, and raises Caught at the first violation."""

    def case(self, *broken: str) -> None:
        if broken:
            raise Caught(broken[0])
