"""Which of many tables a run takes: `{SPAN}` in a place stands for a whole number, as in TFX's ExampleGen.

A span is asked for by its number; or by a time, as `%Y%m`, which is the newest span that is not later than the time of
the run, or as `%Y%m-1`, not later than the month before; or, by nothing, it is the largest there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.uri_files import names_in

SPAN = "{SPAN}"
_TIME = re.compile(r"((?:%[YmdHjGVu]|[0-9])*)(?:-([0-9]{1,4}))?")  # what `strftime` makes digits of, and how far back
_LONG = {"H": timedelta(hours=1), "d": timedelta(days=1), "j": timedelta(days=1), "u": timedelta(days=1)}
_LONG["V"] = timedelta(weeks=1)
_MOST_DIGITS = 18  # ML Metadata and TFX keep a span as a signed 64-bit integer


@dataclass(frozen=True, slots=True)
class SpanFile:
    """A table, and the number that stands for `{SPAN}` in its name; None where the name has no such place."""

    file: str
    span: int | None


def find_window(place: str, span: str, count: int, time: datetime | None = None) -> tuple[SpanFile, ...]:
    """The files of the last spans up to one, oldest first: fewer than `count` where there are no more.

    Spans need not follow each other by one; those that are there count.

    Args:
      place: a path or a URL, with `{SPAN}` at most once, in the file's name; without, there is one file.
      span: the last span's number, at most 18 digits; "" takes the largest there is, and a time such as "%Y%m" the
        largest that is not beyond what `time` is written so; "%Y%m-1" what the time a month earlier is.
      count: 1 or more.
      time: of the run; None for now.

    Raises:
      ConfigError: `span` is no such number, does not fit the place, or is not there.
      OSError: the folder cannot be listed.
    """
    require_span(span)
    require_fit(span, place)
    require_place(place)
    if SPAN not in place:
        return (SpanFile(place, None),)
    folder, _, name = place.rpartition("/")
    found = _spans(folder, name)
    if "%" in span:
        last = int(_written(span, time or datetime.now(timezone.utc)))
        wanted = max((number for number in found if number <= last), default=None)
        if wanted is None:
            raise ConfigError(f"There is no file {place} for a span up to {last}, which is the time as {span}.")
    else:
        wanted = int(span) if span else max(found, default=None)
    if wanted is None:
        raise ConfigError(f"There is no file {place} for any {SPAN}.")
    if wanted not in found:
        there = f"; there are {_some(sorted(found))}" if found else ""
        raise ConfigError(f"There is no file {place} for the span {wanted}{there}.")
    if wanted >= 10**_MOST_DIGITS:
        raise ConfigError(f"The number of a span must have at most {_MOST_DIGITS} digits. Received: {found[wanted]}.")
    numbers = sorted(number for number in found if number <= wanted)[-count:]
    return tuple(SpanFile(f"{folder}/{found[n]}" if folder else found[n], n) for n in numbers)


def spans_in_words(spans: Sequence[int]) -> str:
    """For example "the spans 201301, 201302 and 201303"; there is at least one."""
    *most, last = map(str, spans)
    return f"the spans {', '.join(most)} and {last}" if most else f"the span {last}"


def require_span(span: str) -> None:
    """Refuses what cannot be a span's number.

    Raises:
      ConfigError: `span` is neither empty, nor a number of at most 18 digits, nor a time that is written as one.
    """
    as_time = "%" in span and _TIME.fullmatch(span) is not None
    written = _written(span, datetime.now(timezone.utc)) if as_time else span
    if not re.fullmatch(f"[0-9]{{0,{_MOST_DIGITS}}}", written):
        raise ConfigError(
            f"span must be a whole number of at most {_MOST_DIGITS} digits, a time as %Y%m, or empty for the largest "
            f"there is; %Y%m-1 stands for the month before. Received: {span!r}."
        )


def require_fit(span: str, place: str) -> None:
    """Refuses a span where a place has none for it.

    Raises:
      ConfigError: `span` is not empty, and `place` has no `{SPAN}`.
    """
    if span and SPAN not in place:
        raise ConfigError(f"span is {span}, but {place} has no {SPAN} for it to stand in.")


def require_place(place: str) -> None:
    """Refuses a place with `{SPAN}` elsewhere than once in the file's name.

    Raises:
      ConfigError: it is in a folder's name, or there twice.
    """
    folder, _, name = place.rpartition("/")
    if SPAN in folder or name.count(SPAN) > 1:
        raise ConfigError(f"{place} must have {SPAN} once, in the name of the file.")


def _written(span: str, time: datetime) -> str:
    """A time as `span` has it: what follows the hyphen is how many of its finest unit it lies back."""
    found = _TIME.fullmatch(span)
    assert found is not None
    form, back = found[1], int(found[2] or 0)
    unit = next((length for name, length in _LONG.items() if f"%{name}" in form), None)
    if unit is not None:
        return f"{time - back * unit:{form}}"
    months = time.year * 12 + time.month - 1 - (back if "%m" in form else 12 * back)
    return f"{time.replace(year=months // 12, month=months % 12 + 1, day=1):{form}}" if back else f"{time:{form}}"


def read_time(text: str) -> datetime:
    """The time for which a run was scheduled, by RFC 3339; now where the backend does not tell it."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
    except ValueError:  # a placeholder that servers before Kubeflow Pipelines 2.16 leave as it is; "", as 2.16 has it
        return datetime.now(timezone.utc)


def _spans(folder: str, name: str) -> dict[int, str]:
    """Span -> the file's name; of two spellings of a number (7, 007) the longer, which a padded series has."""
    before, after = map(re.escape, name.split(SPAN))
    pattern = re.compile(f"{before}([0-9]+){after}")
    try:
        names = names_in(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        names = []
    matches = [match for each in sorted(names, key=len) if (match := pattern.fullmatch(each))]
    return {int(match[1]): match[0] for match in matches}


def _some(spans: list[int]) -> str:
    return ", ".join(map(str, spans)) if len(spans) <= 6 else f"{spans[0]} to {spans[-1]}, {len(spans)} of them"
