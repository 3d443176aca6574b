"""Which metrics are computed batch by batch, and of which examples."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from both_ways import WEIGHTED, classes, config_of, sides
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.metrics import metric_specs, metric_types

from checkpoint_gate.checkpoint_evaluator.batchwise.choosing import choose
from checkpoint_gate.checkpoint_evaluator.batchwise.combiner import BatchCombiner
from checkpoint_gate.checkpoint_evaluator.batchwise.metric import parts_of
from checkpoint_gate.checkpoint_evaluator.batchwise.rows import NotBatchwise, Rows, extracts_of


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
            'metrics { class_name: "BinaryCrossentropy" module: "tf_keras.losses" }',
            "",
            "binary_crossentropy",
            id="a loss of Keras that is no metric",
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


def test_examples_of_a_rare_slice_do_not_keep_all_batches_in_memory():
    config = config_of(classes("MeanLabel"), spec='label_key: "y"')
    combiner = BatchCombiner(sides(config)["batchwise"].config.SerializeToString(), parts_of)
    accumulator = combiner.create_accumulator()
    for number in range(450):
        rows = Rows({"labels": np.full(50, float(number)), "predictions": np.zeros(50)}, only=7)
        accumulator = combiner.add_input(accumulator, metric_types.StandardMetricInputs(extracts_of(rows)))
        assert len(accumulator.waiting) < 100
    (mean,) = combiner.extract_output(accumulator).values()
    assert mean == np.mean(range(450))
