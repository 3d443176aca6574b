"""Whether two SavedModels can be compared: one signature, one vocabulary of the label, and both answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from checkpoint_gate.brief_errors import brief
from checkpoint_gate.errors import ModelError
from checkpoint_gate.models.label_classes import read_classes
from checkpoint_gate.pushed.push_folder import GRAPH_FILE

_SHOWN = 5  # classes in a sentence


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a signature: `shape` holds None for a size that is not fixed, and is None for an unknown rank."""

    dtype: str
    shape: tuple[int | None, ...] | None

    def fits(self, other: Tensor) -> bool:
        """Whether both can be the same tensor; an unknown size fits any."""
        return self.dtype == other.dtype and tf.TensorShape(self.shape).is_compatible_with(other.shape)

    def __str__(self) -> str:
        sizes = "?" if self.shape is None else ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.dtype} [{sizes}]"


@dataclass(frozen=True, slots=True)
class Interface:
    """What a SavedModel takes and answers.

    Attributes:
        inputs, outputs: of the signature, by name.
        classes: of the label; None when the model does not say.
    """

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    classes: tuple[str, ...] | None


def read_interface(saved_model_dir: str, signature: str) -> Interface:
    """Reads the interface of a SavedModel without loading it.

    Raises:
        ModelError: the model cannot be read, or has no such signature.
    """
    path = os.path.join(saved_model_dir, GRAPH_FILE)
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            signatures = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].signature_def
    except (tf.errors.OpError, DecodeError, IndexError) as error:
        raise ModelError(f"{path} is missing or cannot be read ({brief(error)}).") from error
    if signature not in signatures:
        raise ModelError(f"{saved_model_dir} has no signature {signature}.")
    found = signatures[signature]
    return Interface(_tensors(found.inputs), _tensors(found.outputs), read_classes(saved_model_dir))


def difference(candidate: Interface, champion: Interface) -> str | None:
    """Why a candidate's metrics say nothing beside a champion's, in words; None when they do."""
    if candidate.classes is not None and champion.classes is not None and candidate.classes != champion.classes:
        return f"the label's classes differ: {_classes(candidate.classes, champion.classes)}"
    for what in ("inputs", "outputs"):
        ours, theirs = getattr(candidate, what), getattr(champion, what)
        if ours.keys() != theirs.keys() or not all(tensor.fits(theirs[name]) for name, tensor in ours.items()):
            return (
                f"the signature's {what} differ: the candidate's are {_listed(ours)}, the champion's {_listed(theirs)}"
            )
    return None


def fault_on_examples(
    saved_model_dir: str, signatures: Sequence[str], batches: Iterable[Sequence[bytes]]
) -> str | None:
    """Why a model cannot be evaluated on serialized examples, in words; None when it answers all of them.

    Args:
        saved_model_dir: folder of the SavedModel.
        signatures: those to ask; each takes one vector of serialized examples. Those that it does not have are left.
        batches: the examples.
    """
    try:
        found = tf.saved_model.load(saved_model_dir).signatures
    except Exception as error:  # loading runs the model's own code: anything may come out
        return f"it does not load ({brief(error)})"
    asked = [(name, found[name]) for name in signatures if name in found]
    for batch in batches:
        for name, function in asked:
            try:
                function(**{key: tf.constant(batch) for key in function.structured_input_signature[1]})
            except Exception as error:  # so does asking
                return f"its {name} fails on the examples ({brief(error)})"
    return None


def _tensors(infos: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: Tensor(tf.as_dtype(info.dtype).name, _shape(info.tensor_shape)) for name, info in infos.items()}


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.unknown_rank else tuple(None if d.size < 0 else int(d.size) for d in shape.dim)


def _classes(candidate: Sequence[str], champion: Sequence[str]) -> str:
    parts = [
        f"{who} has {_some(names)}, which {other} does not know"
        for who, other, names in (
            ("the candidate", "the champion", [name for name in candidate if name not in champion]),
            ("the champion", "the candidate", [name for name in champion if name not in candidate]),
        )
        if names
    ]
    return "; ".join(parts) or f"the candidate's order is {_some(candidate)}, the champion's {_some(champion)}"


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*map(repr, names[:_SHOWN]), *more])


def _listed(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in sorted(tensors.items())) or "none"
