"""Old runs of the store: what goes, what is protected, what still tells of them, and how they are trained again."""

from __future__ import annotations

import pytest

from checkpoint_gate.errors import LeaseHeld, PruneRefused
from checkpoint_gate.reviewing.catalog import rows
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store.champion import ChampionNote, note_champion
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.pruning import sweep
from checkpoint_gate.store.retiring import is_retired, name_to_train, plan_retirement, retire
from checkpoint_gate.store.trash import tombstones, trashed
from checkpoint_gate.store.undeleting import undelete
from gated_pipelines.disk.old_runs import old_runs

DAY = 86400.0
RULES = "d" * 64


def go(run, grace=DAY):
    retirement = plan_retirement(run, grace, RULES, "a test")
    with run.lease("retiring") as lease:
        return retire(run, retirement, lease)


def steps(stored):
    return [each.step for each in stored]


def with_state(run, step=5):
    """The state to resume from."""
    run.publish_resumable(Record(step, step - 1, {"val_loss": 0.4}), RULES)
    return run


def test_all_checkpoints_and_the_state_to_resume_from_go(crowd):
    run = with_state(crowd.run([0.9, 0.5, 0.8, 0.4, 0.7]))
    held = sum(stored.manifest.size for stored in run.live())
    done = go(run)
    assert (run.live(), run.resumable.stored(), steps(trashed(run))) == ([], [], [1, 2, 3, 4, 5])
    assert (done.trashed, done.left) == (held, ())
    assert done.swept > 0
    assert is_retired(run.ledger.read())


def test_what_a_resumed_training_had_overtaken_goes_at_once(crowd):
    run = crowd.run([0.9, 0.5])
    [aside] = run.resume_after(1)
    assert run.files.exists(aside)
    done = go(run)
    assert not run.files.exists(aside)
    assert (done.swept > 0, steps(trashed(run))) == (True, [1])


def test_what_is_damaged_and_was_set_aside_is_evidence_and_stays(crowd):
    run = crowd.run([0.9, 0.5])
    [aside] = run.resume_after(1)
    run.files.replace(f"{aside}/manifest.json", b"{")
    assert go(run).left == ()
    assert run.files.exists(aside)


def test_its_history_still_tells(crowd):
    run = crowd.run([0.9, 0.5])
    before = run.ledger.read().entries
    go(run)
    assert run.ledger.read().entries == before
    assert {mark["reason"] for mark in tombstones(run).values()} == {"an old run"}
    assert {(each.step, each.state) for each in rows(run)} == {(1, "trashed"), (2, "trashed")}


def test_after_its_grace_the_bytes_are_freed(crowd):
    run = crowd.run([0.9, 0.5])
    go(run)
    crowd.clock.now += DAY
    with run.lease("sweeping") as lease:
        assert sweep(run, lease).swept > 0
    assert trashed(run) == []


def test_within_its_grace_a_checkpoint_can_be_brought_back(crowd):
    run = crowd.run([0.9, 0.5])
    go(run)
    with run.lease("undeleting") as lease:
        undelete(run, 2, lease)
    assert steps(run.live()) == [2]


def test_pinned_ones_the_champions_and_those_to_go_back_to_stay(crowd):
    run = crowd.run([0.9, 0.5, 0.8, 0.4])
    run.pin(1, "a paper cites it")
    note_champion(run.files, ChampionNote(run.key, 4, "17"), [ChampionNote(run.key, 2, "16")])
    plan = plan_retirement(run, DAY, RULES, "a test").plan
    assert dict(plan.staying) == {
        1: "pinned: a paper cites it",
        2: "one can go back to it, pushed as version 16",
        4: "the champion, pushed as version 17",
    }
    go(run)
    assert steps(run.live()) == [1, 2, 4]


def test_a_pinned_one_that_a_resumed_training_had_overtaken_stays(crowd):
    run = crowd.run([0.9, 0.5, 0.4])
    run.pin(2, "a paper cites it")
    pinned, other = run.resume_after(1)
    retirement = plan_retirement(run, DAY, RULES, "a test")
    assert set(retirement.at_once) == {other}
    run.pin(3, "so does this one")  # since the plan was made
    with run.lease("retiring") as lease:
        assert retire(run, retirement, lease).left == ()
    assert [run.files.exists(path) for path in (pinned, other)] == [True, True]


def test_a_damaged_run_is_refused(crowd):
    run = crowd.run([0.9, 0.5])
    run.files.replace(f"{run.gated.path(1)}/manifest.json", b"{")
    with pytest.raises(PruneRefused, match="the store is damaged"):
        go(run)
    assert not is_retired(run.ledger.read())


def test_one_from_which_others_removed_checkpoints_is_refused(crowd):
    run = crowd.run([0.9, 0.5])
    run.files.empty_folder(run.gated.path(1))
    run.files.remove_folder(run.gated.path(1))
    with pytest.raises(PruneRefused, match="no tombstone tells why"):
        go(run)


def test_one_at_work_is_left(crowd):
    run = crowd.run([0.9, 0.5])
    other = Lease(run.files, "run/lease.json", "training", crowd.clock)
    with other, pytest.raises(LeaseHeld, match="training"):
        go(run)
    assert steps(run.live()) == [1, 2]


def test_killed_anywhere_it_finishes_when_done_again(crowd, killable, killed):
    kills = 0
    for at in range(10_000):
        run = with_state(crowd.run([0.9, 0.5, 0.4], key=f"run{at}"), 3)
        run.pin(2, "a paper cites it")
        retirement = plan_retirement(run, 0.0, RULES, "a test")
        killable.arm(at)
        try:
            with run.lease("retiring") as lease:
                retire(run, retirement, lease)
        except killed:
            kills += 1
        else:
            break
        finally:
            killable.arm(None)
        gone = {1, 3} - {stored.step for stored in run.live()}
        assert not gone or is_retired(run.ledger.read()), "checkpoints go only from a run that is marked"
        go(run, 0.0)
        assert (steps(run.live()), run.resumable.stored(), trashed(run)) == ([2], [], [])
        assert is_retired(run.ledger.read())
    assert kills > 20


def test_what_is_needed_again_is_trained_under_another_name(crowd):
    assert name_to_train(crowd.store, "run") == "run"
    for key, next_name in (("run", "run-2"), ("run-2", "run-3")):
        run = crowd.run([0.9, 0.5], key=key)
        assert name_to_train(crowd.store, "run") == key
        go(run)
        assert name_to_train(crowd.store, "run") == next_name


def test_one_in_which_somebody_trains_on_is_not_retired_any_more(crowd):
    run = crowd.run([0.9, 0.5])
    go(run)
    run.ledger.append_event("started", epochs=9, step=0)
    assert not is_retired(run.ledger.read())
    assert name_to_train(crowd.store, "run") == "run"


def made_by_a_pipeline(crowd, key, losses=(0.9, 0.5)):
    crowd.store.start(key, determined_by={"code": "c"})
    run = crowd.run(losses, key=key)
    run.ledger.append_event("finished", epochs=2)
    return run


@pytest.mark.parametrize(
    ("used", "later", "retired"),
    [
        pytest.param(set(), 1.0, {"old"}, id="one that no recent run used"),
        pytest.param({"old"}, 1.0, set(), id="not one that a recent run used"),
        pytest.param(set(), 0.0, set(), id="nor one that was trained in since"),
    ],
)
def test_old_is_what_no_recent_run_used(crowd, used, later, retired):
    made_by_a_pipeline(crowd, "old")
    found = old_runs(crowd.root, used, crowd.clock.now + later, DAY, RULES)
    assert ({each.run for each in found.retiring}, set(found.keys)) == (retired, retired)


def test_a_run_that_no_pipeline_made_is_nobodys_to_retire(crowd):
    crowd.run([0.9, 0.5]).ledger.append_event("finished", epochs=2)
    assert old_runs(crowd.root, set(), crowd.clock.now + 1, DAY, RULES).retiring == ()


def test_a_damaged_one_keeps_no_other(crowd):
    damaged = made_by_a_pipeline(crowd, "damaged")
    made_by_a_pipeline(crowd, "old")
    damaged.files.replace(f"{damaged.gated.path(1)}/manifest.json", b"{")
    found = old_runs(crowd.root, set(), crowd.clock.now + 1, DAY, RULES)
    assert ([each.run for each in found.retiring], set(found.keys)) == (["old"], {"old"})
    assert "Nothing was pruned from damaged: the store is damaged" in found.left[0]


def test_a_retired_run_is_not_retired_twice(crowd):
    run = made_by_a_pipeline(crowd, "old")
    since = crowd.clock.now + 1
    crowd.clock.now += 10
    go(run)
    found = old_runs(crowd.root, set(), since, DAY, RULES)
    assert (found.retiring, set(found.keys)) == ((), {"old"})


def test_without_a_store_there_is_nothing_old(tmp_path):
    assert old_runs(tmp_path / "none", set(), 1.0, DAY, RULES).retiring == ()
