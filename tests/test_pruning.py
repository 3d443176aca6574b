"""Pruning: what it plans, what it refuses, and that no kill and no failing disk ever costs a survivor."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil

import pytest
from faults.clocks import Machine
from faults.crowd import Crowd

from checkpoint_gate.errors import DamagedCheckpoint, LeaseHeld, PruneRefused, RuleError, StoreError
from checkpoint_gate.quantities import format_size
from checkpoint_gate.reviewing.joint_pruning import execute_plan, plan_runs
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store, pruning
from checkpoint_gate.store.champion import ChampionNote, note_champion
from checkpoint_gate.store.checkpoints import Stored, bytes_held, copy_out, read_checkpoint, verify_files
from checkpoint_gate.store.elapsed import SystemClock
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.losses import take_for_lost
from checkpoint_gate.store.prune_plan import make_plan, plan_prune
from checkpoint_gate.store.pruning import Pruned, execute_prune, mark, recover, sweep
from checkpoint_gate.store.standing import why_all_stays
from checkpoint_gate.store.trash import body_digest, bury, pruned_before, tombstones, trashed
from checkpoint_gate.store.undeleting import undelete

RULES = "f" * 64
DAY = 86400.0
POLICY = PrunePolicy(grace=DAY)
AT_ONCE = PrunePolicy(grace=0.0)


def prune(run, rejected, survivors, policy=POLICY):
    """What CheckpointFilter does: finish what was begun, plan, carry out."""
    with run.lease("pruning") as lease:
        recover(run, lease)
        return execute_prune(run, plan_prune(run, rejected, survivors, policy, RULES), lease)


def live_steps(run):
    return [stored.step for stored in run.live()]


def trash_steps(run):
    return [stored.step for stored in trashed(run)]


def events(run):
    """Step -> what its newest tombstone says."""
    return {step: mark["event"] for (_, step), mark in tombstones(run).items()}


def spoil(run, step, name="ckpt.index"):
    path = run.files.local(f"{run.gated.path(step)}/{name}")
    path.write_bytes(b"x" + path.read_bytes()[1:])


def test_a_plan_says_what_goes_what_stays_and_why(crowd):
    run = crowd.run([0.9, 0.5, 0.8, 0.4, 0.7])
    run.pin(3, "a paper cites it")
    plan = plan_prune(run, {1: "too high", 3: "too high", 5: "too high"}, [2, 4], POLICY, RULES)
    assert [(going.step, going.reason) for going in plan.going] == [(1, "too high")]
    assert dict(plan.staying) == {3: "pinned: a paper cites it", 5: "among the last 1"}
    assert plan.bytes == run.live()[0].manifest.size > 0


def test_what_was_pruned_and_is_saved_again_is_not_told_as_pruned(crowd):
    run = crowd.run([0.9, 0.5])
    prune(run, {1: "too high"}, [2], AT_ONCE)
    assert [mark["step"] for mark in pruned_before(run)] == [1]
    crowd.publish(run, Record(1, 0, {"loss": 0.5, "val_loss": 0.4}, time=crowd.clock()))
    assert pruned_before(run) == []


def test_the_best_passes_over_a_damaged_one_with_a_warning(crowd, caplog):
    run = crowd.run([0.9, 0.3, 0.5])
    spoil(run, 2)
    assert run.best("val_loss", "min").step == 3
    assert [message for message in caplog.messages if message.startswith("passed over: ")]


def test_publishing_answers_with_the_path_in_the_store(crowd):
    run = crowd.run([0.9])
    record = Record(2, 1, {"loss": 0.5, "val_loss": 0.4}, time=crowd.clock())
    assert crowd.publish(run, record) == run.live()[1].folder == "run/checkpoints/step-000000002"


def test_planning_changes_nothing(crowd, tree):
    run = crowd.run([0.9, 0.5, 0.4])
    before = tree(crowd.root)
    plan_prune(run, {1: "too high"}, [2, 3], POLICY, RULES)
    assert tree(crowd.root) == before


def test_the_digest_changes_with_what_matters(crowd):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    plans = [
        plan_prune(run, {1: "too high"}, [2], POLICY, RULES),
        plan_prune(run, {1: "too high", 2: "too high"}, [3], POLICY, RULES),
        plan_prune(run, {1: "too low"}, [2], POLICY, RULES),
        plan_prune(run, {1: "too high"}, [2], AT_ONCE, RULES),
        plan_prune(run, {1: "too high"}, [2], POLICY, "e" * 64),
        plan_prune(run, {1: "too high"}, [2], POLICY, RULES, by="a person"),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert plan_prune(run, {1: "too high"}, [3], POLICY, RULES).digest == plans[0].digest


@pytest.mark.parametrize(
    ("policy", "staying"),
    [
        pytest.param(PrunePolicy(), [3, 4], id="the last one stays"),
        pytest.param(PrunePolicy(keep_last=3), [2, 3, 4], id="the last three stay"),
        pytest.param(PrunePolicy(keep_last=9), [1, 2, 3, 4], id="all stay where there are fewer"),
    ],
)
def test_the_last_stay_although_they_are_rejected(crowd, policy, staying):
    run = crowd.run([0.9, 0.8, 0.3, 0.7])
    prune(run, {1: "too high", 2: "too high", 4: "too high"}, [3], policy)
    assert live_steps(run) == staying


@pytest.mark.parametrize(
    ("bounds", "going", "why"),
    [
        pytest.param({"within": 150.0}, [1, 2], "younger than the time to keep", id="younger than 150 s"),
        pytest.param({"within": 120.0}, [1, 2, 3], None, id="exactly as old is too old"),
        pytest.param({"within": 1000.0}, [], "younger than the time to keep", id="all are young"),
        pytest.param({"budget": 5}, [], "the budget has room for it", id="room for all five"),
        pytest.param({"budget": 4}, [1], "the budget has room for it", id="room for four: the oldest goes"),
        pytest.param({"budget": 1}, [1, 2, 3], None, id="no room: all the rejected, and nothing else"),
        pytest.param(
            {"budget": 3, "within": 200.0}, [1], "younger than the time to keep", id="young beyond the budget"
        ),
        pytest.param({"budget": 4, "keep_last": 4}, [1], "among the last 4", id="the last need no room"),
    ],
)
def test_young_ones_and_what_there_is_room_for_stay_although_they_are_rejected(crowd, clock, bounds, going, why):
    def one_a_minute():
        for loss in (0.9, 0.8, 0.7, 0.3, 0.2):
            clock.now += 60
            yield loss

    run = crowd.run(one_a_minute())
    size = run.live()[0].manifest.size
    bounds = bounds | ({"budget": bounds["budget"] * size} if "budget" in bounds else {})
    rejected = dict.fromkeys([1, 2, 3], "too high")
    plan = plan_prune(run, rejected, [4, 5], PrunePolicy(max_fraction=1.0, **bounds), RULES)
    assert [each.step for each in plan.going] == going
    assert {plan.staying[step] for step in rejected if step not in going} == ({why} if why else set())


def test_the_champion_stays_although_it_is_rejected(crowd):
    run, other = crowd.run([0.9, 0.8, 0.3, 0.4]), crowd.run([0.9, 0.8, 0.3], "other")
    note_champion(crowd.store.files, ChampionNote("run", 1, "17"))
    for each in (run, other):
        prune(each, {1: "too high", 2: "too high"}, [3])
    assert (live_steps(run), live_steps(other)) == ([1, 3, 4], [3])
    plan = plan_prune(run, {1: "too high"}, [3], POLICY, RULES)
    assert plan.staying[1] == "the champion, pushed as version 17"


def test_a_survivor_stays_although_it_is_rejected_too(crowd):
    run = crowd.run([0.9, 0.5, 0.4])
    prune(run, {1: "too high", 2: "too high"}, [2, 3])
    assert live_steps(run) == [2, 3]


def nothing(run):
    pass


def spoil_survivor(run):
    spoil(run, 3)


def remove_survivor(run):
    shutil.rmtree(run.files.local(run.gated.path(3)))


def spoil_manifest(run):
    spoil(run, 2, "manifest.json")


def other_writer(run):
    lease = {"host": "elsewhere", "pid": 7, "born": "1", "purpose": "training", "token": 3, "nonce": "n"}
    run.files.replace(f"{run.key}/lease.000000003.json", json.dumps(lease | {"expires": run.clock() + 60.0}).encode())


@pytest.mark.parametrize(
    ("rejected", "survivors", "policy", "prepare", "error", "words"),
    [
        pytest.param([1, 2], [], POLICY, nothing, PruneRefused, "no survivor would be left.", id="no survivor"),
        pytest.param(
            [1, 2], [3], POLICY, spoil_survivor, PruneRefused, "a survivor does not verify", id="a damaged survivor"
        ),
        pytest.param(
            [1, 2],
            [3],
            POLICY,
            remove_survivor,
            PruneRefused,
            "the survivor of step 3 is not there.",
            id="a lost survivor",
        ),
        pytest.param([1], [3], POLICY, spoil_manifest, PruneRefused, "the store is damaged", id="a damaged store"),
        pytest.param(
            [1, 2],
            [3],
            PrunePolicy(max_fraction=0.4),
            nothing,
            PruneRefused,
            "2 of 4 checkpoints would go, more than max_fraction 0.4 allows. Check the filter, or raise max_fraction.",
            id="more than max_fraction",
        ),
        pytest.param(
            [1, 2],
            [3],
            POLICY,
            other_writer,
            LeaseHeld,
            r"is in use by process 7 on elsewhere \(training\). Wait until it has ended, and try again.",
            id="another writer at work",
        ),
    ],
)
def test_a_refused_prune_changes_nothing(crowd, tree, rejected, survivors, policy, prepare, error, words):
    run = crowd.run([0.9, 0.8, 0.3, 0.4])
    prepare(run)
    before = tree(crowd.root)
    with pytest.raises(error, match=words) as refusal:
        prune(run, dict.fromkeys(rejected, "too high"), survivors, policy)
    assert tree(crowd.root) == before
    if error is PruneRefused:
        assert str(refusal.value).startswith("Nothing was pruned from run: ")


def test_exactly_max_fraction_may_go(crowd):
    run = crowd.run([0.9, 0.8, 0.3, 0.4])
    prune(run, {1: "too high", 2: "too high"}, [3], PrunePolicy(max_fraction=0.5))
    assert live_steps(run) == [3, 4]


def test_a_full_disk_refuses_before_anything_moves(crowd, monkeypatch):
    run = crowd.run([0.9, 0.5])
    plan = plan_prune(run, {1: "too high"}, [2], POLICY, RULES)
    with run.lease("pruning") as lease:
        lease.renew()

        def full(path, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(lease, "renew", lambda: None)
        monkeypatch.setattr(run.files, "replace", full)
        with pytest.raises(PruneRefused, match=r"its journal cannot be written \(No space left on device\). Free some"):
            execute_prune(run, plan, lease)
        monkeypatch.undo()
    assert live_steps(run) == [1, 2]
    assert trash_steps(run) == []


def test_the_rejected_lie_in_the_trash_whole_until_their_grace_is_over(crowd, clock):
    run = crowd.run([0.9, 0.8, 0.3, 0.4])
    done = prune(run, {1: "too high", 2: "too high"}, [3, 4])
    assert (live_steps(run), trash_steps(run)) == ([3, 4], [1, 2])
    assert all(verify_files(run.files, stored) is None for stored in trashed(run))
    assert (done.trashed, done.swept, done.left) == (sum(s.manifest.size for s in trashed(run)), 0, ())
    with run.lease("pruning") as lease:
        clock.now += DAY - 1
        assert sweep(run, lease).swept == 0
        assert trash_steps(run) == [1, 2]
        clock.now += 1
        assert sweep(run, lease).swept == done.trashed
        assert trash_steps(run) == []
        assert sweep(run, lease).swept == 0
    assert events(run) == {1: "pruned", 2: "pruned"}
    assert run.files.names("run/journal") == []
    assert run.files.names("run/trash") == []


def test_a_clock_that_goes_back_sweeps_nothing(crowd, clock):
    run = crowd.run([0.9, 0.3])
    prune(run, {1: "too high"}, [2])
    clock.now -= 10 * 365 * DAY
    with run.lease("pruning") as lease:
        assert sweep(run, lease).swept == 0
    assert trash_steps(run) == [1]


# A clock that is wrong: the seconds since boot, or two stretches of the clock, one after the other, must agree.

YEARS = 10 * 365 * DAY


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def pruned_run(memory_path, machine):
    """A run whose first checkpoint was just moved to the trash."""
    run = Crowd(memory_path / "store", machine).run([0.9, 0.3])
    prune(run, {1: "too high"}, [2])
    return run


def swept(run):
    with run.lease("pruning") as lease:
        sweep(run, lease)
    return trash_steps(run) == []


def test_a_clock_that_jumps_forward_sweeps_nothing(pruned_run, machine):
    machine.jump(YEARS)
    assert not any(swept(pruned_run) for _ in range(3))
    machine.wait(DAY - 1)
    assert not swept(pruned_run)
    machine.wait(1)
    assert swept(pruned_run)


def test_a_clock_that_jumps_and_is_set_right_costs_no_time(pruned_run, machine):
    machine.jump(YEARS)
    assert not swept(pruned_run)
    machine.jump(-YEARS)
    machine.wait(DAY)
    assert swept(pruned_run)


def test_after_a_restart_two_looks_are_needed(pruned_run, machine):
    machine.restart()
    machine.jump(YEARS)
    assert not swept(pruned_run)
    machine.wait(DAY - 1)
    assert not swept(pruned_run)
    machine.wait(1)
    assert swept(pruned_run)


def test_machines_that_live_for_one_night_sweep_at_the_second(pruned_run, machine):
    for freed in (False, True):
        machine.restart()
        machine.wait(DAY)
        assert swept(pruned_run) == freed


def test_an_error_of_the_clock_that_lasts_over_restarts_frees_nothing_early(pruned_run, machine):
    machine.jump(YEARS)
    for _ in range(4):
        machine.restart()
        machine.wait(DAY / 5)
        assert not swept(pruned_run)


def test_what_was_pruned_under_a_clock_that_was_years_behind_has_its_grace(memory_path, machine):
    machine.jump(-YEARS)
    run = Crowd(memory_path / "store", machine).run([0.9, 0.3])
    prune(run, {1: "too high"}, [2])
    machine.jump(YEARS)
    for _ in range(3):
        machine.restart()
        machine.wait(1)
        assert not swept(run)


@pytest.mark.parametrize(
    "contradict",
    [
        pytest.param(lambda machine: (machine.restart(), machine.jump(-2 * YEARS + DAY)), id="it went back"),
        pytest.param(lambda machine: machine.jump(YEARS), id="it jumped within a boot"),
    ],
)
def test_what_a_clock_said_before_it_contradicted_itself_counts_for_nothing(pruned_run, machine, contradict):
    machine.restart()
    machine.jump(2 * YEARS)
    assert not swept(pruned_run)
    contradict(machine)
    assert not swept(pruned_run)
    machine.restart()
    machine.jump(DAY)
    assert not swept(pruned_run)
    machine.restart()
    machine.wait(DAY)
    assert swept(pruned_run)


def test_a_second_boot_frees_what_it_has_measured_a_grace_for(pruned_run, machine):
    machine.restart()
    assert not swept(pruned_run)
    machine.wait(DAY - 1)
    assert not swept(pruned_run)
    machine.wait(1)
    assert swept(pruned_run)


def test_a_look_before_the_grace_was_over_is_no_witness(pruned_run, machine):
    machine.restart()
    machine.wait(DAY / 2)
    assert not swept(pruned_run)
    machine.restart()
    machine.jump(YEARS)
    assert not swept(pruned_run)


def test_a_look_is_written_down_once(pruned_run, machine, tree):
    machine.restart()
    machine.wait(DAY)
    assert not swept(pruned_run)
    before = tree(pruned_run.files.root)
    assert not swept(pruned_run)
    assert tree(pruned_run.files.root) == before


def test_a_look_that_cannot_be_written_down_is_told(pruned_run, machine, monkeypatch):
    machine.restart()
    machine.wait(DAY)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("checkpoint_gate.store.pruning.note_look", full)
    with pruned_run.lease("pruning") as lease:
        done = sweep(pruned_run, lease)
    assert done.left == ("run: how far a grace has run could not be written down: No space left on device",)


def test_a_clock_that_went_back_is_told(pruned_run, machine, caplog):
    machine.jump(-YEARS)
    machine.wait(2 * DAY)
    assert not swept(pruned_run)
    assert "step 1 was pruned later" in caplog.text


def test_grace_zero_frees_at_once(crowd):
    run = crowd.run([0.9, 0.3])
    size = run.live()[0].manifest.size
    done = prune(run, {1: "too high"}, [2], AT_ONCE)
    assert (done.trashed, done.swept) == (0, size)
    assert (live_steps(run), trash_steps(run), events(run)) == ([2], [], {1: "pruned"})


def test_grace_zero_leaves_the_grace_of_others(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    prune(run, {1: "too high"}, [3])
    prune(run, {2: "too high"}, [3], AT_ONCE)
    assert (trash_steps(run), events(run)) == ([1], {1: "trashed", 2: "pruned"})


def test_tombstones_remember_what_went_when_and_why(crowd, clock):
    run = crowd.run([0.9, 0.3])
    prune(run, {1: "val_loss 0.9 is not at most 0.5"}, [2], AT_ONCE)
    (mark,) = pruned_before(run)
    assert (mark["step"], mark["epoch"], mark["event"]) == (1, 0, "pruned")
    assert mark["reason"] == "val_loss 0.9 is not at most 0.5"
    assert mark["metrics"] == {"loss": 0.5, "val_loss": 0.9}
    assert (mark["rules"], mark["by"], mark["time"]) == (RULES, "CheckpointFilter", clock.now)


def test_pruning_again_finds_nothing_to_do(crowd, tree):
    run = crowd.run([0.9, 0.3])
    prune(run, {1: "too high"}, [2])
    before = tree(crowd.root)
    assert prune(run, {1: "too high"}, [2]).trashed == 0
    assert tree(crowd.root) == before


def test_files_that_no_manifest_lists_stay_and_are_told(crowd, clock):
    run = crowd.run([0.9, 0.8, 0.3])
    notes = run.files.local(f"{run.gated.path(1)}/notes.txt")
    notes.write_text("mine")
    done = prune(run, {1: "too high", 2: "too high"}, [3], AT_ONCE)
    (kept,) = run.files.local("run/trash").iterdir()
    held = format_size(sum(path.stat().st_size for path in kept.iterdir()))
    assert done.left == (f"{kept} holds files that its manifest does not list; {held} stay on the disk",)
    assert (kept / "notes.txt").read_text() == "mine"
    assert [verify_files(run.files, stored) for stored in trashed(run)] == [None]
    assert events(run) == {1: "trashed", 2: "pruned"}
    (kept / "notes.txt").unlink()
    with run.lease("pruning") as lease:
        assert sweep(run, lease).left == ()
    assert (trash_steps(run), run.files.names("run/journal")) == ([], [])


def test_a_rejected_one_that_is_damaged_is_quarantined_not_deleted(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    plan = plan_prune(run, {1: "too high", 2: "too high"}, [3], AT_ONCE, RULES)
    spoil(run, 1)
    with run.lease("pruning") as lease:
        done = execute_prune(run, plan, lease)
    assert live_steps(run) == [3]
    assert len(done.left) == 1
    assert done.left[0].endswith("ckpt.index does not match its checksum")
    folder = run.files.local("run/quarantine/step-000000001")
    assert (folder / "ckpt.index").read_bytes() == b"xndex of 1"
    assert folder.with_name("step-000000001.reason").read_text() == done.left[0] + "\n"
    assert events(run) == {2: "pruned"}


def test_a_checkpoint_saved_after_the_plan_is_invisible_to_it(crowd, clock):
    run = crowd.run([0.9, 0.3])
    plan = plan_prune(run, {1: "too high"}, [2], AT_ONCE, RULES)
    shutil.rmtree(run.files.local(run.gated.path(1)))
    crowd.publish(run, Record(1, 0, {"loss": 0.1, "val_loss": 0.1}, time=clock()))
    with run.lease("pruning") as lease:
        done = execute_prune(run, plan, lease)
    assert live_steps(run) == [1, 2]
    assert done.left == (f"{run.files.local(run.gated.path(1))} is not the checkpoint that the plan was made for",)


def test_a_checkpoint_pinned_after_the_plan_stays(crowd):
    run = crowd.run([0.9, 0.3])
    plan = plan_prune(run, {1: "too high"}, [2], AT_ONCE, RULES)
    run.pin(1, "needed")
    with run.lease("pruning") as lease:
        done = execute_prune(run, plan, lease)
    assert live_steps(run) == [1, 2]
    assert done.left[0].endswith("is protected since the plan was made: pinned: needed")


def test_one_that_cannot_be_moved_does_not_keep_the_others(crowd, monkeypatch):
    run = crowd.run([0.9, 0.8, 0.3])
    rename = run.files.rename

    def denied(source, target):
        if source == run.gated.path(1):
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(run.files, "rename", denied)
    done = prune(run, {1: "too high", 2: "too high"}, [3], AT_ONCE)
    assert done.left == (f"{run.files.local(run.gated.path(1))} cannot be moved to the trash: Permission denied",)
    assert (live_steps(run), events(run)) == ([1, 3], {2: "pruned"})
    monkeypatch.undo()
    with run.lease("pruning") as lease:
        sweep(run, lease)
    assert (live_steps(run), events(run), run.files.names("run/journal")) == ([3], {1: "pruned", 2: "pruned"}, [])


def test_one_that_cannot_be_removed_does_not_keep_the_others(crowd, monkeypatch):
    run = crowd.run([0.9, 0.8, 0.3])
    remove = run.files.remove_file

    def denied(path):
        if "/trash/step-000000001" in path:
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(path)

    monkeypatch.setattr(run.files, "remove_file", denied)
    done = prune(run, {1: "too high", 2: "too high"}, [3], AT_ONCE)
    size = format_size(bytes_held(run.files, trashed(run)[0].folder))
    (left,) = done.left
    assert left.endswith(f"cannot be removed: Permission denied; {size} stay on the disk")
    assert events(run) == {1: "trashed", 2: "pruned"}
    monkeypatch.undo()
    with run.lease("pruning") as lease:
        assert sweep(run, lease).swept > 0
    assert events(run) == {1: "pruned", 2: "pruned"}


# What is to stay is damaged or gone, after a plan was made.


def lose(run, step):
    shutil.rmtree(run.files.local(run.gated.path(step)))


def set_aside(run, step):
    run.quarantine(run.gated.read(f"step-{step:09d}"), "damaged")


def take_for_gone(run, step):
    lose(run, step)
    take_for_lost(run, next(record for record in run.ledger.read().records if record.step == step))


def unreadable(run, step):
    path = run.files.local(f"{run.gated.path(step)}/ckpt.index")
    measure = run.files.measure

    def failing(name, *more):
        if run.files.local(name) == path:
            raise OSError(errno.EIO, "Input/output error")
        return measure(name, *more)

    run.files.measure = failing
    run.verified.clear()  # as another process finds it


def no_ledger(run, step):
    run.files.local("run/ledger.jsonl").write_text("{\n")


FAULTS = [
    pytest.param(spoil, "while a checkpoint that stays is damaged (", id="damaged"),
    pytest.param(lose, "2 of its saved checkpoints are gone", id="removed by others"),
    pytest.param(set_aside, "none of its checkpoints would be left", id="set aside"),
    pytest.param(take_for_gone, "none of its checkpoints would be left", id="taken for lost"),
    pytest.param(unreadable, "step-000000003 cannot be read: Input/output error", id="not to be read"),
    pytest.param(no_ledger, "Nothing goes from run: ", id="without a ledger to tell"),
]


@pytest.mark.parametrize(("spoiled", "words"), FAULTS)
def test_the_trash_stays_while_what_was_to_stay_is_damaged_or_gone(crowd, clock, spoiled, words):
    run = crowd.run([0.9, 0.8, 0.3, 0.2])
    prune(run, {1: "too high", 2: "too high"}, [3, 4])
    for step in (3, 4):
        spoiled(run, step)
    clock.now += 2 * DAY
    for _ in range(2):
        with run.lease("sweeping") as lease:
            done = sweep(run, lease)
        assert (done.swept, trash_steps(run)) == (0, [1, 2])
        (left,) = done.left
        assert words in left
    assert len(run.files.names("run/journal")) == 1


@pytest.mark.parametrize(("spoiled", "sweepable"), [(spoil, 0), (lose, 0), (lambda run, step: None, 1)])
def test_a_plan_tells_only_of_trash_that_an_execution_would_free(crowd, clock, spoiled, sweepable):
    run = crowd.run([0.9, 0.8, 0.3, 0.2])
    prune(run, {1: "too high"}, [3, 4])
    spoiled(run, 3)
    clock.now += 2 * DAY
    assert [r.sweepable > 0 for r in plan_runs([run], JOINT).runs] == [sweepable > 0]


def test_what_was_kept_for_a_damaged_one_is_freed_once_that_is_seen_to(crowd, clock):
    run = crowd.run([0.9, 0.3, 0.2])
    prune(run, {1: "too high"}, [2, 3])
    spoil(run, 3)
    clock.now += 2 * DAY
    for damaged in (True, False):
        with run.lease("sweeping") as lease:
            assert bool(sweep(run, lease).left) == damaged
        assert trash_steps(run) == ([1] if damaged else [])
        if damaged:
            set_aside(run, 3)


def test_a_sweep_with_nothing_due_reads_no_checkpoint(crowd, monkeypatch):
    run = crowd.run([0.9, 0.3])
    prune(run, {1: "too high"}, [2])
    monkeypatch.setattr("checkpoint_gate.store.standing.verify_files", pytest.fail)
    with run.lease("sweeping") as lease:
        assert sweep(run, lease).left == ()


def age(run):
    """As if the files had been written some time ago: what is younger than the clock's tick is never taken for read."""
    for path in run.files.local("run/checkpoints").rglob("*"):
        os.utime(path, (1.7e9, 1.7e9))


def test_what_verified_before_is_read_again_only_when_its_files_look_different(crowd, monkeypatch):
    run = crowd.run([0.9, 0.3, 0.2])
    age(run)
    read = []
    monkeypatch.setattr(
        "checkpoint_gate.store.standing.verify_files", lambda files, s: read.append(s.step) or verify_files(files, s)
    )
    assert (why_all_stays(run, {1}), read) == (None, [2, 3])
    assert (why_all_stays(run, {1}), read) == (None, [2, 3])
    spoil(run, 3)
    assert "is damaged" in why_all_stays(run, {1})
    assert read == [2, 3, 3]
    assert "is damaged" in why_all_stays(run, {1})
    run.files.local(f"{run.gated.path(2)}/ckpt.index").unlink()
    assert "ckpt.index is missing" in why_all_stays(run, {1})


@pytest.mark.parametrize(("spoiled", "words"), FAULTS)
def test_recovering_moves_nothing_while_what_was_to_stay_is_damaged_or_gone(crowd, spoiled, words):
    run = crowd.run([0.9, 0.8, 0.3, 0.2])
    with run.lease("pruning") as lease:  # killed after the mark
        mark(run, plan_prune(run, {1: "too high", 2: "too high"}, [3, 4], POLICY, RULES), lease)
    for step in (3, 4):
        spoiled(run, step)
    with run.lease("recovering") as lease:
        (left,) = recover(run, lease)
    assert words in left
    assert ({1, 2} <= set(live_steps(run)), trash_steps(run)) == (True, [])


def test_tombstones_that_another_process_adds_or_edits_are_seen(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    prune(run, {1: "too high"}, [2, 3])
    assert {step for _, step in tombstones(run)} == {1}
    other = Store(crowd.root).run("run")
    bury(other, "lost", "", {"step": 7})
    assert {step for _, step in tombstones(run)} == {1, 7}
    bury(run, "lost", "", {"step": 8})
    bury(other, "lost", "", {"step": 9})
    bury(run, "lost", "", {"step": 10})
    assert tombstones(run) == tombstones(other)
    assert {step for _, step in tombstones(run)} == {1, 7, 8, 9, 10}
    path = run.files.local("run/tombstones.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert {step for _, step in tombstones(run)} == {1, 7, 8, 9}
    tombstones(run).clear()
    assert {step for _, step in tombstones(run)} == {1, 7, 8, 9}


def test_what_an_older_plan_could_not_move_is_spared_by_a_newer_one(crowd, clock, monkeypatch):
    run = crowd.run([0.6, 0.55, 0.52, 0.3])
    move = pruning.move_checkpoint

    def failing(files, stored, target, fence):
        if stored.step == 1:
            raise OSError(errno.EACCES, "Permission denied")
        move(files, stored, target, fence)

    monkeypatch.setattr(pruning, "move_checkpoint", failing)
    assert prune(run, {1: "too high", 2: "too high"}, [3, 4]).left
    prune(run, {3: "too low", 4: "too low"}, [1], PrunePolicy(grace=DAY, max_fraction=1.0))
    assert live_steps(run) == [1, 4]
    monkeypatch.setattr(pruning, "move_checkpoint", move)
    for _ in range(2):
        with run.lease("sweeping") as lease:
            assert sweep(run, lease).left == ()
        assert live_steps(run) == [1, 4]
        clock.now += 2 * DAY
    assert trash_steps(run) == []


def test_what_stands_in_the_place_of_one_that_was_to_go_and_is_another_runs_is_left_there(crowd, tree):
    run, other = crowd.run([0.9, 0.3]), crowd.run([0.9, 0.3], "other")
    with run.lease("pruning") as lease:
        mark(run, plan_prune(run, {1: "too high"}, [2], POLICY, RULES), lease)
    lose(run, 1)
    shutil.copytree(other.files.local(other.gated.path(1)), run.files.local(run.gated.path(1)))
    before = tree(crowd.root)
    with run.lease("recovering") as lease:
        (left,) = recover(run, lease)
    assert "is not this run's to move" in left
    assert "belongs to the run other, not to run" in left
    assert tree(crowd.root) == before


def test_what_a_newer_plan_removes_as_well_goes(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    with run.lease("pruning") as lease:
        mark(run, plan_prune(run, {1: "too high", 2: "too high"}, [3], POLICY, RULES), lease)
        execute_prune(run, plan_prune(run, {1: "too high"}, [2, 3], POLICY, RULES), lease)
        assert sweep(run, lease).left == ()
    assert (live_steps(run), events(run)) == ([2, 3], {1: "trashed", 2: "spared"})


def test_a_newer_plan_that_removes_nothing_spares_as_well(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    with run.lease("pruning") as lease:
        mark(run, plan_prune(run, {1: "too high", 2: "too high"}, [3], POLICY, RULES), lease)
        mark(run, plan_prune(run, {}, [1, 2, 3], POLICY, RULES), lease)
        assert sweep(run, lease).left == ()
    assert (live_steps(run), events(run)) == ([1, 2, 3], {1: "spared", 2: "spared"})
    prune(run, {1: "too high", 2: "too high"}, [3])
    assert live_steps(run) == [3]


def test_a_plan_that_is_larger_than_can_be_read_is_not_begun(crowd, tree, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.store.trash._JOURNAL_BYTES", 300)
    run = crowd.run([0.9, 0.3])
    before = tree(crowd.root)
    with pytest.raises(StoreError, match=r"[.]json must be at most 300 bytes\. Received: \d+ bytes"):
        prune(run, {1: "too high"}, [2])
    assert {name for name in tree(crowd.root) if name != "run/journal/"} == set(before)


@pytest.mark.parametrize("event", ["trashed", "pruned"])
def test_where_a_tombstone_cannot_be_written_nothing_more_goes_and_it_says_what_to_do(crowd, monkeypatch, event):
    run = crowd.run([0.9, 0.8, 0.3])
    bury = pruning.bury

    def full(run, said, digest, item):
        if said == event:
            raise OSError(errno.ENOSPC, "No space left on device")
        bury(run, said, digest, item)

    monkeypatch.setattr(pruning, "bury", full)
    left = prune(run, {1: "too high", 2: "too high"}, [3], AT_ONCE).left
    assert left == (
        "the tombstone of step 1 of run cannot be written (No space left on device), so nothing more goes: "
        "free some space outside the store, or make it writable, and do it again",
    )
    assert 3 in live_steps(run)
    assert (2 in live_steps(run)) == (event == "trashed")
    monkeypatch.setattr(pruning, "bury", bury)
    with run.lease("sweeping") as lease:
        assert sweep(run, lease).left == ()
    assert (live_steps(run), events(run)) == ([3], {1: "pruned", 2: "pruned"})


def test_the_digest_of_a_plan_is_computed_a_few_times_only(crowd, monkeypatch):
    run = crowd.run([0.9] * 20 + [0.3])
    plan = plan_prune(run, dict.fromkeys(range(1, 20), "too high"), [21], AT_ONCE, RULES)
    times = []
    monkeypatch.setattr(
        "checkpoint_gate.store.prune_plan.body_digest", lambda body: times.append(1) or body_digest(body)
    )
    with run.lease("pruning") as lease:
        execute_prune(run, plan, lease)
    assert (live_steps(run), len(times) < 5) == ([20, 21], True)


def test_a_damaged_journal_stops_all_deleting(crowd, tree):
    run = crowd.run([0.9, 0.8, 0.3])
    prune(run, {1: "too high"}, [3])
    (journal,) = run.files.local("run/journal").iterdir()
    value = json.loads(journal.read_text().replace('"step": 1', '"step": 2'))
    journal.write_text(json.dumps({key: each for key, each in value.items() if key != "crc"}))
    before = tree(crowd.root)
    with pytest.raises(StoreError, match="is damaged: it does not hold the plan that its name says"):
        prune(run, {2: "too high"}, [3], AT_ONCE)
    assert tree(crowd.root) == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"run": "another"}, id="of another run"),
        pytest.param({"going": [{"step": "../../x", "bytes": 1, "manifest": ""}]}, id="a path for a step"),
        pytest.param({"going": [{"step": -1, "bytes": 1, "manifest": ""}]}, id="a step below 0"),
        pytest.param({"going": "all"}, id="no list"),
        pytest.param({"grace": "none"}, id="a grace in words"),
        pytest.param({"token": None}, id="no token"),
        pytest.param({"looks": [{"boot": 1}]}, id="half a look"),
    ],
)
def test_a_journal_of_another_shape_stops_all_deleting(crowd, tree, change):
    run = crowd.run([0.9, 0.8, 0.3])
    prune(run, {1: "too high"}, [3])
    (path,) = run.files.local("run/journal").iterdir()
    value = {key: each for key, each in (json.loads(path.read_text()) | change).items() if key != "crc"}
    digest = body_digest({key: value[key] for key in ("run", "rules", "grace", "by", "going")})
    path.unlink()
    path.with_name(f"{digest}.json").write_text(json.dumps(value | {"plan": digest}))
    before = tree(crowd.root)
    with pytest.raises(StoreError, match="is damaged: it holds no plan of run"):
        prune(run, {2: "too high"}, [3], AT_ONCE)
    assert tree(crowd.root) == before


def test_a_symbolic_link_in_the_trash_is_not_followed(crowd, tmp_path):
    run = crowd.run([0.9, 0.3])
    outside = tmp_path / "outside"
    shutil.copytree(run.files.local(run.gated.path(1)), outside)
    shutil.rmtree(run.files.local(run.gated.path(1)))
    run.files.local(run.gated.path(1)).symlink_to(outside)
    with pytest.raises(PruneRefused, match="is a symbolic link; the store does not follow links"):
        prune(run, {1: "too high"}, [2], AT_ONCE)
    assert len(list(outside.iterdir())) == 3


def test_a_manifest_goes_only_when_the_loss_of_its_files_is_on_the_disk(crowd, monkeypatch):
    run = crowd.run([0.9, 0.3])
    unlink, fsync, done = os.unlink, os.fsync, []

    def watched_unlink(path, **folder):
        done.append(f"unlink {path}")
        unlink(path, **folder)

    def watched_fsync(handle):
        done.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{handle}'))}")
        fsync(handle)

    prune(run, {1: "too high"}, [2], POLICY)
    folder = run.files.names("run/trash")[0]
    with run.lease("pruning"):
        monkeypatch.setattr(os, "unlink", watched_unlink)
        monkeypatch.setattr(os, "fsync", watched_fsync)
        assert run.gated.remove(trashed(run)[0])
    assert done[:5] == [
        "unlink ckpt.data-00000-of-00001",
        "unlink ckpt.index",
        f"fsync {folder}",
        "unlink manifest.json",
        "fsync trash",
    ]


# What another one takes away while it is read.


@pytest.fixture
def before(monkeypatch):
    """Has something done before the next call of a method of the store's files."""

    def arrange(name, act):
        call, left = getattr(LocalFiles, name), [act]

        def patched(files, *args):
            if left:
                left.pop()()
            return call(files, *args)

        monkeypatch.setattr(LocalFiles, name, patched)

    return arrange


@pytest.fixture
def overtake(crowd):
    """Another pruner takes the one at work for dead, and finishes what it began."""

    def act():
        other = Store(crowd.root, crowd.clock).run("run")
        prune(other, {1: "too high"}, [3])
        return other

    return act


def test_an_overtaken_pruner_says_so_when_a_checkpoint_vanishes_as_it_is_verified(crowd, before, overtake):
    run = crowd.run([0.9, 0.8, 0.3])
    plan = make_plan(run, {1: "too high"}, {}, DAY, RULES, "me")
    before("measure", overtake)
    with run.lease("pruning") as lease, pytest.raises(LeaseHeld, match="taken over"):
        execute_prune(run, plan, lease)
    assert (live_steps(run), trash_steps(run)) == ([2, 3], [1])
    assert run.files.names("run/quarantine") == []


def test_an_overtaken_pruner_sets_nothing_aside_that_it_takes_for_damaged(crowd, monkeypatch, overtake):
    run = crowd.run([0.9, 0.8, 0.3])
    plan = make_plan(run, {1: "too high"}, {}, DAY, RULES, "me")

    def verified(files, stored):
        monkeypatch.undo()
        other = overtake()
        with other.lease("pruning") as theirs:
            undelete(other, 1, theirs)
        return "is missing"

    monkeypatch.setattr("checkpoint_gate.store.pruning.verify_files", verified)
    with run.lease("pruning") as lease, pytest.raises(LeaseHeld, match="taken over"):
        execute_prune(run, plan, lease)
    assert live_steps(run) == [1, 2, 3]


def test_recovering_makes_last_every_name_that_a_dead_writer_may_have_made(crowd, monkeypatch):
    """Whoever finds a name takes it for made, and a power cut may come next."""
    run = crowd.run([0.9, 0.8, 0.3])
    prune(run, {1: "too high"}, [3])
    run.quarantine(run.live()[0], "damaged")
    synced, sync = set(), LocalFiles.sync_folder
    monkeypatch.setattr(LocalFiles, "sync_folder", lambda files, path: (synced.add(path), sync(files, path))[1])
    with run.lease("pruning"):
        run.clear_leftovers()
    assert synced >= {"run", "run/checkpoints", "run/trash", "run/quarantine"}


def test_an_overtaken_pruner_clears_away_nothing_of_the_one_at_work(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    other = Store(crowd.root, crowd.clock).run("run")
    with run.lease("pruning") as lease, other.lease("pruning"):
        half = run.files.local("run/journal/.half-written.tmp")
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b"{")
        with pytest.raises(LeaseHeld, match="taken over"):
            recover(run, lease)
        assert half.exists()


def test_what_somebody_removes_by_hand_while_it_is_verified_does_not_keep_the_others(crowd, before):
    run = crowd.run([0.9, 0.8, 0.3])
    with run.lease("pruning") as lease:
        plan = make_plan(run, {1: "too high", 2: "too high"}, {}, DAY, RULES, "me")
        before("measure", lambda: shutil.rmtree(run.files.local(run.gated.path(1))))
        done = execute_prune(run, plan, lease)
    assert done.left == (f"{run.files.place(run.gated.path(1))}/ckpt.data-00000-of-00001 is missing",)
    assert (live_steps(run), trash_steps(run)) == ([3], [2])


def test_a_copy_of_what_is_pruned_meanwhile_says_what_is_missing(crowd, before, tmp_path):
    run = crowd.run([0.9, 0.3])
    before("link", lambda: prune(run, {1: "too high"}, [2]))
    with pytest.raises(DamagedCheckpoint, match=r"ckpt\.data-00000-of-00001 is missing"):
        copy_out(run.files, run.live()[0], tmp_path / "copy")


def test_the_size_of_what_goes_meanwhile_is_that_of_the_rest(crowd, before):
    run = crowd.run([0.9])
    folder = run.gated.path(1)
    rest = bytes_held(run.files, folder) - run.files.size(f"{folder}/ckpt.data-00000-of-00001")
    before("size", lambda: run.files.remove_file(f"{folder}/ckpt.data-00000-of-00001"))
    assert bytes_held(run.files, folder) == rest


READINGS = [
    pytest.param("measure", lambda files, stored, _: verify_files(files, stored), id="verified"),
    pytest.param("link", copy_out, id="copied"),
]


@pytest.mark.parametrize(("name", "read"), READINGS)
def test_what_was_gone_for_a_moment_is_read(crowd, before, tmp_path, name, read):
    run = crowd.run([0.9])

    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    before(name, gone)
    assert read(run.files, run.live()[0], tmp_path / "copy") is None


def test_a_copy_of_what_comes_back_and_is_gone_again_says_what_is_missing(crowd, monkeypatch, tmp_path):
    run = crowd.run([0.9])
    stored = run.live()[0]

    def link(files, path, target):
        place = run.files.local(path)
        link.calls += 1
        if link.calls == 2:
            place.unlink()
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    link.calls = 0
    monkeypatch.setattr(LocalFiles, "link", link)
    with pytest.raises(DamagedCheckpoint, match="is missing"):
        copy_out(run.files, stored, tmp_path / "copy")


@pytest.mark.parametrize(("name", "read"), READINGS)
def test_a_disk_that_says_of_what_is_there_that_it_is_not_is_no_damage(crowd, monkeypatch, tmp_path, name, read):
    run = crowd.run([0.9])

    def lying(files, *args):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(LocalFiles, name, lying)
    with pytest.raises(FileNotFoundError):
        read(run.files, run.live()[0], tmp_path / "copy")


def test_two_checkpoints_of_the_same_bytes_do_not_hang_together(crowd):
    run = crowd.run([0.9, 0.3])
    first, second = (run.files.local(run.gated.path(step)) for step in (1, 2))
    extra = second.with_name("other")
    os.link(first / "ckpt.index", extra)
    prune(run, {1: "too high"}, [2], AT_ONCE)
    assert extra.read_bytes() == b"index of 1"


def test_the_trash_holds_only_what_its_manifests_list(crowd):
    run = crowd.run([0.9, 0.8, 0.3])
    prune(run, {1: "too high", 2: "too high"}, [3])
    for stored in trashed(run):
        names = {"manifest.json", *(entry.path for entry in stored.manifest.files)}
        assert set(run.files.names(stored.folder)) == names
        assert read_checkpoint(run.files, stored.folder, "another").damage.endswith(
            "belongs to the run run, not to another."
        )


def test_planning_reads_each_checkpoint_once(crowd, monkeypatch):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    seen = []
    for name in ("read", "measure"):
        method = getattr(type(run.files), name)
        monkeypatch.setattr(
            type(run.files), name, lambda files, path, *args, m=method: seen.append(path) or m(files, path, *args)
        )
    (planned,) = plan_runs([run], parse_rules("filter: {metric: val_loss, at_most: 0.6}")).runs
    assert [item.step for item in planned.plan.going] == [1]
    read = [path for path in seen if "/checkpoints/" in path]
    assert len(read) == len(set(read)) == 3 * 4


def test_a_move_that_recovering_could_not_make_last_stays_marked(crowd, killable):
    run = crowd.run([0.9, 0.8, 0.3])
    with run.lease("pruning") as lease:
        plan_prune(run, {1: "too high", 2: "too high"}, [3], AT_ONCE, RULES).write(run, lease.token)
    killable.syncs = True
    moves = range(1, 8)  # the operations of the first move are among them
    for at in moves:
        with run.lease("sweeping") as lease:
            killable.arm(at, errno.EIO)
            with contextlib.suppress(OSError):
                left = sweep(run, lease).left
                assert left or events(run) == {1: "pruned", 2: "pruned"}
            killable.arm(None)
    with run.lease("sweeping") as lease:
        assert sweep(run, lease).left == ()
    assert (trash_steps(run), events(run)) == ([], {1: "pruned", 2: "pruned"})
    assert run.files.names("run/journal") == []


# The joint plan, as the command carries it out.

JOINT = parse_rules("filter: {metric: val_loss, at_most: 0.6}\nprune: {grace: 24h}")


def test_a_joint_plan_is_carried_out_once_as_it_was_shown(crowd, clock):
    runs = [crowd.run([0.9, 0.5, 0.4]), crowd.run([0.8, 0.3], "other")]
    plan = plan_runs(runs, JOINT)
    assert plan.digest not in {r.plan.digest for r in plan.runs}
    done = execute_plan(runs, JOINT, plan.digest)[1]
    assert [live_steps(run) for run in runs] == [[2, 3], [2]]
    assert {key: pruned.left for key, pruned in done.items()} == {"run": (), "other": ()}
    clock.now += DAY
    again = plan_runs(runs, JOINT)
    assert [r.sweepable for r in again.runs] == [pruned.trashed for pruned in done.values()]
    assert plan.digest != again.digest
    with pytest.raises(PruneRefused, match=r"this is not the plan any more .*; now its digest is"):
        execute_plan(runs, JOINT, "0" * 64)
    assert [trash_steps(run) for run in runs] == [[1], [1]]
    repeated, freed = execute_plan(runs, JOINT, plan.digest)
    assert (repeated, [pruned.left for pruned in freed.values()]) == (None, [(), ()])
    assert [pruned.swept for pruned in freed.values()] == [pruned.trashed for pruned in done.values()]
    assert [trash_steps(run) for run in runs] == [[], []]


@pytest.mark.parametrize("grace", ["24h", "0s"])
def test_a_joint_plan_that_was_killed_anywhere_is_finished_by_its_own_digest(
    memory_path, clock, killable, killed, grace
):
    rules = parse_rules(f"filter: {{metric: val_loss, at_most: 0.6}}\nprune: {{grace: {grace}}}")
    kills = 0
    for at in range(10_000):
        crowd = Crowd(memory_path / f"store{at}", clock)
        keys = ("run", "other")
        runs = [crowd.run(losses, key) for losses, key in zip([[0.9, 0.5, 0.4], [0.8, 0.3]], keys, strict=True)]
        digest = plan_runs(runs, rules).digest
        killable.arm(at)
        try:
            execute_plan(runs, rules, digest)
        except killed:
            kills += 1
        else:
            break
        finally:
            killable.arm(None)
        runs = [crowd.store.run(key) for key in keys]
        done = execute_plan(runs, rules, digest)[1]
        assert [pruned.left for pruned in done.values()] == [(), ()]
        assert [live_steps(run) for run in runs] == [[2, 3], [2]]
        assert [set(events(run).values()) for run in runs] == [{"trashed" if grace == "24h" else "pruned"}] * 2
    assert kills > 25


def begun_in_one(crowd):
    """A joint plan of which only the first journal was written, and the first run went on alone since."""
    runs = [crowd.run([0.9, 0.5, 0.4]), crowd.run([0.8, 0.3], "other")]
    plan = plan_runs(runs, JOINT)
    with runs[0].lease("pruning") as lease:
        mark(runs[0], plan.runs[0].plan, lease, plan.digest)
    return runs, plan


@pytest.mark.parametrize(
    ("change", "left"),
    [
        pytest.param(
            lambda crowd, run: publish_later(crowd, run, 0.9),
            "other was not pruned: what would go there is not what the plan says",
            id="another checkpoint would go there now",
        ),
        pytest.param(
            lambda crowd, run: spoil(run, 2),
            "Nothing was pruned from other: 1 of its checkpoints are damaged",
            id="one is damaged there now",
        ),
    ],
)
def test_a_joint_plan_goes_on_only_as_it_was_shown(crowd, change, left):
    runs, plan = begun_in_one(crowd)
    change(crowd, runs[1])
    before = live_steps(runs[1])
    repeated, done = execute_plan(runs, JOINT, plan.digest)
    assert repeated is None
    assert done["run"].trashed > 0
    (why,) = done["other"].left
    assert left in why
    assert (live_steps(runs[0]), live_steps(runs[1])) == ([2, 3], before)


def publish_later(crowd, run, loss):
    """Two more checkpoints: the last one always stays."""
    for step in (3, 4):
        record = Record(step, step - 1, {"loss": 0.5, "val_loss": loss}, time=crowd.clock())
        run.ledger.append(record, Decision(True, "as told"))
        crowd.publish(run, record)


def test_what_a_finished_joint_plan_did_not_touch_needs_no_digest_again(crowd):
    runs = [crowd.run([0.9, 0.5]), crowd.run([0.4, 0.3], "other")]
    plan = plan_runs(runs, JOINT)
    for _ in range(2):
        done = execute_plan(runs, JOINT, plan.digest)[1]
        assert [pruned.left for pruned in done.values()] == [(), ()]
    assert [live_steps(run) for run in runs] == [[2], [1, 2]]


def test_going_on_tells_what_was_moved(crowd):
    run = crowd.run([0.9, 0.8, 0.5])
    plan = plan_runs([run], JOINT)
    with run.lease("pruning") as lease:
        mark(run, plan.runs[0].plan, lease)
    repeated, done = execute_plan([run], JOINT, plan.digest)
    assert (repeated, done["run"].trashed) == (None, plan.runs[0].plan.bytes)


def test_a_plan_of_one_run_that_was_carried_out_is_only_swept_again(crowd, clock):
    run = crowd.run([0.9, 0.5])
    plan = plan_runs([run], JOINT)
    execute_plan([run], JOINT, plan.digest)
    clock.now += DAY
    assert execute_plan([run], JOINT, plan.digest)[0] is None
    assert (live_steps(run), trash_steps(run)) == ([2], [])


def test_a_plan_that_was_freed_at_once_is_known_by_its_digest_afterwards(crowd):
    run = crowd.run([0.9, 0.5])
    rules = parse_rules("filter: {metric: val_loss, at_most: 0.5}\nprune: {grace: 0s}")
    plan = plan_runs([run], rules)
    execute_plan([run], rules, plan.digest)
    assert (run.files.names("run/journal"), trash_steps(run)) == ([], [])
    assert execute_plan([run], rules, plan.digest) == (None, {"run": Pruned()})


def test_what_is_still_within_its_grace_is_not_sweepable(crowd):
    run = crowd.run([0.9, 0.8, 0.5])
    prune(run, {1: "too high"}, [3])
    make_plan(run, {2: "too high"}, {}, 0.0, RULES, "me").write(run, 0)
    assert [r.sweepable for r in plan_runs([run], JOINT).runs] == [0]


def test_a_damaged_run_is_refused_and_the_others_are_pruned(crowd):
    runs = [crowd.run([0.9, 0.5, 0.4]), crowd.run([0.8, 0.3], "other")]
    spoil(runs[0], 2)
    plan = plan_runs(runs, JOINT)
    assert [len(words) > 0 for words in plan.refusals] == [True]
    assert "1 of its checkpoints are damaged" in plan.refusals[0]
    execute_plan(runs, JOINT, plan.digest)
    assert [live_steps(run) for run in runs] == [[1, 2, 3], [2]]


def test_where_every_run_is_refused_there_is_no_digest(crowd):
    run = crowd.run([0.9, 0.8])
    plan = plan_runs([run], JOINT)
    assert (plan.digest, plan.refusals) == (None, ["Nothing was pruned from run: no survivor would be left."])
    with pytest.raises(PruneRefused, match="now every run is refused"):
        execute_plan([run], JOINT, "0" * 64)


def test_rules_without_a_filter_prune_nothing(crowd):
    with pytest.raises(RuleError, match="needs rules with the section `filter`"):
        plan_runs([crowd.run([0.9])], parse_rules("save: {metric: val_loss, at_most: 1.0}"))


# A reader that has a checkpoint open.


def test_what_a_reader_has_open_stays_whole_though_it_is_pruned_at_once(crowd, tmp_path):
    run = crowd.run([0.9, 0.5])
    stored = run.live()[0]
    copy_out(run.files, stored, tmp_path / "survivor")
    data = stored.manifest.files[0].path
    with open(f"{run.prefix(stored)}{data.removeprefix('ckpt')}", "rb") as reading:
        half = reading.read(10)
        prune(run, {1: "too high"}, [2], AT_ONCE)
        assert live_steps(run) == [2]
        assert trash_steps(run) == []
        whole = half + reading.read()
    assert whole == b"1," * 40
    assert verify_files(LocalFiles(tmp_path), Stored("survivor", stored.manifest)) is None


def test_what_is_gone_is_removed_and_so_is_an_empty_folder(crowd):
    run = crowd.run([0.9, 0.3])
    stored = run.live()[0]
    assert run.gated.remove(stored)
    assert run.gated.remove(stored)
    run.files.make_folder(stored.folder)
    assert run.gated.remove(run.gated.read("step-000000001"))
    assert run.files.names("run/checkpoints") == ["step-000000002"]


def test_an_overtaken_one_is_not_brought_back_although_the_clock_has_gone_back_since(crowd, clock):
    run = crowd.run([0.5, 0.4, 0.9, 0.4])
    prune(run, {3: "too high"}, [1, 2, 4])
    clock.now -= 365 * DAY
    with run.lease("training"):
        run.resume_after(2)
    with run.lease("undeleting") as lease, pytest.raises(StoreError, match="training resumed after step 2 since"):
        undelete(run, 3, lease)
    assert (live_steps(run), trash_steps(run)) == ([1, 2], [3])


def test_only_temporary_files_of_that_name_are_cleared(crowd):
    run = crowd.run([0.5])
    root = run.files.root
    for name in (".store.json.0123456789ab.tmp", ".champion.json.0123456789ab.tmp"):
        (root / name).write_bytes(b"{")
    run.files.remove_temporary(of="store.json")
    assert [name for name in run.files.names() if name.endswith(".tmp")] == [".champion.json.0123456789ab.tmp"]


def test_a_number_beyond_a_double_in_a_checked_line_is_damage(crowd):
    run = crowd.run([0.5])
    place = run.files.local("run/tombstones.jsonl")
    place.write_text('{"crc": "00000000", "event": "trashed", "plan": "p", "step": 1, "time": 1e999}\n')
    with pytest.raises(StoreError, match=r"tombstones\.jsonl line 1 is damaged"):
        tombstones(run)


def test_where_there_is_no_proc_each_process_is_a_boot_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.store.elapsed._BOOT_ID", tmp_path / "none")
    clock = SystemClock()
    (boot, first), (again, second) = clock.uptime(), clock.uptime()
    assert boot == again != ""
    assert second >= first
