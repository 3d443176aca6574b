"""What the component `CsvExampleGen` of compiled pipelines does."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.example_gen.csv_example_gen import executor as tfx_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from checkpoint_gate.artifact_files.data_note import write_data_note
from checkpoint_gate.errors import ConfigError
from checkpoint_gate.uri_files import below, copy_file, is_there, told
from gated_pipelines.config.pipeline_config import PipelineConfig, parse_config
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.tables.spans import SpanFile, find_window, read_time, spans_in_words
from gated_pipelines.tables.staging import NEWEST, PREVIOUS, StagedTable, stage_table

_LOG = logging.getLogger(__name__)


class Executor(tfx_executor.Executor):
    """Finds the table, checks it and spells it out, and hands it to TFX's executor."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component. What the table is goes beside the examples, for the papers of a model.

        Raises:
          ConfigError: there is no such table or span, or the table does not fit what the pipeline was compiled for.
          StoreError: it cannot be read.
        """
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        wanted = below(exec_properties["root"], exec_properties["data"])
        with told(f"The table {wanted} cannot be found"):
            config = parse_config(exec_properties["pipeline"], Path("pipeline.yaml"))
            time = read_time(exec_properties["scheduled"])
            window = find_window(wanted, exec_properties["span"], max(config.data.window, 2), time)
        with tempfile.TemporaryDirectory(prefix="table-") as folder:
            table = _stage(config, wanted, window, TabularSpec.from_json(exec_properties["table"]), Path(folder))
            named = window[-1].file.partition("?")[0]  # what signs a URL stays out of logs and papers
            spans = f" of {spans_in_words(table.spans)}" if table.spans else ""
            _LOG.info("%s: %d rows%s, sha256 %s", named, table.rows, spans, table.digest)
            pattern = example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name="table", pattern=table.file)])
            found = {
                standard_component_specs.INPUT_BASE_KEY: str(table.folder),
                standard_component_specs.INPUT_CONFIG_KEY: proto_utils.proto_to_json(pattern),
                standard_component_specs.OUTPUT_CONFIG_KEY: exec_properties["output_config"],
                standard_component_specs.OUTPUT_DATA_FORMAT_KEY: example_gen_pb2.FORMAT_TF_EXAMPLE,
                standard_component_specs.OUTPUT_FILE_FORMAT_KEY: example_gen_pb2.FORMAT_TFRECORDS_GZIP,
            }
            super().Do(input_dict, output_dict, found)
            for rows, name in ((table.newest, NEWEST), (table.previous, PREVIOUS)):
                if rows is not None:
                    copy_file(str(rows), f"{examples.uri}/{name}")
        examples.span = table.span or 0
        note = {"table": table.digest, "data": named, "rows": table.rows, "spans": list(table.spans)}
        write_data_note(examples.uri, note)


def _stage(
    config: PipelineConfig, wanted: str, files: Sequence[SpanFile], known: TabularSpec, folder: Path
) -> StagedTable:
    """Stages copies of the files, the last of which is the newest span's."""
    copies = folder / "tables"
    for each in files:
        with told(f"The table {each.file} cannot be read"):
            if not is_there(each.file):
                raise ConfigError(f"There is no file {each.file}; name a CSV that exists by the parameter data.")
            copy_file(each.file, str(copies / Path(each.file).name))
    span = files[-1].span
    here = config.with_csv(copies / Path(wanted).name)
    try:
        return stage_table(here, folder / "staged", known, "" if span is None else str(span))
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(copies), wanted.rpartition("/")[0])) from None
