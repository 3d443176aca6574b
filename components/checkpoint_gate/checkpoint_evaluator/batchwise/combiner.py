"""The Beam combiner that feeds batches to parts of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.checkpoint_evaluator.batchwise.columns import Batch
from checkpoint_gate.checkpoint_evaluator.batchwise.parts import Part
from checkpoint_gate.checkpoint_evaluator.batchwise.rows import batch_of, length_of, origin_of

_ENOUGH = 1_000  # examples to wait for: numpy's price of a call is then spread over many
_BATCHES = 100  # but not longer than this: an example of a rare slice keeps its whole batch in memory


class Accumulated:
    """Inputs that wait to become a batch, and the sums of those that were."""

    __slots__ = ("batches", "origin", "rows", "sums", "waiting")

    def __init__(self, parts: int) -> None:
        self.waiting: list[metric_types.StandardMetricInputs] = []
        self.rows = self.batches = self.origin = 0
        self.sums: list[Any] = [None] * parts


class BatchCombiner(beam.CombineFn):
    """Computes the values of parts; takes an example at a time as well as a batch.

    Args:
      config: a serialized EvalConfig, all that is sent to the stages of a pipeline.
      parts_of: gives the parts of such a config; a function that can be imported.
    """

    def __init__(self, config: bytes, parts_of: Callable[[bytes], Sequence[Part]]) -> None:
        self._serialized = config
        self._parts_of = parts_of
        self._parts = parts_of(config)
        self._config = config_pb2.EvalConfig.FromString(config)

    def __reduce__(self) -> Any:
        return BatchCombiner, (self._serialized, self._parts_of)

    def create_accumulator(self) -> Accumulated:
        return Accumulated(len(self._parts))

    def add_input(self, accumulator: Accumulated, element: metric_types.StandardMetricInputs) -> Accumulated:
        accumulator.waiting.append(element)
        accumulator.rows += length_of(element)
        origin = origin_of(element)
        if origin != accumulator.origin:
            accumulator.origin = origin
            accumulator.batches += 1
        if accumulator.rows >= _ENOUGH or accumulator.batches >= _BATCHES:
            self._digest(accumulator)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulated]) -> Accumulated:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            self._digest(accumulator)
            merged.sums = [_added(*both) for both in zip(merged.sums, accumulator.sums, strict=True)]
        return merged

    def compact(self, accumulator: Accumulated) -> Accumulated:
        self._digest(accumulator)
        return accumulator

    def extract_output(self, accumulator: Accumulated) -> dict[metric_types.MetricKey, Any]:
        self._digest(accumulator)
        return {part.key: part.value(sums) for part, sums in zip(self._parts, accumulator.sums, strict=True)}

    def _digest(self, accumulator: Accumulated) -> None:
        if not accumulator.waiting:
            return
        batch = Batch(batch_of(accumulator.waiting), self._config)
        sums = [part.sums(batch) for part in self._parts]
        accumulator.sums = [_added(*both) for both in zip(accumulator.sums, sums, strict=True)]
        accumulator.waiting = []
        accumulator.rows = accumulator.batches = accumulator.origin = 0


def _added(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one + other
