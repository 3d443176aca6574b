"""What is read of a written TFMA evaluation, on real ones: one model and three, with intervals and without."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.checkpoint_evaluator.measured import read_measured
from checkpoint_gate.rules.selection import Candidate, Selector

ROWS = 200
NAMES = ("good", "poor", "nan")
INTERVALS = "options { compute_confidence_intervals { value: true } }"
METRICS = """
metrics { class_name: "ExampleCount" }
metrics { class_name: "BinaryAccuracy" per_slice_thresholds {
  slicing_specs {}
  slicing_specs { feature_keys: ["g"] }
  threshold { value_threshold { lower_bound { value: 0.6 } } }
} }
metrics { class_name: "BinaryCrossentropy" per_slice_thresholds {
  slicing_specs {}
  threshold { value_threshold { upper_bound { value: 9 } } }
} }"""


@pytest.fixture(scope="module")
def table():
    """`good` is wrong in every fifth row of slice b, `poor` in every second row, `nan` is `good` but for one NaN."""
    rows = np.arange(ROWS)
    label = (rows % 3 == 0).astype("float32")
    group = np.where(rows == 0, "lone", np.where(rows < 150, "a", "b"))
    wrong = {"good": (group == "b") & (rows % 5 == 0), "poor": rows % 2 == 1}
    table = pd.DataFrame({"y": label, "g": group, "w": np.where(group == "b", 3.0, 1.0).astype("float32")})
    for name, where in wrong.items():
        table[name] = np.where(where, 1 - label, label) * 0.8 + 0.1
    broken = table["good"].to_numpy(copy=True)
    broken[7] = np.nan
    table["nan"] = [np.array([value]) for value in broken]  # a bare NaN would be a missing value
    return table


@pytest.fixture(scope="module")
def evaluate(table, tmp_path_factory):
    """Has TFMA evaluate columns of predictions; each evaluation is done once."""
    done: dict[tuple, str] = {}

    def evaluate(names, metrics, more="", spec=""):
        asked = (names, metrics, more, spec)
        if asked not in done:
            specs = "".join(f'model_specs {{ name: "{n}" prediction_key: "{n}" label_key: "y" {spec} }}' for n in names)
            slices = 'slicing_specs {} slicing_specs { feature_keys: ["g"] }'
            text = f"{specs} metrics_specs {{ {metrics} }} {slices} {more}"
            config = text_format.Parse(text, config_pb2.EvalConfig())
            done[asked] = str(tmp_path_factory.mktemp("evaluation"))
            tfma.analyze_raw_data(table, config, output_path=done[asked])
        return [Candidate(name, "run", step) for step, name in enumerate(names, 1)], done[asked]

    return evaluate


@pytest.fixture(params=["", INTERVALS], ids=["without intervals", "with intervals"])
def more(request):
    return request.param


@pytest.fixture(params=[("poor",), NAMES], ids=["one model", "three models"])
def found(request, more, evaluate):
    """What is read of the models, by name, from an evaluation of one or three, with and without intervals."""
    candidates, output = evaluate(request.param, METRICS, more)
    return {candidate.name: candidate for candidate in read_measured(output, candidates)}


def accuracy(table, name, group=None):
    rows = table if group is None else table[table["g"] == group]
    return float(((rows[name] > 0.5) == (rows["y"] > 0.5)).mean())


def test_metrics_on_the_whole_and_on_slices(found, table):
    for name in found.keys() - {"nan"}:
        assert list(found[name].metrics) == ["binary_accuracy", "binary_crossentropy", "example_count"]
        assert found[name].metrics["example_count"] == ROWS
        assert found[name].metrics["binary_accuracy"] == pytest.approx(accuracy(table, name))
        assert set(found[name].slices) == {"g:a", "g:b", "g:lone"}
        for group in ("a", "b", "lone"):
            assert found[name].slices[f"g:{group}"]["binary_accuracy"] == pytest.approx(accuracy(table, name, group))


def test_origin_and_order_stay(evaluate):
    candidates, output = evaluate(NAMES, METRICS)
    bare = [(c.name, c.run, c.step) for c in candidates]
    assert [(c.name, c.run, c.step) for c in read_measured(output, candidates)] == bare


def test_failures_are_each_model_s_own(found, table):
    whole = "binary_accuracy is 0.5 on all examples, required is at least 0.6"
    on_b = f"binary_accuracy is {accuracy(table, 'poor', 'b'):.6g} on slice g:b, required is at least 0.6"
    failures = {failure.reason: failure for failure in found["poor"].failures}
    assert {whole, on_b} <= set(failures)
    assert failures[whole].missed_by == pytest.approx(0.1)
    assert failures[whole].shortfall == pytest.approx(0.1 / 0.6)
    if "good" in found:
        assert found["good"].failures == ()
        (failure,) = found["nan"].failures
        assert failure.reason == "binary_crossentropy is nan on all examples, required is at most 9"
        assert (failure.missed_by, failure.shortfall) == (math.inf, math.inf)


@pytest.mark.parametrize("names", [("poor",), NAMES], ids=["one model", "three models"])
def test_intervals_are_those_that_tfma_shows(evaluate, names):
    candidates, output = evaluate(names, METRICS, INTERVALS)
    for candidate in read_measured(output, candidates):
        shown = tfma.load_eval_result(output, model_name=candidate.name if len(names) > 1 else None)
        bounds = shown.get_metrics_for_slice()["binary_accuracy"]["boundedValue"]
        low, high = candidate.intervals["binary_accuracy"]
        assert (low, high) == (bounds["lowerBound"], bounds["upperBound"])
        assert low < candidate.metrics["binary_accuracy"] < high
        assert 0.01 < high - low < 0.3, "the standard error of a share of 200 rows is at most 0.036"
        assert "example_count" not in candidate.intervals
        assert set(candidate.slice_intervals["g:b"]) == {"binary_accuracy", "binary_crossentropy"}


def test_a_slice_too_small_for_an_interval_keeps_its_values(evaluate):
    candidates, output = evaluate(NAMES, METRICS, INTERVALS)
    good, *_ = read_measured(output, candidates)
    assert good.slices["g:lone"]["example_count"] == 1
    assert good.slice_intervals["g:lone"] == {}


def test_without_the_option_there_are_no_intervals(evaluate):
    candidates, output = evaluate(NAMES, METRICS)
    for candidate in read_measured(output, candidates):
        assert candidate.intervals == {}
        assert not any(candidate.slice_intervals.values())


def test_nan_is_read_as_it_is_without_an_interval_and_is_out(evaluate):
    candidates, output = evaluate(NAMES, METRICS, INTERVALS)
    good, poor, broken = read_measured(output, candidates)
    assert math.isnan(broken.metrics["binary_crossentropy"])
    assert set(broken.intervals) == {"binary_accuracy"}
    selection = Selector("binary_crossentropy", "min", within_noise=True).choose([good, poor, broken])
    assert selection.winner.name == "good"
    assert set(selection.excluded) == {"poor", "nan"}
    assert selection.excluded["nan"] == "binary_crossentropy is nan"


ODD = """
metrics { class_name: "ConfusionMatrixPlot" }
metrics { class_name: "BinaryAccuracy"
  per_slice_thresholds {
    slicing_specs { feature_values { key: "g" value: "z" } }
    threshold { value_threshold { lower_bound { value: 0.1 } } }
  }
  per_slice_thresholds {
    slicing_specs { feature_keys: ["g"] }
    threshold { value_threshold { lower_bound { value: 0.75 } upper_bound { value: 1 } } }
  }
  per_slice_thresholds {
    slicing_specs {}
    threshold { value_threshold { lower_bound { value: 0 } upper_bound { value: 0.25 } } }
  }
}
example_weights { weighted: true unweighted: true }"""


@pytest.fixture
def odd(evaluate):
    """`good` and `poor`, measured with weights and without, against thresholds of three kinds."""
    candidates, output = evaluate(("good", "poor"), ODD, spec='example_weight_key: "w"')
    return read_measured(output, candidates)


def test_a_slice_with_a_threshold_and_without_examples_fails_every_model(odd):
    words = "no example falls into slice g:z, for which there is a threshold"
    for candidate in odd:
        assert [f.missed_by for f in candidate.failures if f.reason == words] == [math.inf]


def test_how_far_a_value_is_from_the_bound_that_it_fails(odd, table):
    _, poor = odd
    missed = {failure.reason.partition(", required")[0]: failure.missed_by for failure in poor.failures}
    assert missed["binary_accuracy is 0.5 on all examples"] == pytest.approx(0.25), "above the upper of two bounds"
    assert missed["binary_accuracy is 0.5 on slice g:b"] == pytest.approx(0.25), "below the lower of two bounds"


def test_metrics_that_differ_in_weighting_alone_are_told_apart(odd, table):
    right = (table["good"] > 0.5) == (table["y"] > 0.5)
    weighted = float(np.average(right, weights=table["w"]))
    assert weighted != pytest.approx(float(right.mean()))
    assert odd[0].metrics["binary_accuracy (unweighted)"] == pytest.approx(float(right.mean()))
    assert odd[0].metrics["binary_accuracy (weighted)"] == pytest.approx(weighted)
    assert list(odd[0].metrics) == ["binary_accuracy (unweighted)", "binary_accuracy (weighted)"], "a plot is no number"


def test_the_best_of_an_evaluation_that_fails_on_a_slice_is_not_chosen(evaluate):
    candidates, output = evaluate(NAMES, METRICS)
    good, poor, _ = read_measured(output, candidates)
    other = Candidate("other", "run", 9, {"binary_accuracy": 0.4})
    chosen = Selector("binary_accuracy", "max").choose([poor, other])
    assert poor.metrics["binary_accuracy"] > 0.4
    assert chosen.winner is other
    assert chosen.excluded["poor"].startswith("binary_accuracy is 0.49")
    assert Selector("binary_accuracy", "max").choose([good, poor, other]).winner is good
