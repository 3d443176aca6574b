"""Executions of runs that were killed: for ever at work, they would hold what they read for ever."""

from __future__ import annotations

import logging

from ml_metadata.proto import metadata_store_pb2 as mlmd

from gated_pipelines.running.metadata import open_metadata
from gated_pipelines.running.places import Places

_LOG = logging.getLogger(__name__)
_UNFINISHED = (mlmd.Execution.NEW, mlmd.Execution.RUNNING)


def fail_unfinished(places: Places) -> int:
    """Says in ML Metadata that executions which have not ended have failed; answers with how many there were.

    Call it under the root's lease, before a run: whoever was at work then is dead.

    Raises:
      CheckpointGateError: the database cannot be opened.
    """
    if not places.metadata.is_file():
        return 0
    metadata = open_metadata(places.metadata)
    dead = [each for each in metadata.get_executions() if each.last_known_state in _UNFINISHED]
    for execution in dead:
        execution.last_known_state = mlmd.Execution.FAILED
    if dead:
        metadata.put_executions(dead)
        _LOG.info("components of a run that was killed, now said to have failed: %d", len(dead))
    return len(dead)
