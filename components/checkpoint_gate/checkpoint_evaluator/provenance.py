"""What the chosen model's papers say: gathered from the survivors, the evaluation, the examples and the machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.types import artifact_utils

from checkpoint_gate.artifact_files.checkpoint_set import read_about, read_manifests, read_verdicts
from checkpoint_gate.evaluator.measurements import slice_of
from checkpoint_gate.pushed.papers import Data, Examples, Origin, Papers, Slice
from checkpoint_gate.pushed.papers import Survivor as Rival
from checkpoint_gate.rules.records import encode_metrics
from checkpoint_gate.rules.selection import Candidate, Selection
from checkpoint_gate.store.layout import WRITER

_LIBRARIES = ("tensorflow", "keras", "tfx", "tensorflow-model-analysis", "checkpoint-gate")


def papers_of(
    selection: Selection,
    survivors: Path,
    evaluation_uri: str,
    examples: Sequence[types.Artifact],
    splits: Sequence[str],
    about: Mapping[str, Any],
) -> Papers:
    """The papers of the winner.

    Args:
      selection: who won, and why.
      survivors: folder of the CheckpointSet.
      evaluation_uri: the evaluation of all candidates, as TFMA wrote it.
      examples, splits: what they were evaluated on.
      about: what the pipeline tells: `table`, sha256 of its table in hex; `spans` of its rows; `classes`, its labels.
    """
    winner = selection.winner
    return Papers(
        run=winner.run,
        step=winner.step,
        origins=_origins(winner, survivors),
        reason=selection.reason,
        metrics=encode_metrics(winner.metrics),
        slices=_slices(evaluation_uri, winner),
        survivors=[_rival(candidate, selection.excluded.get(candidate.name)) for candidate in selection.candidates],
        rules_digest=read_about(survivors)["rules_digest"],
        data=Data(
            examples=[_examples(each) for each in examples],
            chosen_on=list(splits),
            table=about.get("table"),
            spans=list(about.get("spans", ())),
        ),
        classes=list(about.get("classes", ())),
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in _LIBRARIES},
        time=time.time(),
        writer=WRITER,
    )


def _origins(winner: Candidate, survivors: Path) -> list[Origin]:
    verdicts = read_verdicts(survivors)
    manifests = {(manifest.run, manifest.step): manifest for manifest in read_manifests(survivors)}
    wanted = winner.averaged or ((winner.run, winner.step),)
    return [
        Origin(
            run=m.run,
            step=m.step,
            epoch=m.epoch,
            metrics=m.metrics,
            decision=m.decision,
            gate=m.rules,
            verdict=verdicts[m.run, m.step],
        )
        for m in (manifests[run, step] for run, step in wanted)
    ]


def _rival(candidate: Candidate, excluded: str | None) -> Rival:
    return Rival(
        name=candidate.name,
        run=candidate.run,
        step=candidate.step,
        metrics=encode_metrics(candidate.metrics),
        excluded=excluded,
    )


def _slices(evaluation: str, winner: Candidate) -> list[Slice]:
    """The winner's metrics of each slice, the whole and pairs of slices left out."""
    columns = {
        slice_of(message): {part.column: _plain(getattr(part, part.WhichOneof("kind"))) for part in parts}
        for message in tfma.load_metrics(evaluation)
        if not message.HasField("cross_slice_key") and (parts := message.slice_key.single_slice_keys)
    }
    return [
        Slice(columns=columns[f"slice {where}"], metrics=encode_metrics(metrics))
        for where, metrics in sorted(winner.slices.items())
    ]


def _plain(value: bytes | int | float) -> str | int | float:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _examples(artifact: types.Artifact) -> Examples:
    told = {name: _told(artifact, name) for name in ("span", "version", "input_fingerprint")}
    return Examples(
        span=told["span"],
        version=told["version"],
        fingerprint=told["input_fingerprint"],
        splits=sorted(artifact_utils.decode_split_names(artifact.split_names)),
    )


def _told(artifact: types.Artifact, name: str) -> str | None:
    """A property that ExampleGen's driver has set, as text: declared in some versions of TFX, custom in others."""
    message = artifact.mlmd_artifact
    for properties in (message.properties, message.custom_properties):
        if name in properties:
            value = properties[name]
            return str(getattr(value, value.WhichOneof("value")))
    return None
