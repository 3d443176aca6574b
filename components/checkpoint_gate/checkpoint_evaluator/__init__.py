"""The TFX component that evaluates all survivors in one pass, and hands on the best."""

from checkpoint_gate.checkpoint_evaluator.component import CheckpointEvaluator

__all__ = ["CheckpointEvaluator"]
