"""What is compared between spans: a schema with comparators, of the findings only theirs, and what lacks values."""

from __future__ import annotations

import math
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from gated_pipelines.reporting.anomalies import Comparison

_COMPARATOR = "COMPARATOR_"  # begins the type of each finding of a comparator


def with_comparators(schema: schema_pb2.Schema, which: Comparison, threshold: float | None) -> schema_pb2.Schema | None:
    """The schema with a comparator by Jensen-Shannon divergence for each feature that has none of its own.

    Args:
      schema: stays as it is.
      which: of the two comparators.
      threshold: the largest divergence, in (0, 1]; None adds none.

    Returns:
      A copy; None when nothing in it is to be compared.
    """
    field = f"{which}_comparator"
    copy = schema_pb2.Schema()
    copy.CopyFrom(schema)
    for feature in copy.feature:
        if threshold is not None and not feature.HasField(field):
            getattr(feature, field).jensen_shannon_divergence.threshold = threshold
    return copy if any(feature.HasField(field) for feature in copy.feature) else None


def only_compared(found: anomalies_pb2.Anomalies) -> anomalies_pb2.Anomalies:
    """The findings of comparators; the others are those of the splits."""
    kept = anomalies_pb2.Anomalies()
    for name, info in found.anomaly_info.items():
        reasons = [reason for reason in info.reason if _is_of_comparator(reason)]
        if reasons:
            mine = kept.anomaly_info[name]
            mine.CopyFrom(info)
            del mine.reason[:]
            mine.reason.extend(reasons)
            mine.short_description = "; ".join(reason.short_description for reason in reasons)
            mine.description = " ".join(reason.description for reason in reasons)
    return kept


def add_missing(
    found: anomalies_pb2.Anomalies, which: Comparison, schema: schema_pb2.Schema, statistics: Any, other: Any
) -> None:
    """Adds the features of which another share of the values is missing than in the other statistics.

    TensorFlow Data Validation compares the values that are there, and finds nothing where there are none at all.

    Args:
      found: gets what is found; a feature that is there already stays as it is.
      schema: with comparators; the divergence of the two shares must be no larger than theirs.
      statistics, other: DatasetFeatureStatisticsLists of one dataset each.
    """
    here, there = _missing_shares(statistics), _missing_shares(other)
    for feature in schema.feature:
        comparator = getattr(feature, f"{which}_comparator")
        if feature.name in found.anomaly_info or not comparator.HasField("jensen_shannon_divergence"):
            continue
        one, two = here.get(feature.name, 1.0), there.get(feature.name, 1.0)
        threshold = comparator.jensen_shannon_divergence.threshold
        if (divergence := _divergence(one, two)) > threshold:
            short = f"{one:.0%} of the values are missing, there {two:.0%}"
            info = found.anomaly_info[feature.name]
            info.path.step.append(feature.name)
            info.severity = anomalies_pb2.AnomalyInfo.ERROR
            info.short_description = short
            info.description = f"{short}: a Jensen-Shannon divergence of {divergence:.3g}, where {threshold:g} may be."


def _missing_shares(statistics: Any) -> dict[str, float]:
    """Feature -> the share of the examples without a value; a list of no values is none."""
    [dataset] = statistics.datasets
    shares = {}
    for feature in dataset.features:
        common = getattr(feature, feature.WhichOneof("stats")).common_stats
        shares[feature.path.step[-1]] = 1 - common.tot_num_values / dataset.num_examples
    return shares


def _divergence(one: float, two: float) -> float:
    """The Jensen-Shannon divergence, to the base 2, of two shares in [0, 1]."""
    between = (one + two) / 2
    return sum(
        0.5 * share * math.log2(share / middle)
        for a, b, middle in ((one, two, between), (1 - one, 1 - two, 1 - between))
        for share in (a, b)
        if share > 0
    )


def _is_of_comparator(reason: anomalies_pb2.AnomalyInfo.Reason) -> bool:
    return bool(anomalies_pb2.AnomalyInfo.Type.Name(reason.type).startswith(_COMPARATOR))
