"""Candidate and champion side by side, for each threshold on each slice. Pure: reads protos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoint_gate.evaluator.measurements import (
    ALL_EXAMPLES,
    Measurements,
    Metric,
    bounds_in_words,
    metric_of,
    slice_of,
    slicing_in_words,
)
from checkpoint_gate.evaluator.verdict import Comparison

if TYPE_CHECKING:
    from checkpoint_gate.evaluator.eval_config import Threshold

_MOST = 50  # a threshold without slices binds on every slice, of which there may be thousands


class _Judged(NamedTuple):
    where: str
    metric: Metric
    bound: Any
    holds: bool


def compare(thresholds: Iterable[Threshold], measured: Measurements, result: Any) -> tuple[Comparison, ...]:
    """A row for each threshold on each slice that it binds on: those that failed first, then all examples; at most 50.

    Args:
        thresholds: those that judged.
        measured: the evaluation.
        result: TFMA's `ValidationResult`.
    """
    rows: dict[tuple[str, Metric, bytes], Comparison] = {}
    for judged in (*_failed(result), *_bound(tuple(thresholds), measured, result)):
        where, metric, bound, holds = judged
        values = measured.challenger(where, metric), measured.champion(where, metric)
        row = Comparison(metric.name, where, *values, _required(bound), holds)
        rows.setdefault((where, metric, bound.SerializeToString(deterministic=True)), row)
    return failed_first(rows.values())


def failed_first(rows: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The rows in order: those that failed, then all examples, then the slices; at most 50."""
    return tuple(sorted(rows, key=lambda row: (row.holds, row.slice != ALL_EXAMPLES, row.slice))[:_MOST])


def _failed(result: Any) -> Iterator[_Judged]:
    for of_slice in result.metric_validations_per_slice:
        for failure in of_slice.failures:
            yield _Judged(slice_of(of_slice), metric_of(failure.metric_key), failure.metric_threshold, False)


def _bound(thresholds: Iterable[Threshold], measured: Measurements, result: Any) -> Iterator[_Judged]:
    """What holds unless it failed: each threshold on each slice that was found; and not on those that were not."""
    missing = [slicing_in_words(spec) for spec in result.missing_slices]
    for threshold in thresholds:
        metric = metric_of(threshold.key)
        for where, columns in measured.slices.items():
            if binds(threshold.spec, columns):
                yield _Judged(where, metric, threshold.bound, True)
        if _of_one_slice(threshold.spec) and (where := slicing_in_words(threshold.spec)) in missing:
            yield _Judged(where, metric, threshold.bound, False)


def binds(spec: Any, columns: Mapping[str, str]) -> bool:
    """Whether a threshold on `spec` binds on the slice with these columns and values."""
    if spec is None:
        return True
    if not _of_one_slice(spec):
        return False
    values = dict(spec.feature_values)
    return {*spec.feature_keys, *values} == set(columns) and all(columns[name] == values[name] for name in values)


def _of_one_slice(spec: Any) -> bool:
    """Whether it is a `SlicingSpec`, rather than none or one for pairs of slices."""
    return spec is not None and hasattr(spec, "feature_keys")


def _required(bound: Any) -> str:
    words = bounds_in_words(bound)
    return words if bound.HasField("value_threshold") else f"a change of {words}"
