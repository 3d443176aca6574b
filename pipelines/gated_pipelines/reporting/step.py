"""What one component did in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One component of a run.

    Attributes:
      state: "complete", "cached", "failed", or another of ML Metadata's words in lower case.
      seconds: from start to end by ML Metadata's clock; 0 when cached.
      outputs: output key -> folder of its one artifact.
      notes: output key -> the artifact's custom properties that are texts or whole numbers.
    """

    state: str
    seconds: float
    outputs: Mapping[str, str]
    notes: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)

    @property
    def executed(self) -> bool:
        return self.state not in ("cached",)
