"""Artifacts that are marked empty, with the reason.

A component that has nothing to hand on still has to publish an output artifact. It writes this marker
into the artifact's folder; custom properties would not survive every orchestrator's backend.
"""

from __future__ import annotations

import os

from checkpoint_gate.uri_files import read_file, write_file

MARKER = "EMPTY"


def mark_empty(uri: str, reason: str) -> None:
    """Marks the artifact folder `uri` as holding nothing, for `reason` (one sentence)."""
    write_file(os.path.join(uri, MARKER), f"{reason}\n".encode())


def empty_reason(uri: str) -> str | None:
    """The reason why the artifact folder `uri` is empty, or None when it is not marked."""
    data = read_file(os.path.join(uri, MARKER))
    return None if data is None else data.decode().strip()
