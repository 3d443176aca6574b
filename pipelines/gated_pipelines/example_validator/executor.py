"""What the component `ExampleValidator` does."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as tfx_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils

from checkpoint_gate.artifact_files.data_note import read_data_note
from checkpoint_gate.errors import DataAnomalies
from checkpoint_gate.uri_files import copy_file, is_there, read_file, told, write_file
from gated_pipelines.example_validator.comparing import add_missing, only_compared, with_comparators
from gated_pipelines.reporting.anomalies import DRIFT, FILE, SKEW, Anomaly, anomalies_in, in_words
from gated_pipelines.tables.span_statistics import statistics_of
from gated_pipelines.tables.staging import NEWEST, PREVIOUS

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rows:
    """CSVs of the newest span and of the one before it, and whether the window holds more than the newest."""

    newest: Path | None
    previous: Path | None
    several: bool


class Executor(tfx_executor.Executor):
    """Validates by TFX's executor, compares spans, and tells of what it found; see the component."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Writes the anomalies of each split, and those of the comparisons in folders of their own beside them.

        Raises:
          DataAnomalies: there are some, and `on_anomalies` is fail.
        """
        done = super().Do(input_dict, output_dict, exec_properties)
        anomalies = artifact_utils.get_single_instance(output_dict["anomalies"])
        found: list[Anomaly] = []
        for split in artifact_utils.decode_split_names(anomalies.split_names):
            found += _read(artifact_utils.get_split_uri([anomalies], split), split)
        with _rows(input_dict, exec_properties) as rows:
            for where, message in _compare(rows, input_dict, exec_properties):
                write_file(os.path.join(anomalies.uri, where, FILE), message.SerializeToString())
                found += anomalies_in(message, where)
        if found:
            _tell([one.to_json() for one in found], exec_properties["on_anomalies"])
        return done


def _read(folder: str, split: str) -> list[Anomaly]:
    data = read_file(os.path.join(folder, FILE)) or b""
    return anomalies_in(anomalies_pb2.Anomalies.FromString(data), split)


def _tell(found: list[dict[str, str]], on_anomalies: str) -> None:
    sentence = in_words(found)
    if on_anomalies == "fail":
        raise DataAnomalies(sentence, found)
    _LOG.warning(sentence)


@contextlib.contextmanager
def _rows(input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]) -> Iterator[_Rows]:
    """Where the rows of the spans are on this disk."""
    if not input_dict.get("examples"):
        newest, previous = (exec_properties.get(name) for name in ("newest", "previous"))
        several = (exec_properties.get("spans") or 0) > 1
        yield _Rows(Path(newest) if newest else None, Path(previous) if previous else None, several)
        return
    examples = artifact_utils.get_single_uri(input_dict["examples"])
    with tempfile.TemporaryDirectory(prefix="spans-") as folder:
        newest, previous = (_copy(f"{examples}/{name}", Path(folder, name)) for name in (NEWEST, PREVIOUS))
        yield _Rows(newest, previous, several=len(read_data_note(examples).get("spans", ())) > 1)


def _copy(place: str, target: Path) -> Path | None:
    """A copy of the file on this disk; None where there is no such file."""
    with told(f"The rows {place} cannot be read"):
        if not is_there(place):
            return None
        copy_file(place, str(target))
    return target


def _compare(
    rows: _Rows, input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The anomalies of each comparison that there is something to compare for, with its name."""
    if rows.newest is None:
        return
    schema = io_utils.SchemaReader().read(
        io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
    )
    drift, skew = (with_comparators(schema, which, exec_properties.get(which)) for which in (DRIFT, SKEW))
    newest = statistics_of(rows.newest, schema)
    if rows.previous is not None and drift is not None:
        before = statistics_of(rows.previous, schema)
        found = only_compared(tfdv.validate_statistics(newest, drift, previous_statistics=before))
        add_missing(found, DRIFT, drift, newest, before)
        yield DRIFT, found
    if rows.several and skew is not None:
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        trained = stats_artifact_utils.load_statistics(statistics, "train").proto()
        found = only_compared(tfdv.validate_statistics(trained, skew, serving_statistics=newest))
        add_missing(found, SKEW, skew, trained, newest)
        yield SKEW, found
