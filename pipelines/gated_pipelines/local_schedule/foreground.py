"""A schedule that runs in the foreground, each run in a process of its own.

One run at a time: of the times that pass while one is at work, or while the machine sleeps, one run is made up for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from gated_pipelines.cron import Cron

_LOG = logging.getLogger(__name__)
_PAUSE = 0.2  # seconds
_LOOK_AGAIN = 30.0  # seconds
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def in_local_time(cron: Cron) -> Cron:
    """As cron reads it: an expression without a zone is meant in that of this machine."""
    import tzlocal

    return cron if cron.zone else replace(cron, zone=tzlocal.get_localzone_name() or "UTC")


@dataclass(frozen=True)
class CronTimes(BaseTrigger):
    """The times of a cron expression, for APScheduler, whose own trigger counts the days of the week from Monday."""

    cron: Cron

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time after the one before, or after `now`."""
        return next(self.cron.times(previous_fire_time or now), None)


class Foreground:
    """Runs a command at the times of a schedule, until SIGTERM or SIGINT.

    The first signal lets a run that is at work end, and begins no other; the second one is handed on to it.

    Args:
      command: of each run; its exit code says how it went.
      tell: told words for a person.
      ended: told the standard output and the exit code of each run.
    """

    def __init__(
        self, command: Sequence[str], tell: Callable[[str], None], ended: Callable[[str, int], None] = lambda *_: None
    ) -> None:
        self._command = list(command)
        self._tell = tell
        self._ended = ended
        self._stopping = False
        self._child: subprocess.Popen[str] | None = None

    def serve(self, cron: Cron) -> None:
        """Runs until it is told to stop, or the schedule has no more times."""
        scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": ThreadPoolExecutor(1)},
            # The second instance waits for the one thread there is; a third one finds no place.
            job_defaults={"coalesce": True, "max_instances": 2, "misfire_grace_time": None},
        )
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        trigger = CronTimes(cron)
        scheduler.add_job(lambda: self._run(trigger), trigger)
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            self._tell_next(trigger)
            scheduler.start()
            # In short pauses: a signal may reach another thread than this one, in which Python handles it.
            looked = time.monotonic()
            while not self._stopping:
                time.sleep(_PAUSE)
                if time.monotonic() >= looked + _LOOK_AGAIN:
                    # It waits by a clock that stands while the machine sleeps, and that nobody sets.
                    scheduler.wakeup()
                    looked = time.monotonic()
            if self._child is not None:
                self._tell("Stopping when the run that is at work has ended; a second signal stops it, too.")
            while self._child is not None:
                time.sleep(_PAUSE)
            scheduler.shutdown(wait=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self, trigger: CronTimes) -> None:
        if self._stopping:
            return
        try:
            # A session of its own: a Ctrl-C in the terminal is for the scheduler, which lets the run end.
            self._child = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            output, _ = self._child.communicate()
            code = self._child.returncode
        except OSError as error:  # no memory or no process to be had now: there may be at the next time
            self._tell(f"The run could not be started: {error.strerror}.")
            output, code = "", 1
        else:
            if code != 0:
                self._tell(how_it_ended(code))
        finally:
            self._child = None
        self._ended(output, code)
        if not self._stopping:
            self._tell_next(trigger)

    def _tell_next(self, trigger: CronTimes) -> None:
        moment = trigger.get_next_fire_time(None, datetime.now(timezone.utc))
        if moment is None:
            self._tell("The schedule names no further time.")
            self._stopping = True
        else:
            self._tell(f"The next run is at {moment:%Y-%m-%d %H:%M:%S %Z}.")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Says nothing and takes no lock: it may have interrupted whoever holds one."""
        child = self._child
        if self._stopping and child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
        self._stopping = True


def how_it_ended(code: int) -> str:
    """A sentence about an exit code, below 0 for a signal."""
    if code >= 0:
        return f"The run ended with exit code {code}."
    try:
        return f"The run was ended by {signal.Signals(-code).name}."
    except ValueError:
        return f"The run was ended by signal {-code}."


def once_command(pipeline: str, root: str) -> list[str]:
    """The command of one scheduled run."""
    return [sys.executable, "-m", "gated_pipelines", "schedule", "local", pipeline, "--once", "--root", root, "--json"]
