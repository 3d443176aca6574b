"""When a grace is over: never by the clock alone, which may be set wrong or jump by years.

A checkpoint in the trash is *due* once its age by the clock has reached its grace. It is freed when a second witness
agrees:

* the seconds since boot, where the boot that moved it there still lasts: they are all that counts then;
* otherwise, after a restart or on another machine, an earlier *look* at which it was due: one by another boot, or one
  that this boot made a whole grace ago.

A look is a line in the journal: {"boot": "5f…", "time": 1790086413.0, "uptime": 86413.2}.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from checkpoint_gate.quantities import format_time

_LOG = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SKEW = 60.0  # by so much the clocks of two hosts may differ
_PROCESS = uuid.uuid4().hex

Look = Mapping[str, Any]


@runtime_checkable
class SteadyClock(Protocol):
    """A clock that also counts seconds which nobody sets."""

    def __call__(self) -> float:
        """Seconds since 1970 (UTC)."""

    def uptime(self) -> tuple[str, float]:
        """The name of a boot, and the seconds since then, those of suspension included."""


class SystemClock:
    """The clock of this machine, and its seconds since boot."""

    def __call__(self) -> float:
        return time.time()

    def uptime(self) -> tuple[str, float]:
        try:
            boot = _BOOT_ID.read_text().strip()
        except OSError:  # a sandbox without /proc: each process counts for itself
            boot = _PROCESS
        return boot, time.clock_gettime(time.CLOCK_BOOTTIME)


def look(clock: Callable[[], float]) -> dict[str, Any]:
    """What the clocks say now. A clock that counts no seconds since boot is taken at its word."""
    now = clock()
    boot, uptime = clock.uptime() if isinstance(clock, SteadyClock) else ("unknown", now)
    return {"boot": boot, "time": now, "uptime": uptime}


def is_over(mark: Look, journal: Mapping[str, Any], now: Look) -> bool:
    """Whether a trashed checkpoint may be freed: it is due, and a second witness agrees.

    Args:
      mark: its tombstone, of the event "trashed".
      journal: the plan that moved it, with its grace and the looks so far.
      now: a look of this moment.
    """
    grace = journal["grace"]
    if grace == 0:  # asked for by name
        return True
    if now["time"] < mark["time"] - _SKEW:
        then, here = format_time(mark["time"]), format_time(now["time"])
        _LOG.warning("the clock says %s; step %s was pruned later, at %s, and stays", here, mark.get("step"), then)
    if not _is_due(mark, grace, now):
        return False
    if mark.get("boot") == now["boot"]:
        return _measured(mark, now, grace)
    return any(
        _measured(look, now, grace) if look["boot"] == now["boot"] else _is_due(mark, grace, look)
        for look in looks_of(journal)
    )


def is_news(mark: Look, journal: Mapping[str, Any], now: Look) -> bool:
    """Whether a look at a checkpoint that is not over is to be remembered: it is the first of this boot to find it due.

    The boot that moved it to the trash needs no look: it has measured from there on.
    """
    grace = journal["grace"]
    seen = (look["boot"] == now["boot"] and _is_due(mark, grace, look) for look in looks_of(journal))
    return mark.get("boot") != now["boot"] and _is_due(mark, grace, now) and not any(seen)


def looks_of(journal: Mapping[str, Any]) -> list[Look]:
    """The looks that a journal remembers."""
    looks: list[Look] = journal.get("looks", [])
    return looks


def _measured(since: Look, now: Look, grace: float) -> bool:
    return bool(now["uptime"] - since["uptime"] >= grace)


def _is_due(mark: Look, grace: float, at: Look) -> bool:
    return bool(at["time"] - mark["time"] >= grace)
