"""A month of bad data, by real TFX: nothing is trained on it, or the run tells of it and goes on."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from checkpoint_gate.pushed.papers import read_papers
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.reporting.lineage import last_run
from gated_pipelines.running.local import run_local
from gated_pipelines.running.places import Places

DATA = Path(__file__).parents[1] / "data" / "flights"
SMALL = (("hidden: [32, 16], dropout: 0.2", "hidden: [4]"), ("epochs: 12", "epochs: 2"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The flights of three months, in the last of which the temperature is in degrees Celsius."""
    folder = tmp_path_factory.mktemp("flights")
    for path in DATA.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    march = folder / "flights-201303.csv"
    with open(march, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["temp"] = row["temp"] and f"{(float(row['temp']) - 32) / 1.8:.2f}"
    with open(march, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def blocked(world):
    """The run that is blocked, what its components did, and whether anything was trained."""
    file = world / "pipeline.yaml"
    text = file.read_text()
    for before, after in SMALL:
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)
    summary = run_local(file, world / "root", span=201303)
    return summary, last_run(Places(world / "root").metadata), (world / "root" / "store" / "runs").exists()


@pytest.fixture(scope="module")
def warned(world, blocked):
    """The same in the same root, where anomalies are only told."""
    file = world / "pipeline.yaml"
    file.write_text(file.read_text().replace("on_anomalies: fail", "on_anomalies: warn"))
    return run_local(file, world / "root", span=201303)


def test_a_month_that_drifts_is_not_trained_on(blocked):
    summary, components, trained = blocked
    assert (summary.outcome, summary.green) == ("failed", False)
    assert re.fullmatch(
        r"The data have anomalies: 'temp': drift of (0\.9\d+|1) from the span before, above 0\.6, "
        r"skew of 0\.\d+ from the span that is served, above 0\.4\.",
        summary.reason,
    )
    assert [(one["feature"], one["where"]) for one in summary.anomalies] == [("temp", "drift"), ("temp", "skew")]
    assert (summary.span, summary.spans) == (201303, [201301, 201302, 201303])
    assert components["ExampleValidator"].state == "failed"
    assert {"Transform", "Trainer", "Pusher"}.isdisjoint(components)
    assert (summary.epochs, summary.pushed, trained) == (0, None, False)
    assert json.loads(summary.to_json())["anomalies"] == summary.anomalies


def test_a_warning_goes_on_and_tells_the_same(blocked, warned, world):
    summary, _, _ = blocked
    assert (warned.outcome, warned.green) == ("pushed", True), warned.reason
    assert warned.anomalies == summary.anomalies
    assert "CsvExampleGen" not in warned.executed  # the data are as they were
    log = max((world / "root" / "logs").glob("*.log")).read_text()
    assert summary.reason in log
    page = Path(warned.report).read_text()
    assert "Anomalies of the data" in page
    assert warned.anomalies[0]["long"] in page


def test_the_papers_tell_the_spans(warned):
    data = read_papers(warned.pushed).data
    assert [examples.span for examples in data.examples] == ["201303"]
    assert data.spans == [201301, 201302, 201303]


def test_the_schema_is_the_curated_one(blocked, world):
    [schema] = (world / "root" / "artifacts" / "ImportSchemaGen" / "schema").glob("*/schema.pbtxt")
    assert schema.read_text() == load_config(world / "pipeline.yaml").schema_file.read_text()
