"""Limits, fixed or moving with the epoch or the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from checkpoint_gate.errors import RuleError
from checkpoint_gate.records import Record

Shape = Literal["linear", "cosine", "exponential", "steps"]
SHAPES: tuple[Shape, ...] = ("linear", "cosine", "exponential", "steps")


def finite(value: object, must: str) -> float:
    """`value` as the double that it is.

    Raises:
      RuleError: it is no number, or not finite; `must` says what has to be one.
    """
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:  # a whole number beyond the largest double
        number = math.inf
    if not math.isfinite(number):
        raise RuleError(f"{must} must be a finite number. Received: {value!r}.")
    return number


@dataclass(frozen=True, slots=True)
class Schedule:
    """A limit that goes from `start` at 0 to `end` at `over` and stays there.

    Attributes:
      start: the limit at epoch (or step) 0; finite.
      end: the limit at `over` and after; finite, and so is its distance from `start`.
      over: the number of epochs (or steps) the change takes, >= 1.
      unit: what is counted: Keras' zero-based epoch, or optimizer steps.
      shape: linear; cosine (half a period, flat at both ends); exponential (a constant ratio, both ends of one sign
        and not zero); steps (`stairs` equal stairs).
      stairs: for shape "steps" only, how many stairs down, >= 1.

    Raises:
      RuleError: one of these does not hold.
    """

    start: float
    end: float
    over: int
    unit: Literal["epochs", "steps"] = "epochs"
    shape: Shape = "linear"
    stairs: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", finite(self.start, "A schedule's `from`"))
        object.__setattr__(self, "end", finite(self.end, "A schedule's `to`"))
        if not math.isfinite(self.end - self.start):
            raise RuleError(f"A schedule's ends are too far apart. Received: from={self.start}, to={self.end}.")
        if self.unit not in ("epochs", "steps"):
            raise RuleError(f"A schedule counts epochs or steps. Received: unit={self.unit!r}.")
        if not _whole(self.over):
            raise RuleError(
                f"A schedule takes a whole number of {self.unit}, at least 1. Received: {self.unit}={self.over!r}."
            )
        if self.shape not in SHAPES:
            raise RuleError(f"shape must be one of {', '.join(SHAPES)}. Received: shape={self.shape!r}.")
        if self.shape == "exponential" and not (self.start and 0 < self.end / self.start < math.inf):
            raise RuleError(
                f"An exponential schedule needs both ends above zero, or both below, and a ratio that is a number. "
                f"Received: from={self.start}, to={self.end}."
            )
        if (self.shape == "steps") != (self.stairs is not None):
            raise RuleError("stairs goes with shape: steps, and shape: steps needs stairs.")
        if self.stairs is not None and not _whole(self.stairs):
            raise RuleError(f"stairs must be a whole number of at least 1. Received: stairs={self.stairs!r}.")

    def value(self, record: Record) -> float:
        """The limit that holds for `record`."""
        done = record.epoch if self.unit == "epochs" else record.step
        if done >= self.over:
            return self.end
        if done <= 0:
            return self.start
        way = done / self.over
        if self.shape == "exponential":
            return float(self.start * (self.end / self.start) ** way)
        if self.shape == "cosine":
            way = (1.0 - math.cos(math.pi * way)) / 2.0
        elif self.shape == "steps":
            assert self.stairs is not None
            way = (done * self.stairs // self.over) / self.stairs
        return self.start + (self.end - self.start) * way

    def __str__(self) -> str:
        return f"{self.start:g}->{self.end:g} over {self.over} {self.unit}"


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


Limit = float | Schedule


def limit_value(limit: Limit, record: Record) -> float:
    """The number that `limit` is for `record`."""
    return limit.value(record) if isinstance(limit, Schedule) else limit


def limit_text(limit: Limit) -> str:
    """The limit in a few characters, for reasons."""
    return str(limit) if isinstance(limit, Schedule) else f"{limit:g}"
