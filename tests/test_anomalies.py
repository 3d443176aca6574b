"""Anomalies in words."""

from __future__ import annotations

import pytest

from checkpoint_gate.errors import CheckpointGateError
from gated_pipelines.reporting.anomalies import FILE, Anomaly, in_words, read_anomalies

DIVERGENCE = (
    "The approximate Jensen-Shannon divergence between current and previous is {} (up to six significant digits), "
    "above the threshold {}."
)


def one(feature, where, short="Unexpected string values", long="Examples contain values missing from the schema: x."):
    return Anomaly(feature, where, short, long).to_json()


@pytest.mark.parametrize(
    ("anomalies", "words"),
    [
        pytest.param([one("kind", "train")], "'kind': Unexpected string values (train)", id="one split"),
        pytest.param(
            [one("kind", "train"), one("kind", "eval")], "'kind': Unexpected string values (train, eval)", id="two"
        ),
        pytest.param(
            [one("x", "drift", long=DIVERGENCE.format("0.412345", "0.3"))],
            "'x': drift of 0.412 from the span before, above 0.3",
            id="a divergence",
        ),
        pytest.param(
            [one("x", "skew", long=DIVERGENCE.format("4.5e-01", "0.25"))],
            "'x': skew of 0.45 from the span that is served, above 0.25",
            id="skew, in another spelling of the number",
        ),
        pytest.param([one("x", "drift", "Column dropped", "gone")], "'x': Column dropped (drift)", id="other words"),
        pytest.param(
            [one("x", "train", "Bad."), one("x", "drift", long=DIVERGENCE.format("0.5", "0.3"))],
            "'x': Bad (train), drift of 0.5 from the span before, above 0.3",
            id="two reasons for a column",
        ),
        pytest.param([one("", "test", "Too few")], "the table: Too few (test)", id="of the whole table"),
        pytest.param(
            [one(name, "train", "Bad") for name in "abcde"],
            "; ".join(f"'{name}': Bad (train)" for name in "abcde"),
            id="five columns are named",
        ),
        pytest.param(
            [one(name, "train", "Bad") for name in "abcdef"],
            "; ".join(f"'{name}': Bad (train)" for name in "abcde") + "; and 1 more column",
            id="one more",
        ),
        pytest.param(
            [one(name, "train", "Bad") for name in "abcdefg"],
            "; ".join(f"'{name}': Bad (train)" for name in "abcde") + "; and 2 more columns",
            id="no more than five",
        ),
    ],
)
def test_words(anomalies, words):
    assert in_words(anomalies) == f"The data have anomalies: {words}."


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "Split-train").mkdir()
    (tmp_path / "Split-train" / FILE).write_bytes(b"\xff\xff")
    with pytest.raises(CheckpointGateError, match=r"^The anomalies .*SchemaDiff\.pb cannot be read: "):
        read_anomalies(tmp_path)
