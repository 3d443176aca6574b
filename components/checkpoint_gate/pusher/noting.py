"""Tells a store which of its checkpoints are in production, or can be again, so that nothing removes them."""

from __future__ import annotations

import logging
from pathlib import Path

from checkpoint_gate.errors import ModelError
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.pushed.push_folder import live_versions, version_path
from checkpoint_gate.store.champion import ChampionNote, note_champion, read_pushed
from checkpoint_gate.store.filesystem import open_files
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.store.store import Store

_LOG = logging.getLogger(__name__)


def note_pushed(store: str | Path, push_folder: str) -> None:
    """Notes the checkpoints of all live versions in the store; does nothing where there is no store.

    Args:
      store: a folder's path, or a URL.
      push_folder: a path, or a URL.

    Raises:
      StoreError: the store, or its note, is damaged or cannot be written.
      ConfigError: the push folder cannot be listed.
    """
    if not open_files(store).is_file(STORE_FILE):
        return
    files = Store.open(store).files
    known = read_pushed(files)
    notes: list[ChampionNote] = []
    for version in reversed(live_versions(push_folder)):
        notes += _notes(push_folder, version, known)
    if notes:
        note_champion(files, notes[0], notes[1:])


def _notes(push_folder: str, version: int, known: tuple[ChampionNote, ...]) -> list[ChampionNote]:
    """The checkpoints that a version was made of; those noted before, where its papers cannot be read."""
    try:
        papers = read_papers(version_path(push_folder, version))
    except ModelError as error:
        _LOG.warning("%s What the store knows of version %d stays.", error, version)
        return [note for note in known if note.version == str(version)]
    origins = papers.origins if papers is not None else []
    return [ChampionNote(origin.run, origin.step, str(version)) for origin in origins]
