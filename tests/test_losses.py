"""Checkpoints that others have removed: nothing is pruned until somebody brings them back or takes them for lost."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from checkpoint_gate.cli import cli
from checkpoint_gate.errors import PruneRefused
from checkpoint_gate.reviewing.joint_pruning import plan_runs
from checkpoint_gate.reviewing.judging import judge_runs, why_none
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.losses import missing
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune
from checkpoint_gate.store.repairing import repair_store
from checkpoint_gate.store.trash import tombstones

DAY = 86400.0
DIGEST = "f" * 64
RULES = parse_rules("filter: {metric: val_loss, at_most: 0.5}")


@pytest.fixture
def run(crowd):
    """Steps 1 and 4 are rejected; 2, 3 and 5 are to survive."""
    return crowd.run([0.9, 0.4, 0.3, 0.8, 0.2])


def remove(run, *steps):
    for step in steps:
        shutil.rmtree(run.files.local(run.gated.path(step)))


def call(*args: object):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def plan(run):
    """As CheckpointFilter does: it goes by the survivors that are left."""
    left = [stored.step for stored in run.live() if stored.step in (2, 3, 5)]
    return plan_prune(run, {1: "too high", 4: "too high"}, left, PrunePolicy(grace=DAY), DIGEST)


@pytest.mark.parametrize(
    ("steps", "number", "named"),
    [
        pytest.param([3], 1, "3", id="a survivor"),
        pytest.param([1], 1, "1", id="one that was to go"),
        pytest.param([2, 3], 2, "2, 3", id="two survivors"),
    ],
)
def test_nothing_is_pruned_where_others_have_removed_checkpoints(run, crowd, tree, steps, number, named):
    remove(run, *steps)
    before = tree(crowd.root)
    words = (
        f"Nothing was pruned from run: {number} of its saved checkpoints are gone, and no tombstone tells why (steps "
        f"{named}). Bring them back from a copy, or take them for lost: checkpoint-gate check {crowd.root} --repair."
    )
    with pytest.raises(PruneRefused) as refused:
        plan(run)
    assert str(refused.value) == words
    assert plan_runs([run], RULES).refusals == [words]
    assert tree(crowd.root) == before


def test_many_are_not_all_named(crowd):
    run = crowd.run([0.9] * 9)
    remove(run, *range(1, 9))
    with pytest.raises(PruneRefused, match=r"\(steps 1, 2, 3, 4, 5, … \(8 in all\)\)"):
        plan_prune(run, {}, [9], PrunePolicy(), DIGEST)


def test_a_run_that_lost_all_is_refused_too(run):
    remove(run, 1, 2, 3, 4, 5)
    (refusal,) = plan_runs([run], RULES).refusals
    assert "(steps 1, 2, 3, 4, 5)" in refusal
    judged = judge_runs([run], RULES.filter)
    assert why_none([run], judged) == (
        "All 5 checkpoints were removed by somebody else. Bring them back, or run again with --retrain."
    )


def test_the_way_from_the_loss_to_the_next_pruning(run, crowd, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("filter: {metric: val_loss, at_most: 0.5}\n")
    remove(run, 3)
    refused = call("prune", crowd.root, "--rules", rules)
    assert refused.exit_code == 1
    assert f"take them for lost: checkpoint-gate check {crowd.root} --repair." in refused.stderr
    assert "step 3 of run: saved, checkpoint missing" in call("why", crowd.root, "--step", "3").stdout

    mended = call("check", crowd.root, "--repair")
    assert (mended.exit_code, mended.stdout.count("mended ")) == (0, 1)
    assert "/checkpoints/step-000000003: saved at epoch 3, but gone, and no tombstone tells why; bring its" in (
        mended.stdout
    )
    assert call("check", crowd.root).exit_code == 0

    told = call("why", crowd.root, "--step", "3").stdout
    assert "step 3 of run: saved, checkpoint lost" in told
    assert "  lost      it was gone, and no tombstone told why; taken for lost 20" in told
    (row,) = (row for row in json.loads(call("list", crowd.root, "--json").stdout) if row["step"] == 3)
    expected = {"state": "lost", "path": None, "bytes": 0, "epoch": 2, "metrics": {"loss": 0.5, "val_loss": 0.3}}
    assert {key: row[key] for key in expected} == expected
    (table,) = (line for line in call("why", crowd.root).stdout.splitlines() if line.split()[1] == "3")
    assert table.endswith("lost        as told; lost: it was gone, and no tombstone told why")

    digest = json.loads(call("prune", crowd.root, "--rules", rules, "--json").stdout)["digest"]
    assert call("prune", crowd.root, "--rules", rules, "--execute", digest).exit_code == 0
    assert [stored.step for stored in run.live()] == [2, 5]


def test_what_comes_back_from_a_copy_is_live_again(run, crowd, tmp_path):
    path = run.files.local(run.gated.path(3))
    shutil.copytree(path, tmp_path / "copy")
    remove(run, 3)
    list(repair_store(crowd.store))
    shutil.copytree(tmp_path / "copy", path)
    (warning,) = (finding for finding in check_store(crowd.store) if finding.severity == "warning")
    assert "is alive, but has a tombstone" in warning.what
    list(repair_store(crowd.store))
    assert [mark["event"] for mark in tombstones(run).values()] == ["undeleted"]
    assert [finding for finding in check_store(crowd.store) if finding.severity != "note"] == []
    assert [item.step for item in plan(run).going] == [1, 4]
    remove(run, 3)
    with pytest.raises(PruneRefused, match="steps 3"):
        plan(run)


def test_what_came_back_while_a_repair_began_is_not_taken_for_lost(run, crowd, tmp_path, monkeypatch):
    path = run.files.local(run.gated.path(3))
    shutil.copytree(path, tmp_path / "copy")
    remove(run, 3)
    acquire = type(run.lease("x")).acquire

    def bring_back(lease):
        acquire(lease)
        if not path.exists():
            shutil.copytree(tmp_path / "copy", path)

    monkeypatch.setattr("checkpoint_gate.store.lease.Lease.acquire", bring_back)
    list(repair_store(crowd.store))
    assert dict(tombstones(run)) == {}


def test_what_goes_only_when_a_repair_has_begun_is_not_taken_for_lost(run, crowd, monkeypatch):
    remove(run, 3)
    acquire = type(run.lease("x")).acquire

    def remove_another(lease):
        acquire(lease)
        shutil.rmtree(run.files.local(run.gated.path(2)), ignore_errors=True)

    monkeypatch.setattr("checkpoint_gate.store.lease.Lease.acquire", remove_another)
    list(repair_store(crowd.store))
    assert [(step, mark["event"]) for (_, step), mark in tombstones(run).items()] == [(3, "lost")]
    assert [record.step for record in missing(run, run.live(), run.ledger.read())] == [2]


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        pytest.param(lambda run: run.quarantine(run.live()[2], "damaged"), [], id="set aside as damaged"),
        pytest.param(lambda run: run.ledger.append_event("resumed", after_step=2), [3, 4, 5], id="overtaken"),
        pytest.param(lambda run: run.ledger.append_event("overtaken", step=3, at="epoch"), [3], id="never written"),
    ],
)
def test_what_is_gone_for_a_known_reason_is_not_missed(run, change, gone):
    change(run)
    remove(run, *gone)
    assert missing(run, run.live(), run.ledger.read()) == []


def test_what_was_pruned_is_not_missed(run):
    with run.lease("pruning") as lease:
        execute_prune(run, plan(run), lease)
    assert missing(run, run.live(), run.ledger.read()) == []
    shutil.rmtree(run.files.local("run/trash"))
    assert missing(run, run.live(), run.ledger.read()) == []


def test_what_was_saved_since_the_live_ones_were_listed_is_not_missed(run):
    assert missing(run, (), run.ledger.read()) == []
