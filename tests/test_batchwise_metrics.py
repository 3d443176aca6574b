"""Metrics computed batch by batch are TFMA's own: same names, same values, on whatever examples."""

from __future__ import annotations

import numpy as np
import pytest
from both_ways import both_ways, classes, config_of, require_equal, sides

BINARY = """
  ExampleCount WeightedExampleCount BinaryCrossentropy BinaryAccuracy AUC AUCPrecisionRecall Precision Recall
  TruePositives FalsePositives TrueNegatives FalseNegatives Specificity FPR F1Score Calibration MeanLabel MeanPrediction
"""
MULTICLASS = """
  ExampleCount SparseCategoricalCrossentropy SparseCategoricalAccuracy MultiClassConfusionMatrixPlot AUC
"""
ONE_HOT = "CategoricalCrossentropy CategoricalAccuracy MultiClassConfusionMatrixAtThresholds MeanPrediction AUC"
REGRESSION = """
  ExampleCount MeanSquaredError RootMeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError
  MeanSquaredLogarithmicError Calibration MeanLabel MeanPrediction
"""
SLICES = 'slicing_specs {} slicing_specs { feature_keys: "colour" } slicing_specs { feature_keys: ["colour", "size"] }'
WEIGHTED = 'label_key: "y" example_weight_key: "w"'


def labels(random, kind, size):
    if kind == "regression":
        return random.normal(size=size).astype("float32").round(1)
    if kind == "binary":
        return random.integers(0, 2, size)
    number = random.integers(0, 4, size)
    return np.eye(4, dtype="int64")[number] if kind == "one hot" else number


def predicted(random, kind, size):
    if kind == "regression":
        return random.normal(size=size).astype("float32")
    if kind == "binary":  # some at the edges and at the threshold
        return random.choice([0.0, 0.5, 1.0, *random.uniform(size=50)], size).astype("float32")
    return random.dirichlet(np.ones(4), size).astype("float32")


def batches(seed, kind, models=("",), sizes=(40, 1, 1_100), wide=True):
    """Random batches of extracts, as TFMA's extractors give them before they unbatch."""
    random = np.random.default_rng(seed)
    made = []
    for size in sizes:
        predictions = {name: predicted(random, kind, size) for name in models}
        label = labels(random, kind, size)
        if wide and kind in ("binary", "regression"):
            label = label[:, None]
            predictions = {name: values[:, None] for name, values in predictions.items()}
        weight = random.choice([0.0, 1.0, 2.0, *random.uniform(0, 3, 9)], size).astype("float32")
        several = len(models) > 1
        made.append(
            {
                "labels": dict.fromkeys(models, label) if several else label,
                "predictions": predictions if several else predictions[""],
                "example_weights": dict.fromkeys(models, weight) if several else weight,
                "features": {
                    "colour": random.choice(np.array([b"blue", b"green", b"red"], object), size)[:, None],
                    "size": random.integers(0, 3, size),
                },
            }
        )
    return made


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [
        pytest.param("binary", BINARY, id="of a binary model"),
        pytest.param("sparse", MULTICLASS, id="of a multiclass model with numbers of classes as labels"),
        pytest.param("one hot", ONE_HOT, id="of a multiclass model with one-hot labels"),
        pytest.param("regression", REGRESSION, id="of a regression"),
    ],
)
@pytest.mark.parametrize(
    ("models", "spec", "rest"),
    [
        pytest.param(("",), 'label_key: "y"', "", id="of one model without weights"),
        pytest.param(("a", "b", "c"), WEIGHTED, SLICES, id="of three models with weights and slices"),
    ],
)
def test_all_values_are_those_of_tfma(tmp_path, kind, metrics, models, spec, rest):
    config = config_of(classes(metrics), models, spec, rest)
    choice = sides(config)["batchwise"]
    assert not choice.others
    found = both_ways(tmp_path, config, batches(1, kind, models))
    assert require_equal(*found) >= len(metrics.split()) * len(models)
