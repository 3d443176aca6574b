"""What a pruning of a root would remove, and what it leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from checkpoint_gate.store.retiring import Retirement
from checkpoint_gate.store.trash import body_digest

Kind = Literal["artifact", "remains", "table", "log", "leftover"]


@dataclass(frozen=True, slots=True)
class Going:
    """Something that goes.

    Attributes:
      kind: an artifact's folder, what a killed execution or staging has left, a staged table, a log file, or an empty
        folder that TFX has left.
      path: where it is, relative to the root, with "/" between names.
      bytes: of its files; some may have a name elsewhere, too.
      last_used: when the newest run that used it began, in seconds since 1970 (UTC); 0 where that is not known.
      artifact: ML Metadata's id; None for what it does not know.
      type: of the artifact; "" for what is none.
    """

    kind: Kind
    path: str
    bytes: int
    last_used: float = 0.0
    artifact: int | None = None
    type: str = ""


@dataclass(frozen=True, slots=True)
class Staying:
    """An artifact that stays, and why."""

    artifact: int
    uri: str
    type: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """Attributes:
    going: in the order in which it goes.
    uncached: ids of artifacts that stay but must not be taken from the cache any more: they lead to a retired run.
    retiring: old runs of the store.
    staying: by size, the largest first.
    unknown: paths below the artifacts folder, relative to the root, that ML Metadata does not know; with their bytes.
    left: what might have gone and does not, and why, a sentence each.
    frees: the bytes that the disk gets back at once; what the retired runs hold follows after their grace.
    """

    going: tuple[Going, ...] = ()
    uncached: tuple[int, ...] = ()
    retiring: tuple[Retirement, ...] = ()
    staying: tuple[Staying, ...] = ()
    unknown: tuple[tuple[str, int], ...] = ()
    left: tuple[str, ...] = ()
    frees: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.going or self.uncached or self.retiring)

    @property
    def digest(self) -> str:
        """Names exactly what goes."""
        return body_digest(self._body())

    @property
    def to_trash(self) -> int:
        """Bytes of the checkpoints that go to the trash."""
        return sum(each.plan.bytes for each in self.retiring)

    @property
    def at_once(self) -> int:
        """Bytes that the retired runs give without a grace."""
        return sum(size for each in self.retiring for size in each.at_once.values())

    def _body(self) -> dict[str, Any]:
        return {
            "going": [asdict(each) for each in self.going],
            "uncached": list(self.uncached),
            "retiring": {each.run: [each.plan.digest, sorted(each.at_once)] for each in self.retiring},
        }
