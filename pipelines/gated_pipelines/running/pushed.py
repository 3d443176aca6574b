"""The push folder of a pipeline: which old versions stay."""

from __future__ import annotations

import logging

from checkpoint_gate.errors import CheckpointGateError
from checkpoint_gate.pusher.pruning import PrunedVersions, prune_versions
from checkpoint_gate.pusher.publish import exclusive
from checkpoint_gate.uri_files import is_local
from gated_pipelines.config.sections import Push

_LOG = logging.getLogger(__name__)


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
