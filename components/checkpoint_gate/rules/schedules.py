"""Limits: fixed, moving with the epoch or the step, or relative to the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rules.records import Record

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


Unresolved = Literal["unresolved"]


@dataclass(frozen=True, slots=True)
class ChampionLimit:
    """A limit relative to the champion: `times` its number, `plus` so much.

    Attributes:
      metric: the champion's metric, by the name under which its training logged it.
      times: a factor, finite and above 0; of a number below zero, a factor above 1 is a smaller number.
      plus: in the metric's unit, finite.
      champion: the champion's number, finite; None where there is no champion, so that nothing is limited;
        "unresolved" before it was looked up: nothing can be judged by it then.

    Raises:
      RuleError: one of these does not hold.
    """

    metric: str
    times: float = 1.0
    plus: float = 0.0
    champion: float | Unresolved | None = "unresolved"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric.strip():
            raise RuleError(f"champion must be the name of a metric. Received: champion={self.metric!r}.")
        object.__setattr__(self, "times", finite(self.times, "times"))
        object.__setattr__(self, "plus", finite(self.plus, "plus"))
        if self.times <= 0:
            raise RuleError(f"times must be above 0. Received: times={self.times:g}.")
        if self.champion is not None and self.champion != "unresolved":
            object.__setattr__(self, "champion", finite(self.champion, f"The champion's {self.metric}"))
            finite(self.value, f"A limit of {self}")

    @property
    def value(self) -> float | None:
        """The limit itself; None where there is none to go by, for want of a champion or of having looked."""
        if self.champion is None or self.champion == "unresolved":
            return None
        return self.times * self.champion + self.plus

    def resolved(self, champion: Mapping[str, float] | None) -> ChampionLimit:
        """The same with the champion's number in it; one that has it already stays.

        Args:
          champion: its metrics as its training logged them; None where there is no champion.

        Raises:
          RuleError: the champion has no such metric, or it is not finite; says what it has.
        """
        if self.champion != "unresolved":
            return self
        if champion is None:
            return replace(self, champion=None)
        if self.metric not in champion:
            has = ", ".join(sorted(champion)) or "none"
            raise RuleError(f"The rules name the champion's {self.metric!r}, which it does not have. It has: {has}.")
        return replace(self, champion=champion[self.metric])

    def __str__(self) -> str:
        times = f"{self.times:g} times " if self.times != 1 else ""
        plus = f" {'plus' if self.plus > 0 else 'minus'} {abs(self.plus):g}" if self.plus else ""
        number = f"{self.champion:.6g}" if isinstance(self.champion, float) else self.metric
        return f"{times}the champion's {number}{plus}"


AbsoluteLimit = float | Schedule
Limit = AbsoluteLimit | ChampionLimit


def limit_value(limit: Limit, record: Record) -> float | None:
    """The number that `limit` is for `record`; None where it is the champion's and there is none."""
    if isinstance(limit, ChampionLimit):
        return limit.value
    return absolute_value(limit, record)


def absolute_value(limit: AbsoluteLimit, record: Record) -> float:
    """The number that a limit without a champion is for `record`."""
    return limit.value(record) if isinstance(limit, Schedule) else limit


def limit_text(limit: Limit) -> str:
    """The limit in a few characters, for reasons."""
    return f"{limit:g}" if isinstance(limit, float) else str(limit)
