"""A pipeline whose gate, initial weights and blessing go by the champion: three months, then nothing new."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from checkpoint_gate.evaluator import read_verdict
from checkpoint_gate.pushed.best_so_far import best_so_far
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.rule_text.rule_set import rules_from_mapping
from gated_pipelines.reporting.lineage import last_run
from gated_pipelines.running.local import run_local
from gated_pipelines.running.places import Places

PIPELINE = """
name: months
data: {csv: table.csv, splits: {train: 3, eval: 1, test: 1}}
label: delay
task: regression
features: {numeric: [distance], categorical: [origin]}
model: {hidden: [4], learning_rate: RATE}
train: {epochs: EPOCHS, batch_size: 32, warm_start: champion}
rules:
  save: {metric: val_loss, at_most: {champion: val_loss, times: 2, plus: 1000}}
  filter: {metric: val_loss, at_most: {champion: val_loss, times: 3, plus: 2000}}
evaluate:
  thresholds: [{metric: mean_squared_error, at_most: 100000}]
  champion: {metric: mean_squared_error, mode: min, worse_by_at_most: 100000, against: best}
  first_run: bless_on_value_thresholds
"""


def write_month(folder: Path, month: int, epochs: int, rate: float) -> None:
    """A table of one month; each knows one origin more."""
    random = np.random.default_rng(month)
    rows = ["distance,origin,delay"]
    for _ in range(150):
        distance, origin = random.uniform(1, 9), int(random.integers(0, 2 + month))
        rows.append(f"{distance:.3f},airport {origin},{3 * distance + 5 * origin + random.normal():.3f}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    text = PIPELINE.replace("EPOCHS", str(epochs)).replace("RATE", str(rate))
    (folder / "pipeline.yaml").write_text(text)


class Month:
    """A run, and what its training run and its verdict say."""

    def __init__(self, folder: Path) -> None:
        self.summary = run_local(folder / "pipeline.yaml", folder / "root")
        self.trained = "Trainer" in self.summary.executed
        self.about = json.loads((folder / "root" / "store" / self.summary.run / "run.json").read_text())
        steps = last_run(Places(folder / "root").metadata)
        self.verdict = read_verdict(steps["Evaluator"].outputs["blessing"])
        survivors = Path(steps["CheckpointFilter"].outputs["survivors"])
        self.filtered_by = json.loads((survivors / "set.json").read_text())["rules"]


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """The first; the second, which learns next to nothing; the third; and the third again, twice."""
    folder = tmp_path_factory.mktemp("months")
    found = []
    for month, (epochs, rate) in enumerate([(6, 0.03), (1, 1e-6), (6, 0.03)], 1):
        write_month(folder, month, epochs, rate)
        if month == 2:  # from chance: from the champion it would be as good
            text = (folder / "pipeline.yaml").read_text()
            (folder / "pipeline.yaml").write_text(text.replace(", warm_start: champion", ""))
        found.append(Month(folder))
    return [*found, Month(folder), Month(folder)]


def number_in(rules, section):
    rule = getattr(rules_from_mapping(rules), section).rule
    return rule.limit.champion


def test_every_month_is_pushed(months):
    outcomes = [(month.summary.outcome, month.summary.reason) for month in months]
    assert [outcome for outcome, _ in outcomes] == ["pushed", "pushed", "pushed", "skipped", "skipped"], outcomes


def test_the_gate_and_the_filter_go_by_what_the_champion_s_training_logged(months):
    for before, month in zip([None, *months], months[:3], strict=False):
        number = None
        if before is not None:
            (origin,) = read_papers(before.summary.pushed).origins
            number = origin.metrics["val_loss"]
            assert month.about["champion"]["metrics"] == origin.metrics
        assert number_in(month.about["gate"], "save") == number
        assert number_in(json.loads(month.filtered_by), "filter") == number


def test_a_run_begins_with_the_champion_s_weights_where_it_is_to(months):
    first, second, third, *_ = months
    assert (first.about["champion"], "warm_start" in first.about) == (None, False)
    assert "warm_start" not in second.about
    version, weights = int(Path(second.summary.pushed).name), read_papers(second.summary.pushed).push.weights
    assert third.about["warm_start"] == {"version": version, "weights": weights}


def test_the_challenger_is_held_against_the_best_so_far_too(months):
    first, second, third, *_ = months
    assert (first.verdict.best, first.verdict.improves_on_best) == (None, True)
    assert (second.verdict.best, second.verdict.improves_on_best) == (first.summary.pushed, False)
    assert third.verdict.best == first.summary.pushed
    (row,) = [row for row in third.summary.comparison if row["best"] is not None]
    assert row["best"] == pytest.approx(third.verdict.best_metrics["mean_squared_error"])
    assert row["best"] < row["champion"]  # the second month's, which learned next to nothing
    assert "against the best so far" in row["required"]


def test_papers_say_which_version_is_the_best(months):
    first, second, third, *_ = months
    number = int(Path(first.summary.pushed).name)
    assert [read_papers(one.summary.pushed).push.best for one in (first, second)] == [number, number]
    best = int(Path(third.summary.pushed).name) if third.verdict.improves_on_best else number
    assert best_so_far(str(Path(first.summary.pushed).parent)).version == best


def test_a_push_makes_no_other_training_of_the_same_run(months):
    third, fourth, fifth = months[2:]
    assert (fourth.trained, fourth.summary.run, fourth.about) == (False, third.summary.run, third.about)
    assert "CheckpointFilter" not in fourth.summary.executed
    assert fifth.summary.executed == []


def test_the_report_draws_the_limit_that_held(months):
    report = html.unescape(Path(months[2].summary.report).read_text())
    (origin,) = read_papers(months[1].summary.pushed).origins
    words = " ".join(re.sub("<[^>]*>", " ", report).split())
    assert f"the champion's {origin.metrics['val_loss']:.6g}" in words
