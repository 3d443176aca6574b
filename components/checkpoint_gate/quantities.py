"""Sizes and times as people write them."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1} | {
    prefix + unit: base**power for unit, base in (("B", 1000), ("iB", 1024)) for power, prefix in enumerate("KMGTP", 1)
}


def parse_duration(text: str) -> float:
    """Seconds in a time such as "90s", "15m", "24h", "2d", "1w"; "0s" is allowed.

    Raises:
      ValueError: anything else.
    """
    return _parse(text, _SECONDS, 'a time such as "90s", "15m", "24h" or "2d"')


def parse_size(text: str) -> int:
    """Bytes in a size such as "10GiB" (1024) or "500MB" (1000).

    Raises:
      ValueError: anything else.
    """
    return int(_parse(text, _BYTES, 'a size such as "10GiB" or "500MB"'))


def _parse(text: str, units: dict[str, int], what: str) -> float:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})", text)
    if not match or match[2] not in units:
        raise ValueError(f"must be {what}. Received: {text!r}")
    return float(match[1]) * units[match[2]]


def format_duration(seconds: float) -> str:
    """The shortest form that `parse_duration` reads back to the same number."""
    for unit, size in sorted(_SECONDS.items(), key=lambda item: -item[1]):
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def format_size(size: float) -> str:
    """Bytes for a reader: "3.4 MiB"."""
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if not prefix else f"{size:.1f} {prefix}B"
        size /= 1024
    return f"{size:.1f} TiB"
