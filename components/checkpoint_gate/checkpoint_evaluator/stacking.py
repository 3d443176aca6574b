"""One model that predicts for many checkpoints at once.

Every checkpoint is of the same graph, so the Trainer's export is loaded once, with one set of tables and constants, and
its signature is called once for each checkpoint with that checkpoint's weights in the place of its own. Where the
export says how its signature is made of a part without weights and a part with them, the first is called once a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from checkpoint_gate.checkpoint_evaluator.planning import Plan, parts_of
from checkpoint_gate.models.exporting import load_trained, restore, weights_used

_BETWEEN = "\n"  # a candidate's name and an output's, neither of which can hold it


@dataclass(frozen=True)
class Stack:
    """Makes the stacked model, in whichever process needs it.

    Attributes:
      plan: says which export, and which of its signatures.
      checkpoints: (name, prefix) of each candidate.
    """

    plan: Plan
    checkpoints: tuple[tuple[str, str], ...]

    def __call__(self) -> StackedModel:
        return StackedModel(self)


class StackedModel:
    """Holds the export once and the weights of every checkpoint.

    Its `signatures` are the export's; that which predicts gives every output of every candidate, see `by_candidate`.
    """

    def __init__(self, stack: Stack) -> None:
        plan = stack.plan
        self.trained = load_trained(plan.trained)
        whole = self.trained.signatures[plan.signature]
        self.parts = parts_of(self.trained, whole) if plan.split else None
        weighted = whole if self.parts is None else self.parts.answer
        used = weights_used(self.trained, weighted).values()
        self.weights = {}
        for name, prefix in stack.checkpoints:
            restore(self.trained, prefix)
            self.weights[name] = [tf.Variable(weight, trainable=False) for weight in used]
        own = list(weighted.captured_inputs)

        def predict(**inputs: Any) -> dict[str, Any]:
            given = inputs if self.parts is None else self.parts.features(**inputs)
            outputs = {}
            for name, weights in self.weights.items():
                instead = {id(mine.handle): theirs.handle for mine, theirs in zip(used, weights, strict=True)}
                weighted.set_external_captures([instead.get(id(tensor), tensor) for tensor in own])
                for output, tensor in weighted(**given).items():
                    outputs[f"{name}{_BETWEEN}{output}"] = tensor
            weighted.set_external_captures(own)
            return outputs

        specs = whole.structured_input_signature[1]
        self.signatures = {name: self.trained.signatures[name] for name in plan.preprocessing}
        self.signatures[plan.signature] = Signature(
            tf.function(predict, autograph=False).get_concrete_function(**specs)
        )


class Signature:
    """Calls a function as the signatures of a SavedModel are called: inputs by name, or a lone one by place."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.structured_input_signature = function.structured_input_signature

    def __call__(self, *alone: Any, **named: Any) -> Any:
        names = self.structured_input_signature[1]
        return self.function(**(named or dict(zip(names, alone, strict=True))))


def by_candidate(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a stacked model predicts, as TFMA gives it for several models: name -> value, or -> output -> value."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in outputs.items():
        name, _, output = key.partition(_BETWEEN)
        nested.setdefault(name, {})[output] = value
    return {name: _alone(values) for name, values in nested.items()}


def _alone(values: dict[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else values
