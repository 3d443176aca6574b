"""One sentence on why TFMA's thresholds let a model pass or did not. Pure: reads protos, writes words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

ALL_EXAMPLES = "all examples"
_SHOWN = 3  # thresholds, and slices, spelled out; more of them would bury the first


class _Metric(NamedTuple):
    """A metric apart from the model it was computed for."""

    name: str
    identity: bytes


@dataclasses.dataclass(frozen=True)
class Measurements:
    """The scalar metrics of one evaluation: by slice and metric, the value of each model."""

    values: dict[tuple[str, _Metric], dict[str, float]]
    candidate: str

    @classmethod
    def of(cls, metrics: Iterable[Any]) -> Measurements:
        """Reads TFMA's `MetricsForSlice` protos (`tfma.load_metrics`)."""
        values: dict[tuple[str, _Metric], dict[str, float]] = {}
        candidate = ""
        for of_slice in metrics:
            for pair in of_slice.metric_keys_and_values:
                if pair.key.is_diff:  # TFMA names a difference after the model that is not the baseline
                    candidate = pair.key.model_name
                elif pair.value.HasField("double_value"):
                    by_model = values.setdefault((_slice_of(of_slice), _metric(pair.key)), {})
                    by_model[pair.key.model_name] = pair.value.double_value.value
        return cls(values, candidate)

    def champion(self, where: str, metric: _Metric) -> float | None:
        """The baseline's value, if there was a baseline."""
        return next((v for m, v in self.values.get((where, metric), {}).items() if m != self.candidate), None)

    def challenger(self, where: str, metric: _Metric) -> float | None:
        """The candidate's value."""
        return self.values.get((where, metric), {}).get(self.candidate)


def why_blessed(measured: Measurements, guarded: Collection[str], first_run: bool) -> str:
    """Why a model passed.

    Args:
        measured: the evaluation.
        guarded: names of the metrics that have thresholds; only they are shown.
        first_run: there was no champion, so that only value thresholds counted.
    """
    ending = "; there is no champion yet to compare with" if first_run else ""
    shown = []
    for where, metric in sorted(measured.values):
        value = measured.challenger(where, metric)
        if where == ALL_EXAMPLES and metric.name in guarded and value is not None:
            shown.append(_against(metric, value, None if first_run else measured.champion(where, metric)))
    values = f": {', '.join(shown)} on {ALL_EXAMPLES}" if shown else ""
    return f"every threshold holds{values}{ending}"


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
    by_slice = [(_slice_of(of_slice), of_slice.failures) for of_slice in result.metric_validations_per_slice]
    by_threshold: dict[tuple[bytes, bytes], list[tuple[str, Any]]] = {}
    for where, failures in sorted(by_slice, key=lambda pair: (pair[0] != ALL_EXAMPLES, pair[0])):
        for failure in failures:
            threshold = failure.metric_threshold.SerializeToString(deterministic=True)
            by_threshold.setdefault((_metric(failure.metric_key).identity, threshold), []).append((where, failure))
    for (where, failure), *others in by_threshold.values():
        yield _failure(where, failure, measured) + _also(where for where, _ in others)
    for spec in result.missing_slices:
        yield f"no example falls into {_slicing(spec)}, for which there is a threshold"
    if result.missing_cross_slices:
        yield f"{len(result.missing_cross_slices)} pairs of slices that have a threshold were not found"


def _also(places: Iterable[str]) -> str:
    places = list(places)
    more = [f"{len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
    return f" (fails also on {', '.join([*places[:_SHOWN], *more])})" if places else ""


def _failure(where: str, failure: Any, measured: Measurements) -> str:
    metric = _metric(failure.metric_key)
    if not failure.HasField("metric_value"):
        return f"no {metric.name} was computed on {where}, for which there is a threshold"
    value = failure.metric_value.double_value.value
    if failure.metric_threshold.HasField("value_threshold"):
        bounds = _value_bounds(failure.metric_threshold.value_threshold)
        return f"{metric.name} is {_number(value)} on {where}, required is {bounds}"
    champion, challenger = measured.champion(where, metric), measured.challenger(where, metric)
    bounds = _change_bounds(failure.metric_threshold.change_threshold)
    if champion is None or challenger is None:
        return f"{metric.name} changed by {_number(value)} on {where}, required is {bounds}"
    values = _against(metric, challenger, champion)
    return f"{values} on {where}, a change of {_change(value, champion)}, required is {bounds}"


def _against(metric: _Metric, challenger: float, champion: float | None) -> str:
    values = f"{metric.name} is {_number(challenger)}"
    return values if champion is None else f"{values} against the champion's {_number(champion)}"


def _value_bounds(threshold: Any) -> str:
    bounds = [("lower_bound", "at least"), ("upper_bound", "at most")]
    set_bounds = [f"{word} {_number(getattr(threshold, f).value)}" for f, word in bounds if threshold.HasField(f)]
    return " and ".join(set_bounds)


def _change_bounds(threshold: Any) -> str:
    lower_is_better = (
        threshold.direction
        == threshold.DESCRIPTOR.fields_by_name["direction"].enum_type.values_by_name["LOWER_IS_BETTER"].number
    )
    word = "at most" if lower_is_better else "at least"
    kinds: list[tuple[str, Callable[[float], str]]] = [("absolute", _signed), ("relative", _percent)]
    return " and ".join(f"{word} {show(getattr(threshold, f).value)}" for f, show in kinds if threshold.HasField(f))


def _change(change: float, champion: float) -> str:
    if champion == 0:
        return f"{_signed(change)} (no percentage: the champion's value is 0)"
    return f"{_signed(change)} ({_percent(change / champion)})"


def _metric(key: Any) -> _Metric:
    """The metric that `key` names, whichever model it belongs to and whether or not it is a difference."""
    bare = type(key)()
    bare.CopyFrom(key)
    bare.ClearField("model_name")
    bare.ClearField("is_diff")
    sub_key = [f"{field.name} {value.value}" for field, value in key.sub_key.ListFields()]
    details = ", ".join([key.output_name] * bool(key.output_name) + sub_key)
    return _Metric(f"{key.name} ({details})" if details else key.name, bare.SerializeToString(deterministic=True))


def _slice_of(message: Any) -> str:
    """The slice of a `MetricsForSlice` or a `MetricsValidationForSlice`."""
    if message.HasField("cross_slice_key"):
        cross = message.cross_slice_key
        return f"{_slice(cross.comparison_slice_key)} compared with {_slice(cross.baseline_slice_key)}"
    return _slice(message.slice_key)


def _slice(key: Any) -> str:
    parts = [f"{part.column}:{_feature_value(part)}" for part in key.single_slice_keys]
    return f"slice {', '.join(parts)}" if parts else ALL_EXAMPLES


def _feature_value(part: Any) -> str:
    value = getattr(part, part.WhichOneof("kind"))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else f"{value:g}"


def _slicing(spec: Any) -> str:
    parts = [f"{column}:{value}" for column, value in sorted(spec.feature_values.items())]
    parts += [f"{column}:*" for column in spec.feature_keys]
    return f"slice {', '.join(parts)}" if parts else ALL_EXAMPLES


def _number(value: float) -> str:
    return f"{value:.6g}"


def _signed(value: float) -> str:
    return f"{value:+.6g}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:+.4g} %"
