"""What pipelines/docs/data.md shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gated_pipelines.config.pipeline_config import parse_config
from gated_pipelines.reporting.anomalies import Anomaly, in_words

PAGE = (Path(__file__).parents[1] / "pipelines" / "docs" / "data.md").read_text(encoding="utf-8")
LEAST = "name: t\nlabel: y\ntask: regression\nrules: {save: {}, filter: {}}\n"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_its_settings_are_read(block, tmp_path):
    data = "" if "csv" in block else "data: {csv: 'm-{SPAN}.csv'}\n"
    if "schema" in block:
        data, block = "", block.replace("data:", "data:\n  csv: t.csv")
    parse_config(LEAST + data + block, tmp_path / "pipeline.yaml")


def test_its_sentence_is_what_is_said():
    divergence = "The approximate Jensen-Shannon divergence between a and b is {} (up to six), above the threshold {}."
    found = [
        Anomaly("temp", "drift", "High", divergence.format("1", "0.6")).to_json(),
        Anomaly("temp", "skew", "High", divergence.format("0.4621", "0.4")).to_json(),
    ]
    assert f"Error: {in_words(found)}\n" in PAGE
