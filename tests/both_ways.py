"""The same examples through TFMA's own metrics and through those that are computed batch by batch."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.checkpoint_evaluator.batchwise.choosing import Choice, choose
from checkpoint_gate.checkpoint_evaluator.batchwise.slicing import slicing_extractor
from checkpoint_gate.checkpoint_evaluator.configuring import named_config

WEIGHTED = 'label_key: "y" example_weight_key: "w"'
COARSE = ' metrics { class_name: "AUC" config: \'"num_thresholds": 200\' } '
SLICES = 'slicing_specs {} slicing_specs { feature_keys: "colour" }'

Results = dict[Any, dict[Any, Any]]
"""Slice key -> metric key -> value."""


def config_of(metrics: str, models: Sequence[str] = ("",), spec: str = "", rest: str = "") -> config_pb2.EvalConfig:
    """An EvalConfig, filled in for these models."""
    text = f"model_specs {{ {spec} }} metrics_specs {{ {metrics} }} {rest}"
    return named_config(text_format.Parse(text, config_pb2.EvalConfig()), models)


def classes(names: str) -> str:
    """Metrics by the names of their classes."""
    return " ".join(f'metrics {{ class_name: "{name}" }}' for name in names.split())


def both_ways(folder: Path, config: config_pb2.EvalConfig, batches: Sequence[Mapping[str, Any]]) -> list[Results]:
    """TFMA's results of its own metrics, and with those that are computed batch by batch."""
    return [evaluated(folder / name, choice, batches) for name, choice in sides(config).items()]


def sides(config: config_pb2.EvalConfig) -> dict[str, Choice]:
    return {"stock": Choice(config), "batchwise": choose(config)}


def evaluated(folder: Path, choice: Choice, batches: Sequence[Mapping[str, Any]]) -> Results:
    """Metrics and plots of every slice, by TFMA's evaluator."""
    config = choice.config
    if choice.takes_batches:
        extractors = [slicing_extractor(config, choice.each_alone)]
    else:
        extractors = [tfma.extractors.UnbatchExtractor(), tfma.extractors.SliceKeyExtractor(eval_config=config)]
    folder.mkdir(parents=True)
    (evaluator,) = tfma.default_evaluators(eval_config=config, random_seed_for_testing=1)

    def keep(sliced: tuple[Any, Any]) -> None:
        (folder / str(abs(hash(str(sliced)[:2000])))).write_bytes(pickle.dumps(sliced))

    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        # One bundle: TFMA's mean errors count the first of several accumulators twice.
        extracts = pipeline | beam.Create([list(batches)]) | beam.FlatMap(lambda all_of_them: all_of_them)
        for extractor in extractors:
            extracts = extracts | extractor.stage_name >> extractor.ptransform
        found = extracts | "Evaluate" >> evaluator.ptransform
        for kind in ("metrics", "plots"):
            _ = found[kind] | f"Keep{kind}" >> beam.Map(keep)
    results: Results = {}
    for file in folder.iterdir():
        where, values = pickle.loads(file.read_bytes())
        results.setdefault(where, {}).update(values)
    return results


def require_equal(stock: Results, ours: Results, relative: float = 1e-6) -> int:
    """Asserts that both have the same slices, keys and values; how many values."""
    assert ours.keys() == stock.keys()
    count = 0
    for where, values in stock.items():
        assert ours[where].keys() == values.keys()
        for key, value in values.items():
            _require_same(ours[where][key], value, relative, (where, key))
            count += 1
    return count


def _require_same(mine: Any, theirs: Any, relative: float, where: Any) -> None:
    if hasattr(theirs, "unsampled_value"):
        assert type(mine) is type(theirs), where
        for field in ("sample_mean", "sample_standard_deviation", "unsampled_value", "sample_degrees_of_freedom"):
            _require_same(getattr(mine, field), getattr(theirs, field), relative * 100, (where, field))
    elif isinstance(theirs, Mapping):
        assert mine.keys() == theirs.keys(), where
        for key, value in theirs.items():
            _require_same(mine[key], value, relative, (where, key))
    elif isinstance(theirs, tuple):
        for one, other in zip(mine, theirs, strict=True):
            _require_same(one, other, relative, where)
    elif isinstance(theirs, (float, int, np.ndarray, np.generic, list)):
        np.testing.assert_allclose(mine, theirs, rtol=relative, atol=1e-12, err_msg=str(where))
    else:
        assert mine == theirs, where


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


def batches(seed, kind, models=("",), sizes=(40, 1, 160), wide=True):
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
