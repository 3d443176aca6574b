"""ML Metadata's database of a root. Opened without TFX, which takes long to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from checkpoint_gate.errors import CheckpointGateError


def open_metadata(database: Path) -> Any:
    """ML Metadata's store in an sqlite file that is there.

    Raises:
      CheckpointGateError: it is locked by another process, or damaged.
    """
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(database)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE
    try:
        return metadata_store.MetadataStore(config)
    except RuntimeError as error:
        what = next(iter(str(error).splitlines()), "")[:80]
        raise CheckpointGateError(
            f"ML Metadata's database {database} cannot be opened ({what}): wait until no other process uses it, or, "
            "if it is damaged, move it and the artifacts away to execute all anew. The store keeps what it holds."
        ) from error


def notes_of(artifact: Any) -> dict[str, str | int]:
    """An artifact's custom properties that are texts or whole numbers."""
    notes: dict[str, str | int] = {}
    for name, value in artifact.custom_properties.items():
        kind = value.WhichOneof("value")
        if kind in ("string_value", "int_value"):
            notes[name] = getattr(value, kind)
    return notes
