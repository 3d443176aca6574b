"""What a figure says."""

from __future__ import annotations

import dataclasses


class NotPossible(Exception):
    """This machine does not let a figure be measured; the text says why."""


@dataclasses.dataclass(slots=True)
class Measured:
    """Cases that were tried, and those that broke the promise.

    Attributes:
      n: how many cases there were.
      violations: one sentence for each case that broke the promise.
      detail: how `n` comes about, or what was measured beside it.
    """

    n: int = 0
    violations: list[str] = dataclasses.field(default_factory=list)
    detail: str = ""

    def case(self, *broken: str) -> None:
        """Counts one case, and what it broke."""
        self.n += 1
        self.violations.extend(broken)
