"""Publishes survivors as a self-contained folder, and reads such a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import DamagedCheckpoint, StoreError
from checkpoint_gate.reviewing.judging import Judged
from checkpoint_gate.rules.filtering import Verdict
from checkpoint_gate.rules.records import dump_json, encode_metrics, load_json
from checkpoint_gate.store import Run
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import PREFIX, Stored, copy_out, folder_name, verify_files
from checkpoint_gate.store.documents import parse_lines
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.layout import FORMAT
from checkpoint_gate.store.manifest import Manifest, parse_manifest

SET_FILE = "set.json"
VERDICTS_FILE = "verdicts.jsonl"
SURVIVORS = "survivors"


@dataclass(frozen=True, slots=True)
class Survivor:
    """One checkpoint of a CheckpointSet; `prefix` is what `tf.train.Checkpoint.read` takes."""

    name: str
    prefix: str
    manifest: Manifest


def publish_survivors(folder: Path, runs: Sequence[Run], judged: Judged) -> None:
    """Fills `folder` with the survivors (links, or verified copies) and the verdicts."""
    by_key = {run.key: run for run in runs}
    for verdict in judged.survivors:
        run, stored = by_key[verdict.run], judged.stored[verdict.run, verdict.step]
        name = stored.folder.rpartition("/")[2]
        copy_out(run.files, stored, folder / SURVIVORS / (name if len(runs) == 1 else f"{run.key}--{name}"))
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(dump_json(_verdict_line(v)) + "\n" for v in judged.verdicts)
    (folder / VERDICTS_FILE).write_text(lines, encoding="utf-8")


def write_about(folder: Path, runs: Sequence[Run], judged: Judged, about: Mapping[str, Any]) -> None:
    """Writes set.json: `about`, the runs, and what earlier runs had pruned. A set is whole once it has this file."""
    value = {
        "format": FORMAT,
        "runs": sorted(run.key for run in runs),
        "pruned_earlier": list(judged.missed),
        **about,
    }
    (folder / SET_FILE).write_text(dump_json(value, indent=1) + "\n", encoding="utf-8")


def read_set(folder: Path) -> list[Survivor]:
    """The survivors in a CheckpointSet's folder, every byte verified, by name.

    Raises:
      StoreError: the folder is no CheckpointSet.
      DamagedCheckpoint: a survivor is missing or does not match its manifest.
    """
    if not (folder / SET_FILE).is_file():
        raise StoreError(f"{folder} is not a CheckpointSet: it has no {SET_FILE}.")
    files = LocalFiles(folder)
    survivors = []
    for name in files.names(SURVIVORS):
        path = f"{SURVIVORS}/{name}"
        manifest = _manifest(files, name)
        if name not in (folder_name(manifest.step), f"{manifest.run}--{folder_name(manifest.step)}"):
            raise DamagedCheckpoint(f"The survivor {name} is damaged: it has the manifest of step {manifest.step}.")
        damage = verify_files(files, Stored(path, manifest))
        if damage is not None:
            raise DamagedCheckpoint(f"The survivor {name} is damaged: {damage}.")
        survivors.append(Survivor(name, str(files.local(f"{path}/{PREFIX}")), manifest))
    kept = {
        (line["run"], line["step"])
        for line in parse_lines((folder / VERDICTS_FILE).read_text(encoding="utf-8"), str(folder / VERDICTS_FILE))
        if line["outcome"] == "keep"
    }
    missing = sorted(kept - {(survivor.manifest.run, survivor.manifest.step) for survivor in survivors})
    if missing:
        raise DamagedCheckpoint(f"{folder} is damaged: the survivor of step {missing[0][1]} is missing.")
    return survivors


def read_manifests(folder: Path) -> list[Manifest]:
    """The manifests of the survivors, by name; their bytes are not looked at.

    Raises:
      DamagedCheckpoint: one is missing or damaged.
    """
    files = LocalFiles(folder)
    return [_manifest(files, name) for name in files.names(SURVIVORS)]


def _manifest(files: LocalFiles, name: str) -> Manifest:
    path = f"{SURVIVORS}/{name}/{manifests.NAME}"
    if not files.is_file(path):
        raise DamagedCheckpoint(f"The survivor {name} is damaged: it has no manifest.")
    return parse_manifest(files.read(path, manifests.MAX_BYTES), files.place(f"{SURVIVORS}/{name}"))


def read_verdicts(folder: Path) -> dict[tuple[str, int], str]:
    """(run, step) -> why the filter kept that survivor."""
    path = folder / VERDICTS_FILE
    lines = parse_lines(path.read_text(encoding="utf-8"), str(path))
    return {(line["run"], line["step"]): str(line["reason"]) for line in lines if line["outcome"] == "keep"}


def read_about(folder: Path) -> Mapping[str, Any]:
    """What set.json says.

    Raises:
      StoreError: it is of another format.
    """
    value: Mapping[str, Any] = load_json((folder / SET_FILE).read_text(encoding="utf-8"))
    if value.get("format") != FORMAT:
        raise StoreError(
            f"{folder / SET_FILE} has the format {value.get('format')!r}; this version reads format {FORMAT}."
        )
    return value


def _verdict_line(verdict: Verdict) -> dict[str, Any]:
    return {
        "run": verdict.run,
        "step": verdict.step,
        "epoch": verdict.epoch,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "shortfall": verdict.shortfall if math.isfinite(verdict.shortfall) else "inf",
        "metrics": encode_metrics(verdict.metrics),
    }
