"""Cron as Kubeflow Pipelines reads it: the rules of github.com/robfig/cron 1.2.0, written down from its source.

Six fields, seconds first, the last one optional; `?` is `*`; N/S is N-last/S; days of the week are 0-6. A time is
searched minute by minute, which is slow and hard to get wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta

MONTHS = dict(
    zip(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], range(1, 13), strict=True)
)
DAYS = dict(zip(["sun", "mon", "tue", "wed", "thu", "fri", "sat"], range(7), strict=True))
BOUNDS = ((0, 59, {}), (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, MONTHS), (0, 6, DAYS))


def parse(spec: str) -> list[tuple[set[int], bool]]:
    """Of each field the values, and whether it has a star; ValueError if the server would refuse it."""
    fields = spec.split()
    if not 5 <= len(fields) <= 6:
        raise ValueError(f"Expected 5 to 6 fields, found {len(fields)}: {spec}")
    fields = [*fields, "*"][:6]
    return [_field(text, *bounds) for text, bounds in zip(fields, BOUNDS, strict=True)]


def next_time(spec: str, after: datetime) -> datetime:
    seconds, minutes, hours, days, months, weekdays = parse(spec)
    time = after.replace(microsecond=0)
    while True:
        time += timedelta(seconds=1)
        if time.second and not any(second >= time.second for second in seconds[0]):
            time += timedelta(seconds=60 - time.second)
        day, weekday = time.day in days[0], (time.weekday() + 1) % 7 in weekdays[0]
        good = (day and weekday) if days[1] or weekdays[1] else (day or weekday)
        if not (good and time.month in months[0]):
            time = time.replace(hour=0, minute=0, second=0) + timedelta(days=1, seconds=-1)
        elif time.hour not in hours[0]:
            time = time.replace(minute=59, second=59)
        elif time.minute in minutes[0] and time.second in seconds[0]:
            return time


def _field(text, least, most, names):
    values, star = set(), False
    for part in filter(None, text.split(",")):
        span, *steps = part.split("/")
        ends = span.split("-")
        if len(steps) > 1 or len(ends) > 2:
            raise ValueError(f"Too many slashes or hyphens: {part}")
        if ends[0] in ("*", "?"):
            low, high, star = least, most, True
        else:
            low, high = _number(ends[0], names), _number(ends[-1], names)
        step = _number(steps[0], {}) if steps else 1
        if steps and len(ends) == 1:
            high = most
        if low < least or high > most or low > high or step == 0:
            raise ValueError(f"Out of range: {part}")
        values |= set(range(low, high + 1, step))
    return values, star


def _number(text, names):
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        raise ValueError(f"Failed to parse int from {text}")
    return int(text)
