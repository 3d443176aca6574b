"""Statistics of staged rows by TensorFlow Data Validation, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from gated_pipelines.tables.staging import read_staged


def statistics_of(path: Path, schema: schema_pb2.Schema) -> Any:
    """The statistics of a staged table, each column of which has the type that the schema gives it.

    A column that does not fit its type is taken as text; ExampleValidator finds that in the examples too.

    Returns:
      A DatasetFeatureStatisticsList of one dataset.
    """
    types = {feature.name: feature.type for feature in schema.feature}
    columns = {name: _typed(cells, types.get(name)) for name, cells in read_staged(path).items()}
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns), n_jobs=1)


def _typed(cells: list[str], kind: int | None) -> pd.Series:
    present = pd.Series(cells, dtype="object").mask(pd.Series(cells) == "", None)
    if kind not in (schema_pb2.FLOAT, schema_pb2.INT):
        return present
    try:
        numbers = pd.to_numeric(present)
        return numbers.astype("float64" if kind == schema_pb2.FLOAT else "Int64")
    except (ValueError, TypeError):
        return present
