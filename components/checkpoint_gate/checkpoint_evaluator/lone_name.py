"""The name of a lone candidate in a written evaluation: TFMA drops it, so that no reader could ask by it."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2

_KINDS = {
    "metrics": metrics_for_slice_pb2.MetricsForSlice,
    "plots": metrics_for_slice_pb2.PlotsForSlice,
    "attributions": metrics_for_slice_pb2.AttributionsForSlice,
    "validations": validation_result_pb2.ValidationResult,
}
_RUN = "eval_config.json"
_FIELD = "model_name"


def give_name(output: str, name: str) -> None:
    """Writes `name` into what `tfma.ExtractEvaluateAndWriteResults` wrote for one model into the folder `output`."""
    for kind, message in _KINDS.items():
        for path in tf.io.gfile.glob(os.path.join(output, f"{kind}*.tfrecord")):
            records = [message.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)]
            with tf.io.TFRecordWriter(path) as writer:
                for record in records:
                    _name(record, name)
                    writer.write(record.SerializeToString())
    path = os.path.join(output, _RUN)
    if tf.io.gfile.exists(path):
        _name_config(path, name)


def _name_config(path: str, name: str) -> None:
    with tf.io.gfile.GFile(path) as file:
        run = json_format.Parse(file.read(), config_pb2.EvalRun())
    run.eval_config.model_specs[0].name = name
    for metrics in run.eval_config.metrics_specs:
        del metrics.model_names[:]
        metrics.model_names.append(name)
    location = run.model_locations.pop("")
    run.model_locations[name] = location
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json_format.MessageToJson(run))


def _name(message: Any, name: str) -> None:
    """Names every key of a metric, plot or attribution in a message."""
    if _FIELD in message.DESCRIPTOR.fields_by_name:
        setattr(message, _FIELD, name)
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for one in [value] if isinstance(value, Message) else value:
            _name(one, name)
