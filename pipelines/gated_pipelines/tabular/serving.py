"""The signatures of the exported model, over serialized tf.Examples of raw columns."""

from __future__ import annotations

import tempfile
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from checkpoint_gate.models.exporting import ServedModel
from checkpoint_gate.models.label_classes import classes_asset
from gated_pipelines.tabular.network import Network, network_asset

# What serving_default answers with, by task.
OUTPUTS = {"multiclass": "probabilities", "binary": "probability", "regression": "prediction"}
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")


def export(model: keras.Model, transform: tft.TFTransformOutput, network: Network, folder: str) -> None:
    """Writes a SavedModel. It carries what its network is like, and the label's classes in the order of its outputs.

    Signatures, each over a vector of serialized tf.Examples:
      serving_default: features in, predictions out, without the label; see OUTPUTS for the name.
      transform_features: features and label in, transformed features and label out; TFMA takes the label from it.
    """
    spec = network.spec
    layer = transform.transform_features_layer()
    root = ServedModel(model, transform=layer)
    raw = transform.raw_feature_spec()
    unlabelled = {column: kind for column, kind in raw.items() if column != spec.label}
    wanted = [*spec.numeric_keys().values(), *spec.categorical_keys().values()]

    @tf.function(input_signature=[_EXAMPLES])  # type: ignore[untyped-decorator]
    def features(examples: Any) -> dict[str, Any]:
        transformed = layer(tf.io.parse_example(examples, unlabelled))
        return {key: transformed[key] for key in wanted}

    inputs = {key: tf.TensorSpec([None, 1], transform.transformed_feature_spec()[key].dtype, key) for key in wanted}

    @tf.function(input_signature=[inputs])  # type: ignore[untyped-decorator]
    def answer(features: Any) -> dict[str, Any]:
        return {OUTPUTS[spec.task]: root.model(features, training=False)}

    @tf.function(input_signature=[_EXAMPLES])  # type: ignore[untyped-decorator]
    def serve(examples: Any) -> dict[str, Any]:
        answered: dict[str, Any] = answer(features(examples))
        return answered

    @tf.function(input_signature=[_EXAMPLES])  # type: ignore[untyped-decorator]
    def transform_features(examples: Any) -> dict[str, Any]:
        transformed: dict[str, Any] = layer(tf.io.parse_example(examples, raw))
        return transformed

    root.features, root.answer = features, answer
    signatures = {"serving_default": serve, "transform_features": transform_features}
    with tempfile.TemporaryDirectory() as assets:
        root.network = network_asset(network, assets)
        if spec.classes:
            root.label_classes = classes_asset(spec.classes, assets)
        tf.saved_model.save(root, folder, signatures=signatures)
