"""Which artifacts are the originals of what stands in a push folder."""

from __future__ import annotations

import os
from collections.abc import Set

from checkpoint_gate.errors import ModelError
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.pushed.push_folder import GRAPH_FILE, live_versions, version_path
from checkpoint_gate.uri_files import is_there
from gated_pipelines.disk.artifact_graph import DELETED, Artifact, ArtifactGraph


def pushed_models(graph: ArtifactGraph, push_folder: str) -> dict[int, str]:
    """Artifact id -> version, of each pushed model that is live where it was pushed to, or in `push_folder`.

    A version counts by its number, and by its weights: a rollback publishes them again under another one.

    Raises:
      ConfigError: the push folder cannot be listed.
      OSError: a folder that was pushed to cannot be reached.
    """
    numbers = {str(version) for version in live_versions(push_folder)}
    weights = {digest for number in numbers if (digest := _weights(version_path(push_folder, int(number)))) is not None}
    pushed = (each for each in graph.artifacts if each.state != DELETED and each.notes.get("pushed"))
    return {each.id: _version(each) for each in pushed if _stands(each, numbers, weights)}


def _version(artifact: Artifact) -> str:
    return str(artifact.notes.get("pushed_version", ""))


def _stands(artifact: Artifact, numbers: Set[str], weights: Set[str]) -> bool:
    destination = str(artifact.notes.get("pushed_destination", ""))
    if _version(artifact) in numbers or (destination and is_there(os.path.join(destination, GRAPH_FILE))):
        return True
    return bool(weights) and _weights(artifact.uri) in weights


def _weights(model: str) -> str | None:
    """The digest of the weights by a model's papers; None where it has none that can be read."""
    try:
        papers = read_papers(model)
    except ModelError:
        return None
    return papers.push.weights if papers is not None and papers.push is not None else None
