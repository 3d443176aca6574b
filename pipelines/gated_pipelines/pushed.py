"""The push folder of a pipeline: what the store must know of it, and which old versions stay."""

from __future__ import annotations

import logging
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError, ModelError
from checkpoint_gate.papers import read_papers
from checkpoint_gate.push_folder import live_versions, version_path
from checkpoint_gate.pusher.pruning import PrunedVersions, prune_versions
from checkpoint_gate.pusher.publish import exclusive
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import ChampionNote, note_champion, read_pushed
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.uri_files import is_local
from gated_pipelines.sections import Push

_LOG = logging.getLogger(__name__)


def note_pushed(store_folder: Path, push_folder: str) -> None:
    """Tells the store which of its checkpoints are in production or can be again, so that nothing removes them."""
    if not (store_folder / STORE_FILE).is_file():
        return
    files = Store.open(store_folder).files
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


def prune_pushed(push: Push, folder: str) -> PrunedVersions:
    """Moves old versions to the push folder's trash and frees what is past its grace; on a disk only.

    What stands in the way is told, and keeps nothing from going on.
    """
    if not is_local(folder):
        return PrunedVersions()
    try:
        with exclusive(folder):
            done = prune_versions(folder, push.retention, push.grace)
    except (CheckpointGateError, OSError) as error:  # begun or not, the next pruning goes on from there
        done = PrunedVersions(left=(f"Old versions in {folder} were not pruned: {error}",))
    if done.trashed:
        _LOG.info("old versions moved to the push folder's trash: %s", ", ".join(map(str, done.trashed)))
    if done.swept:
        _LOG.info("old versions freed: %s", ", ".join(map(str, done.swept)))
    for left in done.left:
        _LOG.warning("%s", left)
    return done
