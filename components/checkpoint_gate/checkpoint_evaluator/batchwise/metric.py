"""The metric that stands in TFMA's config for one of TFMA's own, and computes the same batch by batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2

from checkpoint_gate.checkpoint_evaluator.batchwise.columns import Source
from checkpoint_gate.checkpoint_evaluator.batchwise.combiner import BatchCombiner
from checkpoint_gate.checkpoint_evaluator.batchwise.computing import COUNTS, Derivation, Wanted, computed_of
from checkpoint_gate.checkpoint_evaluator.batchwise.parts import Part


class Batchwise(tfma.metrics.Metric):
    """Stands for a metric of TFMA or Keras under the same name."""

    def __init__(self, name: str, metric: str, options: Mapping[str, Any]) -> None:
        super().__init__(self._create, name=name, metric=metric, options=dict(options))

    @property
    def compute_confidence_interval(self) -> bool:
        return self.kwargs["metric"] not in COUNTS

    def wanted(self, source: Source) -> Wanted:
        """The metric of a source."""
        options = json.dumps(self.kwargs["options"], sort_keys=True)
        return Wanted(self.kwargs["metric"], self.kwargs["name"], options, source)

    def _create(
        self,
        name: str,
        metric: str,
        options: Mapping[str, Any],
        eval_config: config_pb2.EvalConfig,
        model_names: Sequence[str],
        output_names: Sequence[str],
        example_weighted: bool,
    ) -> metric_types.MetricComputations:
        wanted = [self.wanted(Source(m, o, example_weighted)) for m in model_names for o in output_names]
        derived = [
            metric_types.DerivedMetricComputation(list(computed_of(one).keys), Derivation(one))
            for one in wanted
            if computed_of(one).keys
        ]
        # The same for every metric, so that TFMA computes it once: what is looked up of a batch serves all of them.
        config = eval_config.SerializeToString(deterministic=True)
        keys = [part.key for part in parts_of(config)]
        return [metric_types.MetricComputation(keys, None, BatchCombiner(config, parts_of)), *derived]


@lru_cache(maxsize=8)  # asked for in every stage
def parts_of(config: bytes) -> tuple[Part, ...]:
    """All parts of all batch-wise metrics of a serialized EvalConfig, each once."""
    parsed = config_pb2.EvalConfig.FromString(config)
    specs = [spec for spec in parsed.metrics_specs if not spec.query_key]
    parts = {}
    for key, _, metric in metric_specs.keys_and_metrics_from_specs(parsed, specs):
        if isinstance(metric, Batchwise):
            part = computed_of(metric.wanted(Source(key.model_name, key.output_name, key.example_weighted))).part
            parts[part.key] = part
    return tuple(parts.values())
