"""The store: one owner of the layout on disk. No TensorFlow, no TFX."""

from checkpoint_gate.store.run import Run
from checkpoint_gate.store.store import Store

__all__ = ["Run", "Store"]
