"""Metrics computed batch by batch in evaluations where TFMA wants its examples one by one."""

from __future__ import annotations

import pytest
from both_ways import COARSE, SLICES, WEIGHTED, batches, both_ways, classes, config_of, require_equal, sides

INTERVALS = "options { compute_confidence_intervals { value: true } confidence_intervals { method: %s } }"


@pytest.mark.parametrize("method", ["JACKKNIFE", "POISSON_BOOTSTRAP"])
def test_confidence_intervals_are_those_of_tfma(tmp_path, method):
    """Of all examples: with slices, TFMA draws in the order of an example's slices, another in each process."""
    config = config_of(
        classes("ExampleCount BinaryAccuracy BinaryCrossentropy Calibration") + COARSE,
        ("",),
        WEIGHTED,
        INTERVALS % method,
    )
    stock, ours = both_ways(tmp_path, config, batches(8, "binary", ("",), (150, 50)))
    assert require_equal(stock, ours) >= 5
    bounded = {key.name for key, value in ours[()].items() if hasattr(value, "sample_standard_deviation")}
    assert bounded == {"auc", "binary_accuracy", "binary_crossentropy", "calibration"}


def test_metrics_of_both_kinds_may_be_mixed(tmp_path):
    metrics = classes("ExampleCount BinaryCrossentropy SquaredPearsonCorrelation CalibrationPlot") + COARSE
    metrics += "} metrics_specs { binarize { class_ids { values: [0] } } " + classes("MeanLabel")
    config = config_of(metrics, ("a", "b"), WEIGHTED, SLICES)
    choice = sides(config)["batchwise"]
    assert choice.batchwise == ("example_count", "binary_crossentropy", "auc")
    assert choice.others == ("squared_pearson_correlation", "calibration_plot", "mean_label")
    require_equal(*both_ways(tmp_path, config, batches(9, "binary", ("a", "b"), (60, 40))))
