"""A gated training run, with a clock and a disk that the test controls: decide, save, record, resume, retain."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil

import pytest

from checkpoint_gate.errors import LeaseHeld, RuleError, StoreError, UnknownMetricError
from checkpoint_gate.records import Record
from checkpoint_gate.rule_text import parse_rules
from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.pruning import pruned_before
from checkpoint_gate.training import GatedTraining

IMPROVES = "save: {metric: val_loss, improves: min}"
ALWAYS = "save: {every: 1}"
LOSSES = [0.9, 0.5, 0.7, 0.4, 0.6, 0.3]


@pytest.fixture
def store(memory_path, clock):
    return Store(memory_path / "store", clock)


def record_of(epoch, loss, clock):
    return Record(5 * (epoch + 1), epoch, {"loss": 0.5, "val_loss": loss}, time=clock())


class Loop:
    """A training loop as Keras' is: the state after an epoch is a function of the epoch alone."""

    def __init__(self, store, rules, write, run="run"):
        self.training = GatedTraining(store, parse_rules(rules), run)
        self.run = self.training.run
        self.write = write
        self.clock = store.clock
        self.done = []

    def start(self, epochs=None):
        state = self.training.begin(epochs)
        return 0 if state is None else state.manifest.epoch + 1

    def epoch(self, epoch, loss):
        record = record_of(epoch, loss, self.clock)
        decision = self.training.observe(record)
        self.training.commit(record, decision, lambda prefix: self.write(prefix, record.step))
        self.done.append(epoch)
        return decision

    def train(self, losses, finish=True):
        first = self.start(len(losses))
        for epoch in range(first, len(losses)):
            self.epoch(epoch, losses[epoch])
            self.clock.now += 60.0
        if finish:
            self.training.finish(len(losses))
        return first


@pytest.fixture
def loop(store, write):
    return lambda rules=IMPROVES: Loop(store, rules, write)


def live_steps(run):
    return [stored.step for stored in run.live()]


def decisions(run):
    return [(e.record.step, e.decision.save, e.decision.reason) for e in run.ledger.read().entries]


def test_what_the_gate_lets_through_is_saved_and_every_decision_recorded(loop):
    training = loop()
    training.train(LOSSES[:3])
    run = training.run
    assert live_steps(run) == [5, 10]
    assert decisions(run) == [
        (5, True, "val_loss 0.9 is the first to save"),
        (10, True, "val_loss 0.5 improves on 0.9"),
        (15, False, "val_loss 0.7 does not improve on 0.5"),
    ]
    assert [verify_files(run.files, stored) for stored in run.live()] == [None, None]
    manifest = run.live()[1].manifest
    assert (manifest.decision, manifest.metrics) == ("val_loss 0.5 improves on 0.9", {"loss": 0.5, "val_loss": 0.5})
    assert [(event["event"], event.get("epochs")) for event in run.ledger.read().events] == [
        ("started", 3),
        ("finished", 3),
    ]


def test_a_commit_publishes_then_records_then_hands_on_the_state_then_retains(loop, monkeypatch):
    training = loop("save: {every: 1}\nkeep: {last: 1}")
    training.start()
    order = []
    steps = [
        (training.run, "publish"),
        (training.run.ledger, "append"),
        (training.run, "publish_resumable"),
        (training.training, "retain"),
    ]
    for owner, name in steps:
        real = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, _real=real, _name=name, **k: (order.append(_name), _real(*a, **k))[1]
        )
    training.epoch(0, 0.5)
    assert order == ["publish", "append", "publish_resumable", "retain"]


def test_the_state_to_resume_from_is_kept_apart_and_only_the_newest(loop):
    training = loop()
    training.train(LOSSES[:3])
    files = training.run.files
    assert files.names("run/resume") == ["step-000000015"]
    assert files.names("run/checkpoints") == ["step-000000005", "step-000000010"]
    assert files.names("run/tmp") == []


def test_a_saved_state_is_on_the_disk_once(loop):
    training = loop()
    training.train(LOSSES[:2])
    paths = [training.run.files.local(f"run/{shelf}/step-000000010/ckpt.index") for shelf in ("checkpoints", "resume")]
    assert paths[0].stat().st_ino == paths[1].stat().st_ino
    paths[0].unlink()
    assert paths[1].read_bytes() == b"index of 10"


def test_without_rules_for_saving_there_is_no_gate(store):
    with pytest.raises(RuleError, match="Gating needs the section `save`: without it nothing would ever be saved"):
        GatedTraining(store, parse_rules("keep: {last: 1}"), "run")


@pytest.mark.parametrize(
    ("keep", "live"),
    [
        pytest.param("", [5, 10, 15, 20, 25, 30], id="no keep: all that was saved"),
        pytest.param("{last: 2}", [25, 30], id="the last two"),
        pytest.param("{best: {metric: val_loss, mode: min, n: 2}}", [20, 30], id="the two best"),
        pytest.param("{best: {metric: val_loss, mode: max, n: 1}, last: 1}", [5, 30], id="a union of best and last"),
        pytest.param("{milestone: 3}", [15, 30], id="every third epoch"),
        pytest.param("{within: 2m}", [25, 30], id="what is younger than two minutes, at a minute an epoch"),
    ],
)
def test_retention_while_training(loop, keep, live):
    training = loop(ALWAYS + (f"\nkeep: {keep}" if keep else ""))
    training.train(LOSSES)
    run = training.run
    assert live_steps(run) == live
    assert [mark["step"] for mark in pruned_before(run)] == [step for step in range(5, 31, 5) if step not in live]
    assert {(mark["by"], mark["event"]) for mark in pruned_before(run)} <= {("retention", "pruned")}
    assert run.files.names("run/trash") == run.files.names("run/journal") == []
    assert run.resume_state().step == 30


def test_retention_leaves_what_is_pinned(loop):
    training = loop(ALWAYS + "\nkeep: {last: 1}")
    training.start()
    training.epoch(0, 0.9)
    training.run.pin(5, "a paper cites it")
    for epoch in (1, 2):
        training.epoch(epoch, 0.5)
    assert live_steps(training.run) == [5, 15]


def test_retention_never_removes_the_only_checkpoint(loop):
    training = loop(ALWAYS + "\nkeep: {milestone: 50}")
    training.train(LOSSES)
    assert live_steps(training.run) == [30]


def test_a_budget_removes_the_oldest_only_while_it_is_exceeded(loop):
    training = loop(ALWAYS)
    training.train(LOSSES[:2])
    size = training.run.live()[1].manifest.size
    training = loop(ALWAYS + f"\nkeep: {{budget: {3 * size}B}}")
    training.train(LOSSES)
    assert live_steps(training.run) == [20, 25, 30]


def test_a_changed_keep_is_applied_when_the_run_begins_again(loop):
    loop(ALWAYS).train(LOSSES)
    training = loop(ALWAYS + "\nkeep: {last: 1, best: {metric: val_loss, mode: max, n: 1}}")
    assert training.start() == 6
    assert live_steps(training.run) == [5, 30]
    training.training.retain()
    assert live_steps(training.run) == [5, 30]


def test_what_retention_cannot_remove_is_told(loop, caplog):
    training = loop(ALWAYS + "\nkeep: {last: 1}")
    training.start()
    training.epoch(0, 0.5)
    training.run.files.local("run/checkpoints/step-000000005/notes.txt").write_text("mine")
    training.epoch(1, 0.5)
    assert "holds files that its manifest does not list" in caplog.text


RULES_AND_LOGS = [
    pytest.param("save: {metric: val_los, at_most: 1}", [{"loss": 1}], None, id="val_*: not before anything validated"),
    pytest.param(
        "save: {metric: val_los, at_most: 1}",
        [{"loss": 1}, {"loss": 1, "val_loss": 1}],
        1,
        id="val_*: at the first that did",
    ),
    pytest.param("save: {metric: acc, at_most: 1}", [{"loss": 1}], 0, id="others: at the end of the first epoch"),
    pytest.param(
        "save: {every: 1}\nkeep: {best: {metric: acc, mode: max, n: 1}}", [{"loss": 1}], 0, id="the metric of keep, too"
    ),
]


@pytest.mark.parametrize(("rules", "logs", "raised_at"), RULES_AND_LOGS)
def test_an_unknown_metric_is_named_as_early_as_can_be_told(store, clock, rules, logs, raised_at):
    training = GatedTraining(store, parse_rules(rules), "run")
    training.begin(None)
    for epoch, metrics in enumerate(logs):
        record = Record(epoch + 1, epoch, metrics, time=clock())
        if epoch == raised_at:
            with pytest.raises(UnknownMetricError, match=r"which training never logged\. Logged were: loss"):
                training.observe(record)
        else:
            training.observe(record)
    if raised_at is None:
        with pytest.raises(UnknownMetricError, match=r"'val_los', which training never logged\. Logged were: loss"):
            training.finish(None)
        assert training.run.ledger.read().finished_epochs == 0


def test_going_on_after_the_end_trains_only_what_is_new(loop):
    loop().train(LOSSES[:3])
    again = loop()
    assert again.train(LOSSES[:3]) == 3
    assert again.done == []
    more = loop()
    assert more.train(LOSSES) == 3
    assert more.done == [3, 4, 5]
    assert more.run.ledger.read().finished_epochs == 6
    assert [event["event"] for event in more.run.ledger.read().events] == ["started", "finished"] * 3


def test_an_abandoned_run_is_unfinished_and_free(loop):
    training = loop()
    training.train(LOSSES[:2], finish=False)
    training.training.abandon()
    assert training.run.ledger.read().finished_epochs == 0
    with training.run.lease("pruning"):
        pass


def test_the_copied_ledger_is_the_ledger(loop, tmp_path):
    training = loop()
    training.train(LOSSES)
    training.training.copy_ledger(tmp_path)
    assert (tmp_path / "ledger.jsonl").read_text() == training.run.ledger.text() != ""


def test_resuming_moves_what_came_later_aside(loop, clock, write):
    training = loop()
    training.train(LOSSES[:2], finish=False)
    run = training.run
    staged, place = run.stage()  # a process that died between publishing and recording
    write(str(place / "ckpt"), 15)
    run.publish(staged, record_of(2, 0.1, clock), "a decision that was never recorded", "0" * 64)
    again = loop()
    assert again.start() == 2
    assert live_steps(run) == [5, 10]
    assert run.files.names("run/superseded") == ["step-000000015"]
    assert [e["after_step"] for e in run.ledger.read().events if e["event"] == "resumed"] == [10]
    assert again.epoch(2, 0.4).reason == "val_loss 0.4 improves on 0.5"


def spoil(path):
    path.write_bytes(b"x" + path.read_bytes()[1:])


def test_a_damaged_state_is_not_resumed_from_where_a_gated_one_serves(loop):
    training = loop()
    training.train(LOSSES[:3], finish=False)
    spoil(training.run.files.local("run/resume/step-000000015/ckpt.index"))
    again = loop()
    assert again.start() == 2
    assert [step for step, _, _ in decisions(again.run)] == [5, 10]
    assert again.run.files.names("run/resume") == ["step-000000010"]
    assert again.run.files.names("run/quarantine") == ["step-000000015", "step-000000015.reason"]


def test_a_gated_state_that_is_resumed_from_survives_retention(loop):
    training = loop(ALWAYS)
    training.train(LOSSES[:3], finish=False)
    spoil(training.run.files.local("run/resume/step-000000015/ckpt.index"))
    spoil(training.run.files.local("run/checkpoints/step-000000015/ckpt.data-00000-of-00001"))
    again = loop(ALWAYS + "\nkeep: {best: {metric: val_loss, mode: max, n: 1}}")
    assert again.start() == 2
    assert live_steps(again.run) == [5]
    assert verify_files(again.run.files, again.run.resume_state()) is None
    assert again.run.resume_state().step == 10


def test_a_state_whose_manifest_is_damaged_is_quarantined(loop, caplog):
    training = loop()
    training.train(LOSSES[:2], finish=False)
    spoil(training.run.files.local("run/resume/step-000000010/manifest.json"))
    again = loop()
    assert again.start() == 2
    assert again.run.files.names("run/quarantine") == ["step-000000010", "step-000000010.reason"]
    assert "set aside: The manifest" in caplog.text
    assert again.run.files.names("run/resume") == ["step-000000010"]


def test_without_any_whole_state_training_starts_afresh_and_nothing_is_deleted(loop):
    training = loop("save: {metric: val_loss, at_most: 0.1}")
    training.train(LOSSES[:2], finish=False)
    spoil(training.run.files.local("run/resume/step-000000010/ckpt.index"))
    again = loop("save: {metric: val_loss, at_most: 0.1}")
    assert again.start() == 0
    assert decisions(again.run) == []
    assert again.run.files.names("run/quarantine") == ["step-000000010", "step-000000010.reason"]


def test_what_tensorflow_leaves_when_it_is_killed_is_swept_at_the_next_start(loop):
    training = loop()
    training.train(LOSSES[:1], finish=False)
    _, place = training.run.stage()
    (place / "ckpt_temp" / "part-00000").mkdir(parents=True)
    (place / "ckpt_temp" / "part-00000" / "data").write_bytes(b"half")
    (place / "ckpt.index").write_bytes(b"half")
    assert loop().start() == 1
    assert training.run.files.names("run/tmp") == []


def test_a_full_disk_while_writing_is_told_and_leaves_what_was_saved(loop, tree):
    training = loop()
    training.train(LOSSES[:1], finish=False)
    before = tree(training.run.files.root)

    def full(prefix, step):
        pathlib.Path(prefix + ".index").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    training.write = full
    with pytest.raises(StoreError, match=r"The state of epoch 2 could not be written to .*: No space left on device."):
        training.epoch(1, 0.5)
    after = tree(training.run.files.root)
    assert {n: b for n, b in after.items() if "lease" not in n} == {n: b for n, b in before.items() if "lease" not in n}


def test_an_error_of_the_writer_goes_through_as_it_is(loop):
    training = loop()
    training.start()

    def broken(prefix, step):
        raise KeyboardInterrupt

    training.write = broken
    with pytest.raises(KeyboardInterrupt):
        training.epoch(0, 0.5)
    assert training.run.files.names("run/tmp") == []


def test_a_writer_that_writes_nothing_is_told(loop):
    training = loop()
    training.start()
    training.write = lambda prefix, step: None
    with pytest.raises(StoreError, match=r"Nothing was written to .*, so there is nothing to publish"):
        training.epoch(0, 0.5)


def take_over(run):
    lease = json.loads(run.files.read("run/lease.json", 4096))
    run.files.replace("run/lease.json", json.dumps(lease | {"nonce": "another", "host": "elsewhere"}).encode())


def test_who_lost_the_lease_writes_nothing_more(loop, tree):
    training = loop()
    training.train(LOSSES[:1], finish=False)
    take_over(training.run)
    before = tree(training.run.files.root)
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        training.epoch(1, 0.5)
    assert tree(training.run.files.root) == before


def test_who_loses_the_lease_while_writing_publishes_nothing(loop, write):
    training = loop()
    training.train(LOSSES[:1], finish=False)

    def slow(prefix, step):
        write(prefix, step)
        take_over(training.run)

    training.write = slow
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        training.epoch(1, 0.5)
    assert live_steps(training.run) == [5]
    assert [step for step, _, _ in decisions(training.run)] == [5]


def test_a_run_in_use_is_not_begun(loop):
    training = loop()
    with training.run.lease("pruning"), pytest.raises(LeaseHeld, match=rf"by process {os.getpid()} on .* \(pruning\)"):
        training.start()


def test_a_beginning_that_fails_gives_the_run_free(loop):
    training = loop()
    training.train(LOSSES[:1])
    spoil(training.run.files.local("run/ledger.jsonl"))
    with pytest.raises(StoreError, match=r"ledger.jsonl line 1 is damaged"):
        loop().start()
    with training.run.lease("repair"):
        pass


# Killed anywhere.

RULES = """
save: {any: [{metric: val_loss, improves: min}, {every: 5}]}
keep: {best: {metric: val_loss, mode: max, n: 1}, last: 1}
"""


def outcome(run):
    """What a finished training looks like, whatever happened on the way."""
    files = run.files
    return (
        live_steps(run),
        decisions(run),
        run.resume_state().step,
        {stored.step: stored.manifest.files for stored in run.live()},
        [mark["step"] for mark in pruned_before(run)],
        *(files.names(f"run/{name}") for name in ("tmp", "resume", "trash", "journal", "quarantine")),
        [name for name in files.names("run") if name != "superseded"],
    )


def check(run):
    """What a reader may see at any time: whole checkpoints only, and a history that can be read."""
    assert [verify_files(run.files, stored) for stored in run.live()] == [None] * len(run.live())
    steps = [step for step, _, _ in decisions(run)]
    assert steps == list(range(5, 5 * len(steps) + 1, 5))


@pytest.fixture
def attempt(memory_path, clock, write):
    """Trains in the store `name`, a new one unless told to go on."""
    began = clock.now

    def make(name, again=False):
        if not again:
            shutil.rmtree(memory_path / name, ignore_errors=True)
            clock.now = began
        return Loop(Store(memory_path / name, clock), RULES, write)

    return make


def test_killed_anywhere_a_training_resumes_at_its_last_complete_epoch(attempt, killable, killed):
    whole = attempt("whole")
    killable.arm(None)
    whole.train(LOSSES)
    operations, expected = killable.done, outcome(whole.run)
    assert expected[0] == [5, 30]
    assert operations > 200
    for at in range(operations):
        first = attempt("killed")
        killable.arm(at)
        with pytest.raises(killed):
            first.train(LOSSES)
        killable.arm(None)
        check(first.run)
        again = attempt("killed", again=True)
        resumed = again.train(LOSSES)
        assert resumed >= len(first.done), at
        assert not set(again.done) & set(first.done), at
        assert outcome(again.run) == expected, at


def test_killed_again_after_resuming_it_ends_all_the_same(attempt, killable, killed):
    whole = attempt("whole")
    killable.arm(None)
    whole.train(LOSSES)
    operations, expected = killable.done, outcome(whole.run)
    for number, at in enumerate(range(5, operations, 23)):
        for again in range(number % 7, operations - at, 17):
            for budget, new in ((at, True), (again, False)):
                loop = attempt("killed", again=not new)
                killable.arm(budget)
                try:
                    loop.train(LOSSES)
                except killed:
                    check(loop.run)
            killable.arm(None)
            last = attempt("killed", again=True)
            last.train(LOSSES)
            assert outcome(last.run) == expected, (at, again)


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_failing_disk_loses_nothing_and_is_never_passed_over(attempt, killable, caplog, error, sticky):
    whole = attempt("whole")
    killable.arm(None)
    whole.train(LOSSES)
    operations, expected = killable.done, outcome(whole.run)
    for at in range(number_of_setup_operations(attempt, killable), operations, 7):
        first = attempt("failing")
        killable.arm(at, error, sticky)
        caplog.clear()
        try:
            first.train(LOSSES)
            told = "not removed" in caplog.text
        except (OSError, StoreError):
            told = True
        killable.arm(None)
        check(first.run)
        assert told or outcome(first.run) == expected, at
        again = attempt("failing", again=True)
        assert again.train(LOSSES) >= len(first.done), at
        assert outcome(again.run) == expected, at


def number_of_setup_operations(attempt, killable):
    """Making the store itself is not part of training."""
    killable.arm(None)
    attempt("setup")
    return killable.done
