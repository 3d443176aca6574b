"""Which checkpoint is in production: the store is told by whoever pushes, and protects it.

<store>/champion.json   {"format": 1, "run": "a1b2…", "step": 49, "version": "1790000000"}
"""

from __future__ import annotations

from dataclasses import dataclass

from checkpoint_gate.errors import StoreError
from checkpoint_gate.store.documents import read_object_if_there, write_object
from checkpoint_gate.store.filesystem import Files

FILE = "champion.json"


@dataclass(frozen=True, slots=True)
class ChampionNote:
    """The checkpoint that the newest live version in the push folder was made of."""

    run: str
    step: int
    version: str


def note_champion(files: Files, note: ChampionNote) -> None:
    """Remembers the champion; the one before it loses its protection."""
    if read_champion(files) != note:
        write_object(files, FILE, run=note.run, step=note.step, version=note.version)


def read_champion(files: Files) -> ChampionNote | None:
    """The champion that the store was told of; None before the first push.

    Raises:
      StoreError: the file is damaged.
    """
    value = read_object_if_there(files, FILE)
    if value is None:
        return None
    try:
        return ChampionNote(str(value["run"]), int(value["step"]), str(value["version"]))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{files.place(FILE)} is damaged: it does not tell run, step and version.") from error
