"""What is compared between spans: a schema with comparators, and of the findings only theirs."""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from gated_pipelines.anomalies import Comparison

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


def _is_of_comparator(reason: anomalies_pb2.AnomalyInfo.Reason) -> bool:
    return bool(anomalies_pb2.AnomalyInfo.Type.Name(reason.type).startswith(_COMPARATOR))
