"""Sizes and times as people write them."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1} | {
    prefix + unit: base**power for unit, base in (("B", 1000), ("iB", 1024)) for power, prefix in enumerate("KMGTP", 1)
}

_MOST = 1 << 60  # seconds or bytes; so far every whole number can be written back


def parse_duration(text: str) -> float:
    """Seconds, to the microsecond, in a time such as "90s", "15m", "24h", "2d", "1w"; "0s" is allowed.

    Raises:
      ValueError: anything else.
    """
    return round(float(_parse(text, _SECONDS, 'a time such as "90s", "15m", "24h" or "2d"')), 6)


def parse_size(text: str) -> int:
    """Bytes in a size such as "10GiB" (1024) or "500MB" (1000).

    Raises:
      ValueError: anything else.
    """
    return int(_parse(text, _BYTES, 'a size such as "10GiB" or "500MB"'))


def _parse(text: str, units: dict[str, int], what: str) -> int | float:
    match = re.fullmatch(r"(\d{1,19}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})", text)
    if not match or match[2] not in units:
        raise ValueError(f"must be {what}. Received: {text!r}")
    value = (float(match[1]) if "." in match[1] else int(match[1])) * units[match[2]]
    if value > _MOST:
        raise ValueError(f"must be {what}, less than this. Received: {text!r}")
    return value


def format_duration(seconds: float) -> str:
    """A short form that `parse_duration` reads back to the same number, to the microsecond."""
    for unit, size in sorted(_SECONDS.items(), key=lambda item: -item[1]):
        if seconds and seconds % size == 0:
            return f"{int(seconds) // size}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def exact_size(size: int) -> str:
    """Bytes in the largest unit without a remainder; `parse_size` reads the same number back."""
    unit = max((unit for unit, of in _BYTES.items() if size % of == 0), key=_BYTES.__getitem__)
    return f"{size // _BYTES[unit]}{unit}"


def format_size(size: float) -> str:
    """Bytes for a reader: "3.4 MiB"."""
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if not prefix else f"{size:.1f} {prefix}B"
        size /= 1024
    return f"{size:.1f} TiB"


def format_time(seconds: float) -> str:
    """Seconds since 1970 for a reader: "2026-11-23 05:31 UTC"."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):  # a clock gone wild
        return f"{seconds:g} s after 1970"
