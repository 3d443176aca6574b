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
import sys
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from checkpoint_gate.errors import DamagedCheckpoint, ForeignCheckpoint
from checkpoint_gate.rules.records import At, Record, decode_metrics, dump_json, encode_metrics, load_json
from checkpoint_gate.store.checksums import PATTERN
from checkpoint_gate.store.layout import UNFINISHED_FILE

FORMAT = 1
NAME = "manifest.json"
MAX_BYTES = 4 << 20

Checksum = Annotated[str, Meta(pattern=PATTERN)]
Kind = Literal["gated", "resumable"]
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}"  # means the same on every disk and in every object store
FileName = Annotated[str, Meta(pattern=rf"^{_FILE_NAME}\Z")]
Whole = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class FileEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One file of a checkpoint, in the checkpoint's own folder."""

    path: FileName
    bytes: Whole
    checksum: Checksum


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a checkpoint is and which files make it up.

    Attributes:
      kind: "gated" for one that the gate let through, "resumable" for the state from which training goes on.
      rules: sha256 of the gate's rules, in hex.
      decision: the gate's reason.
      time: seconds since 1970 (UTC) at which it was written.
      checksum: sha256 over all the rest: tells this checkpoint from another one of the same step. `self` in the file.
    """

    format: Literal[1] = 1
    kind: Kind
    run: str
    step: Whole
    epoch: Whole
    at: At = "epoch"
    time: float
    metrics: dict[str, float | str]
    decision: str
    rules: str
    files: list[FileEntry]
    writer: str
    checksum: str = msgspec.field(name="self", default="")

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.bytes for entry in self.files)

    @property
    def record(self) -> Record:
        """The ledger record that this checkpoint was saved for."""
        return Record(self.step, self.epoch, decode_metrics(self.metrics), self.at, self.time)

    def to_bytes(self) -> bytes:
        """The file's content."""
        return _to_bytes(msgspec.to_builtins(self))

    def changed(self, **fields: Any) -> Manifest:
        """The same with other fields, and the checksum of that."""
        return _signed(msgspec.structs.replace(self, **fields))

    @staticmethod
    def build(*, record: Record, time: float, **fields: Any) -> Manifest:
        """A manifest for `record`; the other fields are the attributes by name, but for the checksum."""
        metrics = encode_metrics(record.metrics)
        return _signed(
            Manifest(step=record.step, epoch=record.epoch, at=record.at, time=time, metrics=metrics, **fields)
        )


def is_file_name(name: str) -> bool:
    """Whether a file of this name can belong to a checkpoint."""
    return re.fullmatch(_FILE_NAME, name) is not None and name not in (NAME, UNFINISHED_FILE)


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Reads a manifest; `place` stands in errors.

    Raises:
      DamagedCheckpoint: not strict JSON, not of this format, or its own checksum does not hold.
      ForeignCheckpoint: of another format.
    """
    try:
        manifest = _as_written(data)
        if manifest is None:
            manifest = _examined(data, place)
        decode_metrics(manifest.metrics)
    except msgspec.ValidationError as error:
        raise DamagedCheckpoint(f"The manifest {place} is damaged: {_in_words(error)}.") from error
    except ValueError as error:  # includes text that is not UTF-8
        raise DamagedCheckpoint(f"The manifest {place} is damaged: {error}.") from error
    if len({entry.path for entry in manifest.files} | {NAME}) != len(manifest.files) + 1:
        raise DamagedCheckpoint(f"The manifest {place} is damaged: it names a file twice.")
    return manifest


def _as_written(data: bytes) -> Manifest | None:
    """A manifest that is byte for byte as it was written; None for any other, of which `_examined` tells what is wrong.

    A store is opened by reading the manifests of all its checkpoints, and this takes a tenth of the other's time.
    """
    try:
        manifest = _DECODER.decode(data)
        indented = msgspec.json.format(data, indent=1) + b"\n"
        line = msgspec.json.format(data, indent=0)
    except (ValueError, RecursionError):
        return None
    rest = line.replace(b'"self": "%b", ' % manifest.checksum.encode(), b"", 1)
    return _shared(manifest) if indented == data and manifest.checksum == _checksum(rest) else None


def _shared(manifest: Manifest) -> Manifest:
    """The same, with what many checkpoints have in common held once in memory: a quarter of it all."""
    files = [FileEntry(path=sys.intern(e.path), bytes=e.bytes, checksum=e.checksum) for e in manifest.files]
    run, rules, writer = map(sys.intern, (manifest.run, manifest.rules, manifest.writer))
    return msgspec.structs.replace(manifest, run=run, rules=rules, writer=writer, files=files)


def _examined(data: bytes, place: str) -> Manifest:
    value = load_json(data.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    claimed = value.pop("self", None)
    form = value.get("format")
    if form != FORMAT:
        what = f"its format is {form!r}; this version reads format {FORMAT}"
        # How another format proves itself whole is its own affair; but a flipped bit does not make one.
        if type(form) is int and claimed != _sign(value | {"format": FORMAT}):
            raise ForeignCheckpoint(f"The manifest {place} cannot be read: {what}.")
        raise ValueError(what)
    if claimed != _sign(value):
        raise ValueError("its checksum does not hold")
    if data != _to_bytes(value):  # a space, an E for an e, a digit beyond a double's
        raise ValueError("it is not as it was written")
    return msgspec.convert(value | {"self": claimed}, Manifest)


def _in_words(error: msgspec.ValidationError) -> str:
    """ "files.0.bytes: Expected int, got str", for msgspec's "Expected `int`, got `str` - at `$.files[0].bytes`"."""
    what, _, where = str(error).replace("`", "").partition(" - at $")
    path = re.sub(r"\[(\d+)\]", r".\1", where.removesuffix("[...]")).lstrip(".")
    return f"{path}: {what}" if path else what


def _signed(manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(manifest, checksum=_sign(msgspec.to_builtins(manifest)))


def _to_bytes(value: dict[str, Any]) -> bytes:
    return (dump_json(value | {"self": _sign(value)}, indent=1) + "\n").encode()


def _sign(value: dict[str, Any]) -> str:
    return _checksum(dump_json({key: each for key, each in value.items() if key != "self"}).encode())


def _checksum(line: bytes) -> str:
    return "sha256:" + hashlib.sha256(line).hexdigest()


_DECODER = msgspec.json.Decoder(Manifest)
