"""What the benchmarks' lines are about, in words, and what they are to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A line of the table.

    Attributes:
      words: what is measured.
      peer: what it is compared with.
      ratio: the largest ratio to the peer that is wanted, or None.
      most: the largest value that is wanted, in the line's unit, or None.
    """

    words: str
    peer: str
    ratio: float | None = None
    most: float | None = None

    def wanted(self, unit: str) -> str:
        """The goal as a cell of the table; `–` without one."""
        if self.ratio is not None:
            return f"≤ {self.ratio:g} ×"
        return "–" if self.most is None else f"≤ {self.most:g} {unit}"

    def missed(self, line: dict[str, Any]) -> bool:
        """Whether a benchmark's line is beyond the goal."""
        return (self.ratio is not None and line["ratio"] > self.ratio) or (
            self.most is not None and line["ours"] > self.most
        )


_SYNC = "tf.train.CheckpointManager, which does not fsync"
GOALS = {
    "save_stall_1mb": Goal("training held by a save behind it, 1 MB", _SYNC, ratio=0.07),
    "save_stall_50mb": Goal("the same, 50 MB", _SYNC, ratio=0.03),
    "save_stall_400mb": Goal("the same, 400 MB", _SYNC, ratio=0.005),
    "save_lost_time_50mb": Goal("training time lost to a durable save, 50 MB, one core", _SYNC, ratio=0.8),
    "save_sync_1mb": Goal("a durable save that training waits for, 1 MB", _SYNC, ratio=0.3),
    "save_sync_50mb": Goal("the same, 50 MB", _SYNC, ratio=1.1),
    "save_sync_400mb": Goal("the same, 400 MB", _SYNC, ratio=1.0),
    "restore_400mb": Goal("restoring 400 MB", "tf.train.Checkpoint", ratio=1.0),
    "refused_epoch": Goal("an epoch refused by three rules", "Keras ModelCheckpoint refusing one", most=20),
    "step_hook": Goal("the hook of a step that is not due", "an empty Keras callback", most=1),
    "evaluate_k10": Goal("10 survivors evaluated", "stock TFMA, one model", ratio=0.6),
    "evaluate_k10_intervals": Goal("the same with confidence intervals", "the same of one model", ratio=1.2),
    "evaluate_k20_slice": Goal("20 survivors with a slice", "stock TFMA, one model with it", ratio=1.2),
    "evaluate_survivors_memory": Goal("memory, 20 survivors", "stock TFMA with a model for each"),
    "open_store_10k": Goal("opening a store of 10,000 checkpoints", "Orbax CheckpointManager", ratio=0.05),
    "plan_100k": Goal("100,000 checkpoints listed, judged, verified, planned", "reading all of it", most=10),
    "link_survivors": Goal("handing on a survivor of 400 MB", "copying its folder"),
    "pipeline_vs_stock": Goal("the penguins' pipeline, start to exit", "stock TFX without a gate", ratio=1.15),
    "cli_help": Goal("checkpoint-gate --help", "python -c 'import click'", most=0.3),
    "cli_why_10k": Goal("checkpoint-gate why, 10,000 records", "the same", most=0.3),
}
