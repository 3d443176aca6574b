"""The choice among survivors as a file in the evaluation artifact's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoint_gate.records import dump_json, encode_metrics, load_json
from checkpoint_gate.selection import Selection
from checkpoint_gate.store.layout import FORMAT

_FILE = "selection.json"


def write_selection(folder: Path, selection: Selection) -> None:
    """Writes who won, why, everybody's metrics, and why others were out."""
    value = {
        "format": FORMAT,
        "winner": selection.winner.name,
        "reason": selection.reason,
        "excluded": dict(selection.excluded),
        "candidates": [
            {"name": c.name, "run": c.run, "step": c.step, "metrics": encode_metrics(c.metrics)}
            for c in selection.candidates
        ],
    }
    (folder / _FILE).write_text(dump_json(value, indent=1) + "\n", encoding="utf-8")


def read_selection(folder: Path) -> dict[str, Any] | None:
    """What `write_selection` wrote; None when the folder has none."""
    path = folder / _FILE
    value: dict[str, Any] | None = load_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    return value
