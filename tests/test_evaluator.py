"""Evaluator blesses a candidate against the champion, and says why or why not, on real TFMA runs."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tfx import types
from tfx.components.evaluator import executor as tfx_executor
from tfx.components.util import model_utils
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import pipeline
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts
from tfx.utils import path_utils, proto_utils

from checkpoint_gate.artifact_files.markers import mark_empty
from checkpoint_gate.champion import Champion
from checkpoint_gate.errors import ConfigError, ModelError
from checkpoint_gate.evaluator import BlessingVerdict, Evaluator, read_verdict
from checkpoint_gate.evaluator.comparison import compare
from checkpoint_gate.evaluator.deciding import Standing, standing, verdict_of
from checkpoint_gate.evaluator.eval_config import Threshold
from checkpoint_gate.evaluator.executor import Executor
from checkpoint_gate.evaluator.measurements import ALL_EXAMPLES, Measurements
from checkpoint_gate.evaluator.reason import why_blessed, why_not_blessed
from checkpoint_gate.evaluator.verdict import Comparison
from checkpoint_gate.models.label_classes import classes_asset, read_classes
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.best_so_far import hand_on as hand_on_best
from checkpoint_gate.pushed.best_so_far import place_for
from checkpoint_gate.pushed.push_folder import champion_path, listing_digest, live_versions
from checkpoint_gate.pushed.push_log import Withdrawal, hand_on
from checkpoint_gate.pusher import Pusher
from gated_pipelines.beam_args import BEAM_ARGS
from gated_pipelines.reporting.lineage import last_run

ROWS = 40

# The label is 1 where x > 0; `group` alternates between a and b. A model predicts 1 where x > its bias, so that its
# accuracy is 1 minus the share of x between 0 and the bias.
SCHEMA = """
feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "y" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "group" type: BYTES presence { min_fraction: 1 } shape { dim { size: 1 } } }
"""

NO_WORSE = "threshold { change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.01 } } }"
BOTH = """threshold {
  value_threshold { lower_bound { value: 0.6 } }
  change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.01 } }
}"""
ON_SLICE_B = """per_slice_thresholds {
  slicing_specs { feature_values { key: "group" value: "b" } }
  threshold { value_threshold { lower_bound { value: 0.95 } } }
}"""


def example(x: float, group: str) -> bytes:
    def feature(**kind: object) -> tf.train.Feature:
        return tf.train.Feature(**kind)

    features = {
        "x": feature(float_list=tf.train.FloatList(value=[x])),
        "y": feature(int64_list=tf.train.Int64List(value=[int(x > 0)])),
        "group": feature(bytes_list=tf.train.BytesList(value=[group.encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def export(folder, bias, *, units=1, feature="x", output="probability", classes=(), **extra):
    """Exports a Keras 3 model that predicts 1 where x > bias; `extra` goes into the graph, not into the model.

    It gives the same for each of its `units`, reads the column `feature`, and carries `classes` where there are any.
    """
    inputs = keras.Input((1,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(units, activation="sigmoid")(inputs))
    model.set_weights([np.full((1, units), 50.0), np.full(units, -50.0 * bias)])
    module = tf.Module()
    module.model = model
    for name, value in extra.items():
        setattr(module, name, tf.Variable(value))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, {feature: tf.io.FixedLenFeature([1], tf.float32)})
        return {output: module.model(parsed[feature])}

    with tempfile.TemporaryDirectory() as assets:
        if classes:
            module.label_classes = classes_asset(classes, assets)
        tf.saved_model.save(module, folder, signatures={"serving_default": serve})


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Model artifacts by quality: `good` has accuracy 1, `fair` 0.9, `poor` 0.5; `again` is `good` exported again.

    The rest, but for `cat, dog`, cannot be compared with those.
    """
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, bias, how in (
        ("good", 0.0, {}),
        ("fair", 0.2, {}),
        ("poor", 2.0, {}),
        ("again", 0.0, {"something_else": 3.0}),
        ("cat, dog", 0.2, {"classes": ("cat", "dog")}),
        ("cat, eel", 0.1, {"classes": ("cat", "eel")}),
        ("dog, cat", 0.1, {"classes": ("dog", "cat")}),
        ("two outputs", 0.1, {"units": 2}),
        ("other output", 0.1, {"output": "score"}),
        ("other column", 0.1, {"feature": "z"}),
        ("no graph", 0.1, {}),
        ("no weights", 0.1, {}),
        ("bit flipped", 0.1, {}),
        ("no model", 0.1, {}),
    ):
        found[name] = standard_artifacts.Model()
        found[name].uri = str(folder / name)
        export(path_utils.serving_model_dir(found[name].uri), bias, **how)
    (folder / "no graph" / "Format-Serving" / "saved_model.pb").write_bytes(b"no proto")
    shutil.rmtree(folder / "no weights" / "Format-Serving" / "variables")
    flip(folder / "bit flipped" / "Format-Serving" / "variables" / "variables.data-00000-of-00001")
    shutil.rmtree(folder / "no model")
    for name, reason in (("no candidate", "every checkpoint was rejected"), ("no champion", "no champion yet")):
        found[name] = standard_artifacts.Model()
        found[name].uri = str(folder / name)
        mark_empty(found[name].uri, reason)
    for number, model in enumerate(found.values()):
        model.id = number + 1
    return found


def flip(file: Path) -> None:
    """Flips a bit of the weights."""
    content = bytearray(file.read_bytes())
    content[1] ^= 1
    file.write_bytes(content)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The inputs `examples` (split `test`) and `schema`."""
    folder = tmp_path_factory.mktemp("data")
    examples, schema = standard_artifacts.Examples(), standard_artifacts.Schema()
    examples.uri, examples.split_names = str(folder / "examples"), '["test"]'
    os.makedirs(os.path.join(examples.uri, "Split-test"))
    path = os.path.join(examples.uri, "Split-test", "data_tfrecord-00000-of-00001.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for row, x in enumerate(np.linspace(-0.975, 0.975, ROWS)):
            writer.write(example(float(x), "ab"[row % 2]))
    schema.uri = str(folder / "schema")
    os.makedirs(schema.uri)
    with open(os.path.join(schema.uri, "schema.pbtxt"), "w") as file:
        file.write(SCHEMA)
    assert text_format.Parse(SCHEMA, schema_pb2.Schema()).feature
    return {"examples": [examples], "schema": [schema]}


def eval_config(thresholds: str) -> config_pb2.EvalConfig:
    text = f"""
    model_specs {{ signature_name: "serving_default" label_key: "y" }}
    metrics_specs {{ metrics {{ class_name: "BinaryAccuracy" {thresholds} }} }}
    slicing_specs {{}}
    slicing_specs {{ feature_keys: ["group"] }}
    """
    return text_format.Parse(text, config_pb2.EvalConfig())


@pytest.fixture(scope="session")
def judge(models, data, tmp_path_factory):
    """Runs the executor; returns the blessing artifact and the evaluation's uri."""

    def run(
        candidate: str, champion: str | None, thresholds: str, executor: type = Executor, **properties: object
    ) -> tuple[types.Artifact, str]:
        blessing, evaluation = standard_artifacts.ModelBlessing(), standard_artifacts.ModelEvaluation()
        folder = tmp_path_factory.mktemp("judged")
        blessing.uri, evaluation.uri = str(folder / "blessing"), str(folder / "evaluation")
        inputs = {"model": [models[candidate]], **data}
        if champion is not None:
            inputs["baseline_model"] = [models[champion]]
        given = dict(inputs)
        context = executor.Context(beam_pipeline_args=list(BEAM_ARGS), tmp_dir=str(folder / "tmp"), unique_id="1")
        executor(context).Do(
            inputs,
            {"blessing": [blessing], "evaluation": [evaluation]},
            {
                "eval_config": proto_utils.proto_to_json(eval_config(thresholds)),
                "example_splits": '["test"]',
                "current_component_id": "Evaluator",
                **properties,
            },
        )
        assert inputs == given, "the caller's inputs must not change"
        return blessing, evaluation.uri

    return run


@pytest.fixture(scope="session")
def once(judge):
    """The same, but what was judged before is not judged again: it takes seconds."""
    return functools.cache(lambda *case, **properties: judge(*case, **properties))


@pytest.fixture
def alone(once, monkeypatch):
    """TFX's executor has evaluated `fair` by itself already; beside a champion it fails."""
    blessing, evaluation = once("fair", None, BOTH, executor=tfx_executor.Executor)

    def stand_in(self, inputs, outputs, properties):
        if "baseline_model" in inputs:
            raise RuntimeError("a worker died")
        shutil.copytree(evaluation, outputs["evaluation"][0].uri)
        outputs["blessing"][0].set_int_custom_property("blessed", blessing.get_int_custom_property("blessed"))

    monkeypatch.setattr(tfx_executor.Executor, "Do", stand_in)


def check(blessing: types.Artifact, verdict: BlessingVerdict, candidate: types.Artifact) -> None:
    """What Pusher, resolvers and people read of a blessing agrees with the verdict."""
    assert model_utils.is_model_blessed(blessing) == verdict.blessed
    assert blessing.has_custom_property("blessed")
    assert blessing.get_string_custom_property("current_model") == candidate.uri
    assert blessing.get_int_custom_property("current_model_id") == candidate.id
    assert blessing.get_string_custom_property("component_id") == "Evaluator"
    marker = "BLESSED" if verdict.blessed else "NOT_BLESSED"
    assert sorted(os.listdir(blessing.uri)) == sorted([marker, "verdict.json"])
    with open(os.path.join(blessing.uri, "verdict.json")) as file:
        written = json.load(file)
    assert {
        name: written[name] for name in ("blessed", "outcome", "reason", "first_run", "champion", "rebaselined")
    } == {
        "blessed": verdict.blessed,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "first_run": verdict.first_run,
        "champion": verdict.champion,
        "rebaselined": verdict.rebaselined,
    }


@pytest.fixture(scope="session")
def held_against(models, judge, tmp_path_factory):
    """Runs the executor with a champion that brings another version along as the best so far."""

    def run(candidate: str, champion: str, best: str, **properties: object) -> BlessingVerdict:
        name = f"{champion}, best {best}"
        if name not in models:
            model = standard_artifacts.Model()
            model.uri = str(tmp_path_factory.mktemp("champion"))
            for source, place in ((champion, model.uri), (best, place_for(model.uri))):
                shutil.copytree(models[source].uri, place, dirs_exist_ok=True)
            hand_on_best(model.uri, "/push", 7)
            models[name] = model
        blessing, _ = judge(candidate, name, NO_WORSE, **properties)
        return read_verdict(blessing.uri)

    return run


def test_a_candidate_is_held_against_the_best_so_far_as_well_as_the_last(held_against):
    verdict = held_against("cat, eel", "fair", "good", against="best")
    assert not verdict.blessed
    assert verdict.reason.startswith(
        "binary_accuracy is 0.95 against 1 of the best champion so far, version 7, on all examples, a change of -0.05, "
        "required is at least -0.01; "
    )
    row = verdict.comparison[0]
    assert (row.slice, row.candidate, row.champion, row.best, row.holds) == (ALL_EXAMPLES, 0.95, 0.9, 1.0, False)
    assert [row.holds for row in verdict.comparison if row.best is None] == [True, True, True]
    assert (verdict.best, verdict.improves_on_best) == ("/push/7", False)
    assert verdict.best_metrics["binary_accuracy"] == 1.0
    assert verdict.champion_metrics["binary_accuracy"] == pytest.approx(0.9)


def test_better_than_the_best_so_far(held_against):
    verdict = held_against("good", "poor", "fair", against="best")
    assert (verdict.outcome, verdict.improves_on_best) == ("blessed", True)
    assert {row.best for row in verdict.comparison} > {None}


def test_against_the_last_the_best_so_far_does_not_count(held_against):
    verdict = held_against("cat, eel", "fair", "good", against="last")
    assert (verdict.outcome, verdict.best, verdict.improves_on_best) == ("blessed", None, None)
    assert {row.best for row in verdict.comparison} == {None}


@pytest.mark.parametrize("best", ["two outputs", "no weights", "other column"])
def test_a_best_so_far_that_cannot_be_compared_with_blesses_nothing(held_against, best):
    verdict = held_against("good", "fair", best, against="best")
    assert not verdict.blessed
    assert verdict.reason.startswith("the candidate cannot be compared with the best champion so far, /push/7: ")
    assert verdict.reason.endswith("run once with --rebaseline")


def test_against_is_last_or_best(data):
    with pytest.raises(ConfigError, match=r"against must be last or best\. Received: 'all'\."):
        Evaluator(
            examples=channel.Channel(type=standard_artifacts.Examples),
            eval_config=eval_config(BOTH),
            against="all",
        )


BLESS = {"first_run": "bless_on_value_thresholds"}
REBASELINE = {"rebaseline": 1}
NO_CHAMPION = "there is no champion yet to compare with"
REFUSED = (
    "there is no champion to compare with, and a first model is not blessed unasked: let the value thresholds decide "
    "alone by first_run: bless_on_value_thresholds (below evaluate in a pipeline.yaml), or once by --rebaseline"
)


@pytest.mark.parametrize(
    ("candidate", "champion", "thresholds", "properties", "outcome", "reason"),
    [
        pytest.param(
            *("poor", "no champion", BOTH, BLESS, "not_blessed"),
            "binary_accuracy is 0.5 on all examples, required is at least 0.6 "
            f"(fails also on slice group:a, slice group:b); {NO_CHAMPION}",
            id="a first run is not a free pass",
        ),
        pytest.param(
            *("fair", None, NO_WORSE, BLESS, "not_blessed"),
            f"no threshold applies, so that the model cannot be judged: give a metric a value_threshold; {NO_CHAMPION}",
            id="change thresholds alone bless nothing on a first run",
        ),
        pytest.param(
            *("good", "fair", BOTH, {}, "blessed"),
            "every threshold holds: binary_accuracy is 1 against the champion's 0.9 on all examples",
            id="better than the champion",
        ),
        pytest.param(
            *("fair", "good", BOTH, BLESS, "not_blessed"),
            "binary_accuracy is 0.9 against the champion's 1 on all examples, a change of -0.1 (-10 %), "
            "required is at least -0.01 (fails also on slice group:a, slice group:b)",
            id="worse than the champion by more than is allowed",
        ),
        pytest.param(
            *("fair", "poor", ON_SLICE_B, {}, "not_blessed"),
            "binary_accuracy is 0.9 against the champion's 0.5 on slice group:b, required is at least 0.95",
            id="a slice that fails is named",
        ),
    ],
)
def test_evaluated(once, models, candidate, champion, thresholds, properties, outcome, reason):
    evaluated(once, models, candidate, champion, thresholds, properties, outcome, reason)


@pytest.mark.parametrize(
    ("candidate", "champion", "thresholds", "properties", "outcome", "reason"),
    [
        pytest.param(
            *("fair", "no champion", BOTH, {}, "not_blessed", REFUSED),
            id="on a first run nothing is blessed unasked",
        ),
        pytest.param(
            *("fair", "no champion", BOTH, BLESS, "blessed"),
            f"every threshold holds: binary_accuracy is 0.9 on all examples; {NO_CHAMPION}",
            id="on a first run value thresholds alone decide where one says so",
        ),
        pytest.param(
            *("fair", "good", BOTH, REBASELINE, "blessed"),
            "every threshold holds: binary_accuracy is 0.9 on all examples; "
            "the champion {champion} was set aside and not compared with",
            id="rebaseline sets the champion aside",
        ),
        pytest.param(
            *("cat, dog", "fair", BOTH, {}, "already_champion"),
            "already champion: the candidate has the same weights as the champion",
            id="the same weights are the same model",
        ),
    ],
)
@pytest.mark.usefixtures("alone")
def test_evaluated_alone(judge, models, candidate, champion, thresholds, properties, outcome, reason):
    evaluated(judge, models, candidate, champion, thresholds, properties, outcome, reason)


def evaluated(judge, models, candidate, champion, thresholds, properties, outcome, reason):
    blessing, evaluation_uri = judge(candidate, champion, thresholds, **properties)
    verdict = read_verdict(blessing.uri)
    first_run = champion in ("no champion", None)
    assert (verdict.outcome, verdict.first_run) == (outcome, first_run)
    where = None if first_run else models[champion].uri
    assert verdict.reason == reason.format(champion=where)
    assert verdict.champion == where
    assert verdict.rebaselined == (properties == REBASELINE and not first_run)
    check(blessing, verdict, models[candidate])
    assert bool(os.listdir(evaluation_uri)) == (outcome != "already_champion")
    assert blessing.has_custom_property("baseline_model") == (not first_run)


@pytest.mark.parametrize(
    ("candidate", "champion", "why"),
    [
        pytest.param(
            *("cat, dog", "cat, eel"),
            "the label's classes differ: the candidate has 'dog', which the champion does not know; the champion has "
            "'eel', which the candidate does not know",
            id="another class",
        ),
        pytest.param(
            *("cat, dog", "dog, cat"),
            "the label's classes differ: the candidate's order is 'cat', 'dog', the champion's 'dog', 'cat'",
            id="another order of the classes",
        ),
        pytest.param(
            *("fair", "two outputs"),
            "the signature's outputs differ: the candidate's are probability float32 [?, 1], the champion's "
            "probability float32 [?, 2]",
            id="another number of outputs",
        ),
        pytest.param(
            *("fair", "other output"),
            "the signature's outputs differ: the candidate's are probability float32 [?, 1], the champion's "
            "score float32 [?, 1]",
            id="another name of the output",
        ),
        pytest.param(
            *("fair", "other column"),
            "its serving_default fails on the examples (InvalidArgumentError: ",
            id="a column that is gone",
        ),
        pytest.param(
            *("fair", "no graph"),
            "Format-Serving/saved_model.pb is missing or cannot be read (DecodeError: ",
            id="a damaged graph",
        ),
        pytest.param(*("fair", "no weights"), "its weights cannot be read (", id="no weights"),
        pytest.param(
            *("fair", "bit flipped"),
            "Checksum does not match",
            id="damaged weights",
        ),
        pytest.param(*("fair", "no model"), "its folder {champion}/Format-Serving is gone", id="a folder that is gone"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_a_champion_that_cannot_be_compared_with_is_told_and_nothing_is_blessed(
    judge, models, candidate, champion, why
):
    blessing, _ = judge(candidate, champion, BOTH, **BLESS)
    verdict = read_verdict(blessing.uri)
    where = models[champion].uri
    assert verdict.outcome == "not_blessed"
    assert verdict.reason.startswith(f"the candidate cannot be compared with the champion {where}: ")
    assert why.format(champion=where) in verdict.reason
    assert verdict.reason.endswith(
        "; to set that champion aside and let the value thresholds decide alone, run once with --rebaseline"
    )
    assert "\n" not in verdict.reason
    assert (verdict.candidate_metrics["binary_accuracy"], verdict.champion_metrics) == (pytest.approx(0.9), {})
    check(blessing, verdict, models[candidate])


@pytest.mark.parametrize("champion", ["two outputs", "other column", "bit flipped", "no model"])
@pytest.mark.usefixtures("alone")
def test_a_champion_that_cannot_be_compared_with_can_be_set_aside(judge, models, champion):
    verdict = read_verdict(judge("fair", champion, BOTH, **REBASELINE)[0].uri)
    assert (verdict.outcome, verdict.rebaselined) == ("blessed", True)
    assert verdict.reason.endswith(f"; the champion {models[champion].uri} was set aside and not compared with")


@pytest.mark.usefixtures("alone")
def test_an_error_that_is_not_the_champion_s_fault_is_raised(judge):
    for candidate, champion in (("fair", "good"), ("cat, dog", "good")):  # `good` does not say its classes
        with pytest.raises(RuntimeError, match="a worker died"):
            judge(candidate, champion, BOTH)
    with pytest.raises(ModelError, match=r"weights of the SavedModel .* cannot be read"):
        judge("bit flipped", "fair", BOTH)


def test_a_champion_that_makes_tfma_fail_is_not_judged_by_its_failing(judge):
    verdict = read_verdict(judge("fair", "other column", BOTH)[0].uri)
    assert verdict.outcome == "not_blessed"
    assert "its serving_default fails on the examples (InvalidArgumentError: " in verdict.reason
    with pytest.raises(Exception, match="Fail to call signature func"):
        judge("other column", "fair", BOTH)


def test_the_stock_rubber_stamp_lets_through_what_the_champion_would_have_kept_out(once):
    stock, _ = once("fair", None, BOTH, executor=tfx_executor.Executor)
    assert model_utils.is_model_blessed(stock), "TFX drops the change threshold, and says nothing"
    assert not model_utils.is_model_blessed(once("fair", "good", BOTH, **BLESS)[0])


def test_the_verdict_holds_candidate_and_champion_side_by_side(once):
    verdict = read_verdict(once("fair", "good", BOTH, **BLESS)[0].uri)
    assert verdict.candidate_metrics == {"binary_accuracy": pytest.approx(0.9)}
    assert verdict.champion_metrics == {"binary_accuracy": 1.0}
    change, value = "a change of at least -0.01", "at least 0.6"
    everywhere = ["all examples", "slice group:a", "slice group:b"]
    assert [(row.metric, row.slice, row.required, row.holds) for row in verdict.comparison] == [
        ("binary_accuracy", where, required, required == value) for required in (change, value) for where in everywhere
    ]
    assert [(row.candidate, row.champion) for row in verdict.comparison] == [(pytest.approx(0.9), 1.0)] * 6


@pytest.mark.parametrize(
    ("candidate", "champion", "reason", "outcome"),
    [
        pytest.param(
            *("no candidate", "good", "every checkpoint was rejected", "no_candidate"), id="an empty candidate"
        ),
        pytest.param(
            *("no candidate", "no champion", "every checkpoint was rejected", "no_candidate"),
            id="an empty candidate on a first run",
        ),
        pytest.param(
            *("again", "good", "already champion: the candidate has the same weights as the champion"),
            "already_champion",
            id="the champion's weights in another export",
        ),
    ],
)
def test_not_evaluated(judge, models, candidate, champion, reason, outcome, caplog):
    caplog.set_level("INFO", logger="checkpoint_gate")
    blessing, evaluation_uri = judge(candidate, champion, BOTH)
    first_run = champion == "no champion"
    verdict = BlessingVerdict(outcome, reason, first_run, None if first_run else models[champion].uri)
    assert read_verdict(blessing.uri) == verdict
    check(blessing, verdict, models[candidate])
    assert os.listdir(evaluation_uri) == []
    assert f"Not blessed: {reason}." in caplog.messages


@pytest.mark.parametrize("champion", ["fair", "no champion"])
def test_weights_that_a_rollback_has_withdrawn_are_not_blessed_again(judge, models, champion):
    digest = weights_digest(path_utils.serving_model_dir(models["good"].uri))
    hand_on(models[champion].uri, [Withdrawal(30, digest, 40, "wrong prices", 1_790_000_000.0)])
    try:
        blessing, evaluation_uri = judge("again", champion, BOTH)
    finally:
        os.unlink(os.path.join(models[champion].uri, "withdrawn.json"))
    verdict = read_verdict(blessing.uri)
    assert (verdict.outcome, verdict.reason, verdict.first_run) == (
        "not_blessed",
        "the pushed version 30 with the same weights was withdrawn on 2026-09-21 14:13 UTC: wrong prices",
        champion == "no champion",
    )
    check(blessing, verdict, models["again"])
    assert os.listdir(evaluation_uri) == []


def test_other_weights_than_the_withdrawn_are_evaluated(judge, models):
    digest = weights_digest(path_utils.serving_model_dir(models["poor"].uri))
    hand_on(models["fair"].uri, [Withdrawal(30, digest, 40, "wrong prices", 1_790_000_000.0)])
    try:
        blessing, _ = judge("good", "fair", BOTH)
    finally:
        os.unlink(os.path.join(models["fair"].uri, "withdrawn.json"))
    assert read_verdict(blessing.uri).blessed


def test_the_pushed_version_is_named_where_it_is_known(judge, models):
    models["good"].set_string_custom_property("pushed_version", "1760000000")
    try:
        blessing, _ = judge("again", "good", BOTH)
    finally:
        models["good"].set_string_custom_property("pushed_version", "")
    assert "the same weights as the pushed version 1760000000" in read_verdict(blessing.uri).reason


def test_weights_digest_tells_weights_apart_and_nothing_else(models):
    digests = {
        name: weights_digest(path_utils.serving_model_dir(models[name].uri)) for name in ("good", "again", "fair")
    }
    assert digests["good"] == digests["again"]
    assert digests["good"] != digests["fair"]


def test_a_blessing_without_verdict_is_none(tmp_path):
    assert read_verdict(str(tmp_path)) is None


def test_the_component_keeps_its_id(models):
    component = Evaluator(
        examples=channel.Channel(type=standard_artifacts.Examples),
        model=channel.Channel(type=standard_artifacts.Model),
        eval_config=config_pb2.EvalConfig(),
    )
    assert component.id == "Evaluator"
    assert component.executor_spec.executor_class is Executor
    assert (component.exec_properties["first_run"], component.exec_properties["rebaseline"]) == ("refuse", 0)
    pipeline.Pipeline("p", "/nowhere", components=[component])


def evaluator(**arguments) -> Evaluator:
    model = channel.Channel(type=standard_artifacts.Model)
    return Evaluator(examples=channel.Channel(type=standard_artifacts.Examples), model=model, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"first_run": "bless", "eval_config": eval_config(BOTH)},
            "first_run must be refuse or bless_on_value_thresholds. Received: 'bless'.",
            id="a word that is not known",
        ),
        pytest.param(
            {**BLESS, "eval_config": eval_config(NO_WORSE)},
            "first_run may be bless_on_value_thresholds only when eval_config gives a metric a value_threshold",
            id="only change thresholds",
        ),
        pytest.param(
            {**BLESS, "eval_config": eval_config("")},
            "first_run may be bless_on_value_thresholds only when eval_config gives a metric a value_threshold",
            id="no thresholds",
        ),
    ],
)
def test_a_first_run_that_would_bless_anything_is_refused_when_wired(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        evaluator(**arguments)


@pytest.mark.parametrize("thresholds", [BOTH, ON_SLICE_B])
def test_a_first_run_may_bless_on_any_value_threshold(thresholds):
    assert evaluator(eval_config=eval_config(thresholds), **BLESS).exec_properties["first_run"] == BLESS["first_run"]


def imported(models, data, candidate: str) -> dict[str, Importer]:
    """Nodes that bring the artifacts of this file into a pipeline."""
    examples, schema = data["examples"][0], data["schema"][0]
    return {
        "examples": Importer(examples.uri, standard_artifacts.Examples, properties={"split_names": '["test"]'}).with_id(
            "examples"
        ),
        "schema": Importer(schema.uri, standard_artifacts.Schema).with_id("schema"),
        "model": Importer(models[candidate].uri, standard_artifacts.Model, reimport=True).with_id("model"),
    }


def blessing_pipeline(models, data, root: Path, candidate: str, **arguments) -> pipeline.Pipeline:
    """Champion, Evaluator and Pusher around a model that is there already."""
    push_folder = str(root / "serving")
    nodes = imported(models, data, candidate)
    brought = {key: node.outputs["result"] for key, node in nodes.items()}
    champion = Champion(push_destination=push_folder, push_state=listing_digest(push_folder))
    evaluator = Evaluator(
        **brought,
        baseline_model=champion.outputs["model"],
        eval_config=eval_config(BOTH),
        example_splits=["test"],
        **arguments,
    )
    pusher = Pusher(
        model=brought["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=push_folder)
        ),
    )
    return pipeline.Pipeline(
        "blessing",
        str(root / "artifacts"),
        components=[*nodes.values(), champion, evaluator, pusher],
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        beam_pipeline_args=list(BEAM_ARGS),
    )


def test_runs_in_a_row_are_judged_against_the_champion_from_the_second_on(models, data, tmp_path):
    def run(candidate: str, **arguments: object) -> tuple[str, str | None, int]:
        LocalDagRunner().run(blessing_pipeline(models, data, tmp_path, candidate, **arguments))
        steps = last_run(tmp_path / "metadata.sqlite")
        verdict = read_verdict(steps["Evaluator"].outputs["blessing"])
        champion = verdict.champion and Path(verdict.champion).name
        return verdict.outcome, champion, len(live_versions(str(tmp_path / "serving")))

    assert run("fair") == ("not_blessed", None, 0)
    assert run("fair", **BLESS) == ("blessed", None, 1)
    first = Path(champion_path(str(tmp_path / "serving"))).name
    assert run("good", **BLESS) == ("blessed", first, 2)
    second = Path(champion_path(str(tmp_path / "serving"))).name
    assert run("fair", **BLESS) == ("not_blessed", second, 2), "its value threshold alone would let it through"
    assert run("fair", **BLESS, rebaseline=True) == ("blessed", second, 3)
    assert run("fair", **BLESS)[0] == "already_champion"


def test_the_component_compiles_for_kubeflow(models, data, tmp_path):
    config = KubeflowV2DagRunnerConfig(default_image="image")
    runner = KubeflowV2DagRunner(config, output_dir=str(tmp_path), output_filename="pipeline.json")
    runner.run(blessing_pipeline(models, data, tmp_path, "fair", **BLESS, rebaseline=True))
    tasks = json.loads((tmp_path / "pipeline.json").read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
    parameters = tasks["Evaluator"]["inputs"]["parameters"]
    assert parameters["first_run"]["runtimeValue"]["constantValue"] == {"stringValue": BLESS["first_run"]}
    assert parameters["rebaseline"]["runtimeValue"]["constantValue"] == {"intValue": "1"}


def test_the_classes_stay_when_a_model_is_loaded_and_saved_again(models, tmp_path):
    folder = path_utils.serving_model_dir(models["cat, eel"].uri)
    loaded = tf.saved_model.load(folder)
    tf.saved_model.save(loaded, str(tmp_path / "again"), signatures=dict(loaded.signatures))
    assert read_classes(folder) == read_classes(str(tmp_path / "again")) == ("cat", "eel")
    assert read_classes(path_utils.serving_model_dir(models["fair"].uri)) is None
    (tmp_path / "again" / "assets" / "label_classes.json").write_text('["cat", 1]')
    with pytest.raises(ModelError, match="must be a list of texts"):
        read_classes(str(tmp_path / "again"))


def test_reading_a_verdict_imports_no_tensorflow(tmp_path):
    (tmp_path / "verdict.json").write_text(BlessingVerdict("blessed", "all hold", first_run=False).to_json())
    code = (
        "import sys; from checkpoint_gate.evaluator import read_verdict;"
        f"assert read_verdict({str(tmp_path)!r}).blessed;"
        "heavy = {'tensorflow', 'tfx', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What TFMA reports, as protos, where a run would show nothing more.


def measured(*rows: tuple[str, str, float]) -> Measurements:
    """Measurements on all examples of (metric, model, value)."""
    text = "".join(
        f'metric_keys_and_values {{ key {{ name: "{name}" model_name: "{model}" }} '
        f"value {{ double_value {{ value: {value} }} }} }}"
        f'metric_keys_and_values {{ key {{ name: "{name}" model_name: "candidate" is_diff: true }} '
        "value { double_value { value: 0 } } }"
        for name, model, value in rows
    )
    return Measurements.of([text_format.Parse(f"slice_key {{}} {text}", metrics_for_slice_pb2.MetricsForSlice())])


def failure(name: str, value: str, threshold: str, is_diff: str = "false", sub_key: str = "") -> str:
    return (
        f'failures {{ metric_key {{ name: "{name}" model_name: "candidate" is_diff: {is_diff} {sub_key} }} '
        f"metric_threshold {{ {threshold} }} {value} }}"
    )


def result(*failures: str, slice_key: str = "", more: str = "") -> validation_result_pb2.ValidationResult:
    text = f"metric_validations_per_slice {{ slice_key {{ {slice_key} }} {' '.join(failures)} }} {more}"
    return text_format.Parse(text, validation_result_pb2.ValidationResult())


LOSSES = measured(("loss", "candidate", 0.5), ("loss", "baseline", 0.4))
ZERO_LOSS = measured(("loss", "candidate", 0.5), ("loss", "baseline", 0.0))
AT_MOST_5_PERCENT = "change_threshold { direction: LOWER_IS_BETTER relative { value: 0.05 } }"
AT_LEAST_1 = "value_threshold { lower_bound { value: 1 } }"


def worth(value: object) -> str:
    return f"metric_value {{ double_value {{ value: {value} }} }}"


@pytest.mark.parametrize(
    ("found", "measured", "reason"),
    [
        pytest.param(
            result(failure("loss", worth(0.1), AT_MOST_5_PERCENT, is_diff="true")),
            LOSSES,
            "loss is 0.5 against the champion's 0.4 on all examples, a change of +0.1 (+25 %), "
            "required is at most +5 %",
            id="a relative bound is shown as a percentage",
        ),
        pytest.param(
            result(failure("loss", worth(0.5), AT_MOST_5_PERCENT, is_diff="true")),
            ZERO_LOSS,
            "loss is 0.5 against the champion's 0 on all examples, a change of +0.5 (no percentage: the champion's "
            "value is 0), required is at most +5 %",
            id="a champion of zero has no percentage",
        ),
        pytest.param(
            result(failure("loss", worth("nan"), "value_threshold { upper_bound { value: 1 } }")),
            LOSSES,
            "loss is nan against the champion's 0.4 on all examples, required is at most 1",
            id="a metric that is not finite",
        ),
        pytest.param(
            result(
                failure("precision", worth(0.2), AT_LEAST_1, sub_key="sub_key { class_id { value: 2 } }"),
                slice_key='single_slice_keys { column: "age" int64_value: 7 }',
            ),
            LOSSES,
            "precision (class_id 2) is 0.2 on slice age:7, required is at least 1",
            id="the class and a numeric slice are named",
        ),
        pytest.param(
            result(failure("auc", "", AT_LEAST_1)),
            LOSSES,
            "no auc was computed on all examples, for which there is a threshold",
            id="a metric that is missing",
        ),
        pytest.param(
            result(more='missing_slices { feature_values { key: "island" value: "Dream" } }'),
            LOSSES,
            "no example falls into slice island:Dream, for which there is a threshold",
            id="a slice without examples",
        ),
        pytest.param(
            result(
                more=" ".join(
                    f"metric_validations_per_slice {{ {failure('auc', worth(m / 10), AT_LEAST_1)} "
                    f'slice_key {{ single_slice_keys {{ column: "m" int64_value: {m} }} }} }}'
                    for m in range(1, 7)
                )
            ),
            LOSSES,
            "auc is 0.1 on slice m:1, required is at least 1 (fails also on slice m:2, slice m:3, slice m:4, 2 more)",
            id="a threshold that fails on many slices is told once",
        ),
        pytest.param(
            result(*(failure(name, worth(0), AT_LEAST_1) for name in "abcde")),
            LOSSES,
            "a is 0 on all examples, required is at least 1; b is 0 on all examples, required is at least 1; "
            "c is 0 on all examples, required is at least 1; and 2 more thresholds failed",
            id="of many failures three are shown",
        ),
    ],
)
def test_why_not_blessed(found, measured, reason):
    assert why_not_blessed(found, measured) == reason


def test_why_blessed_shows_only_metrics_that_have_thresholds():
    both = measured(
        ("loss", "candidate", 0.5), ("loss", "baseline", 0.6), ("auc", "candidate", 1), ("auc", "baseline", 1)
    )
    reason = why_blessed(both, {"loss"})
    assert reason == f"every threshold holds: loss is 0.5 against the champion's 0.6 on {ALL_EXAMPLES}"
    assert re.fullmatch(r"every threshold holds", why_blessed(both, set()))


@pytest.mark.parametrize(
    ("arguments", "compared", "obstacle"),
    [
        pytest.param((None, "refuse", False, None), False, "there is no champion", id="a first run is refused"),
        pytest.param((None, "bless_on_value_thresholds", False, None), False, None, id="unless one says otherwise"),
        pytest.param((None, "refuse", True, None), False, None, id="or asks for a new baseline"),
        pytest.param(("/1", "refuse", False, None), True, None, id="a champion is compared with"),
        pytest.param(("/1", "refuse", True, None), False, None, id="unless it is set aside"),
        pytest.param(("/1", "refuse", False, "it is gone"), False, "it is gone", id="or cannot be"),
        pytest.param(("/1", "bless_on_value_thresholds", False, "it is gone"), False, "it is gone", id="as on any run"),
        pytest.param(("/1", "refuse", True, "it is gone"), False, None, id="what is set aside may be anything"),
    ],
)
def test_standing(arguments, compared, obstacle):
    found = standing(*arguments)
    assert found.compared == compared
    assert (found.obstacle is None) == (obstacle is None)
    assert obstacle is None or obstacle in found.obstacle


FAILED = result(failure("loss", worth(0.5), "value_threshold { upper_bound { value: 0.4 } }"))
HOLDS = text_format.Parse("validation_ok: true", validation_result_pb2.ValidationResult())


@pytest.mark.parametrize(
    ("found", "blessed", "reason"),
    [
        pytest.param(
            *(FAILED, False, "loss is 0.5 on all examples, required is at most 0.4; the champion /1 was set aside"),
            id="a new baseline is not a free pass",
        ),
        pytest.param(
            *(None, False, "no threshold applies, so that the model cannot be judged"),
            id="a new baseline needs a value threshold",
        ),
        pytest.param(*(HOLDS, True, "every threshold holds; the champion /1 was set aside"), id="a new baseline"),
    ],
)
def test_rebaselined(found, blessed, reason):
    only = Measurements.of(
        [text_format.Parse(f"slice_key {{}} {VALUE_OF_LOSS}", metrics_for_slice_pb2.MetricsForSlice())]
    )
    verdict = verdict_of(Standing("/1", rebaseline=True), only, [], found)
    assert (verdict.blessed, verdict.rebaselined, verdict.champion) == (blessed, True, "/1")
    assert verdict.reason.startswith(reason)
    assert verdict.reason.endswith("; the champion /1 was set aside and not compared with")
    assert (verdict.candidate_metrics, verdict.champion_metrics) == ({"loss": 0.5}, {})


def test_what_stands_in_the_way_outweighs_every_threshold():
    verdict = verdict_of(Standing("/1", obstacle="it is gone"), Measurements.of([]), [], HOLDS)
    assert (verdict.outcome, verdict.reason) == ("not_blessed", "it is gone")


VALUE_OF_LOSS = 'metric_keys_and_values { key { name: "loss" } value { double_value { value: 0.5 } } }'
SLICES = {
    "all examples": "",
    "slice island:Dream": 'single_slice_keys { column: "island" bytes_value: "Dream" }',
    "slice island:Biscoe": 'single_slice_keys { column: "island" bytes_value: "Biscoe" }',
    "slice island:Dream, year:2007": 'single_slice_keys { column: "island" bytes_value: "Dream" } '
    'single_slice_keys { column: "year" int64_value: 2007 }',
    "slice year:1234567": 'single_slice_keys { column: "year" int64_value: 1234567 }',
}


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        pytest.param(None, list(SLICES), id="a plain threshold binds everywhere"),
        pytest.param("", ["all examples"], id="a spec without columns binds on all examples"),
        pytest.param('feature_keys: "island"', ["slice island:Dream", "slice island:Biscoe"], id="a column"),
        pytest.param(
            'feature_values { key: "island" value: "Dream" }', ["slice island:Dream"], id="a value of a column"
        ),
        pytest.param(
            'feature_keys: "year" feature_values { key: "island" value: "Dream" }',
            ["slice island:Dream, year:2007"],
            id="a column, and a value of another",
        ),
        pytest.param('feature_values { key: "year" value: "1234567" }', ["slice year:1234567"], id="a large number"),
    ],
)
def test_a_threshold_is_compared_on_the_slices_that_it_binds_on(spec, where):
    slices = [
        text_format.Parse(f"slice_key {{ {key} }} {VALUE_OF_LOSS}", metrics_for_slice_pb2.MetricsForSlice())
        for key in SLICES.values()
    ]
    bound = text_format.Parse("value_threshold { upper_bound { value: 0.4 } }", config_pb2.MetricThreshold())
    key = text_format.Parse('name: "loss"', metrics_for_slice_pb2.MetricsForSlice().metric_keys_and_values.add().key)
    parsed = None if spec is None else text_format.Parse(spec, config_pb2.SlicingSpec())
    rows = compare([Threshold(key, parsed, bound)], Measurements.of(slices), HOLDS)
    assert sorted(row.slice for row in rows) == sorted(where)
    assert {(row.candidate, row.champion, row.required, row.holds) for row in rows} == {
        (0.5, None, "at most 0.4", True)
    }


def test_a_slice_without_examples_is_in_the_comparison():
    found = result(more='missing_slices { feature_values { key: "island" value: "Dream" } }')
    bound = text_format.Parse("value_threshold { upper_bound { value: 0.4 } }", config_pb2.MetricThreshold())
    spec = text_format.Parse('feature_values { key: "island" value: "Dream" }', config_pb2.SlicingSpec())
    key = metrics_for_slice_pb2.MetricsForSlice().metric_keys_and_values.add().key
    rows = compare([Threshold(key, spec, bound)], Measurements.of([]), found)
    assert [(row.slice, row.candidate, row.holds) for row in rows] == [("slice island:Dream", None, False)]


def test_of_many_slices_fifty_are_compared_and_those_that_failed_come_first():
    slices = [
        text_format.Parse(
            f'slice_key {{ single_slice_keys {{ column: "n" int64_value: {n} }} }} {VALUE_OF_LOSS}',
            metrics_for_slice_pb2.MetricsForSlice(),
        )
        for n in range(80)
    ]
    bound = text_format.Parse("value_threshold { upper_bound { value: 0.4 } }", config_pb2.MetricThreshold())
    key = text_format.Parse('name: "loss"', metrics_for_slice_pb2.MetricsForSlice().metric_keys_and_values.add().key)
    failed = result(
        failure("loss", worth(0.5), "value_threshold { upper_bound { value: 0.4 } }", is_diff="false"),
        slice_key='single_slice_keys { column: "n" int64_value: 79 }',
    )
    rows = compare([Threshold(key, None, bound)], Measurements.of(slices), failed)
    assert len(rows) == 50
    assert (rows[0].slice, rows[0].holds) == ("slice n:79", False)
    assert sum(not row.holds for row in rows) == 1


def test_a_verdict_is_read_as_it_was_written(tmp_path):
    row = Comparison("loss", ALL_EXAMPLES, math.inf, None, "at most 1", holds=False)
    verdict = BlessingVerdict("not_blessed", "bad", False, "/1", True, {"loss": math.inf}, {"loss": 0.5}, (row,))
    (tmp_path / "verdict.json").write_text(verdict.to_json())
    assert read_verdict(str(tmp_path)) == verdict
    old = {"blessed": True, "outcome": "blessed", "reason": "all hold", "first_run": False}
    (tmp_path / "verdict.json").write_text(json.dumps(old))
    assert read_verdict(str(tmp_path)) == BlessingVerdict("blessed", "all hold", first_run=False)
