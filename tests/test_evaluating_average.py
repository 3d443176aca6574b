"""The average of the survivors' weights as one more candidate: it wins, it loses, or there is none and why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from small_table import (
    COLOURS,
    KINDS,
    export,
    network,
    rows,
    run_evaluator,
    write_examples,
    write_schema,
    write_survivors,
)

from checkpoint_gate.artifact_files.checkpoint_set import read_set
from checkpoint_gate.artifact_files.selection_file import read_selection
from checkpoint_gate.checkpoint_evaluator.entrants import average_of, entrants_of
from checkpoint_gate.errors import AverageRefused
from checkpoint_gate.models.exporting import load_trained
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.rules.selection import Candidate, Selector

SELECT = Selector("sparse_categorical_crossentropy", "min")
CONFIG = """
model_specs { label_key: "kind_xf" preprocessing_function_names: "transform_features" }
metrics_specs { metrics { class_name: "SparseCategoricalCrossentropy" } }
"""


def world(folder, model, weights, table, runs=()):
    return {
        "survivors": write_survivors(folder / "set", model, weights, runs),
        "examples": write_examples(folder / "examples", table),
        "trained_model": export(model, folder / "trained"),
        "schema": write_schema(folder / "schema"),
    }


def evaluate(folder, inputs, average=True):
    config = text_format.Parse(CONFIG, tfma.EvalConfig())
    model, evaluation = run_evaluator(folder, inputs, config, SELECT, average=average)
    return Path(model.uri) / "Format-Serving", read_selection(Path(evaluation.uri)), model, evaluation


def labelled(model, table):
    """The table with the labels that the model finds likeliest."""
    features = {
        "length_xf": np.array([[(row["length"] - 0.25) / 2] for row in table], "float32"),
        "width_xf": np.array([[row["width"]] for row in table], "float32"),
        "colour_xf": np.array([[COLOURS.index(row["colour"])] for row in table]),
    }
    kinds = [KINDS[int(score.argmax())] for score in model.predict(features, verbose=0)]
    return [row | {"kind": kind} for row, kind in zip(table, kinds, strict=True)]


def around(model, distance, count):
    """Weights on all sides of the model's, three times as far apart as it is from zero; their mean is the model's."""
    random = np.random.default_rng(2)
    centre = [w * 3 if w.dtype.kind == "f" else w for w in model.get_weights()]
    model.set_weights(centre)
    aside = [random.normal(size=(count, *w.shape)) * distance for w in centre]
    aside = [a - a.mean(axis=0) for a in aside]
    return [
        [(w + a[n]).astype(w.dtype) if w.dtype.kind == "f" else w for w, a in zip(centre, aside, strict=True)]
        for n in range(count)
    ]


def model_weights(saved_model):
    """Name -> array of the model's variables in a SavedModel, or in a checkpoint when it is a prefix."""
    prefix = str(saved_model / "variables" / "variables") if saved_model.is_dir() else str(saved_model)
    reader = tf.train.load_checkpoint(prefix)
    names = reader.get_variable_to_shape_map()
    return {
        name: reader.get_tensor(name)
        for name in names
        if name.startswith("model/") and name.endswith("VARIABLE_VALUE") and reader.get_tensor(name).dtype == np.float32
    }


@pytest.fixture(scope="module")
def won(tmp_path_factory):
    folder = tmp_path_factory.mktemp("won")
    model = network(3, "softmax")
    weights = around(model, 1.5, 5)
    table = labelled(model, rows(80))
    inputs = world(folder, model, weights, table)
    return folder, evaluate(folder / "run", inputs)


def test_an_average_that_is_better_than_every_survivor_wins_and_says_of_what_it_is(won):
    _, (_, selection, artifact, _) = won
    origins = [["run", 10], ["run", 20], ["run", 30], ["run", 40], ["run", 50]]
    assert selection["winner"] == "average"
    (candidate,) = [c for c in selection["candidates"] if c["name"] == "average"]
    assert (candidate["run"], candidate["step"], candidate["averaged"]) == ("run", 50, origins)
    losses = {c["name"]: c["metrics"]["sparse_categorical_crossentropy"] for c in selection["candidates"]}
    assert losses["average"] == min(losses.values()) < min(v for name, v in losses.items() if name != "average")
    assert json.loads(artifact.get_json_value_custom_property("averaged")) == origins


def test_the_handed_on_weights_are_exactly_the_average(won):
    folder, (serving, _, _, _) = won
    survivors = [model_weights(Path(survivor.prefix)) for survivor in read_set(folder / "set")]
    pushed = model_weights(serving)
    assert len(survivors) == 5
    assert pushed
    for name, value in pushed.items():
        key = next(key for key in survivors[0] if key.rsplit("/.ATTRIBUTES", 1)[0] == name.rsplit("/.ATTRIBUTES", 1)[0])
        expected = np.mean([weights[key] for weights in survivors], axis=0, dtype=np.float64).astype(np.float32)
        assert value.tobytes() == expected.tobytes(), name


def test_the_average_can_be_read_by_its_name_and_its_papers_are_of_its_latest_checkpoint(won):
    _, (serving, _, _, evaluation) = won
    result = tfma.load_eval_result(evaluation.uri, model_name="average")
    assert result.get_metrics_for_slice()["sparse_categorical_crossentropy"]["doubleValue"] > 0
    assert (read_papers(serving).run, read_papers(serving).step) == ("run", 50)


def test_without_an_average_the_run_goes_on_and_says_why(tmp_path, caplog):
    model = network(3, "softmax", normalised=True)
    weights = [[w * (1 + n) for w in model.get_weights()] for n in range(2)]
    _, selection, _, _ = evaluate(tmp_path / "run", world(tmp_path, model, weights, rows(30)))
    assert selection["winner"] in ("step-000000010", "step-000000020")
    assert "not averaged: " in selection["excluded"]["average"]
    assert "moving_" in selection["excluded"]["average"]
    assert "the survivors are not averaged: " in caplog.text


@pytest.mark.parametrize(
    ("count", "runs", "reason"),
    [
        pytest.param(1, (), "an average needs at least 2 survivors. Received: 1", id="one survivor"),
        pytest.param(2, ("a", "b"), "they are of 2 runs, and weights that began at different places", id="two runs"),
    ],
)
def test_there_is_no_average_of_one_survivor_or_of_several_runs(tmp_path, count, runs, reason):
    model = network(3, "softmax")
    write_survivors(tmp_path / "set", model, [model.get_weights()] * count, runs)
    loaded = load_trained(f"{export(model, tmp_path / 'trained').uri}/Format-Serving")
    with pytest.raises(AverageRefused) as refused:
        average_of(entrants_of(read_set(tmp_path / "set")), loaded, "serving_default", str(tmp_path))
    assert reason in str(refused.value)


def test_a_survivor_goes_before_an_average_that_is_as_good():
    of = (("run", 1), ("run", 2))
    candidates = [Candidate("s1", "run", 1, {"loss": 0.1}), Candidate("s2", "run", 2, {"loss": 0.1})]
    average = Candidate("average", "run", 2, {"loss": 0.1}, averaged=of)
    for order in ([*candidates, average], [average, *candidates]):
        assert Selector("loss", "min").choose(order).winner.name == "s2"
