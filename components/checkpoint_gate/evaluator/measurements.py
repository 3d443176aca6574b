"""What TFMA measured, and the words for it. Pure: reads protos, writes words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ALL_EXAMPLES = "all examples"


class Metric(NamedTuple):
    """A metric apart from the model it was computed for."""

    name: str
    identity: bytes


@dataclass(frozen=True)
class Measurements:
    """The scalar metrics of one evaluation.

    Attributes:
        values: by slice and metric, the value of each model.
        slices: slice in words -> its columns with their values; without columns for all examples, without the slices
            that are pairs.
        candidate: the candidate's name; "" for a model that was evaluated alone.
    """

    values: Mapping[tuple[str, Metric], Mapping[str, float]]
    slices: Mapping[str, Mapping[str, str]]
    candidate: str

    @classmethod
    def of(cls, metrics: Iterable[Any]) -> Measurements:
        """Reads TFMA's `MetricsForSlice` protos (`tfma.load_metrics`)."""
        values: dict[tuple[str, Metric], dict[str, float]] = {}
        slices = {}
        candidate = ""
        for of_slice in metrics:
            where = slice_of(of_slice)
            if not of_slice.HasField("cross_slice_key"):
                slices[where] = {part.column: _feature_value(part) for part in of_slice.slice_key.single_slice_keys}
            for pair in of_slice.metric_keys_and_values:
                if pair.key.is_diff:  # TFMA names a difference after the model that is not the baseline
                    candidate = pair.key.model_name
                elif pair.value.HasField("double_value"):
                    by_model = values.setdefault((where, metric_of(pair.key)), {})
                    by_model[pair.key.model_name] = pair.value.double_value.value
        return cls(values, slices, candidate)

    def champion(self, where: str, metric: Metric) -> float | None:
        """The baseline's value, if there was a baseline."""
        return next((v for m, v in self.values.get((where, metric), {}).items() if m != self.candidate), None)

    def challenger(self, where: str, metric: Metric) -> float | None:
        """The candidate's value."""
        return self.values.get((where, metric), {}).get(self.candidate)

    def over_all(self, value: Callable[[str, Metric], float | None]) -> dict[str, float]:
        """Metric -> what `champion` or `challenger` says of it over all examples."""
        found = {metric.name: value(where, metric) for where, metric in self.values if where == ALL_EXAMPLES}
        return {name: one for name, one in found.items() if one is not None}


def metric_of(key: Any) -> Metric:
    """The metric that a `MetricKey` names, whichever model it belongs to and whether or not it is a difference."""
    bare = type(key)()
    bare.CopyFrom(key)
    bare.ClearField("model_name")
    bare.ClearField("is_diff")
    sub_key = [f"{field.name} {value.value}" for field, value in key.sub_key.ListFields()]
    details = ", ".join([key.output_name] * bool(key.output_name) + sub_key)
    return Metric(f"{key.name} ({details})" if details else key.name, bare.SerializeToString(deterministic=True))


def slice_of(message: Any) -> str:
    """The slice of a `MetricsForSlice` or a `MetricsValidationForSlice`."""
    if message.HasField("cross_slice_key"):
        cross = message.cross_slice_key
        return f"{_slice(cross.comparison_slice_key)} compared with {_slice(cross.baseline_slice_key)}"
    return _slice(message.slice_key)


def slicing_in_words(spec: Any) -> str:
    """The slices that a `SlicingSpec` makes."""
    parts = [f"{column}:{value}" for column, value in sorted(spec.feature_values.items())]
    parts += [f"{column}:*" for column in spec.feature_keys]
    return f"slice {', '.join(parts)}" if parts else ALL_EXAMPLES


def bounds_in_words(threshold: Any) -> str:
    """What a `MetricThreshold` requires of a value, or of a change against the champion."""
    if threshold.HasField("value_threshold"):
        value = threshold.value_threshold
        words = [("lower_bound", "at least"), ("upper_bound", "at most")]
        return " and ".join(f"{word} {number(getattr(value, f).value)}" for f, word in words if value.HasField(f))
    change = threshold.change_threshold
    directions = change.DESCRIPTOR.fields_by_name["direction"].enum_type.values_by_name
    word = "at most" if change.direction == directions["LOWER_IS_BETTER"].number else "at least"
    kinds: list[tuple[str, Callable[[float], str]]] = [("absolute", signed), ("relative", percent)]
    return " and ".join(f"{word} {show(getattr(change, f).value)}" for f, show in kinds if change.HasField(f))


def number(value: float) -> str:
    return f"{value:.6g}"


def signed(value: float) -> str:
    return f"{value:+.6g}"


def percent(ratio: float) -> str:
    return f"{100 * ratio:+.4g} %"


def _slice(key: Any) -> str:
    parts = [f"{part.column}:{_feature_value(part)}" for part in key.single_slice_keys]
    return f"slice {', '.join(parts)}" if parts else ALL_EXAMPLES


def _feature_value(part: Any) -> str:
    value = getattr(part, part.WhichOneof("kind"))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:g}" if isinstance(value, float) else str(value)
