"""`gated-pipeline rollback`: what it says, what it refuses, its exit codes; on a pipeline and on a bare push folder."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from faults.papers import write_version

from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.pushed.push_log import withdrawn_from
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import read_pushed
from gated_pipelines.cli import cli, main

PIPELINE = """\
name: a
data: {csv: gone.csv}
label: y
task: multiclass
rules: {save: {metric: loss, at_most: 1}, filter: {metric: loss, at_most: 1}}
push: {folder: serving, keep: {last: 1}}
"""


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """The models that were loaded and asked; TensorFlow is left out."""
    models: list[str] = []
    module = SimpleNamespace(require_servable=models.append)
    monkeypatch.setitem(sys.modules, "checkpoint_gate.pusher.servable", module)
    return models


@pytest.fixture
def home(tmp_path):
    """A pipeline.yaml, whose table is gone, and the root of its runs with three pushed versions."""
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    for version in (10, 20, 30):
        write_version(tmp_path / "root" / "serving", version, f"w{version}")
    return tmp_path


def call(*args):
    return CliRunner().invoke(cli, ["rollback", *map(str, args)])


def test_it_says_what_it_did(home, asked):
    told = call(home / "pipeline.yaml", "--root", home / "root", "--reason", "wrong prices")
    newest = live_versions(str(home / "root" / "serving"))[-1]
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        f"Version 20 is published again as version {newest}, in place of 30.",
        "The weights of version 30 are withdrawn, and no run pushes them again: wrong prices.",
    ]
    assert [os.path.basename(model).startswith(".tmp-") for model in asked] == [True]


def test_for_programs_it_prints_one_object_and_the_words_elsewhere(home):
    told = call(home / "pipeline.yaml", "--root", home / "root", "--json")
    newest = live_versions(str(home / "root" / "serving"))[-1]
    assert json.loads(told.stdout) == {
        "folder": str(home / "root" / "serving"),
        "from": 30,
        "to": 20,
        "version": newest,
        "path": f"{home / 'root' / 'serving'}/{newest}",
        "withdrawn": 30,
        "allowed": None,
        "reason": "no reason was given",
        "dry_run": False,
        "trashed": [20],  # the champion has its weights
        "swept": [],
        "left_alone": [],
    }
    assert "is published again" in told.stderr


@pytest.mark.parametrize("options", [[], ["--undo"]], ids=["back", "undo"])
def test_a_dry_run_changes_nothing(home, options, asked):
    if options:
        call(home / "pipeline.yaml", "--root", home / "root")
    asked.clear()
    before = sorted(str(path) for path in home.rglob("*"))
    told = call(home / "pipeline.yaml", "--root", home / "root", "--dry-run", *options)
    assert told.exit_code == 0, told.output
    assert "would be published again as version" in told.stdout
    assert told.stdout.splitlines()[-1] == "Nothing was changed."
    assert sorted(str(path) for path in home.rglob("*")) == before
    assert asked == []


def test_a_push_folder_by_itself(home):
    folder = home / "root" / "serving"
    told = call(folder, "--to", 10)
    assert told.exit_code == 0, told.output
    assert live_versions(str(folder))[-1] > 30
    assert live_versions(str(folder))[:3] == (10, 20, 30), "without a pipeline.yaml there is no rule to prune by"
    told = call(folder, "--undo")
    assert told.stdout.splitlines()[1].startswith("The withdrawal of version 30 (withdrawn on ")
    assert withdrawn_from(str(folder)) == ()


def test_undo_says_when_there_is_nothing_to_publish(home):
    folder = home / "root" / "serving"
    call(folder)
    write_version(folder, 2_000_000_000, "w4")
    told = call(folder, "--undo")
    assert told.stdout.splitlines()[-1] == "Nothing was published: the champion stays 2000000000."


def test_old_versions_are_pruned_by_the_pipeline_s_rule(home):
    for version in (5, 6):
        write_version(home / "root" / "serving", version, f"w{version}")
    told = json.loads(call(home / "pipeline.yaml", "--root", home / "root", "--json").stdout)
    # 30 is the version before the champion; the champion has 20's weights; one would go back to 10.
    assert told["trashed"] == [5, 6, 20]


def test_the_store_is_told(home):
    Store(home / "root" / "store").create()
    told = json.loads(call(home / "pipeline.yaml", "--root", home / "root", "--json").stdout)
    notes = read_pushed(Store.open(home / "root" / "store").files)
    assert [note.version for note in notes] == [str(told["version"]), "30", "10"]


def test_a_store_that_cannot_be_told_does_not_undo_it(home):
    store = Store(home / "root" / "store").create()
    store.files.replace("champion.json", b"{")
    told = json.loads(call(home / "pipeline.yaml", "--root", home / "root", "--json").stdout)
    assert told["version"] == live_versions(told["folder"])[-1]
    (words,) = told["left_alone"]
    assert words.startswith("The store was not told of it: ")


def test_the_root_is_that_of_run(home, monkeypatch):
    project = home / "runs" / home.name
    (home / "root").rename(home / "moved")
    project.parent.mkdir()
    (home / "moved").rename(project)
    monkeypatch.chdir(home)
    assert call("pipeline.yaml").exit_code == 0
    assert len(live_versions(str(project / "serving"))) == 3


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(
            ["ROOT/serving", "--to", "15"], 1, "has no live version 15. It has: 10, 20, 30.", id="no such one"
        ),
        pytest.param(["ROOT/serving", "--undo"], 1, "There is no rollback to take back", id="nothing to take back"),
        pytest.param(["PIPELINE", "--root", "EMPTY"], 1, "holds no live version", id="nothing was ever pushed"),
        pytest.param(["nowhere"], 1, "There is no file nowhere", id="no such file"),
        pytest.param(["ROOT/serving", "--root", "ROOT"], 1, "--root goes with a pipeline.yaml only", id="two roots"),
        pytest.param(["ROOT/serving", "--undo", "--to", "10"], 2, "Give either --to or --undo", id="to and undo"),
        pytest.param(["ROOT/serving", "--to", "0"], 2, "0 is not in the range", id="no version"),
    ],
)
def test_what_is_wrong_is_one_sentence(home, args, code, words, monkeypatch, capsys):
    places = {"ROOT": str(home / "root"), "PIPELINE": str(home / "pipeline.yaml"), "EMPTY": str(home / "empty")}
    for name, place in places.items():
        args = [arg.replace(name, place) for arg in args]
    monkeypatch.setattr(sys, "argv", ["gated-pipeline", "rollback", *args])
    before = sorted(str(path) for path in home.rglob("*"))
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
    assert words in capsys.readouterr().err
    assert sorted(str(path) for path in home.rglob("*")) == before
