"""Trainings in one root that keeps one run: the disk stays bounded, and what comes back is trained again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from checkpoint_gate.cli import cli as gate_cli
from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.store import Store
from checkpoint_gate.store.retiring import is_retired
from gated_pipelines.cli import cli
from gated_pipelines.disk.usage import disk_used
from gated_pipelines.running.local import run_local

DATA = Path(__file__).parents[1] / "data" / "penguins"
LENIENT = [
    ("epochs: 40", "epochs: 4"),
    ("at_most: 0.40", "at_most: 5.0"),
    ("from: 0.80, to: 0.05", "from: 5.0, to: 5.0"),
    ("at_most: 0.45", "at_most: 5.0"),
    ("at_most: 0.10", "at_most: 5.0"),
    ("at_most: 0.12", "at_most: 5.0"),
    ("at_least: 0.85", "at_least: 0.01"),
    ("top: {metric: val_loss, mode: min, n: 5}", "top: {metric: val_loss, mode: min, n: 2}"),
    ("push: {folder: serving}", "push: {folder: serving, keep: {last: 1}, grace: 0s}"),
]
BOUNDED = "\ndisk: {keep_runs: 1, keep_logs: 2}\n"


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """What each run said, and what was on the disk after it, by name."""
    home = tmp_path_factory.mktemp("trainings")
    shutil.copytree(DATA, home / "project")
    file, root = home / "project" / "pipeline.yaml", home / "root"
    text = file.read_text()
    for old, new in LENIENT:
        assert old in text
        text = text.replace(old, new)

    def run(learning_rate):
        file.write_text(text.replace("learning_rate: 0.003", f"learning_rate: {learning_rate}") + BOUNDED)
        return state_after(run_local(file, root), root)

    done = {
        "better": run(0.02),
        "worse": run(0.0001),
        "better again": run(0.02),
        "and again": run(0.02),
    }
    file.write_text(file.read_text().replace(BOUNDED, ""))
    return SimpleNamespace(file=file, root=root, **{"of": done})


def state_after(summary, root):
    store = Store.open(root / "store")
    keys = store.keys()
    return SimpleNamespace(
        summary=summary,
        used=disk_used(root),
        logs=len(list((root / "logs").glob("*.log"))),
        checkpoints={key: [stored.step for stored in store.run(key).live()] for key in keys},
        retired={key for key in keys if is_retired(store.run(key).ledger.read())},
    )


def test_the_runs_end_as_they_would_without_any_pruning(trainings):
    outcomes = {name: after.summary.outcome for name, after in trainings.of.items()}
    assert outcomes == {
        "better": "pushed",
        "worse": "not_blessed",
        "better again": "skipped",
        "and again": "skipped",
    }


def test_a_run_that_no_kept_run_used_holds_only_what_live_versions_were_made_of(trainings):
    better, after = trainings.of["better"].summary, trainings.of["worse"]
    assert after.retired == {better.run}
    assert after.checkpoints[better.run] == [better.winner["step"]]
    assert len(after.checkpoints[after.summary.run]) > 1


def test_what_comes_back_is_trained_again_under_another_name(trainings):
    better, again = trainings.of["better"].summary, trainings.of["better again"].summary
    assert again.run == f"{better.run}-2"
    assert "Trainer" in again.executed
    assert again.winner["step"] == better.winner["step"]
    assert again.reason == "already champion"
    assert trainings.of["better again"].checkpoints[better.run] == [better.winner["step"]]


def test_then_the_runs_settle(trainings):
    assert trainings.of["and again"].summary.run == trainings.of["better again"].summary.run
    assert "Trainer" not in trainings.of["and again"].summary.executed


def test_what_was_never_pushed_goes_altogether(trainings):
    assert trainings.of["and again"].checkpoints[trainings.of["worse"].summary.run] == []


def test_the_disk_is_bounded(trainings):
    """Two trainings are kept: the newest, and that of the live version."""
    second, last = trainings.of["worse"].used, trainings.of["and again"].used
    assert last.artifacts < 1.02 * second.artifacts
    assert last.pushed == second.pushed
    assert last.store - second.store < 20_000  # what tells of one more training
    assert max(after.logs for after in trainings.of.values()) == 2


def test_the_live_version_is_explained_and_the_store_is_whole(trainings):
    store, serving = str(trainings.root / "store"), trainings.root / "serving"
    assert CliRunner().invoke(gate_cli, ["check", store]).exit_code == 0
    [version] = live_versions(str(serving))
    told = CliRunner().invoke(gate_cli, ["why", store, "--model", str(serving / str(version)), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["record"]["state"] == "kept"


def test_the_history_of_a_retired_run_still_tells(trainings):
    told = CliRunner().invoke(gate_cli, ["list", str(trainings.root / "store"), "--json"])
    worse = trainings.of["worse"].summary
    mine = [each for each in json.loads(told.stdout) if each["run"] == worse.run]
    assert {each["state"] for each in mine} == {"pruned"}
    assert len(mine) == worse.saved


def prune(trainings, *options):
    return CliRunner().invoke(cli, ["prune", str(trainings.file), "--root", str(trainings.root), *options])


def test_by_hand_a_plan_is_shown_first_and_then_done_exactly(trainings, tree):
    without = prune(trainings)
    assert without.exit_code == 1
    assert "does not say how many runs stay" in str(without.exception)
    before = tree(trainings.root)
    shown = json.loads(prune(trainings, "--keep-runs", "1", "--json").stdout)
    assert tree(trainings.root) == before
    assert (shown["executed"], shown["left"], shown["unknown"]) == (False, [], [])
    assert {each["reason"] for each in shown["staying"]} >= {"one of the newest 1 runs used it"}
    refused = prune(trainings, "--keep-runs", "1", "--execute", "0" * 64)
    assert "not the plan any more" in str(refused.exception)
    done = prune(trainings, "--keep-runs", "1", "--execute", shown["digest"])
    assert done.exit_code == 0, done.output
    assert "Freed:" in done.stderr
