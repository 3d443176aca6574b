"""A store that cannot be written to: all that only looks works, and all that changes refuses in one sentence."""

from __future__ import annotations

import errno
import json

import pytest
from click.testing import CliRunner

from checkpoint_gate.cli import cli

RULES = "filter: {metric: val_loss, at_most: 0.5}\n"


@pytest.fixture
def store(crowd):
    """Five checkpoints, three of which the rules reject."""
    crowd.run([0.9, 0.8, 0.3, 0.7, 0.4])
    return crowd.root


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def call(*args: object):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def digest(store, rules) -> str:
    return str(json.loads(call("prune", store, "--rules", rules, "--json").stdout)["digest"])


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["list"], id="list"),
        pytest.param(["why"], id="why"),
        pytest.param(["check"], id="check"),
        pytest.param(["check", "--repair"], id="a repair that finds nothing to do"),
        pytest.param(["prune", "--rules", "rules.yaml"], id="the dry run of a pruning"),
    ],
)
def test_what_only_looks_works_on_a_store_that_cannot_be_written_to(store, rules, killable, monkeypatch, args):
    monkeypatch.chdir(rules.parent)
    command = [args[0], store, *args[1:]]
    expected = call(*command)
    killable.arm(0, errno.EROFS, sticky=True)
    told = call(*command)
    assert (told.exit_code, told.stdout, told.stderr) == (0, expected.stdout, expected.stderr)
    assert killable.done == 0


@pytest.mark.parametrize(
    ("args", "folder"),
    [
        pytest.param(["prune", "--rules", "RULES", "--execute", "DIGEST"], "store/run", id="a pruning"),
        pytest.param(["undelete", "--step", "1"], "store/run", id="bringing back"),
        pytest.param(["pin", "--step", "1", "--note", "needed"], "store", id="a pin"),
    ],
)
def test_what_changes_refuses_before_it_changes_anything(store, rules, killable, tree, args, folder):
    told = {"RULES": str(rules), "DIGEST": digest(store, rules)}
    before = tree(store)
    killable.arm(0, errno.EROFS, sticky=True)
    result = call(args[0], store, *(told.get(arg, arg) for arg in args[1:]))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {store.parent}/{folder} cannot be written to: Read-only file system.\n"
    assert tree(store) == before
    assert killable.done == 1
