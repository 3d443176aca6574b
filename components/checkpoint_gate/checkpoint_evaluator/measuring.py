"""What an evaluation measures, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow_model_analysis as tfma
from tfx import types


@dataclass(frozen=True)
class Measuring:
    """What is measured, and on what.

    Attributes:
      eval_config: as the user wrote it, with one model spec.
      examples, splits: what to read.
      schema: of the examples; None for what the signatures parse by themselves.
      output: the folder for TFMA's files.
      scratch: a folder for what is read back and thrown away, see `observing`.
    """

    eval_config: tfma.EvalConfig
    examples: Sequence[types.Artifact]
    splits: Sequence[str]
    schema: Any
    output: str
    scratch: str
