"""The metrics that a pipeline.yaml may name, and what TFMA calls their values."""

from __future__ import annotations

import re
from typing import Literal

Task = Literal["regression", "binary", "multiclass"]

_ANY = ("ExampleCount",)
_CONFUSION = (
    "AUC",
    "AUCPrecisionRecall",
    "BalancedAccuracy",
    "BinaryAccuracy",
    "F1Score",
    "FallOut",
    "FalseDiscoveryRate",
    "FalseNegatives",
    "FalseOmissionRate",
    "FalsePositives",
    "FowlkesMallowsIndex",
    "MatthewsCorrelationCoefficient",
    "MissRate",
    "NegativePredictiveValue",
    "Precision",
    "Prevalence",
    "Recall",
    "Specificity",
    "TrueNegatives",
    "TruePositives",
)

KNOWN: dict[Task, tuple[str, ...]] = {
    "multiclass": (
        *_ANY,
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossentropy",
        "SparseTopKCategoricalAccuracy",
        "MultiClassConfusionMatrixPlot",
    ),
    "binary": (
        *_ANY,
        "BinaryCrossentropy",
        *_CONFUSION,
        "Calibration",
        "CoefficientOfDiscrimination",
        "MeanLabel",
        "MeanPrediction",
        "CalibrationPlot",
        "ConfusionMatrixPlot",
    ),
    "regression": (
        *_ANY,
        "MeanSquaredError",
        "MeanAbsoluteError",
        "RootMeanSquaredError",
        "MeanAbsolutePercentageError",
        "MeanSquaredLogarithmicError",
        "LogCoshError",
        "Calibration",
        "MeanLabel",
        "MeanPrediction",
        "SquaredPearsonCorrelation",
    ),
}
"""Class names by task: those of TFMA and Keras that need no arguments and fit the task's predictions."""

DEFAULT: dict[Task, tuple[str, ...]] = {
    "multiclass": ("ExampleCount", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
    "binary": ("ExampleCount", "BinaryAccuracy", "BinaryCrossentropy", "AUC"),
    "regression": ("ExampleCount", "MeanSquaredError", "MeanAbsoluteError"),
}

LOSS: dict[Task, str] = {
    "multiclass": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
    "regression": "mean_squared_error",
}
"""The metric that candidates are chosen by unless `evaluate.select` says otherwise; smaller is better."""


def snake_case(class_name: str) -> str:
    """The name under which TFMA reports a metric class: `AUC` is `auc`, `F1Score` is `f1_score`.

    The same two substitutions as `metric_specs` of tensorflow-model-analysis.
    """
    intermediate = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", intermediate).lower()


def value_names(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """The names of those `metrics` whose value is one number; plots have none."""
    return tuple(snake_case(name) for name in metrics if not name.endswith("Plot"))
