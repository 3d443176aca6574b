"""CheckpointEvaluator's face: what is wrong is told when the pipeline is built."""

from __future__ import annotations

import dataclasses
import json

import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2
from tfx.types import channel, standard_artifacts

from checkpoint_gate.artifacts import CheckpointSet
from checkpoint_gate.checkpoint_evaluator import CheckpointEvaluator
from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rules.selection import Selector

INTERVALS = "options { compute_confidence_intervals { value: true } }"
SLICES = 'slicing_specs {} slicing_specs { feature_keys: ["g"] }'


def build(select, more="", specs=1, **given):
    config = text_format.Parse("model_specs {} " * specs + more, config_pb2.EvalConfig())
    inputs = {"survivors": CheckpointSet, "examples": standard_artifacts.Examples, "model": standard_artifacts.Model}
    channels = {name: channel.Channel(type=type_) for name, type_ in inputs.items()}
    return CheckpointEvaluator(**channels, eval_config=config, select=select, **given)


def test_the_selector_travels_as_json():
    select = Selector("loss", "min", "earliest", within_noise=True, worst_slice=True)
    component = build(select, INTERVALS + SLICES, on_no_candidate="keep_champion")
    assert json.loads(component.exec_properties["select"]) == dataclasses.asdict(select) | {"average": False}
    assert component.exec_properties["on_no_candidate"] == "keep_champion"
    assert build(Selector("loss", "min")).exec_properties["on_no_candidate"] == "fail"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"specs": 2}, "exactly one model spec", id="two models"),
        pytest.param(
            {"select": Selector("loss", "min", within_noise=True), "more": SLICES},
            "within_noise needs confidence intervals: set options.compute_confidence_intervals in eval_config.",
            id="noise without intervals",
        ),
        pytest.param(
            {"select": Selector("loss", "min", worst_slice=True), "more": "slicing_specs {}"},
            "worst_slice needs slices: give eval_config slicing_specs that have columns.",
            id="a worst slice without slices",
        ),
        pytest.param(
            {"on_no_candidate": "ignore"},
            "on_no_candidate must be fail or keep_champion. Received: 'ignore'.",
            id="an unknown way out",
        ),
    ],
)
def test_what_is_wrong_is_told_when_the_pipeline_is_built(given, words):
    with pytest.raises(ConfigError, match=words):
        build(**{"select": Selector("loss", "min"), **given})
