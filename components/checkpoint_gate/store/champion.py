"""Which checkpoints are in production, or can be again: the store is told by whoever pushes, and protects them.

<store>/champion.json   {"format": 1, "run": "a1b2…", "step": 49, "version": "1790000000", "others": [{…}, …]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.documents import read_object_if_there, write_object
from checkpoint_gate.store.filesystem import Files

FILE = "champion.json"


@dataclass(frozen=True, slots=True)
class ChampionNote:
    """A checkpoint that a live version in the push folder was made of."""

    run: str
    step: int
    version: str


def note_champion(files: Files, note: ChampionNote, others: Iterable[ChampionNote] = ()) -> None:
    """Remembers the champion, and the other checkpoints of live versions; those noted before lose their protection.

    Args:
      note: the checkpoint of the newest live version.
      others: those of the earlier versions, to which one can go back; and, where the newest is the average of several
        checkpoints, the rest of them.
    """
    others = tuple(others)
    if read_pushed(files) != (note, *others):
        more = {"others": [asdict(each) for each in others]} if others else {}
        write_object(files, FILE, **asdict(note), **more)


def read_champion(files: Files) -> ChampionNote | None:
    """The champion that the store was told of; None before the first push.

    Raises:
      StoreError: the file is damaged.
    """
    return next(iter(read_pushed(files)), None)


def read_pushed(files: Files) -> tuple[ChampionNote, ...]:
    """The checkpoints of live versions, the champion's first; none before the first push.

    Raises:
      StoreError: the file is damaged.
    """
    value = read_object_if_there(files, FILE)
    if value is None:
        return ()
    try:
        return tuple(_note(each) for each in (value, *value.get("others", ())))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{files.place(FILE)} is damaged: it does not tell run, step and version.") from error


def _note(value: Mapping[str, Any]) -> ChampionNote:
    return ChampionNote(str(value["run"]), int(value["step"]), str(value["version"]))
