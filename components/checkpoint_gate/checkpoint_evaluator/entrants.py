"""What competes: the survivors, and, where it is wanted and can be had, the average of their weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.artifact_files.checkpoint_set import Survivor
from checkpoint_gate.errors import AverageRefused
from checkpoint_gate.models.averaging import average_checkpoints
from checkpoint_gate.rules.selection import AVERAGE


@dataclass(frozen=True, slots=True)
class Entrant:
    """Weights that compete.

    Attributes:
      name: of the survivor, or "average".
      run, step: where they come from; of an average the latest of its checkpoints.
      prefix: what `tf.train.Checkpoint.read` takes.
      averaged: (run, step) of the checkpoints that it is the average of, oldest first; empty for a survivor.
    """

    name: str
    run: str
    step: int
    prefix: str
    averaged: tuple[tuple[str, int], ...] = ()


def entrants_of(survivors: Sequence[Survivor]) -> list[Entrant]:
    """The survivors, in their order."""
    return [Entrant(s.name, s.manifest.run, s.manifest.step, s.prefix) for s in survivors]


def average_of(entrants: Sequence[Entrant], loaded: Any, signature: str, folder: str) -> Entrant:
    """The uniform average of the survivors as one more entrant, whose checkpoint is written below `folder`.

    Args:
      entrants: the survivors.
      loaded: the Trainer's export as `load_trained` gives it; its weights change.
      signature: the one that predicts.
      folder: a local folder.

    Raises:
      AverageRefused: there are fewer than two survivors, they are of several runs, or the model cannot be averaged.
    """
    runs = sorted({entrant.run for entrant in entrants})
    if len(entrants) < 2:
        raise AverageRefused(f"an average needs at least 2 survivors. Received: {len(entrants)}")
    if len(runs) > 1:
        raise AverageRefused(
            f"they are of {len(runs)} runs, and weights that began at different places have no meaningful average"
        )
    ordered = sorted(entrants, key=lambda entrant: entrant.step)
    prefix = os.path.join(folder, AVERAGE, "ckpt")
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    average_checkpoints(loaded, signature, [entrant.prefix for entrant in ordered], prefix)
    origins = tuple((entrant.run, entrant.step) for entrant in ordered)
    return Entrant(AVERAGE, runs[0], ordered[-1].step, prefix, origins)
