"""The papers that a model carries: which checkpoint it is, how it came to be chosen, and how it was pushed.

They lie in the SavedModel's `assets.extra/checkpoint_gate.json`, a place that loaders leave alone: strict JSON,
schema-checked, size-capped, and with a checksum of its own, `self`, as a checkpoint's manifest. CheckpointEvaluator
writes them; Pusher, and a rollback, fill in `push` in the copy that they push.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from checkpoint_gate.errors import ModelError
from checkpoint_gate.rules.records import decode_metrics, dump_json, load_json
from checkpoint_gate.uri_files import read_file, write_file

FORMAT = 2
FILE = os.path.join("assets.extra", "checkpoint_gate.json")
MAX_BYTES = 4 << 20

_AGES = {
    True: "which an earlier version wrote; this version reads format {}, and its next push writes that",
    False: "which a newer version wrote; this version reads format {}: update it",
}

Metrics = dict[str, float | str]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Origin(_Part):
    """A checkpoint that the weights are of, and the record that let it through.

    Attributes:
      metrics: of the record, as training logged them.
      decision: why the gate saved it.
      gate: sha256 of the gate's rules, in hex.
      verdict: why the filter kept it.
    """

    run: str
    step: int = Field(ge=0)
    epoch: int = Field(ge=0)
    metrics: Metrics
    decision: str
    gate: str
    verdict: str


class Survivor(_Part):
    """One of those among whom the model was chosen; `excluded` says why it was out of the ranking."""

    name: str
    run: str
    step: int
    metrics: Metrics
    excluded: str | None = None


class Slice(_Part):
    """Metrics of the examples whose columns have these values."""

    columns: dict[str, str | int | float]
    metrics: Metrics


class Examples(_Part):
    """What ExampleGen says of its input: span and version, its fingerprint of names, sizes and times, the splits."""

    span: str | None
    version: str | None
    fingerprint: str | None
    splits: list[str]


class Data(_Part):
    """What the model was made of and chosen on.

    Attributes:
      chosen_on: the splits on which `metrics` and `slices` were measured.
      table: sha256 of the table's bytes, in hex, where the pipeline told it.
      spans: the numbers of the spans that the table's rows are of, in order, where it told them.
    """

    examples: list[Examples]
    chosen_on: list[str]
    table: str | None
    spans: list[int] = []


class Rollback(_Part):
    """Why a version stands here again.

    Attributes:
      withdrew: the version that was withdrawn; None where a withdrawal was taken back.
      restored: the version that this one is a copy of.
    """

    withdrew: int | None
    restored: int
    reason: str


class Push(_Part):
    """How the model came into the push folder.

    Attributes:
      version: its number there.
      time: seconds since 1970 (UTC).
      weights: digest of its weights.
      replaces: the version that was champion before; None for the first.
      blessing: what Evaluator's verdict.json says; None where the model was pushed without one.
      rollback: None for a model that was pushed as new.
      best: the version that is the best so far as of this push, maybe this one; None where that was not measured.
    """

    version: int
    time: float
    weights: str
    replaces: int | None
    blessing: dict[str, Any] | None
    rollback: Rollback | None = None
    best: int | None = None


class Papers(_Part):
    """Attributes:
    run, step: the chosen candidate's checkpoint in the store.
    origins: the record that let it through; several where the weights are the average of several survivors.
    reason: why it was chosen.
    metrics: by TFMA, over the whole of the splits it was chosen on.
    slices: the same by slice.
    slices_left_out: so many slices are missing, since there were too many for a small file.
    survivors: all among whom it was chosen.
    rules_digest: of the filter's rules.
    classes: the labels in the order of the outputs, where the pipeline told them.
    versions: of Python and of the libraries that wrote the model.
    time: seconds since 1970 (UTC) at which it was chosen.
    """

    format: Literal[2] = 2
    run: str
    step: int = Field(ge=0)
    origins: list[Origin]
    reason: str
    metrics: Metrics
    slices: list[Slice]
    slices_left_out: int = Field(default=0, ge=0)
    survivors: list[Survivor]
    rules_digest: str
    data: Data
    classes: list[str]
    versions: dict[str, str]
    time: float
    writer: str
    push: Push | None = None

    def to_bytes(self) -> bytes:
        """The file's content, its own checksum included; slices that do not fit into `MAX_BYTES` are left out."""
        data = _to_bytes(self.model_dump())
        if len(data) <= MAX_BYTES:
            return data
        if not self.slices:
            raise ModelError(f"The model's papers would take {len(data)} bytes; they may have {MAX_BYTES}.")
        left_out = self.slices_left_out + len(self.slices)
        return self.model_copy(update={"slices": [], "slices_left_out": left_out}).to_bytes()


def write_papers(model: str | os.PathLike[str], papers: Papers) -> None:
    """Writes the papers into the SavedModel folder `model`, a path or a URL."""
    write_file(os.path.join(model, FILE), papers.to_bytes())


def read_papers(model: str | os.PathLike[str]) -> Papers | None:
    """The papers of the SavedModel folder `model`, a path or a URL; None when it carries none.

    Raises:
      ModelError: they are there but cannot be read: damaged, or of an older or newer format.
    """
    place = os.path.join(model, FILE)
    try:
        data = read_file(place, MAX_BYTES + 1)
        return None if data is None else _parse(data, place)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"The papers {place} cannot be read: {where}: {first['msg']}.") from error
    except (OSError, ValueError) as error:  # includes text that is not UTF-8
        raise ModelError(f"The papers {place} cannot be read: {error}.") from error


def _parse(data: bytes, place: str) -> Papers:
    if len(data) > MAX_BYTES:
        raise ValueError(f"they are larger than the {MAX_BYTES} bytes that they may have")
    value = load_json(data)
    if not isinstance(value, dict):
        raise ValueError("they are not an object")
    found = value.get("format")
    if type(found) is int and found != FORMAT:
        raise ModelError(f"The papers {place} are of format {found}, {_AGES[found < FORMAT].format(FORMAT)}.")
    if value.pop("self", None) != _checksum(value):
        raise ValueError("their checksum does not hold")
    papers = Papers.model_validate(value)
    parts: list[Origin | Survivor | Slice] = [*papers.origins, *papers.survivors, *papers.slices]
    for metrics in (papers.metrics, *(part.metrics for part in parts)):
        decode_metrics(metrics)
    return papers


def _to_bytes(value: dict[str, Any]) -> bytes:
    return (dump_json(value | {"self": _checksum(value)}, indent=1) + "\n").encode()


def _checksum(value: dict[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(dump_json(value).encode()).hexdigest()
