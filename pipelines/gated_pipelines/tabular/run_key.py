"""The key of a training run: a digest of the content that determines training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import gated_pipelines
from checkpoint_gate.rules.records import dump_json

_CODE = (
    "config/spec.py",
    "preprocessing.py",
    *(f"tabular/{name}.py" for name in ("datasets", "model", "network", "serving", "warm_start")),
    "trainer.py",
)
_LIBRARIES = ("tensorflow", "keras", "tensorflow-transform")


def code_digest(names: Iterable[str] = _CODE) -> str:
    """sha256 of the modules that decide what is trained, paths in this package, and of the libraries' versions."""
    folder = Path(gated_pipelines.__file__).parent
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    for library in _LIBRARIES:
        digest.update(f"{library}={metadata.version(library)}\0".encode())
    return digest.hexdigest()


def run_key(contents: Mapping[str, Iterable[Path]], settings: Mapping[str, Any], generation: int) -> str:
    """The key under which a training run stands in the store.

    Args:
      contents: kind -> files; their bytes count, their names and places do not.
      settings: plain JSON; whatever else determines training.
      generation: how often training anew was asked for; from 1 on it becomes a suffix.
    """
    digest = hashlib.sha256(dump_json(dict(settings)).encode())
    for kind in sorted(contents):
        sums = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in contents[kind])
        digest.update(f"\0{kind}:{','.join(sums)}".encode())
    return digest.hexdigest()[:16] + (f"-r{generation}" if generation else "")


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
