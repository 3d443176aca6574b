"""What the component `ImportSchemaGen` does."""

from __future__ import annotations

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from checkpoint_gate.uri_files import write_file

_FILE = "schema.pbtxt"  # SchemaGen's name for it


class Executor(base_executor.BaseExecutor):
    """Writes the schema where SchemaGen would."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component."""
        folder = artifact_utils.get_single_uri(output_dict["schema"])
        write_file(os.path.join(folder, _FILE), exec_properties["schema_text"].encode())
