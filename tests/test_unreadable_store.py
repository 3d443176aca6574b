"""A store of which a part may not be read or written to: the rest is served, and the part is told in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from faults.powers import without_powers

from checkpoint_gate.cli import cli
from checkpoint_gate.errors import NewerFormat
from checkpoint_gate.reviewing.judging import judge_runs
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import bytes_to_check
from checkpoint_gate.store.sweeping import sweep_store

RULES = "filter: {metric: val_loss, at_most: 0.5}\n"
FILE = "ckpt.index"


@pytest.fixture
def runs(crowd):
    """Two runs, of three checkpoints each; the rules reject two of either."""
    return crowd.run([0.9, 0.8, 0.3], "first"), crowd.run([0.9, 0.8, 0.3], "second")


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def forbid():
    """Takes every permission of a file or folder away, until the end of the test."""
    modes = {}

    def forbidden(path: Path, mode: int = 0) -> Path:
        modes[path] = path.stat().st_mode
        path.chmod(mode)
        return path

    yield forbidden
    for path, mode in modes.items():
        path.chmod(mode)


def call(*args: object):
    with without_powers():
        return CliRunner().invoke(cli, [str(arg) for arg in args])


def told(result) -> dict:
    return json.loads(result.stdout)


def faults(result) -> list[tuple[str, str]]:
    return [(each["run"], each["what"]) for each in told(result)["findings"] if each["severity"] == "fault"]


@pytest.mark.parametrize(
    ("path", "command"),
    [
        pytest.param("ledger.jsonl", ["why", "STORE"], id="why, of a ledger"),
        pytest.param("ledger.jsonl", ["report", "STORE"], id="report, of a ledger"),
        pytest.param("ledger.jsonl", ["prune", "STORE", "--rules", "RULES"], id="prune, of a ledger"),
        pytest.param("pins.json", ["list", "STORE"], id="list, of the pins"),
        pytest.param("checkpoints", ["prune", "STORE", "--rules", "RULES"], id="prune, of the checkpoints"),
        pytest.param(
            "checkpoints",
            ["pin", "STORE", "--run", "first", "--step", "1", "--note", "cited"],
            id="pin, of the checkpoints",
        ),
    ],
)
def test_what_may_not_be_read_is_told_by_name_in_one_sentence(runs, rules, crowd, forbid, monkeypatch, path, command):
    monkeypatch.chdir(rules.parent)
    place = runs[0].files.local(f"first/{path}")
    if path == "pins.json":
        runs[0].pin(3, "cited")
    forbid(place)
    result = call(*({"STORE": crowd.root, "RULES": rules}.get(word, word) for word in command))
    assert (result.exit_code, result.stderr) == (1, f"Error: {place}: Permission denied.\n")


def test_a_checkpoint_that_may_not_be_read_refuses_the_pruning_of_its_run_only(runs, rules, crowd, forbid):
    place = forbid(runs[0].files.local(f"{runs[0].gated.path(2)}/{FILE}"))
    planned = call("prune", crowd.root, "--rules", rules, "--json")
    first, second = told(planned)["runs"]
    words = f"Nothing was pruned from first: {place} cannot be read: Permission denied."
    assert (planned.exit_code, planned.stderr.splitlines()[-1]) == (1, f"Error: {words}")
    assert (first["refused"], first["going"]) == (words, [])
    assert [item["step"] for item in second["going"]] == [1, 2]
    done = call("prune", crowd.root, "--rules", rules, "--execute", told(planned)["digest"])
    assert done.exit_code == 1
    assert f"Error: {words}" in done.stderr
    assert [[stored.step for stored in run.live()] for run in runs] == [[1, 2, 3], [3]]


def test_a_checkpoint_that_may_not_be_read_is_no_survivor_and_not_called_damaged(runs, forbid):
    forbid(runs[0].files.local(f"{runs[0].gated.path(3)}/{FILE}"))
    with without_powers():
        judged = judge_runs(runs, parse_rules(RULES).filter)
    assert [(v.run, v.step) for v in judged.survivors] == [("second", 3)]
    assert judged.unreadable == {("first", 3)}


@pytest.mark.parametrize("mode", [0o000, 0o400], ids=["not to be read", "to be listed only"])
def test_of_a_run_that_may_not_be_looked_into_the_others_are_listed_and_checked(runs, crowd, forbid, mode):
    place = forbid(runs[0].files.local("first"), mode)
    with without_powers():
        assert crowd.store.keys() == ["first", "second"]
    listed = call("list", crowd.root, "--json")
    assert [(row["run"], row["step"]) for row in told(listed)] == [("second", 1), ("second", 2), ("second", 3)]
    assert (listed.exit_code, listed.stderr) == (1, f"Error: {place}/run.json: Permission denied.\n")
    for command in (["check"], ["check", "--repair"]):
        checked = call(*command, crowd.root, "--json")
        assert checked.exit_code == 1
        assert faults(checked) == [("first", f"cannot be read: {place}/run.json: Permission denied")]
        notes = [each["what"] for each in told(checked)["findings"] if each["run"] == "second"]
        assert any(note.startswith("live checkpoints: 3") for note in notes)


def test_of_a_run_that_may_not_be_looked_into_nothing_is_planned_until_another_is_named(runs, rules, crowd, forbid):
    place = forbid(runs[0].files.local("first"))
    refused = call("prune", crowd.root, "--rules", rules)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: {place}/run.json: Permission denied.\n"
    assert call("prune", crowd.root, "--rules", rules, "--run", "second").exit_code == 0


def test_a_pin_in_a_run_that_may_not_be_written_to_is_one_sentence(runs, crowd, forbid):
    place = forbid(runs[0].files.local("first"), 0o500)
    result = call("pin", crowd.root, "--run", "first", "--step", 3, "--note", "cited")
    assert (result.exit_code, result.stderr) == (1, f"Error: {place}/pins.json: Permission denied.\n")
    assert runs[0].pins() == {}


def test_a_repair_goes_on_after_a_run_that_may_not_be_written_to(runs, crowd, forbid):
    for run in runs:
        run.files.local(f"{run.gated.path(1)}/{FILE}").write_bytes(b"damaged")
    place = forbid(runs[0].files.local("first"), 0o500)
    result = call("check", crowd.root, "--repair", "--json")
    assert result.exit_code == 1
    assert [each["run"] for each in told(result)["repaired"]] == ["second"]
    assert ("first", f"could not be repaired: {place} cannot be written to: Permission denied") in faults(result)
    assert [[stored.step for stored in run.live()] for run in runs] == [[1, 2, 3], [2, 3]]


def test_a_store_that_may_not_be_listed_is_one_sentence(runs, crowd, forbid):
    forbid(crowd.root, 0o100)
    result = call("list", crowd.root)
    assert (result.exit_code, result.stderr) == (1, f"Error: {crowd.root}: Permission denied.\n")


def test_how_much_there_is_to_verify_is_counted_without_what_may_not_be_read(runs, crowd, forbid):
    every = bytes_to_check(crowd.store)
    forbid(runs[0].files.local("first/checkpoints"))
    with without_powers():
        assert bytes_to_check(crowd.store) == every // 2


def test_a_sweep_goes_on_after_a_run_that_may_not_be_looked_into(runs, rules, crowd, clock, forbid, caplog):
    planned = call("prune", crowd.root, "--rules", rules, "--json")
    assert call("prune", crowd.root, "--rules", rules, "--execute", told(planned)["digest"]).exit_code == 0
    place = forbid(runs[0].files.local("first"))
    with without_powers():
        sweep_store(Store(crowd.root, clock))
    assert f"{place}/run.json: Permission denied" in caplog.text


# A run of a newer version.

NEWER = "has the format 2; this version reads format 1"


@pytest.fixture
def newer(runs):
    """The file of the first run, of a format to come."""
    path = runs[0].files.local("first/run.json")
    text = re.sub(r'"crc": "[0-9a-f]{8}",', "", path.read_text())
    path.write_text(text.replace('"format": 1', '"format": 2'))
    return path


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda store: store.run("first"), id="opened"),
        pytest.param(lambda store: store.start("first"), id="begun again"),
    ],
)
def test_a_run_of_a_newer_format_is_not_opened(runs, newer, crowd, tree, act):
    before = tree(crowd.root)
    with pytest.raises(NewerFormat, match=f"{re.escape(str(newer))} {NEWER}"):
        act(crowd.store)
    assert tree(crowd.root) == before


@pytest.mark.parametrize(
    "command",
    [
        ["prune", "STORE", "--rules", "RULES"],
        ["prune", "STORE", "--rules", "RULES", "--run", "first", "--execute", "0" * 64],
        ["why", "STORE"],
        ["report", "STORE"],
        ["pin", "STORE", "--run", "first", "--step", "3", "--note", "cited"],
        ["undelete", "STORE", "--run", "first", "--step", "1"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_works_on_a_run_of_a_newer_format(runs, newer, rules, crowd, tree, monkeypatch, command):
    monkeypatch.chdir(rules.parent)
    before = tree(crowd.root)
    result = call(*({"STORE": crowd.root, "RULES": rules}.get(word, word) for word in command))
    assert (result.exit_code, result.stderr) == (1, f"Error: {newer} {NEWER}.\n")
    assert tree(crowd.root) == before


def test_beside_a_run_of_a_newer_format_the_others_are_listed_checked_and_repaired(runs, newer, crowd):
    listed = call("list", crowd.root, "--json")
    assert [row["run"] for row in told(listed)] == ["second"] * 3
    assert (listed.exit_code, listed.stderr) == (1, f"Error: {newer} {NEWER}.\n")
    for command in (["check"], ["check", "--repair"]):
        checked = call(*command, crowd.root, "--json")
        assert (checked.exit_code, faults(checked)) == (1, [("first", f"cannot be read: {newer} {NEWER}")])


def test_a_run_whose_file_is_damaged_is_served_and_told(runs, crowd):
    runs[0].files.local("first/run.json").write_text("{")
    assert [row["run"] for row in told(call("list", crowd.root, "--json"))] == ["first"] * 3 + ["second"] * 3
    assert [run for run, _ in faults(call("check", crowd.root, "--json"))] == ["first"]
