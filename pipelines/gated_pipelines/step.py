"""What one component did in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One component of a run.

    Attributes:
      state: "complete", "cached", "failed", or another of ML Metadata's words in lower case.
      seconds: from start to end by ML Metadata's clock; 0 when cached.
      outputs: output key -> folder of its one artifact.
    """

    state: str
    seconds: float
    outputs: Mapping[str, str]

    @property
    def executed(self) -> bool:
        return self.state not in ("cached",)
