"""What a store does, each as the work of one process that can be begun again: its promises, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from checkpoint_gate.store.checking import check_store
from faults.reference import Reference
from faults.world import World


class Work(Protocol):
    """One kind of work on a store."""

    @property
    def name(self) -> str: ...

    def prepare(self, world: World) -> None:
        """Makes the state from which the work begins, in an empty place."""

    def do(self, world: World) -> Sequence[str]:
        """Does it, or what is left of it; answers with what it says could not be done."""

    def broken(self, world: World) -> Iterator[str]:
        """What must not be, at any instant."""

    def unkept(self, world: World, what: str) -> Iterator[str]:
        """What must not be once a call has returned from `what`."""

    def outcome(self, world: World) -> object:
        """What is there in the end, without what differs from one process to the next."""

    def leftovers(self, world: World) -> Iterator[str]:
        """What is there in the end and should not be."""


FINE = ("a local disk: ", "an object store ", "live checkpoints: ", "an open pruning: ")


@dataclass(frozen=True)
class StoreWork:
    """What all works on the reference store share."""

    store: Reference

    def leftovers(self, world: World) -> Iterator[str]:
        """What `check` has to say of a store in which nobody is at work."""
        for finding in check_store(world.store()):
            if finding.severity != "note" or not self.is_settled(finding.what):
                yield f"{finding.place} {finding.what}"

    def is_settled(self, what: str) -> bool:
        """Whether a note of `check` tells of nothing to do."""
        return what.startswith(FINE) and "their grace is over" not in what
