"""Cron expressions: read once, then written as each scheduler wants them.

Kubeflow Pipelines reads six fields, seconds first, by the rules of https://pkg.go.dev/github.com/robfig/cron@v1.2.0:
five fields would be taken for seconds to month there. Vertex AI reads the usual five, with a time zone before them.
What is written is the part that both read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from zoneinfo import ZoneInfo

from checkpoint_gate.errors import ConfigError

_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)", re.DOTALL)
_TERM = re.compile(r"(?:\*|\w+(?:-\w+)?)(?:/\d+)?")
_FROM = re.compile(r"(\w+)/(\d+)")
_ALONE = re.compile(r"^(\w+)-\1(?:/\d+)?$")
_SUNDAY = re.compile(r"(?:^|-)7(?:/|$)")
# The name of each field, what it may hold, and its largest number.
_FIELDS = (
    ("second", "0-59", 59),
    ("minute", "0-59", 59),
    ("hour", "0-23", 23),
    ("day-of-month", "1-31", 31),
    ("month", "1-12 or JAN-DEC", 12),
    ("day-of-week", "0-6 or SUN-SAT", 6),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """When something is to run.

    Attributes:
      fields: second, minute, hour, day of month, month, day of week, in the form that all schedulers read.
      zone: the name of the time zone, "" where none was given.
    """

    fields: tuple[str, str, str, str, str, str]
    zone: str = ""

    def six(self) -> str:
        """Six fields, seconds first."""
        return " ".join(self.fields)

    def five(self) -> str:
        """Five fields, minutes first.

        Raises:
          ConfigError: the seconds are not 0.
        """
        if self.fields[0] != "0":
            raise ConfigError(f"Five fields have no seconds: they must be 0. Received: {self.six()!r}.")
        return " ".join(self.fields[1:])

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after `after`, which has a time zone; in this expression's zone, or else in UTC."""
        from cronsim import CronSim, CronSimError

        zone: tzinfo = ZoneInfo(self.zone) if self.zone else timezone.utc
        try:
            yield from CronSim(self.six(), after.astimezone(zone))
        except (
            CronSimError,
            OverflowError,
        ):  # 31 February, the year 10000
            return


def read_cron(text: str) -> Cron:
    """Reads five fields, or six with the seconds first; CRON_TZ=Area/City or TZ=Area/City may stand before them.

    A `?` is read as `*`, a day of week 7 as Sunday, and N/S as N-last/S.

    Raises:
      ConfigError: the expression is wrong, or its time never comes; says what must hold.
    """
    zone, rest = "", text.strip()
    if prefixed := _ZONE.fullmatch(rest):
        zone, rest = _known_zone(prefixed[1]), prefixed[2]
    parts = rest.upper().split()
    if len(parts) not in (5, 6):
        raise ConfigError(
            "A cron expression must have five fields (minute hour day month weekday), or six with the seconds first. "
            f"Received: {text!r}."
        )
    if len(parts) == 5:
        parts = ["0", *parts]
    fields = tuple(_plain(part, place, text) for place, part in enumerate(parts))
    cron = Cron(_checked(fields, text), zone)
    if next(cron.times(datetime.now(timezone.utc)), None) is None:
        raise ConfigError(f"A cron expression must name a time that comes. Received: {text!r}, which never does.")
    return cron


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigError(f"A time zone must be an IANA name, as Europe/Paris. Received: {name!r}.") from None
    return name


def _plain(part: str, place: int, text: str) -> str:
    """One field without what only some schedulers read."""
    name, _, last = _FIELDS[place]
    if part == "?" and name.startswith("day-"):
        return "*"
    terms = part.split(",")
    if not all(_TERM.fullmatch(term) for term in terms):
        raise _wrong(place, text)
    if "*" in terms:
        return "*"
    # A star with a step joins day of month and day of week by "and" for one reader wherever it stands, for another
    # only at the beginning.
    stars_first = sorted(terms, key=lambda term: not term.startswith("*"))
    return ",".join(_plain_term(term, last) for term in stars_first)


def _plain_term(term: str, last: int) -> str:
    """One term without what only some schedulers read: N/S becomes N-last/S, and N-N becomes N."""
    if "-" not in term:
        term = _FROM.sub(rf"\1-{last}/\2", term)
    return _ALONE.sub(r"\1", term)


def _checked(fields: tuple[str, ...], text: str) -> tuple[str, str, str, str, str, str]:
    from cronsim import CronSim, CronSimError

    always: list[str] = ["*"] * 6
    for place, field in enumerate(fields):
        alone = [*always[:place], field, *always[place + 1 :]]
        try:
            read = CronSim(" ".join(alone), datetime.now(timezone.utc))
        except CronSimError:
            raise _wrong(place, text) from None
        values = (read.seconds, read.minutes, read.hours, read.days, read.months, read.weekdays)[place]
        if not all(isinstance(value, int) and value >= 0 for value in values):  # L, LW: the last day
            raise _wrong(place, text)
    second, minute, hour, day, month, weekday = fields
    terms = weekday.split(",")
    if any(_SUNDAY.search(term) for term in terms):
        stars = [term for term in terms if term.startswith("*")]
        weekday = ",".join([*stars, *map(str, sorted({number % 7 for number in read.weekdays}))])
    return second, minute, hour, day, month, weekday


def _wrong(place: int, text: str) -> ConfigError:
    name, allowed, _ = _FIELDS[place]
    return ConfigError(
        f"In a cron expression the {name} must be *, or numbers of {allowed} with commas, ranges and steps. "
        f"Received: {text!r}."
    )
