"""What a store holds, row by row, and what became of every record, on real stores."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest

from checkpoint_gate.errors import DamagedCheckpoint, RunMissing, StoreError
from checkpoint_gate.reviewing.catalog import catalog, chosen_runs, rows
from checkpoint_gate.reviewing.explaining import explain
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.prune_plan import make_plan
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.trash import tombstones
from checkpoint_gate.store.undeleting import undelete
from checkpoint_gate.training.gated_training import GatedTraining

GATE = "save: {metric: val_loss, at_most: 0.5}"
DAY = 86400.0


class Clock:
    """Seconds since 1970; every look takes one."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Trainer:
    """Trains runs in one store; an epoch is 10 steps, a checkpoint two small files."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.store = Store(root, self.clock)

    def train(self, val_losses, run="demo", rules=GATE, *, end=True):
        training = GatedTraining(self.store, parse_rules(rules), run)
        state = training.begin(len(val_losses))
        first = state.manifest.epoch + 1 if state is not None else 0
        for epoch, value in list(enumerate(val_losses))[first:]:
            record = Record((epoch + 1) * 10, epoch, {"loss": 0.4, "val_loss": value}, time=self.clock())
            training.commit(record, training.observe(record), lambda prefix, step=record.step: write(prefix, step))
        if end:
            training.finish(len(val_losses))
        else:
            training.abandon()
        return training.run

    def trash(self, run, *steps, grace=DAY, reason="val_loss is too high"):
        with run.lease("pruning") as lease:
            plan = make_plan(run, dict.fromkeys(steps, reason), {}, grace, "f" * 64, "CheckpointFilter")
            return plan, execute_prune(run, plan, lease)


def write(prefix: str, step: int) -> None:
    Path(prefix + ".index").write_bytes(b"index %d" % step)
    Path(prefix + ".data-00000-of-00001").write_bytes(b"%d" % step * 50)


def size(step: int) -> int:
    return len(b"index %d" % step) + 50 * len(str(step))


@pytest.fixture
def trainer(tmp_path):
    return Trainer(tmp_path / "store")


def by_step(run):
    return {row.step: row for row in rows(run)}


def folder(run, step: int, where="checkpoints") -> Path:
    return run.files.root / run.key / where / f"step-{step:09d}"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_kept_checkpoint_tells_what_it_is_and_why_it_was_saved(trainer):
    run = trainer.train([0.9, 0.5])
    assert [row.to_json() for row in rows(run)] == [
        {
            "run": "demo",
            "step": 20,
            "epoch": 1,
            "metrics": {"loss": 0.4, "val_loss": 0.5},
            "state": "kept",
            "pinned": False,
            "bytes": size(20),
            "path": str(folder(run, 20)),
            "reason": "val_loss 0.5 is at most 0.5",
        }
    ]


def test_rows_come_by_run_and_by_step_beyond_nine_digits_too(trainer):
    trainer.train([0.4], "b")
    run = trainer.train([0.4, 0.4], "a")
    for step in (900_000_000, 1_000_000_000):
        staged, place = run.stage()
        write(str(place / "ckpt"), step)
        run.publish(staged, Record(step, 2, {"val_loss": 0.1}), "by hand", "0" * 64)
    assert [stored.step for stored in run.live()] == [10, 20, 900_000_000, 1_000_000_000]
    runs = chosen_runs(trainer.store, None)
    assert [(row.run, row.step) for row in catalog(runs)] == [
        ("a", 10),
        ("a", 20),
        ("a", 900_000_000),
        ("a", 1_000_000_000),
        ("b", 10),
    ]


def test_values_that_are_not_finite_become_strings(trainer):
    run = trainer.train([math.inf, -math.inf, math.nan, 0.1], rules="save: {any: [{every: 1}]}")
    values = [row.to_json()["metrics"]["val_loss"] for row in rows(run)]
    assert values == ["inf", "-inf", "nan", 0.1]


def test_trashed_then_pruned(trainer):
    run = trainer.train([0.4, 0.3, 0.2])
    plan, _ = trainer.trash(run, 10)
    row = by_step(run)[10]
    assert (row.state, row.reason, row.bytes) == ("trashed", "val_loss is too high", size(10))
    assert row.path == str(folder(run, 10, "trash")) + f"--{plan.digest[:12]}"
    assert Path(row.path).is_dir()
    trainer.clock.now += DAY
    with run.lease("sweeping") as lease:
        sweep(run, lease)
    row = by_step(run)[10]
    assert (row.state, row.path, row.bytes, row.epoch) == ("pruned", None, size(10), 0)
    assert row.reason == "val_loss is too high"
    assert row.metrics == {"loss": 0.4, "val_loss": 0.4}


def test_what_retention_removed_is_pruned(trainer):
    run = trainer.train([0.4, 0.3], rules=GATE + "\nkeep: {last: 1}")
    assert [(row.step, row.state, row.reason) for row in rows(run)] == [
        (10, "pruned", "no part of `keep` protects it"),
        (20, "kept", "val_loss 0.3 is at most 0.5"),
    ]


def test_a_live_checkpoint_with_a_damaged_manifest_is_quarantined(trainer):
    run = trainer.train([0.4, 0.3])
    flip(folder(run, 10) / "manifest.json")
    row = by_step(run)[10]
    assert (row.state, row.step, row.epoch, row.metrics) == ("quarantined", 10, 0, {})
    assert row.path == str(folder(run, 10))
    assert row.bytes == sum(path.stat().st_size for path in folder(run, 10).iterdir())
    assert "manifest.json is damaged" in row.reason
    (folder(run, 10).parent.parent / "ledger.jsonl").write_text("no ledger\n")
    assert by_step(run)[10].epoch is None


def test_a_checkpoint_that_was_set_aside_tells_the_damage(trainer):
    run = trainer.train([0.4, 0.3])
    stored = run.live()[0]
    run.quarantine(stored, "one bit is wrong")
    row = by_step(run)[10]
    assert (row.state, row.reason, row.epoch) == ("quarantined", "one bit is wrong", 0)
    assert row.path == str(folder(run, 10, "quarantine"))


def test_a_pin_shows(trainer):
    run = trainer.train([0.4, 0.3])
    run.pin(20, "shown to the customer")
    assert {row.step: row.pinned for row in rows(run)} == {10: False, 20: True}


def test_a_folder_in_the_trash_without_a_tombstone_is_trashed(trainer):
    run = trainer.train([0.4, 0.3])
    trainer.trash(run, 10)
    (run.files.root / "demo" / "tombstones.jsonl").unlink()
    assert by_step(run)[10].state == "trashed"
    assert by_step(run)[10].reason == "a pruning that moved it was interrupted"


def test_what_others_left_on_the_shelves_is_no_row(trainer):
    run = trainer.train([0.4])
    for name in ("step-7", "step-000000010.bak", "notes"):
        (run.files.root / "demo" / "checkpoints" / name).mkdir()
    (run.files.root / "demo" / "trash").mkdir(exist_ok=True)
    (run.files.root / "demo" / "trash" / "step-000000010").mkdir()
    assert [row.step for row in rows(run)] == [10]


def test_links_and_strange_names_in_the_store_are_no_runs(trainer):
    run = trainer.train([0.4])
    (run.files.root / "latest").symlink_to("demo")
    (run.files.root / "a\\b").mkdir()
    assert [run.key for run in chosen_runs(trainer.store, None)] == ["demo"]
    with pytest.raises(StoreError, match="latest is a symbolic link; the store does not follow links"):
        chosen_runs(trainer.store, "latest")
    with pytest.raises(RunMissing, match=r"has no run 'other'\. It has: demo\."):
        chosen_runs(trainer.store, "other")


def interrupt_after(trainer, epochs: int, val_losses, lose: int):
    """A training of `epochs` epochs that loses the state of the last `lose` of them, so that they run again."""
    run = trainer.train(val_losses[:epochs], end=False)
    for step in range((epochs - lose + 1) * 10, epochs * 10 + 1, 10):
        for shelf in ("resume", "checkpoints"):
            shutil.rmtree(folder(run, step, shelf), ignore_errors=True)
    return run


def told(run):
    return [(e.step, e.save, e.state, e.superseded is not None) for e in explain(run)]


def test_refused_saved_and_pruned_records_are_explained(trainer):
    run = trainer.train([0.9, 0.4, 0.3], rules=GATE + "\nkeep: {last: 1}")
    assert told(run) == [(10, False, None, False), (20, True, "pruned", False), (30, True, "kept", False)]
    refused, pruned, kept = explain(run)
    assert refused.reason == "val_loss 0.9 is not at most 0.5 (by 0.4)"
    assert (refused.path, refused.pruned) == (None, None)
    assert pruned.reason == "val_loss 0.4 is at most 0.5"
    assert pruned.pruned is not None
    assert pruned.pruned["by"] == "retention"
    assert pruned.pruned["reason"] == "no part of `keep` protects it"
    assert len(pruned.pruned["rules"]) == 64
    assert 1_790_000_000 < pruned.pruned["time"] < pruned.pruned["swept"] < trainer.clock.now
    assert (kept.path, kept.pruned) == (str(folder(run, 30)), None)


def test_a_trashed_record_has_not_been_swept(trainer):
    run = trainer.train([0.4, 0.3])
    trainer.trash(run, 10)
    explanation = explain(run)[0]
    assert explanation.state == "trashed"
    assert explanation.pruned is not None
    assert explanation.pruned["swept"] is None
    assert explanation.pruned["by"] == "CheckpointFilter"


def test_a_checkpoint_that_vanished_is_missing(trainer):
    run = trainer.train([0.4, 0.3])
    shutil.rmtree(folder(run, 10))
    assert told(run) == [(10, True, "missing", False), (20, True, "kept", False)]


def test_records_that_a_resumed_training_overtook_are_explained_apart(trainer):
    run = interrupt_after(trainer, 3, [0.4, 0.3, 0.2], lose=1)
    trainer.train([0.4, 0.3, 0.6, 0.1])
    assert told(run) == [
        (10, True, "kept", False),
        (20, True, "kept", False),
        (30, True, "superseded", True),
        (30, False, None, False),
        (40, True, "kept", False),
    ]


def test_a_tombstone_belongs_to_the_record_it_was_made_for(trainer):
    run = interrupt_after(trainer, 2, [0.4, 0.3], lose=0)
    trainer.trash(run, 20)
    for shelf in ("resume", "checkpoints"):
        shutil.rmtree(folder(run, 20, shelf), ignore_errors=True)
    trainer.train([0.4, 0.3, 0.2])
    assert told(run) == [
        (10, True, "kept", False),
        (20, True, "trashed", True),
        (20, True, "kept", False),
        (30, True, "kept", False),
    ]
    assert [(row.step, row.state) for row in rows(run)] == [(10, "kept"), (20, "kept"), (20, "trashed"), (30, "kept")]


def test_a_checkpoint_that_the_ledger_does_not_know_is_explained_last(trainer):
    run = trainer.train([0.4, 0.3])
    ledger = run.files.root / "demo" / "ledger.jsonl"
    ledger.write_text("".join(line for line in ledger.read_text().splitlines(True) if '"step": 20' not in line))
    last = explain(run)[-1]
    assert (last.step, last.save, last.state) == (20, None, "kept")
    assert last.reason == ("the ledger has no record that saved it; the checkpoint says: val_loss 0.3 is at most 0.5")


# The last step of an epoch is judged twice where steps are judged too; and a state may be overtaken.


def judge(trainer, *judged, rules=GATE, between=None):
    """A run with records as `judged`: at, val_loss and step, which is 10, the last of its epoch, where it is left out.

    `between` is called with the run after the first.
    """
    training = GatedTraining(trainer.store, parse_rules(rules), "demo")
    training.begin(None)
    for number, (at, value, *step) in enumerate(judged):
        record = Record(*(step or [10]), 0, {"loss": 0.4, "val_loss": value}, at, trainer.clock())
        decision = training.observe(record)
        training.commit(record, decision, lambda prefix: write(prefix, 10), resumable=at == "epoch")
        if between is not None and number == 0:
            between(training.run)
    training.abandon()
    return training.run


def states(run):
    return [(e.at, e.state) for e in explain(run)]


BOTH_SAVED = [("step", 0.4), ("epoch", 0.3)]
STEP_SAVED = [("step", 0.4), ("epoch", 0.9)]
EPOCH_SAVED = [("step", 0.9), ("epoch", 0.3)]


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        pytest.param(BOTH_SAVED, ["amended", "kept"], id="both saved: the checkpoint is the epoch's"),
        pytest.param(STEP_SAVED, ["kept", None], id="the epoch refused: it is the step's"),
        pytest.param(EPOCH_SAVED, [None, "kept"], id="the step refused: it is the epoch's"),
        pytest.param([("step", 0.4)], ["kept"], id="the epoch has not ended yet"),
    ],
)
@pytest.mark.parametrize("then", ["", "trashed", "pruned", "quarantined"])
def test_a_checkpoint_belongs_to_the_record_that_it_carries(trainer, judged, expected, then):
    run = judge(trainer, *judged)
    if then in ("trashed", "pruned"):
        trainer.trash(run, 10, grace=DAY if then == "trashed" else 0.0)
    if then == "quarantined":
        run.quarantine(run.live()[0], "one bit is wrong")
    assert [state for _, state in states(run)] == [then if then and state == "kept" else state for state in expected]
    owner = explain(run)[[state is not None and state != "amended" for _, state in states(run)].index(True)]
    assert [row.metrics for row in rows(run)] == [owner.metrics]
    assert [row.state for row in rows(run)] == [owner.state]


@pytest.mark.parametrize(
    ("judged", "damaged"),
    [
        pytest.param(BOTH_SAVED, ["amended", "quarantined"], id="of the newest that saved it: the epoch"),
        pytest.param(STEP_SAVED, ["quarantined", None], id="of the newest that saved it: the step"),
    ],
)
def test_a_checkpoint_that_cannot_say_what_it_carries_is_the_newest_ones(trainer, judged, damaged):
    run = judge(trainer, *judged)
    flip(folder(run, 10) / "manifest.json")
    assert [state for _, state in states(run)] == damaged


def test_a_checkpoint_that_was_pruned_before_its_epoch_ended_stays_the_steps(trainer):
    keep = GATE + "\nkeep: {best: {metric: val_loss, mode: min, n: 1}}"
    run = judge(trainer, ("step", 0.35, 5), *BOTH_SAVED, rules=keep)
    assert states(run) == [("step", "pruned"), ("step", "pruned"), ("epoch", "kept")]
    assert [e.pruned and e.pruned["swept"] is not None for e in explain(run)] == [True, True, None]


def test_a_checkpoint_that_was_set_aside_before_its_epoch_ended_stays_the_steps(trainer):
    run = judge(trainer, *BOTH_SAVED, between=lambda run: run.quarantine(run.live()[0], "one bit is wrong"))
    assert states(run) == [("step", "quarantined"), ("epoch", "kept")]


def test_a_record_whose_checkpoint_vanished_is_missing_though_its_epoch_was_refused(trainer):
    run = judge(trainer, *STEP_SAVED)
    shutil.rmtree(folder(run, 10))
    assert states(run) == [("step", "missing"), ("epoch", None)]


def test_both_records_of_a_step_are_superseded_when_training_resumes_before_it(trainer):
    run = judge(trainer, *BOTH_SAVED)
    for shelf in ("resume", "checkpoints"):
        shutil.rmtree(folder(run, 10, shelf))
    judge(trainer, *EPOCH_SAVED)
    assert states(run) == [("step", "superseded"), ("epoch", "superseded"), ("step", None), ("epoch", "kept")]


def record_overtaken(trainer, run, step, at, saved=True, event=True):
    """What saving with "latest" records of a state that was overtaken."""
    record = Record(step, 0, {"loss": 0.4, "val_loss": 0.4}, at, trainer.clock())
    run.ledger.append(record, Decision(saved, "as told"))
    if event:
        run.ledger.append_event("overtaken", step=step, at=at)


def test_a_state_that_was_overtaken_is_not_missing(trainer):
    run = trainer.train([0.4])
    record_overtaken(trainer, run, 20, "epoch")
    record_overtaken(trainer, run, 30, "epoch", event=False)
    record_overtaken(trainer, run, 40, "epoch", saved=False, event=False)
    assert [(e.step, e.state, e.path) for e in explain(run)][1:] == [
        (20, "overtaken", None),
        (30, "missing", None),
        (40, None, None),
    ]
    assert [row.step for row in rows(run)] == [10]


@pytest.mark.parametrize("at", ["step", "epoch"])
def test_of_two_records_of_a_step_the_one_is_overtaken_that_the_event_names(trainer, at):
    run = trainer.store.start("demo")
    told = {"step": ("step", "overtaken"), "epoch": ("epoch", "overtaken")}
    for kind in ("step", "epoch"):
        if kind == at:
            record_overtaken(trainer, run, 10, at)
        else:
            record = Record(10, 0, {"loss": 0.4}, kind, trainer.clock())
            staged, place = run.stage()
            write(str(place / "ckpt"), 10)
            run.publish(staged, record, "as told", "0" * 64)
            run.ledger.append(record, Decision(True, "as told"))
            told[kind] = (kind, "kept")
    assert states(run) == [told["step"], told["epoch"]]


def test_what_was_overtaken_and_then_trained_again_is_told_apart(trainer):
    run = trainer.train([0.4], end=False)
    record_overtaken(trainer, run, 20, "epoch")
    trainer.train([0.4, 0.3])
    record_overtaken(trainer, run, 30, "epoch")
    run.ledger.append_event("resumed", after_step=20)
    record_overtaken(trainer, run, 30, "epoch")
    assert [(e.step, e.state, e.superseded is not None) for e in explain(run)] == [
        (10, "kept", False),
        (20, "overtaken", True),
        (20, "kept", False),
        (30, "overtaken", True),
        (30, "overtaken", False),
    ]


# Undelete: what comes back stays, whatever is interrupted in between.


def bring_back(run, step):
    with run.lease("undeleting") as lease:
        return undelete(run, step, lease)


def test_what_was_undeleted_is_live_again_and_no_sweep_takes_it(trainer):
    run = trainer.train([0.4, 0.3, 0.2])
    trainer.trash(run, 10, 20)
    assert bring_back(run, 10) == "demo/checkpoints/step-000000010"
    trainer.clock.now += 2 * DAY
    with run.lease("sweeping") as lease:
        recover(run, lease)
        swept = sweep(run, lease)
    assert swept.swept == size(20)
    assert [(row.step, row.state) for row in rows(run)] == [(10, "kept"), (20, "pruned"), (30, "kept")]
    assert [finding.severity for finding in check_store(trainer.store) if finding.severity != "note"] == []


def test_the_same_rules_may_prune_it_again_later(trainer):
    run = trainer.train([0.4, 0.3])
    first, _ = trainer.trash(run, 10)
    bring_back(run, 10)
    second, pruned = trainer.trash(run, 10)
    assert first.digest != second.digest
    assert pruned.trashed == size(10)
    assert by_step(run)[10].state == "trashed"
    bring_back(run, 10)
    third, pruned = trainer.trash(run, 10)
    assert len({first.digest, second.digest, third.digest}) == 3
    assert pruned.trashed == size(10)


@pytest.mark.parametrize("when", ["before the move", "after the move"])
def test_an_interrupted_undeletion_is_finished_by_the_next_writer(trainer, monkeypatch, when):
    run = trainer.train([0.4, 0.3])
    trainer.trash(run, 10)
    move = run.files.rename

    def die(source, target):
        if when == "after the move":
            move(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.files, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            bring_back(run, 10)
    trainer.clock.now += 2 * DAY
    with run.lease("sweeping") as lease:
        assert sweep(run, lease).swept == 0
    assert by_step(run)[10].state == "kept"
    assert not list((run.files.root / "demo" / "journal").iterdir())


def nothing(run):
    pass


def damage(run):
    flip(next((run.files.root / "demo" / "trash").glob("step-000000010--*/ckpt.index")))


def swept_away(run):
    run.clock.now += 2 * DAY
    with run.lease("sweeping") as lease:
        sweep(run, lease)


def taken(run):
    shutil.copytree(folder(run, 20), folder(run, 10))


def overtaken(run):
    run.ledger.append_event("resumed", after_step=5)


@pytest.mark.parametrize(
    ("prepare", "step", "error", "message"),
    [
        pytest.param(nothing, 20, StoreError, "Step 20 of demo is not in the trash: it is live, at ", id="live"),
        pytest.param(
            nothing,
            77,
            StoreError,
            "Step 77 of demo cannot be brought back: it is not in the trash. The trash has: 10.",
            id="never there",
        ),
        pytest.param(
            swept_away,
            10,
            StoreError,
            r"Step 10 of demo cannot be brought back: its bytes were freed at 2026-09-2. ..:.. UTC. "
            "The trash has: nothing.",
            id="swept",
        ),
        pytest.param(
            damage,
            10,
            DamagedCheckpoint,
            "Step 10 of demo cannot be brought back: .*ckpt.index does not match its checksum.",
            id="damaged",
        ),
        pytest.param(
            taken, 10, StoreError, "step-000000010 is live: move it away before an older one", id="its place is taken"
        ),
        pytest.param(
            overtaken,
            10,
            StoreError,
            "Step 10 of demo cannot be brought back: training resumed after step 5 since",
            id="of a history that does not count any more",
        ),
    ],
)
def test_undelete_refuses_and_changes_nothing(trainer, prepare, step, error, message):
    run = trainer.train([0.4, 0.3])
    trainer.trash(run, 10)
    prepare(run)
    before, revision = tombstones(run), trainer.store.revision()
    with pytest.raises(error, match=message):
        bring_back(run, step)
    assert tombstones(run) == before
    assert trainer.store.revision() == revision


def test_changes_by_hand_raise_the_revision_and_prunings_do_not(trainer):
    run = trainer.train([0.4, 0.3, 0.2])
    trainer.trash(run, 10)
    assert trainer.store.revision() == 0
    run.pin(20, "why not")
    assert trainer.store.revision() == 1
    run.unpin(20)
    run.unpin(20)
    assert trainer.store.revision() == 2
    bring_back(run, 10)
    assert trainer.store.revision() == 3
    assert trainer.store.raise_revision() == 4
    assert Store.open(trainer.store.root).revision() == 4


def test_a_pin_set_after_the_plan_still_holds(trainer):
    run = trainer.train([0.4, 0.3, 0.2])
    plan = make_plan(run, {10: "bad"}, {}, DAY, "f" * 64, "CheckpointFilter")
    run.pin(10, "no, wait")
    with run.lease("pruning") as lease:
        pruned = execute_prune(run, plan, lease)
    assert (pruned.trashed, len(pruned.left)) == (0, 1)
    assert re.fullmatch(f"{folder(run, 10)} .*pinned: no, wait", pruned.left[0])
    run.unpin(10)
    with run.lease("sweeping") as lease:
        sweep(run, lease)
    assert by_step(run)[10].state == "kept"
    again = make_plan(run, {10: "bad"}, {}, DAY, "f" * 64, "CheckpointFilter")
    with run.lease("pruning") as lease:
        assert execute_prune(run, again, lease).trashed == size(10)


def test_a_plan_leaves_a_later_checkpoint_of_the_same_step_alone(trainer):
    run = trainer.train([0.4, 0.3])
    plan = make_plan(run, {20: "bad"}, {}, DAY, "f" * 64, "CheckpointFilter")
    for shelf in ("resume", "checkpoints"):
        shutil.rmtree(folder(run, 20, shelf), ignore_errors=True)
    trainer.train([0.4, 0.3])
    with run.lease("pruning") as lease:
        pruned = execute_prune(run, plan, lease)
    assert pruned.left == (f"{folder(run, 20)} is not the checkpoint that the plan was made for",)
    assert by_step(run)[20].state == "kept"


def test_the_same_step_saved_again_can_be_pruned_again(trainer):
    run = trainer.train([0.4, 0.3])
    first, _ = trainer.trash(run, 20, grace=0.0)
    shutil.rmtree(folder(run, 20, "resume"))
    trainer.train([0.4, 0.3])
    second, pruned = trainer.trash(run, 20, grace=0.0)
    assert first.digest != second.digest
    assert pruned.swept == size(20)


def test_a_damaged_journal_stops_pruning(trainer):
    run = trainer.train([0.4, 0.3, 0.2])
    plan, _ = trainer.trash(run, 10)
    journal = run.files.root / "demo" / "journal" / f"{plan.digest}.json"
    value = json.loads(journal.read_text().replace('"step": 10', '"step": 30'))
    journal.write_text(json.dumps({key: each for key, each in value.items() if key != "crc"}))
    with run.lease("pruning") as lease, pytest.raises(StoreError, match="does not hold the plan that its name says"):
        recover(run, lease)
    assert by_step(run)[30].state == "kept"


def test_sweeping_older_trash_is_not_taken_for_the_plans_own(trainer):
    run = trainer.train([0.4, 0.3, 0.2])
    trainer.trash(run, 10)
    trainer.clock.now += 2 * DAY
    _, pruned = trainer.trash(run, 20, grace=0.0)
    assert (pruned.trashed, pruned.swept) == (0, size(10) + size(20))
