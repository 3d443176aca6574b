"""Tells a living process from one that has its number."""

from __future__ import annotations

from pathlib import Path


def born(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None where there is no such process, or none any more.

    A process that has ended keeps its number until its parent asks how, which in a container may be never. While
    another of its threads is still ending, it counts as alive.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        state, threads, started = fields[0], int(fields[17]), fields[19]
    except (OSError, IndexError, ValueError):
        return None
    return None if state in ("Z", "X") and threads <= 1 else started
