"""What a training in a store has come to, in a form that can be compared and written as JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import tensorflow as tf

from checkpoint_gate.store import Run, Store


def tensors(prefix: str) -> dict[str, str]:
    """The digest of each tensor of a checkpoint; the object graph's names of nodes are nobody's business."""
    reader = tf.train.load_checkpoint(prefix)
    names = reader.get_variable_to_dtype_map()
    return {name: _digest(reader.get_tensor(name)) for name in names if not name.startswith("_CHECKPOINTABLE")}


def _digest(value: Any) -> str:
    return hashlib.sha256(value if isinstance(value, bytes) else value.tobytes()).hexdigest()


def records(run: Run) -> list[list[Any]]:
    """What was decided, about what and why; not when."""
    return [
        [r.at, r.epoch, r.step, dict(r.metrics), entry.decision.save, entry.decision.reason]
        for entry in run.ledger.read().entries
        for r in (entry.record,)
    ]


def trained(store: str | Path, key: str = "run") -> dict[str, Any]:
    """All that a training ends with, and nothing of the way there."""
    run = Store.open(store).run(key)
    state = run.resume_state()
    return {
        "records": records(run),
        "checkpoints": {str(stored.step): tensors(run.prefix(stored)) for stored in run.live()},
        "state": tensors(run.prefix(state)) if state is not None else None,
        "finished": run.ledger.read().finished_epochs,
        "left over": [run.files.names(f"{key}/{name}") for name in ("tmp", "trash", "journal", "quarantine")],
    }
