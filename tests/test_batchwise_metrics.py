"""Metrics computed batch by batch are TFMA's own: same names, same values, on whatever examples."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from both_ways import both_ways, classes, config_of, evaluated, require_equal, sides
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.metrics import metric_specs, metric_types

from checkpoint_gate.checkpoint_evaluator.batchwise.choosing import choose
from checkpoint_gate.checkpoint_evaluator.batchwise.combiner import BatchCombiner
from checkpoint_gate.checkpoint_evaluator.batchwise.metric import parts_of
from checkpoint_gate.checkpoint_evaluator.batchwise.rows import NotBatchwise, Rows, extracts_of

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


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_examples_are(tmp_path, seed):
    """Labels that are fractions, weights for some, columns of another form, batches of any size."""
    random = np.random.default_rng(seed)
    sizes = tuple(int(size) for size in random.integers(1, 400, 3))
    made = batches(seed, "binary", ("a", "b"), sizes, wide=bool(seed % 2))
    for batch in made:
        size = len(batch["features"]["size"])
        fractions = random.choice([0.0, 0.25, 1.0, *random.uniform(size=5)], size).astype("float32")
        label = next(iter(batch["labels"].values()))
        batch["labels"] = dict.fromkeys(batch["labels"], fractions.reshape(label.shape))
        batch["predictions"]["b"] = random.normal(size=label.shape).astype("float32")  # beyond 0 and 1
    metrics = classes("ExampleCount AUC AUCPrecisionRecall BinaryAccuracy Recall Calibration BinaryCrossentropy")
    metrics += 'metrics { class_name: "AUC" config: \'"name": "coarse", "num_thresholds": 20\' }'
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
        with pytest.raises(Exception, match=r"cannot convert float NaN to integer|Received: NaN"):
            evaluated(tmp_path / name, choice, made)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"labels": np.array([[b"a"], [b"b"]])}, "must be numbers", id="labels that are text"),
        pytest.param({"labels": np.array([[4], [0]])}, "from 0 to 3", id="a class that there is not"),
        pytest.param({"labels": np.array([[-1], [0]])}, "from 0 to 3", id="a class that is unknown"),
        pytest.param({"labels": np.array([[0.5], [0.0]])}, "from 0 to 3", id="half a class"),
        pytest.param({"predictions": np.ones((2, 3, 4), "float32")}, r"\(n, m\)", id="predictions in three dimensions"),
        pytest.param({"example_weights": np.ones((2, 4))}, "one number each", id="a weight for each class"),
        pytest.param(
            {"labels": types.SparseTensorValue(np.ones(1), np.ones((1, 2)), np.array([2, 4]))},
            "dense arrays",
            id="sparse labels",
        ),
    ],
)
def test_examples_that_are_not_plain_are_refused(change, words):
    batch = {
        "labels": np.array([[1], [0]]),
        "predictions": np.full((2, 4), 0.25, "float32"),
        "example_weights": np.ones(2, "float32"),
    } | change
    config = config_of(classes("SparseCategoricalCrossentropy"), spec=WEIGHTED)
    combiner = BatchCombiner(sides(config)["batchwise"].config.SerializeToString(), parts_of)
    inputs = metric_types.StandardMetricInputs(extracts_of(Rows(batch)))
    with pytest.raises(NotBatchwise, match=words):
        combiner.compact(combiner.add_input(combiner.create_accumulator(), inputs))


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


INTERVALS = "options { compute_confidence_intervals { value: true } confidence_intervals { method: %s } }"


@pytest.mark.parametrize("method", ["JACKKNIFE", "POISSON_BOOTSTRAP"])
def test_confidence_intervals_are_those_of_tfma(tmp_path, method):
    """Of all examples: with slices, TFMA draws in the order of an example's slices, another in each process."""
    config = config_of(
        classes("ExampleCount AUC BinaryAccuracy BinaryCrossentropy Calibration"),
        ("a", "b"),
        WEIGHTED,
        INTERVALS % method,
    )
    stock, ours = both_ways(tmp_path, config, batches(8, "binary", ("a", "b"), (300, 200)))
    assert require_equal(stock, ours) >= 10
    bounded = {key.name for key, value in ours[()].items() if hasattr(value, "sample_standard_deviation")}
    assert bounded == {"auc", "binary_accuracy", "binary_crossentropy", "calibration"}


def test_metrics_of_both_kinds_may_be_mixed(tmp_path):
    metrics = classes("ExampleCount AUC BinaryCrossentropy SquaredPearsonCorrelation CalibrationPlot")
    metrics += "} metrics_specs { binarize { class_ids { values: [0] } } " + classes("MeanLabel")
    config = config_of(metrics, ("a", "b"), WEIGHTED, SLICES)
    choice = sides(config)["batchwise"]
    assert choice.batchwise == ("example_count", "auc", "binary_crossentropy")
    assert choice.others == ("squared_pearson_correlation", "calibration_plot", "mean_label")
    require_equal(*both_ways(tmp_path, config, batches(9, "binary", ("a", "b"), (60, 40))))


def test_thresholds_stay_with_their_metrics(tmp_path):
    metrics = 'metrics { class_name: "AUC" threshold { value_threshold { lower_bound { value: 0.9 } } } }'
    config = sides(config_of(metrics, ("a", "b"), WEIGHTED))["batchwise"].config
    found = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, config)
    assert [(key.name, key.model_name, key.example_weighted) for key in found] == [
        ("auc", "a", True),
        ("auc", "b", True),
    ]


@pytest.mark.parametrize(
    ("metrics", "rest", "why"),
    [
        pytest.param('metrics { class_name: "AUC" config: \'"top_k": 2\' }', "", "auc", id="the best k"),
        pytest.param('metrics { class_name: "AUC" config: \'"class_id": 1\' }', "", "auc", id="one class"),
        pytest.param(classes("AUC") + "aggregate { micro_average: true }", "", "auc", id="an aggregation"),
        pytest.param(classes("AUC") + "binarize { class_ids { values: 1 } }", "", "auc", id="binarized"),
        pytest.param(classes("MeanLabel") + 'query_key: "q"', "", "mean_label", id="by query"),
        pytest.param(
            'metrics { class_name: "BinaryCrossentropy" config: \'"from_logits": true\' }',
            "",
            "binary_crossentropy",
            id="a loss of logits",
        ),
        pytest.param(
            classes("AUC"),
            'cross_slicing_specs { baseline_spec {} slicing_specs { feature_keys: "size" } }',
            "auc",
            id="slices against each other",
        ),
        pytest.param(
            classes("MultiClassConfusionMatrixPlot MultiClassConfusionMatrixAtThresholds"),
            "",
            "multi_class_confusion_matrix_plot",
            id="two confusion matrices, which TFMA takes for one",
        ),
        pytest.param(
            'metrics { class_name: "Mean" module: "tf_keras.metrics" }', "", "mean", id="of Keras, and unknown"
        ),
    ],
)
def test_what_is_computed_otherwise_stays_with_tfma(metrics, rest, why):
    config = config_of(metrics, ("",), WEIGHTED, rest)
    choice = choose(config)
    assert why in choice.others
    assert not choice.batchwise
    assert choice.config == config


def test_mean_errors_of_many_accumulators_are_those_of_all_examples():
    """TFMA's own count the first of several accumulators twice, so that numpy is the oracle."""
    random = np.random.default_rng(10)
    config = config_of(classes("MeanSquaredError MeanAbsoluteError"), spec=WEIGHTED)
    combiner = BatchCombiner(sides(config)["batchwise"].config.SerializeToString(), parts_of)
    label, prediction, weight = random.normal(size=90), random.normal(size=90), random.uniform(size=90)
    accumulators = []
    for part in np.split(np.arange(90), [10, 15, 60]):
        batch = {"labels": label[part], "predictions": prediction[part], "example_weights": weight[part]}
        inputs = metric_types.StandardMetricInputs(extracts_of(Rows(batch)))
        accumulators.append(combiner.add_input(combiner.create_accumulator(), inputs))
    found = combiner.extract_output(combiner.merge_accumulators(accumulators))
    expected = {
        "mean_squared_error": np.average((label - prediction) ** 2, weights=weight),
        "mean_absolute_error": np.average(np.abs(label - prediction), weights=weight),
    }
    assert {key.name: value for key, value in found.items()} == pytest.approx(expected, rel=1e-12)


def test_a_row_that_is_sent_elsewhere_takes_no_other_with_it():
    batch = {"labels": np.arange(1_000), "predictions": {"a": np.arange(1_000.0)}}
    sent = pickle.loads(pickle.dumps(Rows(batch, 7)))
    assert len(sent) == 1
    assert sent.batch["labels"].tolist() == sent.batch["predictions"]["a"].tolist() == [7]


def test_a_histogram_takes_memory_for_buckets_in_use_alone():
    config = config_of(classes("AUC"), spec='label_key: "y"')
    combiner = BatchCombiner(sides(config)["batchwise"].config.SerializeToString(), parts_of)
    batch = {"labels": np.tile([0, 1], 5_000), "predictions": np.tile([0.25, 0.5, 0.75, 1], 2_500)}
    inputs = metric_types.StandardMetricInputs(extracts_of(Rows(batch)))
    accumulator = combiner.compact(combiner.add_input(combiner.create_accumulator(), inputs))
    assert len(pickle.dumps(accumulator)) < 2_000
