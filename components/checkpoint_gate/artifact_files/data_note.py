"""A note beside examples that says of what table they are, where the table is found only when the pipeline runs.

data.json: {"table": "<sha256 of the table, in hex>", "data": "s3://…/penguins.csv", "rows": 344, "spans": []}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.uri_files import read_file, write_file

_FILE = "data.json"


def write_data_note(folder: str, note: Mapping[str, Any]) -> None:
    """Writes the note into the folder of the examples."""
    write_file(os.path.join(folder, _FILE), (dump_json(dict(note)) + "\n").encode())


def read_data_note(folder: str) -> dict[str, Any]:
    """The note; empty where there is none.

    Raises:
      ConfigError: it is damaged.
    """
    data = read_file(os.path.join(folder, _FILE))
    if data is None:
        return {}
    try:
        return dict(load_json(data))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"The note {os.path.join(folder, _FILE)} is damaged ({error}).") from error
