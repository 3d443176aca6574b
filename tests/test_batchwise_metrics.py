"""Metrics computed batch by batch are TFMA's own: same names, same values, on whatever examples."""

from __future__ import annotations

import numpy as np
import pytest
from both_ways import (
    COARSE,
    SLICES,
    WEIGHTED,
    batches,
    both_ways,
    classes,
    config_of,
    evaluated,
    require_equal,
    sides,
)
from tensorflow_model_analysis.api import types

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
        pytest.param(("a", "b"), WEIGHTED, SLICES, id="of two models with weights and slices"),
    ],
)
def test_all_values_are_those_of_tfma(tmp_path, kind, metrics, models, spec, rest):
    config = config_of(classes(metrics), models, spec, rest)
    choice = sides(config)["batchwise"]
    assert not choice.others
    found = both_ways(tmp_path, config, batches(1, kind, models))
    assert require_equal(*found) >= len(metrics.split()) * len(models)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_examples_are(tmp_path, seed):
    """Labels that are fractions, weights for some, columns of another form, batches of any size."""
    random = np.random.default_rng(seed)
    sizes = (1_100, 3) if not seed else tuple(int(size) for size in random.integers(1, 200, 3))
    made = batches(seed, "binary", ("a", "b"), sizes, wide=bool(seed % 2))
    for batch in made:
        size = len(batch["features"]["size"])
        fractions = random.choice([0.0, 0.25, 1.0, *random.uniform(size=5)], size).astype("float32")
        label = next(iter(batch["labels"].values()))
        batch["labels"] = dict.fromkeys(batch["labels"], fractions.reshape(label.shape))
        batch["predictions"]["b"] = random.normal(size=label.shape).astype("float32")  # beyond 0 and 1
    metrics = classes("ExampleCount BinaryAccuracy Recall Calibration BinaryCrossentropy") + COARSE
    metrics += 'metrics { class_name: "AUC" config: \'"name": "coarser", "num_thresholds": 20\' }'
    metrics += 'metrics { class_name: "Precision" config: \'"name": "three", "thresholds": [0.1, 0.5, 0.9]\' }'
    metrics += 'metrics { class_name: "ConfusionMatrixAtThresholds" config: \'"thresholds": [0.0, 0.5, 1.0]\' }'
    metrics += 'metrics { class_name: "RecallAtPrecision" config: \'"precision": 0.6\' }'
    metrics += "example_weights { weighted: true unweighted: true }"
    config = config_of(metrics, ("a", "b"), WEIGHTED, SLICES)
    assert not sides(config)["batchwise"].others
    require_equal(*both_ways(tmp_path, config, made))


NAN = "ExampleCount BinaryCrossentropy BinaryAccuracy Precision Calibration MeanPrediction MeanSquaredError"


def with_nan(made, name):
    for batch in made:
        batch["predictions"][name][::3] = np.nan
    return made


def test_predictions_that_are_nan_give_what_tfma_makes_of_them(tmp_path):
    made = with_nan(batches(4, "binary", ("a", "b")), "b")
    stock, ours = both_ways(tmp_path, config_of(classes(NAN), ("a", "b"), WEIGHTED, SLICES), made)
    require_equal(stock, ours)
    assert any(key.model_name == "b" and np.isnan(value) for key, value in ours[()].items())


def test_classes_of_predictions_that_are_nan_are_those_that_tfma_takes(tmp_path):
    made = with_nan(batches(5, "sparse", ("a", "b")), "b")
    metrics = classes("SparseCategoricalCrossentropy SparseCategoricalAccuracy MultiClassConfusionMatrixPlot")
    require_equal(*both_ways(tmp_path, config_of(metrics, ("a", "b"), WEIGHTED, SLICES), made))


def test_a_metric_fails_where_that_of_tfma_fails(tmp_path):
    made = with_nan(batches(6, "binary", ("a", "b"), (5,)), "b")
    config = config_of(classes("AUC"), ("a", "b"), WEIGHTED)
    for name, choice in sides(config).items():
        with pytest.raises(Exception, match=r"add_input failed|Received: NaN"):
            evaluated(tmp_path / name, choice, made)


def test_slices_by_columns_of_every_form_are_those_of_tfma(tmp_path):
    made = batches(7, "binary", ("a", "b"), (50, 30))
    random = np.random.default_rng(7)
    for batch in made:
        size = len(batch["features"]["size"])
        words = random.choice(np.array([b"x", b"y", b"z"], object), (size, 2))
        batch["features"]["two"] = types.VarLenTensorValue(
            values=words[np.arange(size) % 3 > 0].reshape(-1),
            indices=np.array([[row, place] for row in range(size) if row % 3 for place in (0, 1)]),
            dense_shape=np.array([size, 2]),
        )
        transformed = {"colour": random.integers(0, 9, size), "ratio": random.choice([0.5, 0.25], size)}
        batch["transformed_features"] = {"a": transformed, "b": transformed}
    for number, slices in enumerate(
        (
            'slicing_specs { feature_keys: "colour" } slicing_specs { feature_keys: ["ratio", "size"] }',
            'slicing_specs { feature_keys: "two" } slicing_specs {}',
            'slicing_specs { feature_values { key: "size" value: "1" } feature_keys: "colour" }',
            'slicing_specs { feature_keys: "absent" } slicing_specs {}',
        )
    ):
        config = config_of(classes("ExampleCount MeanPrediction"), ("a", "b"), WEIGHTED, slices)
        require_equal(*both_ways(tmp_path / str(number), config, made))
