"""The TFX component that re-judges saved checkpoints, publishes the survivors and prunes the rest."""

from checkpoint_gate.checkpoint_filter.component import CheckpointFilter

__all__ = ["CheckpointFilter"]
