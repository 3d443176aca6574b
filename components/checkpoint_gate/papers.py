"""The papers that a model carries: which checkpoint it is, and how it came to be chosen.

They lie in the SavedModel's `assets.extra/checkpoint_gate.json`, a place that loaders leave alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ModelError
from checkpoint_gate.records import decode_metrics, dump_json, encode_metrics, load_json
from checkpoint_gate.selection import Selection
from checkpoint_gate.store.layout import FORMAT, WRITER

_FILE = Path("assets.extra", "checkpoint_gate.json")


@dataclass(frozen=True, slots=True)
class Papers:
    """Where a model comes from: `run` and `step` in the store, why it was chosen, its metrics by TFMA."""

    run: str
    step: int
    reason: str
    metrics: Mapping[str, float]
    rules_digest: str


def write_papers(model: Path, selection: Selection, rules_digest: str) -> None:
    """Writes the winner's papers into the SavedModel folder `model`."""
    winner = selection.winner
    value: dict[str, Any] = {
        "format": FORMAT,
        "run": winner.run,
        "step": winner.step,
        "reason": selection.reason,
        "metrics": encode_metrics(winner.metrics),
        "rules_digest": rules_digest,
        "writer": WRITER,
    }
    path = model / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_json(value, indent=1) + "\n", encoding="utf-8")


def read_papers(model: Path) -> Papers | None:
    """The papers of the SavedModel folder `model`; None when it carries none.

    Raises:
      ModelError: they are there but cannot be read.
    """
    path = model / _FILE
    if not path.is_file():
        return None
    try:
        value = load_json(path.read_text(encoding="utf-8"))
        return Papers(
            run=str(value["run"]),
            step=int(value["step"]),
            reason=str(value["reason"]),
            metrics=decode_metrics(value["metrics"]),
            rules_digest=str(value["rules_digest"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The papers {path} cannot be read: {error}.") from error
