"""A schema inferred from a table, as a first draft for a person."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format

from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.tables.spans import spans_in_words
from gated_pipelines.tables.staging import read_staged, stage_table

_HEADER = """\
# What the columns of {source} may hold: inferred from {rows:,} rows, to be edited by a person.
# ExampleValidator tells of whatever is otherwise, and with validate.on_anomalies: fail ends the run.
# A pipeline.yaml names this file as data.schema. Worth a look, column by column:
#   value_count    {{ min: 1 max: 1 }} says that no value may be missing; take it away where some may.
#   domain         a string_domain, at the end of the file, lists the words that a column may hold: add those that will
#                  come, or let a share be others with distribution_constraints {{ min_domain_mass: 0.95 }}.
#   float_domain   {{ min: 0.0 max: 24.0 }}, or int_domain, bounds a number; inferred are none.
#   drift_comparator, skew_comparator
#                  {{ jensen_shannon_divergence {{ threshold: 0.3 }} }} stands above validate.drift and validate.skew.
# What must stay: the names, the types, and that no column has a shape, since any value may be missing in a request.
"""


def inferred_schema(pipeline_file: Path, span: str = "") -> str:
    """The schema of a pipeline's table, as text with a comment that says what to edit.

    Args:
      pipeline_file: the pipeline.yaml.
      span: the last span whose rows are looked at; "" for the largest there is.

    Raises:
      ConfigError: the file or its table is wrong.
    """
    config = load_config(pipeline_file)
    with tempfile.TemporaryDirectory(prefix="schema-") as folder:
        table = stage_table(config, Path(folder), span=span)
        # By the reader that ExampleGen uses too: whether a column of digits is of numbers is its to say.
        statistics = tfdv.generate_statistics_from_csv(
            str(table.folder / table.file),
            output_path=f"{folder}/statistics",
            pipeline_options=PipelineOptions(["--runner=FnApiRunner"]),
        )
        lacking = {name for name, cells in read_staged(table.folder / table.file).items() if "" in cells}
    schema = tfdv.infer_schema(statistics, infer_feature_shape=False, max_string_domain_size=1000)
    source = f"{config.csv.name} of {_shown(table.spans)}" if table.spans else config.csv.name
    for feature in schema.feature:
        if feature.name in lacking:  # examples hold it nevertheless, as a list of no values
            feature.ClearField("value_count")
    draft: str = text_format.MessageToString(schema)
    return _HEADER.format(source=source, rows=table.rows) + draft


def _shown(spans: Sequence[int]) -> str:
    return spans_in_words(spans) if len(spans) <= 3 else f"{len(spans)} spans, {spans[0]} to {spans[-1]}"
