"""One work in one world, tried under faults: what must hold at the instant of the fault, and after one re-run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import CheckpointGateError
from faults.disk import Killed
from faults.warnings_told import warnings_of
from faults.work import Work
from faults.world import World

ERRORS = (OSError, CheckpointGateError)


@dataclass(frozen=True)
class Left:
    """What a process has stored, and what had returned in it."""

    state: Any
    returned: tuple[str, ...]


class Trial:
    """A work that begins from the same state each time.

    Attributes:
      name: of the work and its world.
      operations: how many operations it has when nothing breaks.
      expected: what comes of it then.
    """

    def __init__(self, world: World, work: Work) -> None:
        self.world = world
        self.work = work
        self.name = f"{work.name} ({world.name})"
        world.clear()
        work.prepare(world)
        self._now = world.clock.now
        self._template = world.snapshot()
        self._verdicts: dict[bytes, list[str]] = {}
        self.begin()
        told = list(work.do(world))
        self.operations = world.fuse.done
        self.returned = tuple(world.returned)
        world.restart()
        with world.settled():
            self.expected = work.outcome(world)
            wrong = [*told, *self._now_broken(self.returned), *self._leftovers()]
        if wrong:
            raise AssertionError(f"{work.name} does not end well where nothing breaks: {wrong}")

    @property
    def states(self) -> int:
        """How many different states were judged."""
        return len(self._verdicts)

    def begin(self) -> None:
        """The state from which the work begins, in a process of its own."""
        self.world.reset(self._template, self._now)

    def cut(self, state: Any, returned: Sequence[str]) -> list[str]:
        """What is wrong when a process finds this state after `returned` had returned."""
        self.world.reset(state, self._now)
        self.world.returned = list(returned)
        return self.verdict()

    def leave(self) -> Left:
        """What the process leaves behind."""
        return Left(self.world.snapshot(), tuple(self.world.returned))

    def find(self, left: Left) -> None:
        """The next process finds what one left behind."""
        self.world.begin(self._now)
        self.world.put(left.state)
        self.world.restart()
        self.world.returned = list(left.returned)

    def kill(self, at: int) -> bool:
        """Does the work with a kill at this operation; tells whether it came to that."""
        self.world.fuse.arm(at)
        try:
            self.work.do(self.world)
        except Killed:
            return True
        return False

    def fail(self, at: int, error: int, sticky: bool) -> list[str]:
        """Does the work with an errno at this operation, and answers with what is wrong in what it then says."""
        self.world.fuse.arm(at, error, sticky)
        try:
            with warnings_of("checkpoint_gate"):
                told = list(self.work.do(self.world))
        except ERRORS:
            return []
        except Exception as untyped:
            return [f"it ends with {type(untyped).__name__}: {untyped}"]
        self.world.fuse.arm(None)
        if told:
            return []
        with self.world.settled():
            return [f"it says that all is done, and {wrong}" for wrong in self._unexpected()]

    def verdict(self) -> list[str]:
        """What is wrong with the state as it is, and after the work was done again by another process.

        States that are the same are judged once.
        """
        returned = tuple(dict.fromkeys(self.world.returned))
        state = self.world.snapshot()
        key = digest((state, returned))
        if key not in self._verdicts:
            self._verdicts[key] = list(self._judge(returned))
        return self._verdicts[key]

    def _judge(self, returned: Sequence[str]) -> Iterator[str]:
        self.world.restart()
        yield from self._now_broken(returned)
        try:
            again = list(self.work.do(self.world))
            if self.world.late:  # what a late listing has hidden, a later run clears away
                self.world.restart()
                again = list(self.work.do(self.world))
        except Exception as error:
            yield f"done again, it ends with {type(error).__name__}: {error}"
            return
        yield from (f"done again, it says: {words}" for words in again)
        self.world.restart()
        with self.world.settled():
            wrong = [*self._now_broken(self.world.returned), *self._unexpected(), *self._leftovers()]
        yield from (f"done again, {words}" for words in wrong)

    def _now_broken(self, returned: Sequence[str]) -> list[str]:
        try:
            broken = list(self.work.broken(self.world))
            for what in dict.fromkeys(returned):
                broken += [f"it had returned ({what}), and {words}" for words in self.work.unkept(self.world, what)]
            return broken
        except Exception as error:
            return [f"the store cannot be read: {type(error).__name__}: {error}"]

    def _unexpected(self) -> list[str]:
        try:
            outcome = self.work.outcome(self.world)
        except Exception as error:
            return [f"the store cannot be read: {type(error).__name__}: {error}"]
        return [] if outcome == self.expected else [f"it comes to {outcome}, not to {self.expected}"]

    def _leftovers(self) -> list[str]:
        try:
            return [*self.work.leftovers(self.world), *(f"{name} is left over" for name in self.world.leftovers())]
        except Exception as error:
            return [f"it cannot be checked: {type(error).__name__}: {error}"]


def digest(value: Any) -> bytes:
    """A short name of plain data; of two that are equal, the same."""
    return hashlib.blake2b(repr(_ordered(value)).encode(), digest_size=16).digest()


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, frozenset):
        return sorted(value)
    return [_ordered(each) for each in value] if isinstance(value, (tuple, list)) else value
