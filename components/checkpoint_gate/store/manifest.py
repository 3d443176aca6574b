"""A checkpoint's manifest: strict JSON, schema-checked, size-capped, and with a checksum of its own.

    {"at": "epoch", "bytes": 14210, "decision": "val_loss 0.41 is at most 0.45", "epoch": 6,
     "files": [{"bytes": 1311, "checksum": "xxh3-128:9f…", "path": "ckpt.index"}, …],
     "format": 1, "kind": "gated", "metrics": {"loss": 0.40, "val_loss": 0.41}, "rules": "5d…", "run": "a1b2…",
     "self": "sha256:77…", "step": 49, "time": 1790000000.0, "writer": "checkpoint-gate 0.1.0"}

`self` is the sha256 of the same JSON without `self`, so that a flipped bit anywhere is noticed.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from checkpoint_gate.errors import DamagedCheckpoint, ForeignCheckpoint
from checkpoint_gate.records import At, Record, decode_metrics, dump_json, encode_metrics, load_json
from checkpoint_gate.store.checksums import PATTERN
from checkpoint_gate.store.layout import UNFINISHED_FILE

FORMAT = 1
NAME = "manifest.json"
MAX_BYTES = 4 << 20

Checksum = Annotated[str, StringConstraints(pattern=PATTERN)]
Kind = Literal["gated", "resumable"]
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}"  # means the same on every disk and in every object store
FileName = Annotated[str, StringConstraints(pattern=f"^{_FILE_NAME}$")]


class FileEntry(BaseModel):
    """One file of a checkpoint, in the checkpoint's own folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    path: FileName
    bytes: int = Field(ge=0)
    checksum: Checksum


class Manifest(BaseModel):
    """What a checkpoint is and which files make it up.

    Attributes:
      kind: "gated" for one that the gate let through, "resumable" for the state from which training goes on.
      rules: sha256 of the gate's rules, in hex.
      decision: the gate's reason.
      time: seconds since 1970 (UTC) at which it was written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    format: Literal[1] = 1
    kind: Kind
    run: str
    step: int = Field(ge=0)
    epoch: int = Field(ge=0)
    at: At = "epoch"
    time: float
    metrics: dict[str, float | str]
    decision: str
    rules: str
    files: list[FileEntry]
    writer: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.bytes for entry in self.files)

    @property
    def checksum(self) -> str:
        """sha256 over all that it says: tells this checkpoint from another one of the same step."""
        return _checksum(self.model_dump())

    @property
    def record(self) -> Record:
        """The ledger record that this checkpoint was saved for."""
        return Record(self.step, self.epoch, decode_metrics(self.metrics), self.at, self.time)

    def to_bytes(self) -> bytes:
        """The file's content, the checksum of itself included."""
        return _to_bytes(self.model_dump())

    @staticmethod
    def build(*, record: Record, time: float, **fields: Any) -> Manifest:
        """A manifest for `record`; the other fields are the attributes by name."""
        return Manifest(
            step=record.step,
            epoch=record.epoch,
            at=record.at,
            time=time,
            metrics=encode_metrics(record.metrics),
            **fields,
        )


def is_file_name(name: str) -> bool:
    """Whether a file of this name can belong to a checkpoint."""
    return re.fullmatch(_FILE_NAME, name) is not None and name not in (NAME, UNFINISHED_FILE)


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Reads a manifest; `place` stands in errors.

    Raises:
      DamagedCheckpoint: not strict JSON, not of this format, or its own checksum does not hold.
      ForeignCheckpoint: of another format, and its own checksum holds.
    """
    try:
        value = load_json(data.decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        claimed = value.pop("self", None)
        whole = claimed == _checksum(value)
        if value.get("format") != FORMAT:
            what = f"its format is {value.get('format')!r}; this version reads format {FORMAT}"
            if whole:
                raise ForeignCheckpoint(f"The manifest {place} is damaged: {what}.")
            raise ValueError(what)
        if not whole:
            raise ValueError("its checksum does not hold")
        if data != _with_checksum(value, claimed):  # a space, an E for an e, a digit beyond a double's
            raise ValueError("it is not as it was written")
        manifest = Manifest.model_validate(value)
        decode_metrics(manifest.metrics)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedCheckpoint(f"The manifest {place} is damaged: {where}: {first['msg']}.") from error
    except ValueError as error:  # includes text that is not UTF-8
        raise DamagedCheckpoint(f"The manifest {place} is damaged: {error}.") from error
    if len({entry.path for entry in manifest.files} | {NAME}) != len(manifest.files) + 1:
        raise DamagedCheckpoint(f"The manifest {place} is damaged: it names a file twice.")
    return manifest


def _to_bytes(value: dict[str, Any]) -> bytes:
    return _with_checksum(value, _checksum(value))


def _with_checksum(value: dict[str, Any], checksum: str) -> bytes:
    return (dump_json(value | {"self": checksum}, indent=1) + "\n").encode()


def _checksum(value: dict[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(dump_json(value).encode()).hexdigest()
