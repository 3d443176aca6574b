"""All candidates in one pass: TFMA's numbers of each, by name and slice, whatever the EvalConfig asks for."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from small_table import (
    COLOURS,
    KINDS,
    example,
    export,
    network,
    rows,
    run_evaluator,
    write_examples,
    write_schema,
    write_survivors,
)
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.artifact_files.checkpoint_set import read_set
from checkpoint_gate.artifact_files.markers import MARKER, empty_reason, mark_empty
from checkpoint_gate.artifact_files.selection_file import read_selection
from checkpoint_gate.checkpoint_evaluator.planning import Plan
from checkpoint_gate.checkpoint_evaluator.stacking import Stack
from checkpoint_gate.errors import EvaluationError, ModelError
from checkpoint_gate.models.exporting import export_steps
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.rules.selection import Selector

LOSS = Selector("sparse_categorical_crossentropy", "min")
MULTICLASS = """
model_specs {
  label_key: "kind_xf" example_weight_key: "importance_xf" preprocessing_function_names: "transform_features"
}
slicing_specs {}
slicing_specs { feature_keys: "colour" }
slicing_specs { feature_keys: "colour_xf" }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics { class_name: "SparseCategoricalCrossentropy" }
  metrics {
    class_name: "SparseCategoricalAccuracy"
    per_slice_thresholds {
      slicing_specs { feature_values { key: "colour" value: "red" } }
      threshold {
        value_threshold { lower_bound { value: 0.9 } }
        change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.01 } }
      }
    }
  }
  metrics { class_name: "MultiClassConfusionMatrixPlot" }
}
metrics_specs { binarize { class_ids { values: [0, 2] } } metrics { class_name: "MeanPrediction" } }
"""


def config(text: str) -> config_pb2.EvalConfig:
    return text_format.Parse(text, config_pb2.EvalConfig())


def predictions(folder, survivor, table, output="score"):
    """What a survivor's own export predicts by `serving_default`."""
    target = str(folder / f"own-{survivor.name}")
    if not os.path.exists(target):
        list(export_steps(str(folder / "trained" / "Format-Serving"), [(survivor.prefix, target)]))
    signature = tf.saved_model.load(target).signatures["serving_default"]
    return signature(tf.constant([example(row) for row in table]))[output].numpy().astype("float64")


def values(evaluation, name, where=()):
    """Metric -> value of one candidate on one slice, as TFMA's own reader gives it."""
    result = tfma.load_eval_result(evaluation.uri, model_name=name)
    found = {}
    for slice_key, by_output in result.slicing_metrics:
        if slice_key == where:
            for by_sub_key in by_output.values():
                for sub_key, metrics in by_sub_key.items():
                    for metric, value in metrics.items():
                        found[metric + (f" {sub_key}" if sub_key else "")] = value
    return found


def number(value):
    return float(value.get("doubleValue", value.get("boundedValue", {}).get("value", "nan")))


def all_values(evaluation, name):
    """(slice, metric) -> value of everything that is one number."""
    result = tfma.load_eval_result(evaluation.uri, model_name=name)
    return {
        (slice_key, metric): number(value)
        for slice_key, _ in result.slicing_metrics
        for metric, value in values(evaluation, name, slice_key).items()
        if "doubleValue" in value
    }


def best_weights(model, table):
    """Weights of a model whose first survivor is right about every row: labels follow its predictions."""
    scores = model.predict(
        {
            "length_xf": np.array([[(row["length"] - 0.25) / 2] for row in table], "float32"),
            "width_xf": np.array([[row["width"]] for row in table], "float32"),
            "colour_xf": np.array([[COLOURS.index(row["colour"])] for row in table]),
        },
        verbose=0,
    )
    for row, score in zip(table, scores, strict=True):
        row["kind"] = KINDS[int(score.argmax())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Six survivors of a multiclass model: the third predicts NaN, the first is right about all."""
    folder = tmp_path_factory.mktemp("whole")
    table = rows(150)
    model = network(3, "softmax")
    true = [w * 4 if w.dtype.kind == "f" else w for w in model.get_weights()]
    model.set_weights(true)
    best_weights(model, table)
    random = np.random.default_rng(3)
    weights = []
    for number_ in range(6):
        scale = 0.4 * number_
        weights.append(
            [w + (scale * random.normal(size=w.shape)).astype(w.dtype) if w.dtype.kind == "f" else w for w in true]
        )
    weights[2] = [w * np.float32("nan") if w.dtype.kind == "f" else w for w in true]
    inputs = {
        "survivors": write_survivors(folder / "set", model, weights),
        "examples": write_examples(folder / "examples", table),
        "trained_model": export(model, folder / "trained"),
        "schema": write_schema(folder / "schema"),
    }
    return folder, table, inputs, read_set(folder / "set")


@pytest.fixture(scope="module")
def stacked(whole):
    folder, _, inputs, _ = whole
    return run_evaluator(folder / "stacked", inputs, config(MULTICLASS), LOSS)


@pytest.fixture(scope="module")
def separate(whole, tmp_path_factory):
    """The same where the candidates cannot be stacked: their transform depends on their weights."""
    inputs = whole[2]
    other = tmp_path_factory.mktemp("separate")
    model = network(3, "softmax")
    inputs = inputs | {"trained_model": export(model, other / "trained", features_of_model=True)}
    return run_evaluator(other, inputs, config(MULTICLASS), LOSS)


def test_metrics_of_every_survivor_and_slice_are_what_numpy_computes(whole, stacked):
    folder, table, _, survivors = whole
    weights = np.array([2 * row["importance"] for row in table], "float32").astype("float64")
    truth = np.array([KINDS.index(row["kind"]) for row in table])
    colours = np.array([row["colour"] for row in table])
    for survivor in survivors:
        predicted = predictions(folder, survivor, table)
        for where in [(), *((("colour", colour),) for colour in COLOURS)]:
            rows_here = colours == where[0][1] if where else np.full(len(table), True)
            found = values(stacked[1], survivor.name, where)
            picked = np.clip(predicted[np.arange(len(truth)), truth], 1e-7, 1 - 1e-7)
            loss = np.average(-np.log(picked)[rows_here], weights=weights[rows_here])
            right = np.average((predicted.argmax(axis=1) == truth)[rows_here], weights=weights[rows_here])
            assert number(found["example_count"]) == pytest.approx(weights[rows_here].sum(), rel=1e-5)
            assert number(found["sparse_categorical_crossentropy"]) == pytest.approx(loss, rel=1e-5, nan_ok=True)
            assert number(found["sparse_categorical_accuracy"]) == pytest.approx(right, rel=1e-5)


def test_stacked_and_separate_give_the_same_for_every_name_slice_metric_plot_and_failure(whole, stacked, separate):
    _, _, _, survivors = whole
    for survivor in survivors:
        one, other = (all_values(evaluation, survivor.name) for _, evaluation in (stacked, separate))
        assert one.keys() == other.keys()
        assert {where for where, _ in one} >= {(("colour", "red"),), (("colour_xf", 2),), ()}
        for key, value in one.items():
            assert value == pytest.approx(other[key], rel=1e-5, nan_ok=True), key
        plots = [tfma.load_eval_result(e.uri, model_name=survivor.name).plots for _, e in (stacked, separate)]
        assert len(plots[0]) == len(plots[1]) > 0
        assert str(plots[0]) == str(plots[1])
    assert failures(stacked[1]) == failures(separate[1])


def failures(evaluation):
    """(candidate, metric, slice) of every threshold that failed."""
    result = tfma.load_validation_result(evaluation.uri)
    return {
        (failure.metric_key.model_name, failure.metric_key.name, str(one.slice_key))
        for one in result.metric_validations_per_slice
        for failure in one.failures
    }


def test_a_threshold_fails_for_the_candidates_and_the_slice_that_do_not_keep_it(whole, stacked):
    _, _, _, survivors = whole
    names = {name for name, metric, where in failures(stacked[1])}
    expected = set()
    for survivor in survivors:
        found = values(stacked[1], survivor.name, (("colour", "red"),))
        if not number(found["sparse_categorical_accuracy"]) >= 0.9:
            expected.add(survivor.name)
    assert names == expected
    assert 0 < len(expected) < len(survivors)
    assert all("red" in where for _, _, where in failures(stacked[1]))


def test_a_candidate_that_predicts_nan_is_measured_and_out_and_disturbs_nobody(whole, stacked):
    _, _, _, survivors = whole
    selection = read_selection(stacked_folder(stacked))
    out = dict(selection["excluded"])
    assert out.pop(survivors[2].name) == "150 of its predictions are not finite"
    assert all("on slice colour:red, required is at least 0.9" in reason for reason in out.values())
    assert np.isnan(number(values(stacked[1], survivors[2].name)["sparse_categorical_crossentropy"]))
    assert selection["winner"] == survivors[0].name


def test_accuracy_does_not_hide_predictions_that_are_nan(whole, stacked):
    """TFMA takes the arg max of NaNs for the first class, so that the accuracy is a number."""
    _, _, _, survivors = whole
    assert np.isfinite(number(values(stacked[1], survivors[2].name)["sparse_categorical_accuracy"]))


def stacked_folder(pair):
    return Path(pair[1].uri)


def test_the_winner_is_exported_with_its_own_weights(whole, stacked):
    folder, table, _, survivors = whole
    signature = tf.saved_model.load(os.path.join(stacked[0].uri, "Format-Serving")).signatures["serving_default"]
    found = signature(tf.constant([example(row) for row in table]))["score"].numpy()
    np.testing.assert_array_equal(found, predictions(folder, survivors[0], table).astype("float32"))


def test_nothing_but_the_evaluation_is_left_behind(stacked, separate):
    for _, evaluation in (stacked, separate):
        assert not [name for name in os.listdir(evaluation.uri) if name.startswith(".")]


def test_a_batch_is_parsed_and_transformed_once_for_all(whole):
    folder, _, _, survivors = whole
    checkpoints = tuple((survivor.name, survivor.prefix) for survivor in survivors)
    trained = str(folder / "trained" / "Format-Serving")
    for split, times in ((True, 1), (False, len(survivors))):
        stack = Stack(Plan(trained, "serving_default", ("transform_features",), None, split), checkpoints)
        count = operations(stack().signatures["serving_default"].function)
        assert (count["ParseExampleV2"], count["LookupTableFindV2"]) == (times, times)
        assert count["MatMul"] == 2 * len(survivors)


def operations(function):
    """How often each operation is executed in a call, functions that it calls included."""
    graph = function.graph.as_graph_def()
    library = {body.signature.name: body.node_def for body in graph.library.function}

    def count(nodes):
        total = Counter()
        for node in nodes:
            total[node.op] += 1
            called = node.attr["f"].func.name if "f" in node.attr else node.op
            if called in library:
                total += count(library[called])
        return total

    return count(graph.node)


def test_the_log_says_that_change_thresholds_are_not_judged_and_which_way_was_taken(whole, tmp_path, caplog):
    _, _, inputs, _ = whole
    caplog.set_level("INFO", logger="checkpoint_gate")
    run_evaluator(tmp_path / "again", inputs, config(SMALL), LOSS)
    assert "the change thresholds of SparseCategoricalCrossentropy are not judged here" in caplog.text
    assert "they are stacked into one model; each batch is parsed and transformed once" in caplog.messages


SMALL = """
model_specs { label_key: "kind_xf" preprocessing_function_names: "transform_features" name: "given" }
metrics_specs {
  model_names: "given"
  metrics {
    class_name: "SparseCategoricalCrossentropy"
    threshold { change_threshold { direction: LOWER_IS_BETTER absolute { value: 0 } } }
  }
}
"""
UNKNOWN = """
model_specs { label_key: "kind_xf" preprocessing_function_names: "transform_features" }
metrics_specs { metrics { class_name: "ExampleCount" } metrics { class_name: "AUC" } }
"""


def test_what_cannot_be_computed_batch_by_batch_is_computed_by_tfma(tmp_path, caplog):
    """A class that training did not know has the number -1, which TFMA takes for none."""
    table = rows(30)
    table[3]["kind"] = "oak"
    caplog.set_level("INFO", logger="checkpoint_gate")
    inputs = small_world(tmp_path, table, count=2)
    _, evaluation = run_evaluator(tmp_path / "run", inputs, config(UNKNOWN), Selector("auc", "max"))
    assert "2 metrics are computed batch by batch; by TFMA itself: none" in caplog.messages
    assert "not all can be computed batch by batch, so that TFMA computes it" in caplog.text
    assert "numbers of classes from 0 to 2" in caplog.text
    for name in ("step-000000010", "step-000000020"):
        assert number(values(evaluation, name)["example_count"]) == 30
        assert 0 < number(values(evaluation, name)["auc"]) < 1


BINARY = """
model_specs { label_key: "is_ash_xf" preprocessing_function_names: "transform_features" }
metrics_specs { metrics { class_name: "BinaryCrossentropy" } }
slicing_specs {}
slicing_specs { feature_keys: "colour" }
options { compute_confidence_intervals { value: true } confidence_intervals { method: %s } }
"""


@pytest.mark.parametrize("method", ["JACKKNIFE", "POISSON_BOOTSTRAP"])
def test_confidence_intervals_of_a_binary_model(tmp_path, method):
    model = network(1, "sigmoid")
    weights = [model.get_weights(), [w * 2 if w.dtype.kind == "f" else w for w in model.get_weights()]]
    inputs = {
        "survivors": write_survivors(tmp_path / "set", model, weights),
        "examples": write_examples(tmp_path / "examples", rows(60)),
        "trained_model": export(model, tmp_path / "trained"),
    }
    best, evaluation = run_evaluator(
        tmp_path / "run", inputs, config(BINARY % method), Selector("binary_crossentropy", "min")
    )
    papers = read_papers(Path(best.uri) / "Format-Serving")
    assert {colour for each in papers.slices for colour in each.columns.values()} == {"red", "green", "blue"}
    assert all("binary_crossentropy" in each.metrics for each in papers.slices)
    for name in ("step-000000010", "step-000000020"):
        bounded = values(evaluation, name)["binary_crossentropy"]["boundedValue"]
        assert bounded["lowerBound"] < bounded["value"] < bounded["upperBound"]


AUC = """
model_specs { label_key: "is_ash_xf" preprocessing_function_names: "transform_features" }
metrics_specs { metrics { class_name: "AUC" } }
"""


def test_a_metric_that_tfma_cannot_compute_of_nan_costs_nobody_but_who_predicts_it(tmp_path, caplog):
    model = network(1, "sigmoid")
    broken = [w * np.float32("nan") if w.dtype.kind == "f" else w for w in model.get_weights()]
    inputs = {
        "survivors": write_survivors(tmp_path / "set", model, [model.get_weights(), broken]),
        "examples": write_examples(tmp_path / "examples", rows(30)),
        "trained_model": export(model, tmp_path / "trained"),
    }
    _, evaluation = run_evaluator(tmp_path / "run", inputs, config(AUC), Selector("auc", "max"))
    selection = read_selection(Path(evaluation.uri))
    assert selection["winner"] == "step-000000010"
    assert selection["excluded"] == {"step-000000020": "30 of its predictions are not finite"}
    assert 0 <= number(values(evaluation, "step-000000010")["auc"]) <= 1
    assert "evaluating again without step-000000020" in caplog.text


def test_where_all_predict_what_tfma_cannot_compute_the_champion_may_stay(tmp_path):
    model = network(1, "sigmoid")
    broken = [w * np.float32("nan") if w.dtype.kind == "f" else w for w in model.get_weights()]
    inputs = {
        "survivors": write_survivors(tmp_path / "set", model, [broken, broken]),
        "examples": write_examples(tmp_path / "examples", rows(30)),
        "trained_model": export(model, tmp_path / "trained"),
    }
    best, evaluation = run_evaluator(
        tmp_path / "run", inputs, config(AUC), Selector("auc", "max"), on_no_candidate="keep_champion"
    )
    assert empty_reason(best.uri).startswith("No survivor can be chosen by auc: step-000000010: 30 of its predictions")
    selection = read_selection(Path(evaluation.uri))
    assert selection["winner"] is None
    assert set(selection["excluded"]) == {"step-000000010", "step-000000020"}


TWO_OUTPUTS = """
model_specs {
  label_keys { key: "score" value: "price" } label_keys { key: "half" value: "price" }
}
metrics_specs { output_names: "score" metrics { class_name: "MeanSquaredError" } }
metrics_specs {
  output_names: "half" metrics { class_name: "MeanSquaredError" } metrics { class_name: "MeanPrediction" }
}
"""


@pytest.mark.parametrize("count", [1, 2])
def test_a_regression_with_two_outputs_and_a_raw_label_for_one_survivor_and_for_two(tmp_path, count):
    model = network(1)
    weights = [[w * (2 + n) if w.dtype.kind == "f" else w for w in model.get_weights()] for n in range(count)]
    table = rows(40)
    inputs = {
        "survivors": write_survivors(tmp_path / "set", model, weights),
        "examples": write_examples(tmp_path / "examples", table),
        "trained_model": export(model, tmp_path / "trained", two_outputs=True, split=False),
        "schema": write_schema(tmp_path / "schema"),
    }
    select = Selector("mean_squared_error (score)", "min")
    _, evaluation = run_evaluator(tmp_path / "run", inputs, config(TWO_OUTPUTS), select)
    price = np.array([row["price"] for row in table], "float32").astype("float64")
    for survivor in read_set(tmp_path / "set"):
        result = tfma.load_eval_result(evaluation.uri, model_name=survivor.name)
        ((_, by_output),) = result.slicing_metrics
        for output in ("score", "half"):
            error = np.mean((predictions(tmp_path, survivor, table, output)[:, 0] - price) ** 2)
            assert number(by_output[output][""]["mean_squared_error"]) == pytest.approx(error, rel=1e-5)


def small_world(folder, table, schema=None, count=1, **how):
    model = network(3, "softmax")
    weights = [[w * (1 + n) if w.dtype.kind == "f" else w for w in model.get_weights()] for n in range(count)]
    inputs = {
        "survivors": write_survivors(folder / "set", model, weights),
        "examples": write_examples(folder / "examples", table),
        "trained_model": export(model, folder / "trained", **how),
    }
    if schema is not None:
        inputs["schema"] = write_schema(folder / "schema", schema) if schema else write_schema(folder / "schema")
    return inputs


def test_a_lone_survivor_keeps_its_name_in_metrics_plots_failures_and_config(tmp_path):
    inputs = small_world(tmp_path, rows(40), schema="")
    _, evaluation = run_evaluator(tmp_path / "run", inputs, config(MULTICLASS), LOSS, on_no_candidate="keep_champion")
    name = "step-000000010"
    result = tfma.load_eval_result(evaluation.uri, model_name=name)
    assert result.get_metrics_for_slice()["sparse_categorical_crossentropy"]["doubleValue"] > 0
    assert result.plots
    assert [spec.name for spec in result.config.model_specs] == [name]
    assert {name for name, _, _ in failures(evaluation)} == {name}


def test_what_an_earlier_execution_of_the_same_number_has_left_gives_way(tmp_path):
    """Numbers begin anew when ML Metadata's database is lost."""
    inputs = small_world(tmp_path, rows(40))
    run = (tmp_path / "run", inputs, config(MULTICLASS), LOSS)
    mark_empty(inputs["survivors"].uri, "nothing was kept")
    best, evaluation = run_evaluator(*run)
    assert (empty_reason(best.uri), empty_reason(evaluation.uri)) == ("nothing was kept", "nothing was kept")
    (Path(inputs["survivors"].uri) / MARKER).unlink()
    best, evaluation = run_evaluator(*run, on_no_candidate="keep_champion")
    assert empty_reason(evaluation.uri) is None
    assert read_selection(Path(evaluation.uri)) is not None


def without(column):
    return [{key: value for key, value in row.items() if key != column} for row in rows(30)]


def with_text(column):
    return [row | {column: "wide"} for row in rows(30)]


@pytest.mark.parametrize(
    ("table", "schema", "words"),
    [
        pytest.param(
            [], None, "There are no examples in the split eval, so that no survivor can be measured.", id="no examples"
        ),
        pytest.param(
            without("length"), "", "do not fit the model: serving_default fails on them", id="a column that is required"
        ),
        pytest.param(
            without("width"),
            "",
            "No example in the split eval has a value of width, which the schema asks for.",
            id="a column that may be missing in an example but not in all",
        ),
        pytest.param(with_text("width"), None, "do not fit the model: serving_default", id="text instead of numbers"),
        pytest.param(
            [*rows(20), *with_text("width")], "", "cannot be evaluated on eval", id="text only after some examples"
        ),
    ],
)
def test_examples_that_do_not_fit_are_one_sentence_and_nothing_is_half_written(tmp_path, table, schema, words):
    inputs = small_world(tmp_path, table, schema)
    with pytest.raises(EvaluationError) as error:
        run_evaluator(tmp_path / "run", inputs, config(SMALL), LOSS)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 450
    print(error.value)
    for folder in ("evaluation", "model"):
        assert not os.path.exists(tmp_path / "run" / folder) or os.listdir(tmp_path / "run" / folder) == []


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(EvaluationError, match=r"The examples have no split 'test'\. Received: eval\."):
        run_evaluator(tmp_path / "run", small_world(tmp_path, rows(3)), config(SMALL), LOSS, splits=["test"])


def test_a_signature_that_is_not_there_is_named_with_those_that_are(tmp_path):
    wrong = config(SMALL)
    wrong.model_specs[0].signature_name = "serve"
    with pytest.raises(ModelError, match=r"no signature 'serve' .*Received: serving_default, transform_features"):
        run_evaluator(tmp_path / "run", small_world(tmp_path, rows(3)), wrong, LOSS)
