"""Texts of others, made fit to stand within a sentence. Pure."""

from __future__ import annotations

_LONGEST = 300


def one_line(text: str) -> str:
    """In one line, cut where it is long, without a full stop at its end."""
    line = " ".join(text.split())
    return (line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…").rstrip(". ")
