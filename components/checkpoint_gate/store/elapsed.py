"""When a grace is over: never by the clock alone, which may be set wrong or jump by years.

A checkpoint in the trash is *due* once its age by the clock has reached its grace. It is freed when it is due and
one of these says so, too:

* the seconds since boot: a whole grace of them has passed since it was moved, or since this boot first looked;
* two stretches of the clock, of a whole grace each, the one ending where the other begins. A single error, however
  large and however lasting, lengthens only one of them.

A *look* is what the clocks said at a sweep: {"boot": "5f…", "time": 1790086413.0, "uptime": 86413.2}. The journal
remembers the first one of each boot, and each that contradicts those before: the clock went back, or went another way
than the seconds since boot. What was said before a contradiction counts for nothing by the clock.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from checkpoint_gate.quantities import format_time

_LOG = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SKEW = 60.0  # by so much the clocks of two hosts may differ, or be set in passing
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
    """Whether a trashed checkpoint may be freed: it is due, and more than the clock of this moment says so.

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
    looks = [mark, *looks_of(journal), now]
    return _is_measured(looks, grace) or _is_told_twice(looks, grace)


def is_news(mark: Look, journal: Mapping[str, Any], now: Look) -> bool:
    """Whether a look is to be remembered: it is the first of its boot, or contradicts those before."""
    looks = [mark, *looks_of(journal)]
    return now["boot"] not in {look.get("boot") for look in looks} or _contradicts(now, _uncontradicted(looks))


def looks_of(journal: Mapping[str, Any]) -> list[Look]:
    """The looks that a journal remembers, oldest first."""
    looks: list[Look] = journal.get("looks", [])
    return looks


def _is_measured(looks: Sequence[Look], grace: float) -> bool:
    """Whether a grace has passed within the boot of the last look, by the seconds since then."""
    now = looks[-1]
    first = next(look for look in looks if look.get("boot") == now["boot"])
    return bool(now["uptime"] - first["uptime"] >= grace)


def _is_told_twice(looks: Sequence[Look], grace: float) -> bool:
    """Whether two stretches of the clock are a grace each, of the looks that nothing contradicts."""
    told = _uncontradicted(looks)
    return any(_is_due(told[0], grace, middle) and _is_due(middle, grace, told[-1]) for middle in told)


def _uncontradicted(looks: Sequence[Look]) -> list[Look]:
    """The looks since the last that contradicts an earlier one."""
    told: list[Look] = []
    for look in looks:
        told = [look] if _contradicts(look, told) else [*told, look]
    return told


def _contradicts(now: Look, before: Sequence[Look]) -> bool:
    """Whether the clock went back, or went another way than the seconds since boot."""
    return any(
        now["time"] < look["time"] - _SKEW
        or (
            now["boot"] == look.get("boot")
            and abs((now["time"] - look["time"]) - (now["uptime"] - look["uptime"])) > _SKEW
        )
        for look in before
    )


def _is_due(since: Look, grace: float, at: Look) -> bool:
    return bool(at["time"] - since["time"] >= grace)
