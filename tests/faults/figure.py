"""What a figure says."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator


class NotPossible(Exception):
    """This machine does not let a figure be measured; the text says why."""


@dataclasses.dataclass(slots=True)
class Measured:
    """Cases that were tried, and those that broke the promise.

    Attributes:
      n: how many cases there were.
      violations: one sentence for each case that broke the promise.
      detail: how `n` comes about, or what was measured beside it.
      missing: one sentence for each part of the figure that this machine does not let be measured.
    """

    n: int = 0
    violations: list[str] = dataclasses.field(default_factory=list)
    detail: str = ""
    missing: list[str] = dataclasses.field(default_factory=list)

    def case(self, *broken: str) -> None:
        """Counts one case, and what it broke."""
        self.n += 1
        self.violations.extend(broken)

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[None]:
        """A part without which the rest of the figure is measured all the same, and told that it is missing."""
        try:
            yield
        except NotPossible as reason:
            self.missing.append(f"{what}: {reason}")
