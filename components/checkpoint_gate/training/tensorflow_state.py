"""The state of a model in TensorFlow's checkpoint format, captured in the time that references take.

`tf.train.Checkpoint.write` names every variable by its way through the object graph, which it walks anew each time, and
it cannot write what was, only what is. So the first write is its own; the names and the variables behind them are read
from what it wrote, and later ones write captured values under the same names. Any reader of the one reads the other.
Values are read the same way, several at a time, where what is there is just what the objects have variables for; all
else is left to TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2 as object_graph

from checkpoint_gate.training.saving import Write

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_THREADS = 4  # that read


@dataclass(frozen=True)
class _Layout:
    """The names in a checkpoint file, each with the variable behind it, and the serialized object graph."""

    shape: Hashable
    names: tuple[str, ...]
    variables: tuple[tf.Variable, ...]
    graph: tf.Tensor


class TensorFlowState:
    """What a `tf.train.Checkpoint` holds.

    Args:
      checkpoint: makes the Checkpoint, or answers with one; called at every write that walks the object graph.
      shape: something cheap that changes when the Checkpoint's objects do; by default they are looked through.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint | Callable[[], tf.train.Checkpoint],
        shape: Callable[[], Hashable] | None = None,
    ) -> None:
        self._make = checkpoint if callable(checkpoint) else lambda: checkpoint
        self._shape = shape if shape is not None else self._objects
        self._layout: _Layout | None = None

    def _objects(self) -> Hashable:
        checkpoint = self._make()  # what is held leads to it weakly
        return _held(checkpoint)

    def capture(self) -> Write | None:
        """A function that writes the state as it is now; None until `write` has learnt the names, or can't.

        Nothing is copied: reading a variable eagerly gives an immutable tensor that shares its buffer until the
        variable is next assigned to. Names can't be learnt under a distribution strategy, and where the Checkpoint
        holds more than plain variables (a lookup table, slots of a legacy optimizer).
        """
        layout = self._layout
        if layout is None or layout.shape != self._shape():
            return None
        # The raw op: `read_value` costs several times as much a variable.
        values = [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype) for v in layout.variables]
        return partial(_write, layout, values)

    def write(self, prefix: str) -> None:
        """Writes the state as it is now."""
        captured = self.capture()
        if captured is not None:
            captured(prefix)
            return
        checkpoint = self._make()
        checkpoint.write(prefix)
        self._layout = _learn(checkpoint, prefix, self._shape())

    def read(self, prefix: str) -> None:
        """Reads a written state into the objects.

        Raises:
          AssertionError: an object has no value there; from TensorFlow.
          ValueError: a value has another shape; from TensorFlow.
        """
        checkpoint = self._make()
        layout = _learn(checkpoint, prefix, None)
        if layout is not None and _fits(layout, checkpoint, prefix):
            _read(layout, prefix)
        else:
            checkpoint.read(prefix).assert_existing_objects_matched()


def _write(layout: _Layout, values: list[tf.Tensor], prefix: str) -> None:
    with tf.device("/CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=[*layout.names, _GRAPH],
            shape_and_slices=[""] * (len(layout.names) + 1),
            tensors=[*values, layout.graph],
        )


def _read(layout: _Layout, prefix: str) -> None:
    """Reads by TensorFlow's own operation, in threads: on two cores one alone took twice as long for 400 MB."""
    by_size = sorted(zip(layout.names, layout.variables, strict=True), key=_size, reverse=True)
    with ThreadPoolExecutor(_THREADS) as threads:
        for done in [threads.submit(_assign, by_size[start::_THREADS], prefix) for start in range(_THREADS)]:
            done.result()


def _size(each: tuple[str, tf.Variable]) -> int:
    return each[1].shape.num_elements() or 0  # None where a shape is open


def _assign(some: list[tuple[str, tf.Variable]], prefix: str) -> None:
    if not some:
        return
    names, variables = zip(*some, strict=True)
    with tf.device("/CPU:0"):
        values = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=list(names),
            shape_and_slices=[""] * len(names),
            dtypes=[variable.dtype for variable in variables],
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _fits(layout: _Layout, checkpoint: tf.train.Checkpoint, prefix: str) -> bool:
    """Whether each variable of `checkpoint` has a value of its dtype and shape there."""
    reader = tf.train.load_checkpoint(prefix)
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    alike = all(
        dtypes[name] == variable.dtype and variable.shape.is_compatible_with(shapes[name])
        for name, variable in zip(layout.names, layout.variables, strict=True)
    )
    return alike and {id(variable) for variable in layout.variables} == set(_held(checkpoint))


def _held(checkpoint: tf.train.Checkpoint) -> tuple[int, ...]:
    """The variables that a Checkpoint leads to."""
    holders = tf.train.TrackableView(checkpoint).descendants()
    return tuple(id(variable) for holder in holders if (variable := _plain_variable(holder)) is not None)


def _learn(checkpoint: tf.train.Checkpoint, prefix: str, shape: Hashable) -> _Layout | None:
    """The layout of what `checkpoint` has written; None where that is more than its plain variables."""
    reader = tf.train.load_checkpoint(prefix)
    serialized = reader.get_tensor(_GRAPH)
    nodes = object_graph.TrackableObjectGraph.FromString(serialized).nodes
    objects: dict[int, Any] = {0: checkpoint}
    variables: dict[str, tf.Variable] = {}
    for number, node in enumerate(nodes):  # parents come before their children
        if number not in objects:
            return None
        children = tf.train.TrackableView.children(objects[number]) if node.children else {}
        for child in node.children:
            if child.local_name in children:
                objects.setdefault(child.node_id, children[child.local_name])
        for attribute in node.attributes:
            variable = _plain_variable(objects[number])
            if variable is None or attribute.name != "VARIABLE_VALUE":
                return None
            variables[attribute.checkpoint_key] = variable
        if node.slot_variables:
            return None
    if {*variables, _GRAPH} != set(reader.get_variable_to_dtype_map()):
        return None
    return _Layout(shape, tuple(variables), tuple(variables.values()), tf.constant(serialized))


def _plain_variable(holder: Any) -> tf.Variable | None:
    """The variable that `holder` is, or that it stands for (Keras 3 has its own class around it)."""
    variable = holder if isinstance(holder, tf.Variable) else getattr(holder, "value", None)
    plain = isinstance(variable, tf.Variable) and not isinstance(variable, tf.distribute.DistributedValues)
    return variable if plain else None
