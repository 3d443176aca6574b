"""Artifacts that are marked empty, with the reason.

A component that has nothing to hand on still has to publish an output artifact. It writes this marker
into the artifact's folder; custom properties would not survive every orchestrator's backend.
"""

from __future__ import annotations

import os
from pathlib import Path

MARKER = "EMPTY"


def mark_empty(uri: str, reason: str) -> None:
    """Marks the artifact folder `uri` as holding nothing, for `reason` (one sentence)."""
    from tfx.dsl.io import fileio  # imports TFX, which readers of local folders do without

    fileio.makedirs(uri)
    with fileio.open(os.path.join(uri, MARKER), "w") as file:
        file.write(reason + "\n")


def empty_reason(uri: str) -> str | None:
    """The reason why the artifact folder `uri` is empty, or None when it is not marked."""
    path = os.path.join(uri, MARKER)
    if "://" not in uri:
        return Path(path).read_text(encoding="utf-8").strip() if os.path.exists(path) else None
    from tfx.dsl.io import fileio

    if not fileio.exists(path):
        return None
    with fileio.open(path, "r") as file:
        return str(file.read()).strip()
