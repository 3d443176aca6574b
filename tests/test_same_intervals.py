"""The same examples give the same confidence intervals, so that a choice within noise can be repeated."""

from __future__ import annotations

from functools import partial

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2
from tfx.types import standard_artifacts

from checkpoint_gate.checkpoint_evaluator.evaluating import evaluate, wire_separately
from checkpoint_gate.checkpoint_evaluator.measured import read_measured
from checkpoint_gate.checkpoint_evaluator.measuring import Measuring
from checkpoint_gate.rules.selection import Candidate

SCHEMA = """
feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "y" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
"""
CONFIG = """
model_specs { signature_name: "serving_default" label_key: "y" }
metrics_specs { metrics { class_name: "BinaryAccuracy" } metrics { class_name: "BinaryCrossentropy" } }
slicing_specs {}
options { compute_confidence_intervals { value: true } }
"""


def export(folder: str, bias: float) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        return {"probability": tf.sigmoid(5.0 * (x - bias))}

    tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": serve})


def write_examples(folder) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(folder), '["eval"]'
    (folder / "Split-eval").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "Split-eval" / "data-00000-of-00001.gz"), "GZIP") as writer:
        for x in np.random.default_rng(0).normal(size=100):
            features = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[x])),
                "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(x > 0)])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return examples


def test_the_same_examples_give_the_same_intervals(tmp_path):
    models = {}
    for name, bias in (("a", 0.1), ("b", 0.3)):
        models[name] = str(tmp_path / name)
        export(models[name], bias)
    examples = write_examples(tmp_path / "examples")
    schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
    config = text_format.Parse(CONFIG, config_pb2.EvalConfig())
    candidates = [Candidate(name, "run", step) for step, name in enumerate(models, 1)]
    found = []
    for time in ("first", "second"):
        output, scratch = str(tmp_path / time), tmp_path / f"{time}-scratch"
        scratch.mkdir()
        measuring = Measuring(config, [examples], ["eval"], schema, output, str(scratch))
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            evaluate(pipeline, partial(wire_separately, models), measuring)
        found.append(read_measured(output, candidates))
    assert set(found[0][0].intervals) == {"binary_accuracy", "binary_crossentropy"}
    assert found[0] == found[1]
