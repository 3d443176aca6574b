"""What a written TFMA evaluation says of each candidate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow_model_analysis as tfma

from checkpoint_gate.evaluator.measurements import Measurements, metric_of, slice_of
from checkpoint_gate.evaluator.reason import failure_in_words, missing_slice_in_words
from checkpoint_gate.rules.selection import Candidate, Failure, Interval

_NO_CHAMPION = Measurements({}, {}, "")


def read_measured(output: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with what the evaluation says of each.

    Metrics that are one number are taken, by TFMA's name; one of a class or of an output is "precision (class_id 2)".
    Where two metrics differ in nothing but weighting or averaging, that is added: "precision (macro_average)".

    Args:
      output: the folder that TFMA wrote, with a model of the name of each candidate.
      candidates: of each, name and origin.
    """
    slices = [message for message in tfma.load_metrics(output) if not message.HasField("cross_slice_key")]
    result = tfma.load_validation_result(output)
    return [_measured(candidate, slices, result) for candidate in candidates]


def _measured(candidate: Candidate, messages: Iterable[Any], result: Any) -> Candidate:
    whole: Mapping[str, float] = {}
    intervals: Mapping[str, Interval] = {}
    slices = {}
    slice_intervals = {}
    for message in messages:
        # TFMA forgets the name of a lone model, and gives none to what is the same for all models.
        pairs = [p for p in message.metric_keys_and_values if p.key.model_name in ("", candidate.name)]
        numbers = _by_name(pair for pair in pairs if pair.value.HasField("double_value") and not pair.key.is_diff)
        values = {name: float(pair.value.double_value.value) for name, pair in numbers.items()}
        bounds = {name: found for name, pair in numbers.items() if (found := _interval(pair)) is not None}
        if message.slice_key.single_slice_keys:
            where = slice_of(message).removeprefix("slice ")
            slices[where], slice_intervals[where] = values, bounds
        else:
            whole, intervals = values, bounds
    return replace(
        candidate,
        metrics=whole,
        intervals=intervals,
        slices=slices,
        slice_intervals=slice_intervals,
        failures=tuple(_failures(result, candidate.name)),
    )


def _by_name(pairs: Iterable[Any]) -> dict[str, Any]:
    """Name -> metric, sorted by name."""
    alike: dict[str, list[Any]] = {}
    for pair in pairs:
        alike.setdefault(metric_of(pair.key).name, []).append(pair)
    named = {}
    for name, found in alike.items():
        for pair in found:
            named[name if len(found) == 1 else f"{name} ({_difference(pair.key)})"] = pair
    return dict(sorted(named.items()))


def _difference(key: Any) -> str:
    weighted = "weighted" if key.example_weighted.value else "unweighted"
    return ", ".join([weighted, *(kind.name for kind, _ in key.aggregation_type.ListFields())])


def _interval(pair: Any) -> Interval | None:
    """The confidence bounds of a metric, where TFMA could compute them: a slice may have too few examples."""
    interval = pair.confidence_interval
    if not (interval.HasField("lower_bound") and interval.HasField("upper_bound")):
        return None
    low, high = (float(bound.double_value.value) for bound in (interval.lower_bound, interval.upper_bound))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _failures(result: Any, name: str) -> Iterator[Failure]:
    for of_slice in result.metric_validations_per_slice:
        for failure in of_slice.failures:
            if failure.metric_key.model_name in ("", name):
                words = failure_in_words(slice_of(of_slice), failure, _NO_CHAMPION)
                yield Failure(words, *_missed(failure))
    for spec in result.missing_slices:
        yield Failure(missing_slice_in_words(spec), math.inf, math.inf)
    if result.missing_cross_slices:
        words = f"{len(result.missing_cross_slices)} pairs of slices that have a threshold were not found"
        yield Failure(words, math.inf, math.inf)


def _missed(failure: Any) -> tuple[float, float]:
    """How far the value is from its bound, and the same relative to the bound."""
    value = failure.metric_value.double_value.value if failure.HasField("metric_value") else math.nan
    threshold = failure.metric_threshold.value_threshold
    bounds = [getattr(threshold, field).value for field in ("lower_bound", "upper_bound") if threshold.HasField(field)]
    if not math.isfinite(value) or not bounds:
        return math.inf, math.inf
    bound = min(bounds, key=lambda bound: abs(bound - value))  # a value outside fails the bound that is nearer
    missed = abs(bound - value)
    return missed, missed / abs(bound) if bound else missed
