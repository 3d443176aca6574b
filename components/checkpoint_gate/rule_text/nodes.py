"""Values of a rule text that know where they stand, so that every error names line and key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rule_text.located_yaml import Located
from checkpoint_gate.spelling import did_you_mean

_MOST = 10**15  # of epochs, steps or checkpoints; exact as a double


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the text that knows where it stands."""

    value: Any
    path: tuple[str | int, ...]
    located: Located

    def error(self, must: str) -> RuleError:
        where = self.located.where(self.path)
        key = ".".join(map(str, self.path)) or "the rules"
        return RuleError(f"{where}: {key} {must}. Received: {_short(self.value)}.")

    def child(self, key: str | int) -> Node:
        return Node(self.value[key], (*self.path, key), self.located)

    def mapping(self, allowed: set[str], required: set[str] | None = None) -> dict[str, Node]:
        if not isinstance(self.value, Mapping):
            raise self.error(f"must be a mapping with keys from {', '.join(sorted(allowed))}")
        for key in self.value:
            if key not in allowed:
                raise self.unknown(key, allowed)
        for key in sorted((required or set()) - set(self.value)):
            raise self.error(f"needs the key {key!r}")
        return {key: self.child(key) for key in self.value}

    def unknown(self, key: str, known: Iterable[str]) -> RuleError:
        """Says that `key` is none of those that may stand here."""
        words = f"is not a known key here{did_you_mean(key, known)}; known are {', '.join(sorted(known))}"
        return self.child(key).error(words)

    def items(self) -> list[Node]:
        if not isinstance(self.value, (list, tuple)) or not self.value:
            raise self.error("must be a list of at least one rule")
        return [Node(item, (*self.path, index), self.located) for index, item in enumerate(self.value)]

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.error("must be a finite number")
        try:
            value = float(self.value)
        except OverflowError:  # a whole number beyond the largest double
            value = math.inf
        if not math.isfinite(value):
            raise self.error("must be a finite number")
        return value

    def whole(self, least: int = 1) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < least:
            raise self.error(f"must be a whole number of at least {least}")
        if self.value > _MOST:
            raise self.error(f"must be at most {_MOST}")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error("must be a name")
        return self.value

    def choice(self, *allowed: str) -> Any:
        if self.value not in allowed:
            raise self.error(f"must be one of {', '.join(allowed)}")
        return self.value

    def measured(self, parse: Any) -> Any:
        if not isinstance(self.value, str):
            raise self.error('must be written with its unit, such as "24h" or "10GiB"')
        return self.read(parse, self.value)

    def read(self, parse: Any, *args: Any) -> Any:
        """What `parse` makes of `args`; its ValueError, which says what must hold, is told with line and key."""
        try:
            return parse(*args)
        except ValueError as error:
            raise self.error(str(error).split(". Received")[0]) from error

    def build(self, make: Any, *args: Any, **kwargs: Any) -> Any:
        """Builds a frozen value; what it refuses is told with the line."""
        try:
            return make(*args, **kwargs)
        except RuleError as error:
            raise RuleError(f"{self.located.where(self.path)}: {error}") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
