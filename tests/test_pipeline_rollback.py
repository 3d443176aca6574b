"""Two pushes, a rollback, the same pipeline again, and the rollback taken back: real runs in one root."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from checkpoint_gate.cli import cli as gate_cli
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.store import Store
from gated_pipelines.cli import cli
from gated_pipelines.running.local import run_local

DATA = Path(__file__).parents[1] / "data" / "penguins"
REASON = "wrong for Adelie"
LENIENT = [
    ("epochs: 40", "epochs: 5"),
    ("at_most: 0.40", "at_most: 5.0"),
    ("from: 0.80, to: 0.05", "from: 5.0, to: 5.0"),
    ("at_most: 0.45", "at_most: 5.0"),
    ("at_most: 0.10", "at_most: 5.0"),
    ("at_most: 0.12", "at_most: 5.0"),
    ("at_least: 0.85", "at_least: 0.01"),
    ("top: {metric: val_loss, mode: min, n: 5}", "top: {metric: val_loss, mode: min, n: 2}"),
    ("push: {folder: serving}", "push: {folder: serving, keep: {last: 1}, grace: 0s}"),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What the runs and commands said, in the order in which they were done."""
    home = tmp_path_factory.mktemp("rollback")
    shutil.copytree(DATA, home / "project")
    file, root = home / "project" / "pipeline.yaml", home / "root"
    text = file.read_text()
    for old, new in LENIENT:
        assert old in text
        text = text.replace(old, new)

    def run(learning_rate):
        file.write_text(text.replace("learning_rate: 0.003", f"learning_rate: {learning_rate}"))
        return run_local(file, root)

    def rollback(*options):
        told = CliRunner().invoke(cli, ["rollback", str(file), "--root", str(root), "--json", *options])
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    worse, better = run(0.001), run(0.02)
    serving = root / "serving"
    first, second = live_versions(str(serving))
    return SimpleNamespace(
        **{"home": home, "root": root, "serving": serving, "first": first, "second": second},
        **{"worse": worse, "better": better},
        would=rollback("--reason", REASON, "--dry-run"),
        back=rollback("--reason", REASON),
        after=run(0.02),
        settled=run(0.02),
        champion_then=live_versions(str(serving))[-1],
        protected=Store.open(root / "store").run(worse.run).protected(),
        undone=rollback("--undo", "--reason", "it was fine"),
        at_last=run(0.02),
    )


def test_both_models_were_pushed_and_the_second_is_better(done):
    assert (done.worse.outcome, done.better.outcome) == ("pushed", "pushed")


def test_a_dry_run_says_the_same_and_changes_nothing(done):
    times = ("version", "path", "dry_run", "trashed", "swept")
    assert {k: v for k, v in done.would.items() if k not in times} == {
        k: v for k, v in done.back.items() if k not in times
    }
    assert (done.would["path"], done.would["dry_run"]) == (None, True)


def test_the_rollback_publishes_the_first_model_again(done):
    new = done.back["version"]
    assert (done.back["from"], done.back["to"], done.back["withdrawn"]) == (done.second, done.first, done.second)
    assert new > done.second
    assert done.back["path"] == f"{done.serving}/{new}"
    assert done.back["reason"] == REASON
    papers = read_papers(done.serving / str(new))
    assert papers.step == done.worse.winner["step"]
    assert (papers.push.rollback.restored, papers.push.rollback.reason) == (done.first, REASON)


def test_the_same_pipeline_does_not_push_the_withdrawn_weights_again(done):
    assert (done.after.outcome, done.after.green, done.after.pushed) == ("not_blessed", True, None)
    assert done.after.reason.startswith(f"the pushed version {done.second} with the same weights was withdrawn on ")
    assert done.after.reason.endswith(REASON)
    assert set(done.after.executed) == {"Champion", "Evaluator", "Pusher"}
    assert done.champion_then == done.back["version"]


def test_then_it_settles(done):
    assert (done.settled.outcome, done.settled.executed) == ("not_blessed", [])


def test_the_checkpoints_of_versions_that_one_can_go_back_to_are_protected(done):
    step = done.worse.winner["step"]
    assert done.protected[step] == f"the champion, pushed as version {done.back['version']}"
    other = Store.open(done.root / "store").run(done.better.run).protected()
    assert other[done.better.winner["step"]].startswith("the champion, pushed as version")  # after the undo


def test_taking_it_back_publishes_the_second_model_again_and_runs_settle_on_it(done):
    assert (done.undone["to"], done.undone["allowed"]) == (done.second, done.second)
    assert (done.at_last.outcome, done.at_last.reason) == ("skipped", "already champion")
    newest = done.serving / str(live_versions(str(done.serving))[-1])
    assert read_papers(newest).push.weights == weights_digest(str(newest))


def test_old_versions_go_by_the_rule_and_numbers_only_grow(done):
    live = live_versions(str(done.serving))
    assert live[-1] == done.undone["version"] > done.back["version"]
    assert done.first not in live  # the champion, the one before it, and the way back stay
    assert not any((done.serving / ".checkpoint-gate" / "trash").iterdir())


def test_the_papers_tell_the_whole_chain(done):
    model = str(done.serving / str(done.undone["version"]))
    told = json.loads(
        CliRunner().invoke(gate_cli, ["why", "--json", "--store", str(done.root / "store"), "--model", model]).stdout
    )
    assert told["record"]["reason"] == told["origins"][0]["decision"]
    assert told["record"]["step"] == told["step"] == done.better.winner["step"]
    assert told["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert [part["columns"]["island"] for part in told["slices"]] == ["Biscoe", "Dream", "Torgersen"]
    assert sum(part["metrics"]["example_count"] for part in told["slices"]) == told["metrics"]["example_count"]
    assert [survivor["step"] for survivor in told["survivors"]] == [s["step"] for s in done.better.survivors]
    assert told["data"]["chosen_on"] == ["eval"]
    (examples,) = told["data"]["examples"]
    assert (examples["span"], examples["splits"]) == ("0", ["eval", "test", "train"])
    assert "total_bytes" in examples["fingerprint"]
    (table,) = (done.root / "data").glob("*/table.csv")
    assert told["data"]["table"].startswith(table.parent.name)
    assert set(told["versions"]) == {
        "python", "tensorflow", "keras", "tfx", "tensorflow-model-analysis", "checkpoint-gate",
    }  # fmt: skip
    assert told["push"]["blessing"]["outcome"] == "blessed"
