"""The tabular model: a multilayer perceptron over z-scores and embedded categories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from gated_pipelines.config.spec import TabularSpec


@dataclass(frozen=True, slots=True)
class LabelScale:
    """Mean and standard deviation of a regression label in the training split, in the label's unit."""

    mean: float = 0.0
    deviation: float = 1.0


def build_model(
    spec: TabularSpec, vocabularies: Mapping[str, int], model: Mapping[str, Any], scale: LabelScale
) -> keras.Model:
    """A compiled functional model.

    Args:
      spec: the table.
      vocabularies: categorical feature -> number of ids, the out-of-vocabulary one not counted.
      model: `hidden` (units of each layer), `dropout`, `learning_rate`, as in pipeline.yaml.
      scale: for regression, so that the network itself works on standardised labels; loss and predictions stay in the
        label's unit.

    Returns:
      Inputs: feature -> [batch, 1]. Output: [batch, classes] probabilities, [batch, 1] probability of the positive
      class, or [batch, 1] the predicted label.
    """
    inputs, parts = {}, []
    for key in spec.numeric_keys().values():
        inputs[key] = keras.Input((1,), name=key)
        parts.append(inputs[key])
    for key in spec.categorical_keys().values():
        inputs[key] = keras.Input((1,), name=key, dtype="int64")
        ids = vocabularies[key] + 1
        width = min(16, math.ceil(math.sqrt(ids)) + 1)
        parts.append(keras.layers.Flatten()(keras.layers.Embedding(ids, width)(inputs[key])))
    hidden = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for units in model["hidden"]:
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
        if model["dropout"]:
            hidden = keras.layers.Dropout(model["dropout"])(hidden)
    network = keras.Model(inputs, _head(spec, scale)(hidden))
    network.compile(
        optimizer=keras.optimizers.Adam(model["learning_rate"]),
        loss=_LOSSES[spec.task],
        # Jitted steps are no faster for so small a network, and compiling takes seconds.
        jit_compile=False,
        metrics=_metrics(spec),
    )
    return network


_LOSSES = {
    "regression": "mean_squared_error",
    "binary": "binary_crossentropy",
    "multiclass": "sparse_categorical_crossentropy",
}


def _head(spec: TabularSpec, scale: LabelScale) -> Any:
    if spec.task == "multiclass":
        return keras.layers.Dense(len(spec.classes), activation="softmax")
    if spec.task == "binary":
        return keras.layers.Dense(1, activation="sigmoid")
    head = keras.layers.Dense(1)
    rescale = keras.layers.Rescaling(scale.deviation, offset=scale.mean)
    return lambda hidden: rescale(head(hidden))


def _metrics(spec: TabularSpec) -> list[Any]:
    if spec.task == "regression":
        return [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")]
    if spec.task == "binary":
        return [keras.metrics.BinaryAccuracy(name="accuracy"), keras.metrics.AUC(name="auc")]
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
