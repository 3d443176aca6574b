"""A small table, exports of models of it, and survivors: all that CheckpointEvaluator takes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2
from tfx.types import channel_utils, standard_artifacts

from checkpoint_gate.artifacts import CheckpointSet
from checkpoint_gate.checkpoint_evaluator.component import CheckpointEvaluator
from checkpoint_gate.checkpoint_evaluator.executor import Executor
from checkpoint_gate.models.exporting import ServedModel
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.selection import Selector
from checkpoint_gate.store.manifest import FileEntry, Manifest
from gated_pipelines.beam_args import BEAM_ARGS

KINDS = ("ash", "birch", "cedar")
COLOURS = ("blue", "green", "red")
SCHEMA = """
feature { name: "length" type: FLOAT presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } }
feature { name: "width" type: FLOAT presence { min_count: 1 } }
feature { name: "colour" type: BYTES presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } }
feature { name: "importance" type: FLOAT presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } }
feature { name: "kind" type: BYTES presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } }
feature { name: "price" type: FLOAT presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } }
"""
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
_UNLABELLED = {
    "length": tf.io.FixedLenFeature([1], tf.float32),
    "width": tf.io.VarLenFeature(tf.float32),
    "colour": tf.io.FixedLenFeature([1], tf.string),
}
_LABELLED = _UNLABELLED | {
    "importance": tf.io.FixedLenFeature([1], tf.float32),
    "kind": tf.io.FixedLenFeature([1], tf.string),
    "price": tf.io.FixedLenFeature([1], tf.float32),
}

Rows = list[dict[str, Any]]


def rows(count: int, seed: int = 1) -> Rows:
    """Random rows; labels have nothing to do with features until a test says so."""
    random = np.random.default_rng(seed)
    return [
        {
            "length": float(random.normal()),
            "width": float(random.normal()),
            "colour": str(random.choice(COLOURS)),
            "importance": float(random.uniform(0.1, 3)),
            "kind": str(random.choice(KINDS)),
            "price": float(random.normal()),
        }
        for _ in range(count)
    ]


def example(row: Mapping[str, Any]) -> bytes:
    def feature(value: Any) -> tf.train.Feature:
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    features = {name: feature(value) for name, value in row.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_examples(folder: Path, table: Rows, split: str = "eval") -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(folder), json.dumps([split])
    os.makedirs(folder / f"Split-{split}")
    with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for row in table:
            writer.write(example(row))
    return artifact


def network(outputs: int, activation: str | None = None, seed: int = 1, normalised: bool = False) -> keras.Model:
    """A network over the transformed features."""
    keras.utils.set_random_seed(seed)
    inputs = {
        "length_xf": keras.Input((1,), name="length_xf"),
        "width_xf": keras.Input((1,), name="width_xf"),
        "colour_xf": keras.Input((1,), name="colour_xf", dtype="int64"),
    }
    colour = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(inputs["colour_xf"]))
    hidden = keras.layers.Concatenate()([inputs["length_xf"], inputs["width_xf"], colour])
    hidden = keras.layers.Dense(5, activation="tanh")(hidden)
    if normalised:
        hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, keras.layers.Dense(outputs, activation=activation)(hidden))


def export(
    model: keras.Model, folder: Path, *, two_outputs: bool = False, features_of_model: bool = False, split: bool = True
) -> standard_artifacts.Model:
    """A Trainer's export: signatures over serialized examples, with lookup tables in the transform.

    Args:
      two_outputs: predictions, and the same halved.
      features_of_model: the transformed features hold something that depends on the weights.
      split: whether the export says which part of serving_default comes before the weights.
    """
    root = ServedModel(model)
    inputs = {key: tf.TensorSpec(tensor.shape, tensor.dtype, key) for key, tensor in model.input.items()}
    root.tables = [_table(COLOURS), _table(KINDS)]

    def transformed(raw: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "length_xf": (raw["length"] - 0.25) / 2.0,
            "width_xf": _one_column(raw["width"]),
            "colour_xf": root.tables[0].lookup(raw["colour"]),
        }

    @tf.function(input_signature=[_EXAMPLES])
    def features(examples: Any) -> dict[str, Any]:
        return transformed(tf.io.parse_example(examples, _UNLABELLED))

    @tf.function(input_signature=[inputs])
    def answer(given: Any) -> dict[str, Any]:
        predicted = root.model(given, training=False)
        return {"score": predicted, "half": predicted / 2} if two_outputs else {"score": predicted}

    @tf.function(input_signature=[_EXAMPLES])
    def serve(examples: Any) -> dict[str, Any]:
        return answer(features(examples))

    if split:
        root.features, root.answer = features, answer

    @tf.function(input_signature=[_EXAMPLES])
    def transform_features(examples: Any) -> dict[str, Any]:
        raw = tf.io.parse_example(examples, _LABELLED)
        kind = root.tables[1].lookup(raw["kind"])
        features = transformed(raw)
        if features_of_model:
            features["score_xf"] = root.model(features, training=False)
        labels = {"kind_xf": kind, "is_ash_xf": tf.cast(kind == 0, tf.int64), "importance_xf": raw["importance"] * 2}
        return features | labels

    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    signatures = {"serving_default": serve, "transform_features": transform_features}
    tf.saved_model.save(root, str(folder / "Format-Serving"), signatures=signatures)
    return artifact


def _one_column(sparse: Any) -> Any:
    one_wide = tf.SparseTensor(sparse.indices, sparse.values, [sparse.dense_shape[0], 1])
    return tf.ensure_shape(tf.sparse.to_dense(one_wide, default_value=0.0), [None, 1])


def _table(words: Sequence[str]) -> Any:
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(words), tf.range(len(words), dtype=tf.int64))
    return tf.lookup.StaticHashTable(pairs, default_value=-1)


def write_survivors(
    folder: Path, model: keras.Model, weights: Sequence[Sequence[Any]], runs: Sequence[str] = ()
) -> Any:
    """A CheckpointSet with one survivor for each list of weights, at the steps 10, 20, …; `runs` if not all of one."""
    keys = list(runs) or ["run"] * len(weights)
    verdicts = []
    for number, (values, run) in enumerate(zip(weights, keys, strict=True), 1):
        step = 10 * number
        name = f"step-{step:09d}" if not runs else f"{run}--step-{step:09d}"
        place = folder / "survivors" / name
        os.makedirs(place)
        model.set_weights(values)
        tf.train.Checkpoint(model=model).write(str(place / "ckpt"))
        files = [
            FileEntry(
                path=path.name,
                bytes=path.stat().st_size,
                checksum="sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
            )
            for path in sorted(place.iterdir())
        ]
        manifest = Manifest.build(
            record=Record(step, number, {"loss": 1.0}), time=0.0, kind="gated", run=run, decision="", rules="",
            files=files, writer="test",
        )  # fmt: skip
        (place / "manifest.json").write_bytes(manifest.to_bytes())
        verdicts.append({"run": run, "step": step, "outcome": "keep", "reason": "as told"})
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))
    about = {"format": 1, "runs": sorted(set(keys)), "pruned_earlier": [], "rules_digest": "f" * 64}
    (folder / "set.json").write_text(json.dumps(about))
    artifact = CheckpointSet()
    artifact.uri = str(folder)
    return artifact


def write_schema(folder: Path, text: str = SCHEMA) -> standard_artifacts.Schema:
    artifact = standard_artifacts.Schema()
    artifact.uri = str(folder)
    os.makedirs(folder)
    (folder / "schema.pbtxt").write_text(text)
    return artifact


def existing_world(folder: Path) -> dict[str, Any]:
    """The inputs of the executor, from what the functions above wrote below `folder`."""
    found = {
        "survivors": (CheckpointSet, "set"),
        "examples": (standard_artifacts.Examples, "examples"),
        "trained_model": (standard_artifacts.Model, "trained"),
        "schema": (standard_artifacts.Schema, "schema"),
    }
    inputs = {}
    for key, (kind, name) in found.items():
        inputs[key] = kind()
        inputs[key].uri = str(folder / name)
    inputs["examples"].split_names = json.dumps(["eval"])
    return inputs


def run_evaluator(
    folder: Path,
    inputs: Mapping[str, Any],
    eval_config: config_pb2.EvalConfig,
    select: Selector,
    *,
    average: bool = False,
    on_no_candidate: Literal["fail", "keep_champion"] = "fail",
    splits: Sequence[str] = ("eval",),
    beam_args: Sequence[str] = BEAM_ARGS,
) -> tuple[Any, Any]:
    """Runs the executor with the properties that the component gives it; (model, evaluation)."""
    component = CheckpointEvaluator(
        **{
            name: channel_utils.as_channel([inputs[key]])
            for name, key in (("survivors", "survivors"), ("examples", "examples"), ("model", "trained_model"))
        },
        eval_config=eval_config,
        select=select,
        average=average,
        on_no_candidate=on_no_candidate,
        example_splits=splits,
    )
    model, evaluation = standard_artifacts.Model(), standard_artifacts.ModelEvaluation()
    model.uri, evaluation.uri = str(folder / "model"), str(folder / "evaluation")
    context = Executor.Context(beam_pipeline_args=list(beam_args), tmp_dir=str(folder / "tmp"), unique_id="1")
    Executor(context).Do(
        {key: [artifact] for key, artifact in inputs.items()},
        {"model": [model], "evaluation": [evaluation]},
        dict(component.exec_properties),
    )
    return model, evaluation
