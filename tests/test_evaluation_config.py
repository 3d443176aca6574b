"""What a pipeline.yaml makes TFMA measure and require."""

from __future__ import annotations

import pytest
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.rules.selection import Selector
from gated_pipelines.config.evaluation import blessing_config, selection_config, selector
from gated_pipelines.config.pipeline_config import load_config

LEAST = """\
name: a
data: {csv: a.csv}
label: y
task: regression
rules: {save: {metric: loss, at_most: 1}, filter: {metric: loss, at_most: 1}}
evaluate:
  slices: [g, [g, h]]
"""


@pytest.fixture
def config(tmp_path):
    def config(text):
        path = tmp_path / "pipeline.yaml"
        path.write_text(LEAST + text)
        return load_config(path)

    return config


def bounds(evaluation):
    """(metric, columns, bound) of every threshold."""
    found = set()
    for metric in evaluation.metrics_specs[0].metrics:
        for part in metric.per_slice_thresholds:
            threshold = part.threshold
            value = threshold.value_threshold
            if threshold.HasField("change_threshold"):
                words = f"change {threshold.change_threshold.absolute.value:g}"
            elif value.HasField("lower_bound"):
                words = f">= {value.lower_bound.value:g}"
            else:
                words = f"<= {value.upper_bound.value:g}"
            found |= {(metric.class_name, tuple(spec.feature_keys), words) for spec in part.slicing_specs}
    return found


SELECT = """
  select:
    metric: mean_squared_error
    mode: min
    ties: earliest
    within_noise: true
    worst_slice: true
    require:
      - {metric: mean_squared_error, at_most: 2, slices: [g, [g, h]]}
      - {metric: mean_absolute_error, at_least: 0.5}
  thresholds:
    - {metric: mean_squared_error, at_most: 1, slices: [g]}
  champion: {metric: mean_squared_error, mode: min, worse_by_at_most: 0.25}
"""


def test_what_is_required_of_candidates_binds_on_the_whole_and_on_its_slices(config):
    assert bounds(selection_config(config(SELECT))) == {
        ("MeanSquaredError", (), "<= 2"),
        ("MeanSquaredError", ("g",), "<= 2"),
        ("MeanSquaredError", ("g", "h"), "<= 2"),
        ("MeanAbsoluteError", (), ">= 0.5"),
    }


def test_thresholds_bind_on_the_winner_and_the_champion_s_on_the_whole_alone(config):
    assert bounds(blessing_config(config(SELECT))) == {
        ("MeanSquaredError", (), "<= 1"),
        ("MeanSquaredError", ("g",), "<= 1"),
        ("MeanSquaredError", (), "change 0.25"),
    }


def test_noise_turns_on_the_jackknife_where_the_choice_is_made_and_nowhere_else(config):
    measured, blessed = selection_config(config(SELECT)), blessing_config(config(SELECT))
    assert measured.options.compute_confidence_intervals.value
    assert measured.options.confidence_intervals.method == config_pb2.ConfidenceIntervalOptions.JACKKNIFE
    assert not blessed.options.compute_confidence_intervals.value
    assert not selection_config(config("")).options.compute_confidence_intervals.value


def test_the_selector_is_what_the_file_says(config):
    assert selector(config(SELECT)) == Selector("mean_squared_error", "min", "earliest", True, True)
    assert selector(config("")) == Selector("mean_squared_error", "min")
