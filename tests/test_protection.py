"""What is protected survives whatever comes between a decision and its execution."""

from __future__ import annotations

import pytest

from checkpoint_gate.errors import StoreError
from checkpoint_gate.reviewing.judging import judge_runs
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.retention import Held, Keep
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import ChampionNote, note_champion
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, sweep
from checkpoint_gate.store.trash import trashed

DAY = 86400.0


def prune(run, rejected, survivors, grace=DAY):
    with run.lease("pruning") as lease:
        plan = plan_prune(run, rejected, survivors, PrunePolicy(grace=grace), "f" * 64)
        return execute_prune(run, plan, lease)


def test_one_that_becomes_champion_in_the_trash_is_not_swept(crowd, clock):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    prune(run, {1: "bad", 2: "bad"}, [3, 4])
    note_champion(run.files, ChampionNote("run", 2, "1790000000"))
    clock.now += 2 * DAY
    with run.lease("sweeping") as lease:
        assert sweep(run, lease).swept > 0
    assert [stored.step for stored in trashed(run)] == [2]


def test_a_pin_set_while_the_pruning_moves_brings_the_checkpoint_back(crowd, monkeypatch):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    rename = run.files.rename

    def pinned_meanwhile(source, target):
        if "/trash/" in target and not run.pins():
            run.pin(2, "mine")
        rename(source, target)

    monkeypatch.setattr(run.files, "rename", pinned_meanwhile)
    done = prune(run, {2: "bad"}, [4], grace=0.0)
    assert [stored.step for stored in run.live()] == [1, 2, 3, 4]
    assert done.left == (f"{run.files.local(run.gated.path(2))} was protected meanwhile",)


def test_one_whose_record_the_ledger_lost_is_rejected_but_not_removed(crowd):
    run = crowd.run([0.9, 0.5, 0.4])
    lines = run.ledger.text().splitlines(keepends=True)
    run.files.replace("run/ledger.jsonl", "".join(lines[:-1]).encode())
    judged = judge_runs([crowd.store.run("run")], parse_rules("filter: {metric: val_loss, at_most: 0.5}").filter)
    assert judged.of_run("run", "reject")[3] == "the ledger has no record of it, so it cannot be judged"
    assert set(judged.removable("run")) == {1}


def test_a_budget_binds_although_a_checkpoint_is_protected_from_outside():
    held = [Held(step, step, {"val_loss": 0.1 * step}, 0.0, 10) for step in (1, 2, 3, 4)]
    assert list(Keep(last=1, budget=20).surplus(held, 0.0, {1})) == [2, 3]


def test_what_a_user_has_below_a_run_s_name_is_left_alone(tmp_path, clock):
    (tmp_path / "thesis" / "tmp").mkdir(parents=True)
    (tmp_path / "thesis" / "tmp" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis holds 'tmp' and is no training run\. Choose another name\."):
        Store(tmp_path, clock).start("thesis")
    assert (tmp_path / "thesis" / "tmp" / "notes.txt").read_text() == "mine"


def test_foreign_names_in_the_temporary_folder_are_left_alone(crowd):
    run = crowd.run([0.9])
    run.files.make_folder("run/tmp")
    run.files.local("run/tmp/notes.txt").write_text("mine")
    run.gated.clear_staged()
    assert run.files.local("run/tmp/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["store.json", "champion.json", "lease.json", "x.json"])
def test_a_run_cannot_take_the_name_of_a_file_of_the_store(name, tmp_path, clock):
    with pytest.raises(StoreError, match=r"does not end in \.json"):
        Store(tmp_path, clock).start(name)


def test_what_was_left_by_a_pinning_that_was_killed_is_cleared_by_the_next(crowd, killable, killed):
    run = crowd.run([0.9, 0.5])
    killable.arm(None)
    run.pin(1, "needed")
    operations = killable.done
    for at in range(operations):
        killable.arm(at)
        with pytest.raises(killed):
            run.pin(1, f"needed after {at}")
    killable.arm(None)
    assert any(name.endswith(".tmp") for name in run.files.names())
    run.pin(1, "needed")
    assert [name for name in run.files.names() if name.endswith(".tmp")] == []
