"""How candidates are evaluated, which depends on what the Trainer exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma

from checkpoint_gate.checkpoint_evaluator.examples import require_fit
from checkpoint_gate.checkpoint_evaluator.measuring import Measuring
from checkpoint_gate.errors import ModelError
from checkpoint_gate.models.exporting import state_beside_variables, weights_used

_DEFAULT_PREPROCESSING = ("transformed_features", "transformed_labels")  # what TFMA looks for when told nothing
_PREDICT = "predict"


@dataclass(frozen=True)
class Plan:
    """How checkpoints of the model in an export are evaluated.

    Attributes:
      trained: the Trainer's export.
      signature: the one that predicts.
      preprocessing: the other signatures that TFMA calls.
      apart: why the checkpoints must be evaluated as models of their own; None when they can be stacked.
      split: whether what comes before the weights is done once a batch for all of them.
    """

    trained: str
    signature: str
    preprocessing: tuple[str, ...]
    apart: str | None
    split: bool


def plan_of(trained: str, loaded: Any, measuring: Measuring, prefix: str, sample: Sequence[bytes]) -> Plan:
    """The plan for checkpoints like that at `prefix`.

    Args:
      trained, loaded: the Trainer's export, and the same as `load_trained` gives it.
      measuring: what is measured, and on what.
      prefix: of a checkpoint.
      sample: some of the examples.

    Raises:
      EvaluationError: the export does not answer the sample.
      ModelError: it has no signature to predict with.
    """
    spec = measuring.eval_config.model_specs[0]
    signature = serving_signature(loaded, spec)
    preprocessing = tuple(preprocessing_signatures(loaded, spec))
    require_fit(loaded, (signature, *preprocessing), sample, measuring.splits)
    apart = why_not_stacked(loaded, spec, prefix)
    return Plan(trained, signature, preprocessing, apart, can_be_split(loaded, signature, sample))


def why_not_stacked(loaded: Any, spec: tfma.ModelSpec, prefix: str) -> str | None:
    """Why checkpoints like that at `prefix` must be evaluated as models of their own; None when they can be stacked."""
    if spec.model_type not in ("", tfma.constants.TF_GENERIC):
        return f"model_type is {spec.model_type}"
    for name in spec.preprocessing_function_names:
        if "@" not in name and name not in loaded.signatures:
            return f"the preprocessing function {name} is no signature"
    for name in preprocessing_signatures(loaded, spec):
        if weights_used(loaded, loaded.signatures[name]):
            return f"the preprocessing function {name} reads the weights, so that its results differ"
    state = state_beside_variables(prefix)
    return None if state is None else f"the model keeps state that is no variable, {state}"


def serving_signature(loaded: Any, spec: tfma.ModelSpec) -> str:
    """The name of the signature that TFMA will ask for predictions.

    Raises:
      ModelError: the export has no such signature, or it does not read the weights below `model`, so that every
        checkpoint would predict the same.
    """
    default = _PREDICT if _PREDICT in loaded.signatures else tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    name: str = spec.signature_name or default
    if name not in loaded.signatures:
        have = ", ".join(sorted(loaded.signatures)) or "none"
        raise ModelError(f"The Trainer's export has no signature {name!r} to predict with. Received: {have}.")
    if not weights_used(loaded, loaded.signatures[name]):
        raise ModelError(
            f"The signature {name} of the Trainer's export does not read the weights below its attribute `model`, "
            "so that every checkpoint would predict the same."
        )
    return name


def preprocessing_signatures(loaded: Any, spec: tfma.ModelSpec) -> list[str]:
    """Those of the export's signatures that TFMA will call for labels, weights and slices."""
    names = spec.preprocessing_function_names or _DEFAULT_PREPROCESSING
    return [name for name in (name.partition("@")[0] for name in names) if name in loaded.signatures]


@dataclass(frozen=True)
class Parts:
    """The two functions that a signature is made of: `features` reads no weights, `answer` takes what it gives."""

    features: Any
    answer: Any


def parts_of(loaded: Any, whole: Any) -> Parts | None:
    """The parts of an export's signature `whole`, where the export has both as attributes and they fit; else None."""
    if not (hasattr(loaded, "features") and hasattr(loaded, "answer")):
        return None
    specs = whole.structured_input_signature[1]
    try:
        features = tf.function(lambda **inputs: loaded.features(*inputs.values())).get_concrete_function(**specs)
        given = features.structured_outputs
        answer = tf.function(lambda **features: loaded.answer(features)).get_concrete_function(**given)
    except (TypeError, ValueError):  # they take or give something else
        return None
    reads = [set(weights_used(loaded, function)) for function in (features, answer, whole)]
    return Parts(features, answer) if reads == [set(), reads[2], reads[2]] else None


def can_be_split(loaded: Any, signature: str, sample: Sequence[bytes]) -> bool:
    """Whether the parts of an export give on a sample of examples what its signature gives."""
    whole = loaded.signatures[signature]
    specs = whole.structured_input_signature[1]
    parts = parts_of(loaded, whole)
    if parts is None or len(specs) != 1:
        return False
    given = {next(iter(specs)): tf.constant(list(sample))}
    expected, found = whole(**given), parts.answer(**parts.features(**given))
    return set(expected) == set(found) and all(
        np.allclose(expected[name], found[name], rtol=1e-6, equal_nan=True) for name in expected
    )
