"""Artifact types that this package adds to TFX."""

from __future__ import annotations

from tfx.types import artifact


class CheckpointSet(artifact.Artifact):
    """Checkpoints that survived a filter, self-contained.

        set.json                 counts, rules digest, what earlier runs had pruned
        verdicts.jsonl           what the filter said of every checkpoint, and why
        survivors/<name>/        manifest.json and TensorFlow's checkpoint files

    Without survivors the folder holds the marker file EMPTY with the reason.
    """

    # Has to be importable as written; declared PROPERTIES would fail the Kubeflow compiler.
    TYPE_NAME = "checkpoint_gate.CheckpointSet"
