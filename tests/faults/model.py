"""What a run's checkpoints should be after each operation, written apart from the store: plain Python, no files."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field


class Refused(Exception):
    """The store should refuse this."""


@dataclass(slots=True)
class Checkpoint:
    """One that was saved; `serial` tells it from a later one of the same step."""

    serial: int
    step: int
    loss: float


@dataclass(slots=True)
class Thrown:
    """One in the trash."""

    checkpoint: Checkpoint
    time: float
    uptime: float
    grace: float


@dataclass(slots=True)
class Model:
    """A run.

    Attributes:
      records: the steps that the ledger counts.
      resumed: (after which step, when).
    """

    live: dict[int, Checkpoint] = field(default_factory=dict)
    trash: list[Thrown] = field(default_factory=list)
    pins: set[int] = field(default_factory=set)
    records: list[int] = field(default_factory=list)
    resumed: list[tuple[int, float]] = field(default_factory=list)

    def copy(self) -> Model:
        return copy.deepcopy(self)

    @property
    def last(self) -> int:
        return max(self.records, default=0)

    def where(self) -> tuple[dict[int, int], set[tuple[int, int]], set[int]]:
        """Step -> serial of what is live; (step, serial) in the trash; what is pinned."""
        live = {step: checkpoint.serial for step, checkpoint in self.live.items()}
        return live, {(t.checkpoint.step, t.checkpoint.serial) for t in self.trash}, set(self.pins)

    def save(self, checkpoint: Checkpoint) -> None:
        self.live[checkpoint.step] = checkpoint
        self.records.append(checkpoint.step)

    def resume_after(self, step: int, now: float) -> None:
        self.live = {s: c for s, c in self.live.items() if s <= step}
        self.records = [s for s in self.records if s <= step]
        self.resumed.append((step, now))

    def retain(self, best: int, now: float, uptime: float) -> None:
        """Keeps the best, the last and the pinned, and frees the others at once."""
        ranked = sorted(self.live.values(), key=lambda c: (c.loss, -c.step))
        kept = {c.step for c in ranked[:best]} | {max(self.live, default=0)} | self.pins
        going = sorted(self.live.keys() - kept)
        self._throw(going, 0.0, now, uptime)
        if going:
            self.sweep(now, uptime)

    def prune(self, limit: float, grace: float, fraction: float, now: float, uptime: float) -> None:
        """Throws away what is above the limit; the last and the pinned stay."""
        survivors = {s for s, c in self.live.items() if c.loss <= limit}
        going = sorted(self.live.keys() - survivors - self.pins - {max(self.live, default=0)})
        if not survivors or len(going) > fraction * len(self.live):
            raise Refused
        self._throw(going, grace, now, uptime)
        if going and grace == 0:
            self.sweep(now, uptime)

    def _throw(self, steps: list[int], grace: float, now: float, uptime: float) -> None:
        self.trash += [Thrown(self.live.pop(step), now, uptime, grace) for step in steps]

    def sweep(self, now: float, uptime: float) -> None:
        def stays(t: Thrown) -> bool:
            young = now - t.time < t.grace or uptime - t.uptime < t.grace
            return t.checkpoint.step in self.pins or (t.grace > 0 and young)

        self.trash = [t for t in self.trash if stays(t)]

    def undelete(self, step: int) -> None:
        here = [t for t in self.trash if t.checkpoint.step == step]
        if not here or step in self.live:
            raise Refused
        newest = max(here, key=lambda t: t.time)
        if step not in self.records or any(after < step and when >= newest.time for after, when in self.resumed):
            raise Refused
        self.trash.remove(newest)
        self.live[step] = newest.checkpoint
