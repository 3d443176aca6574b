"""Evaluator blesses a candidate against the champion, and says why or why not, on real TFMA runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tfx import types
from tfx.components.util import model_utils
from tfx.orchestration import pipeline
from tfx.types import channel, standard_artifacts
from tfx.utils import path_utils, proto_utils

from checkpoint_gate.evaluator import BlessingVerdict, Evaluator, read_verdict
from checkpoint_gate.evaluator.executor import Executor
from checkpoint_gate.evaluator.measurements import ALL_EXAMPLES, Measurements
from checkpoint_gate.evaluator.reason import why_blessed, why_not_blessed
from checkpoint_gate.markers import mark_empty
from checkpoint_gate.weights import weights_digest

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


def export(folder: str, bias: float, **extra: float) -> None:
    """Exports a Keras 3 model that predicts 1 where x > bias; `extra` goes into the graph, not into the model."""
    inputs = keras.Input((1,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    model.set_weights([np.array([[50.0]]), np.array([-50.0 * bias])])
    module = tf.Module()
    module.model = model
    for name, value in extra.items():
        setattr(module, name, tf.Variable(value))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        return {"probability": module.model(parsed["x"])}

    tf.saved_model.save(module, folder, signatures={"serving_default": serve})


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Model artifacts by quality: `good` has accuracy 1, `fair` 0.9, `poor` 0.5; `again` is `good` exported again."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, bias in (("good", 0.0), ("fair", 0.2), ("poor", 2.0)):
        found[name] = standard_artifacts.Model()
        found[name].uri = str(folder / name)
        export(path_utils.serving_model_dir(found[name].uri), bias)
    found["again"] = standard_artifacts.Model()
    found["again"].uri = str(folder / "again")
    export(path_utils.serving_model_dir(found["again"].uri), 0.0, something_else=3.0)
    for name, reason in (("no candidate", "every checkpoint was rejected"), ("no champion", "no champion yet")):
        found[name] = standard_artifacts.Model()
        found[name].uri = str(folder / name)
        mark_empty(found[name].uri, reason)
    for number, model in enumerate(found.values()):
        model.id = number + 1
    return found


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


@pytest.fixture
def judge(models, data, tmp_path):
    """Runs the executor; returns the blessing artifact and the evaluation's uri."""

    def run(candidate: str, champion: str | None, thresholds: str) -> tuple[types.Artifact, str]:
        config = text_format.Parse(
            f"""
            model_specs {{ signature_name: "serving_default" label_key: "y" }}
            metrics_specs {{ metrics {{ class_name: "BinaryAccuracy" {thresholds} }} }}
            slicing_specs {{}}
            slicing_specs {{ feature_keys: ["group"] }}
            """,
            config_pb2.EvalConfig(),
        )
        blessing, evaluation = standard_artifacts.ModelBlessing(), standard_artifacts.ModelEvaluation()
        blessing.uri, evaluation.uri = str(tmp_path / "blessing"), str(tmp_path / "evaluation")
        inputs = {"model": [models[candidate]], **data}
        if champion is not None:
            inputs["baseline_model"] = [models[champion]]
        given = dict(inputs)
        context = Executor.Context(
            beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(tmp_path / "tmp"), unique_id="1"
        )
        Executor(context).Do(
            inputs,
            {"blessing": [blessing], "evaluation": [evaluation]},
            {
                "eval_config": proto_utils.proto_to_json(config),
                "example_splits": '["test"]',
                "current_component_id": "Evaluator",
            },
        )
        assert inputs == given, "the caller's inputs must not change"
        return blessing, evaluation.uri

    return run


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
        assert json.load(file) == {
            "blessed": verdict.blessed,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "first_run": verdict.first_run,
        }


@pytest.mark.parametrize(
    ("candidate", "champion", "thresholds", "outcome", "first_run", "reason"),
    [
        pytest.param(
            *("fair", "no champion", BOTH, "blessed", True),
            "every threshold holds: binary_accuracy is 0.9 on all examples; there is no champion yet to compare with",
            id="on a first run value thresholds alone decide",
        ),
        pytest.param(
            *("poor", "no champion", BOTH, "not_blessed", True),
            "binary_accuracy is 0.5 on all examples, required is at least 0.6 "
            "(fails also on slice group:a, slice group:b)",
            id="a first run is not a free pass",
        ),
        pytest.param(
            *("fair", None, NO_WORSE, "not_blessed", True),
            "no threshold applies while there is no champion so that the model cannot be judged; "
            "give a metric a value_threshold",
            id="change thresholds alone bless nothing on a first run",
        ),
        pytest.param(
            *("good", "fair", BOTH, "blessed", False),
            "every threshold holds: binary_accuracy is 1 against the champion's 0.9 on all examples",
            id="better than the champion",
        ),
        pytest.param(
            *("fair", "good", BOTH, "not_blessed", False),
            "binary_accuracy is 0.9 against the champion's 1 on all examples, a change of -0.1 (-10 %), "
            "required is at least -0.01 (fails also on slice group:a, slice group:b)",
            id="worse than the champion by more than is allowed",
        ),
        pytest.param(
            *("fair", "poor", ON_SLICE_B, "not_blessed", False),
            "binary_accuracy is 0.9 on slice group:b, required is at least 0.95",
            id="a slice that fails is named",
        ),
    ],
)
def test_evaluated(judge, models, candidate, champion, thresholds, outcome, first_run, reason):
    blessing, evaluation_uri = judge(candidate, champion, thresholds)
    verdict = read_verdict(blessing.uri)
    assert verdict is not None
    assert (verdict.outcome, verdict.first_run) == (outcome, first_run)
    assert verdict.reason == reason
    check(blessing, verdict, models[candidate])
    assert os.listdir(evaluation_uri)
    assert blessing.has_custom_property("baseline_model") == (not first_run)


@pytest.mark.parametrize(
    ("candidate", "champion", "verdict"),
    [
        pytest.param(
            *("no candidate", "good"),
            BlessingVerdict("no_candidate", "every checkpoint was rejected", first_run=False),
            id="an empty candidate",
        ),
        pytest.param(
            *("no candidate", "no champion"),
            BlessingVerdict("no_candidate", "every checkpoint was rejected", first_run=True),
            id="an empty candidate on a first run",
        ),
        pytest.param(
            *("again", "good"),
            BlessingVerdict(
                "already_champion",
                "already champion: the candidate has the same weights as the champion",
                first_run=False,
            ),
            id="the champion's weights in another export",
        ),
    ],
)
def test_not_evaluated(judge, models, candidate, champion, verdict, caplog):
    caplog.set_level("INFO", logger="checkpoint_gate")
    blessing, evaluation_uri = judge(candidate, champion, BOTH)
    assert read_verdict(blessing.uri) == verdict
    check(blessing, verdict, models[candidate])
    assert os.listdir(evaluation_uri) == []
    assert f"Not blessed: {verdict.reason}." in caplog.messages


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
    pipeline.Pipeline("p", "/nowhere", components=[component])


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
            "loss is nan on all examples, required is at most 1",
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
    reason = why_blessed(both, {"loss"}, first_run=False)
    assert reason == f"every threshold holds: loss is 0.5 against the champion's 0.6 on {ALL_EXAMPLES}"
    assert re.fullmatch(r"every threshold holds", why_blessed(both, set(), first_run=False))
