"""One sentence on why TFMA's thresholds let a model pass or did not. Pure: reads protos, writes words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from checkpoint_gate.evaluator.measurements import (
    ALL_EXAMPLES,
    Measurements,
    Metric,
    bounds_in_words,
    metric_of,
    number,
    percent,
    signed,
    slice_of,
    slicing_in_words,
)

_SHOWN = 3  # thresholds, and slices, spelled out; more of them would bury the first


def why_blessed(measured: Measurements, guarded: Collection[str]) -> str:
    """Why a model passed.

    Args:
        measured: the evaluation.
        guarded: names of the metrics that have thresholds; only they are shown.
    """
    shown = []
    for where, metric in sorted(measured.values):
        value = measured.challenger(where, metric)
        if where == ALL_EXAMPLES and metric.name in guarded and value is not None:
            shown.append(_against(metric, value, measured.champion(where, metric)))
    values = f": {', '.join(shown)} on {ALL_EXAMPLES}" if shown else ""
    return f"every threshold holds{values}"


def why_not_blessed(result: Any, measured: Measurements) -> str:
    """Why a model did not pass: the thresholds that failed, each with slice, value and bound.

    Args:
        result: TFMA's `ValidationResult` (`tfma.load_validation_result`) that is not ok.
        measured: the evaluation.
    """
    failures = list(_failures(result, measured))
    if not failures:
        return "the evaluation did not confirm that every threshold holds"
    more = len(failures) - _SHOWN
    return "; ".join(failures[:_SHOWN]) + (f"; and {more} more thresholds failed" if more > 0 else "")


def _failures(result: Any, measured: Measurements) -> Iterator[str]:
    """A sentence for each threshold that failed: all examples first; slices too, since TFMA's thresholds hold there."""
    by_slice = [(slice_of(of_slice), of_slice.failures) for of_slice in result.metric_validations_per_slice]
    by_threshold: dict[tuple[bytes, bytes], list[tuple[str, Any]]] = {}
    for where, failures in sorted(by_slice, key=lambda pair: (pair[0] != ALL_EXAMPLES, pair[0])):
        for failure in failures:
            threshold = failure.metric_threshold.SerializeToString(deterministic=True)
            by_threshold.setdefault((metric_of(failure.metric_key).identity, threshold), []).append((where, failure))
    for (where, failure), *others in by_threshold.values():
        yield failure_in_words(where, failure, measured) + _also(where for where, _ in others)
    for spec in result.missing_slices:
        yield missing_slice_in_words(spec)
    if result.missing_cross_slices:
        yield f"{len(result.missing_cross_slices)} pairs of slices that have a threshold were not found"


def missing_slice_in_words(spec: Any) -> str:
    """A `SlicingSpec` that has a threshold but no examples."""
    return f"no example falls into {slicing_in_words(spec)}, for which there is a threshold"


def _also(places: Iterable[str]) -> str:
    places = list(places)
    more = [f"{len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
    return f" (fails also on {', '.join([*places[:_SHOWN], *more])})" if places else ""


def failure_in_words(where: str, failure: Any, measured: Measurements) -> str:
    """A `ValidationFailure` on the slice `where`, with its value and its bound."""
    metric = metric_of(failure.metric_key)
    if not failure.HasField("metric_value"):
        return f"no {metric.name} was computed on {where}, for which there is a threshold"
    value = failure.metric_value.double_value.value
    bounds = bounds_in_words(failure.metric_threshold)
    champion, challenger = measured.champion(where, metric), measured.challenger(where, metric)
    if failure.metric_threshold.HasField("value_threshold"):
        return f"{_against(metric, value, champion)} on {where}, required is {bounds}"
    if champion is None or challenger is None:
        return f"{metric.name} changed by {number(value)} on {where}, required is {bounds}"
    values = _against(metric, challenger, champion)
    return f"{values} on {where}, a change of {_change(value, champion)}, required is {bounds}"


def _against(metric: Metric, challenger: float, champion: float | None) -> str:
    values = f"{metric.name} is {number(challenger)}"
    return values if champion is None else f"{values} against the champion's {number(champion)}"


def _change(change: float, champion: float) -> str:
    if champion == 0:
        return f"{signed(change)} (no percentage: the champion's value is 0)"
    return f"{signed(change)} ({percent(change / champion)})"
