"""Schedules on a server: made so that the same command again changes nothing, and found by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice, takewhile
from typing import Any, Literal

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.spelling import did_you_mean
from gated_pipelines.kubeflow.servers.backend import Backend, Job, Schedule, Timing


@dataclass(frozen=True, slots=True)
class Made:
    """What making a schedule came to.

    Attributes:
      outcome: replaced ones of the same name are gone; unchanged, nothing was sent.
      schedule: the one that now holds.
    """

    outcome: Literal["created", "replaced", "unchanged"]
    schedule: Schedule


def next_times(timing: Timing, now: datetime, count: int = 3) -> list[datetime]:
    """The next times at which a schedule made now begins a run.

    Raises:
      ConfigError: there is none between the schedule's start and its end.
    """
    times = timing.cron.times(max(now, timing.start or now))
    found = list(islice(takewhile(lambda time: not timing.end or time <= timing.end, times), count))
    if not found:
        which, limit = ("before its end", timing.end) if timing.end else ("after its start", timing.start)
        raise ConfigError(f"A schedule must begin a run {which}. Received: {limit}.")
    return found


def from_now(timing: Timing, now: datetime) -> Timing:
    """The timing without a start that is past: Kubeflow Pipelines would begin a run at once to make up for it."""
    return replace(timing, start=None) if timing.start and timing.start <= now else timing


def make(backend: Backend, job: Job, timing: Timing, replacing: bool) -> Made:
    """Makes a schedule, unless one of its name does the same already.

    A schedule that is replaced stays until the new one is there; one that was paused is replaced by a paused one.
    Interrupted in between, the same command again ends it.

    Raises:
      ConfigError: one of the name does something else, and is not to be replaced.
      ServerError: the server refuses.
    """
    now = datetime.now(timezone.utc)
    existing = backend.schedules(timing.name)
    wanted = backend.wanted(job, timing)
    found = {schedule.id: _differences(wanted, _without_past(backend.content(schedule), now)) for schedule in existing}
    same = next((schedule for schedule in existing if not found[schedule.id]), None)
    others = [schedule for schedule in existing if schedule is not same]
    if others and not replacing:
        raise ConfigError(
            f"There is a schedule {timing.name} with another {', '.join(found[others[0].id]) or 'id'}: "
            "give --replace to put this one in its place, or another --name."
        )
    paused = bool(others) and all(schedule.paused for schedule in others)
    outcome: Literal["created", "replaced", "unchanged"] = "replaced" if others else "unchanged" if same else "created"
    if same is None:
        same = backend.create(job, replace(timing, paused=paused))
    if paused and not same.paused:
        backend.pause(same)
        same = replace(same, paused=True)
    for schedule in others:
        backend.delete(schedule)
    return Made(outcome, same)


def find(backend: Backend, wanted: str) -> Schedule:
    """The schedule with a name, or with an id.

    Raises:
      ConfigError: there is none, or there are several of the name.
    """
    schedules = backend.schedules()
    found = [schedule for schedule in schedules if wanted in (schedule.name, schedule.id)]
    if not found:
        names = [schedule.name for schedule in schedules]
        raise ConfigError(f"There is no schedule {wanted!r}{did_you_mean(wanted, names)}.")
    if len(found) > 1:
        ids = ", ".join(schedule.id for schedule in found)
        raise ConfigError(f"There are {len(found)} schedules {wanted!r}: give the id of one. They are: {ids}.")
    return found[0]


def told_times(times: Iterable[datetime]) -> str:
    return ", ".join(f"{time:%Y-%m-%d %H:%M:%S %Z}" for time in times)


def utc(time: datetime | None) -> datetime | None:
    """A time in UTC, as one without a zone is.

    Raises:
      ConfigError: it is in no year that Python knows.
    """
    if time is None:
        return None
    try:
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except OverflowError:
        raise ConfigError(f"A time must be within the years 1 to 9999, in UTC. Received: {time}.") from None


def _without_past(content: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """A schedule's content with a start that is past as none: it limits nothing any more."""
    start = content.get("start")
    past = start is not None and datetime.fromisoformat(start.replace("Z", "+00:00")) <= now
    return {**content, "start": None} if past else content


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [key for key, value in wanted.items() if found.get(key) != value]
