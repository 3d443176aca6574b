"""A gated training run, with a clock and a disk that the test controls: decide, save, record, resume, retain."""

from __future__ import annotations

import collections
import errno
import json
import math
import os
import pathlib
import re
import shutil
import threading
import time
import weakref

import pytest

from checkpoint_gate.errors import LeaseHeld, RecordOrderError, RuleError, StoreError, UnknownMetricError
from checkpoint_gate.rule_text.rule_set import parse_rules, write_rules
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store, standing
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.prune_plan import make_plan
from checkpoint_gate.store.run_check import check_run
from checkpoint_gate.store.trash import pruned_before
from checkpoint_gate.training.gated_training import GatedTraining

IMPROVES = "save: {metric: val_loss, improves: min}"
ALWAYS = "save: {every: 1}"
LOSSES = [0.9, 0.5, 0.7, 0.4, 0.6, 0.3]


@pytest.fixture
def store(memory_path, clock):
    return Store(memory_path / "store", clock)


def record_of(epoch, loss, clock):
    return Record(5 * (epoch + 1), epoch, {"loss": 0.5, "val_loss": loss}, time=clock())


class Model:
    """A state in memory that changes while training goes on; captured by taking a copy."""

    def __init__(self, loop):
        self.loop = loop
        self.weights = [0, 0]

    def capture(self):
        copy = list(self.weights)
        return lambda prefix: self.loop.write(prefix, copy[0])

    def write(self, prefix):
        raise AssertionError("what can be captured is not written at once")


class Loop:
    """A training loop as Keras' is: the state after an epoch is a function of the epoch alone.

    Where saving is synchronous the state is a plain function, else a model that is captured.
    """

    def __init__(self, store, rules, write, run="run", saving="synchronous"):
        self.training = GatedTraining(store, parse_rules(rules), run, saving=saving)
        self.run = self.training.run
        self.write = write
        self.clock = store.clock
        self.done = []
        self.model = Model(self) if saving != "synchronous" else None

    def start(self, epochs=None):
        state = self.training.begin(epochs)
        return 0 if state is None else state.manifest.epoch + 1

    def epoch(self, epoch, loss):
        decision = self.judge(record_of(epoch, loss, self.clock))
        self.done.append(epoch)
        return decision

    def judge(self, record, resumable=True):
        decision = self.training.observe(record)
        self.training.commit(record, decision, self.state(record.step), resumable=resumable)
        if self.model is not None:
            self.model.weights[:] = [-1, -1]  # training goes on at once
        return decision

    def state(self, step):
        if self.model is None:
            return lambda prefix: self.write(prefix, step)
        self.model.weights[:] = [step, step]
        return self.model

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
    return lambda rules=IMPROVES, saving="synchronous": Loop(store, rules, write, saving=saving)


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


BEST = f"{ALWAYS}\nkeep: {{best: {{metric: val_loss, mode: min, n: 1}}}}"


def damage(run, step):
    path = run.files.local(f"{run.gated.path(step)}/ckpt.index")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    os.utime(path, (1.6e9, 1.6e9))  # a disk's clock may not have ticked since it was published


def remove(run, step):
    shutil.rmtree(run.files.local(run.gated.path(step)))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(damage, "while a checkpoint that stays is damaged (", id="damaged"),
        pytest.param(remove, "1 of its saved checkpoints are gone", id="removed by others"),
    ],
)
def test_retention_removes_nothing_while_what_it_keeps_is_damaged_or_gone(loop, caplog, spoil, words):
    training = loop(BEST)
    training.start(4)
    for epoch, loss in enumerate([0.1, 0.3, 0.2, 0.25]):
        training.epoch(epoch, loss)
        if epoch == 0:
            spoil(training.run, 5)
    training.training.finish(4)
    assert set(live_steps(training.run)) >= {10, 15, 20}
    told = [message for message in caplog.messages if message.startswith("retention removes nothing this time: ")]
    assert told
    assert all(words in message for message in told)


def test_retention_asks_anew_what_is_lost_when_the_same_training_begins_again(loop, caplog):
    first = loop(BEST)
    first.train([0.3, 0.5], finish=False)
    first.training.abandon()
    other = loop(ALWAYS)
    other.train([0.3, 0.5, 0.1, 0.6], finish=False)
    other.training.abandon()
    remove(other.run, 15)  # which the first has never seen
    first.train([0.3, 0.5, 0.1, 0.6, 0.7])
    assert live_steps(first.run) == [5, 20, 25]
    assert any("1 of its saved checkpoints are gone" in message for message in caplog.messages)


def test_retention_reads_what_it_keeps_once(loop, monkeypatch):
    read = collections.Counter()
    verify = standing.verify_files

    def verified(files, stored):
        read[stored.step] += 1
        return verify(files, stored)

    monkeypatch.setattr(standing, "verify_files", verified)
    training = loop(BEST)
    training.start(9)
    training.epoch(0, 0.1)
    for path in training.run.files.local(training.run.gated.path(5)).iterdir():
        os.utime(path, (1.7e9, 1.7e9))  # what is younger than the clock's tick is never taken for read
    for epoch in range(1, 9):
        training.epoch(epoch, 0.5)
    assert (live_steps(training.run), read) == ([5], {5: 1})


def test_retention_does_not_read_what_this_training_has_published(loop, monkeypatch):
    monkeypatch.setattr(standing, "verify_files", None)
    training = loop(BEST)
    training.train([0.1, 0.5, 0.4])
    assert live_steps(training.run) == [5]


def test_what_retention_reads_does_not_grow_with_what_was_recorded_and_pruned(loop, monkeypatch):
    training = loop(ALWAYS + "\nkeep: {last: 1}")
    training.train(LOSSES[:3], finish=False)
    files, read = training.run.files, []
    monkeypatch.setattr(files, "read", lambda path, limit, _read=files.read: (read.append(path), _read(path, limit))[1])
    training.epoch(3, 0.1)
    assert live_steps(training.run) == [20]
    assert read
    assert not [path for path in read if path.endswith(".jsonl")]


def test_what_beginning_again_finds_and_leaves_alone_is_told(loop, caplog):
    first = loop(BEST)
    first.train([0.1, 0.5], finish=False)
    first.training.abandon()
    run = first.run
    with run.lease("pruning") as lease:
        make_plan(run, {5: "bad"}, {}, 0.0, "f" * 64, "a test").write(run, lease.token)
    again = loop(BEST)
    again.start(3)
    assert live_steps(run) == [5]
    assert any(m.startswith("not removed: Nothing goes from run: none of its") for m in caplog.messages)


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


def test_the_state_that_is_resumed_from_is_read_once_to_verify_it(loop, monkeypatch):
    training = loop()
    training.train(LOSSES[:3], finish=False)
    read = []
    measure = LocalFiles.measure
    monkeypatch.setattr(
        LocalFiles, "measure", lambda files, path, *how: read.append(path) or measure(files, path, *how)
    )
    assert loop().start() == 3
    assert sorted(read) == [f"run/resume/step-000000015/ckpt.{end}" for end in ("data-00000-of-00001", "index")]


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
    (name,) = (name for name in run.files.names("run") if name.startswith("lease."))
    lease = json.loads(run.files.read(f"run/{name}", 4096))
    claim = json.dumps(lease | {"token": 2, "nonce": "another", "host": "elsewhere"})
    run.files.replace("run/lease.000000002.json", claim.encode())


def test_who_lost_the_lease_writes_nothing_more(loop, tree):
    training = loop()
    training.train(LOSSES[:1], finish=False)
    take_over(training.run)
    before = tree(training.run.files.root)
    training.write = None  # is not even called
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        training.epoch(1, 0.5)
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        training.training.note(record_of(2, 0.5, training.clock), Decision(False, "no"))
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
    assert training.run.files.names("run/tmp") == []


def test_a_run_in_use_is_not_begun(loop):
    training = loop()
    with training.run.lease("pruning"), pytest.raises(LeaseHeld, match=rf"by process {os.getpid()} on .* \(pruning\)"):
        training.start()


def test_a_killed_training_goes_on_on_another_host_when_its_lease_has_ended(store, clock, monkeypatch):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        clock.now += seconds

    def training():
        return GatedTraining(store, parse_rules(ALWAYS), "run", wait_for_lease=720)

    monkeypatch.setattr("socket.gethostname", lambda: "pod-1")
    killed = training()
    killed.begin(3)
    monkeypatch.setattr("socket.gethostname", lambda: "pod-2")
    monkeypatch.setattr("checkpoint_gate.store.lease.time.sleep", sleep)
    again = training()
    again.begin(3)
    assert sum(slept) == 670
    again.finish(3)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_how_long_to_wait_for_a_lease_is_a_finite_time(store, seconds):
    with pytest.raises(RuleError, match=r"wait_for_lease must be finite and at least 0 seconds\. Received: "):
        GatedTraining(store, parse_rules(ALWAYS), "run", wait_for_lease=seconds)


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
        [name for name in files.names("run") if name != "superseded" and not name.startswith("lease.")],
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

    def make(name, again=False, saving="synchronous", kind=Loop, rules=RULES):
        if not again:
            shutil.rmtree(memory_path / name, ignore_errors=True)
            clock.now = began
        return kind(Store(memory_path / name, clock), rules, write, saving=saving)

    return make


@pytest.mark.parametrize(
    ("saving", "stride", "unsaved"),
    [
        pytest.param("synchronous", 1, 0, id="synchronous: every epoch that training has left behind is on the disk"),
        pytest.param("background", 5, 1, id="background: every one but the last"),
    ],
)
def test_killed_anywhere_a_training_resumes_at_its_last_complete_epoch(
    attempt, killable, killed, saving, stride, unsaved
):
    whole = attempt("whole")
    killable.arm(None)
    whole.train(LOSSES)
    operations, expected = killable.done, outcome(whole.run)
    assert expected[0] == [5, 30]
    assert operations > 140
    for at in range(0, operations, stride):
        first = attempt("killed", saving=saving)
        killable.arm(at)
        with pytest.raises(killed):
            first.train(LOSSES)
        killable.arm(None)
        check(first.run)
        recorded = decisions(first.run)
        again = attempt("killed", again=True, saving=saving)
        resumed = again.train(LOSSES)
        assert resumed >= max(len(first.done) - unsaved, len(recorded) - 1), at  # the last may lack its state
        assert again.done == list(range(resumed, len(LOSSES))), at
        assert outcome(again.run) == expected, at


@pytest.mark.parametrize("saving", ["synchronous", "background"])
def test_killed_again_after_resuming_it_ends_all_the_same(attempt, killable, killed, saving):
    whole = attempt("whole")
    killable.arm(None)
    whole.train(LOSSES)
    operations, expected = killable.done, outcome(whole.run)
    for number, at in enumerate(range(5, operations, 23 if saving == "synchronous" else 67)):
        for again in range(number % 7, operations - at, 17):
            for budget, new in ((at, True), (again, False)):
                loop = attempt("killed", again=not new, saving=saving)
                killable.arm(budget)
                try:
                    loop.train(LOSSES)
                except killed:
                    check(loop.run)
            killable.arm(None)
            last = attempt("killed", again=True, saving=saving)
            last.train(LOSSES)
            assert outcome(last.run) == expected, (at, again)


@pytest.mark.parametrize("saving", ["synchronous", "background"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_failing_disk_loses_nothing_and_is_never_passed_over(attempt, killable, caplog, error, sticky, saving):
    whole = attempt("whole")
    killable.arm(None)
    whole.train(LOSSES)
    operations, expected = killable.done, outcome(whole.run)
    stride = 7 if saving == "synchronous" else 17
    for at in range(number_of_setup_operations(attempt, killable), operations, stride):
        first = attempt("failing", saving=saving)
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
        again = attempt("failing", again=True, saving=saving)
        assert again.train(LOSSES) >= len(first.done) - (saving == "background"), at
        assert outcome(again.run) == expected, at


def number_of_setup_operations(attempt, killable):
    """Making the store itself is not part of training."""
    killable.arm(None)
    attempt("setup")
    return killable.done


# The end of an epoch is judged twice where steps are judged too: as a step, and then as the epoch.

BOTH = """
save: {any: [{metric: accuracy, at_least: 0.5}, {metric: val_loss, at_most: 0.5}]}
keep: {last: 2}
"""


def at_step(step, epoch, accuracy, clock):
    return Record(step, epoch, {"loss": 0.5, "accuracy": accuracy}, "step", clock())


class SteppedLoop(Loop):
    """Judges the third and the fifth step of each epoch of five, and then the epoch, as the callback does."""

    SAVED = (3, 5, 10)  # as steps; the losses say which epochs are

    def epoch(self, epoch, loss):
        for step in (5 * epoch + 3, 5 * epoch + 5):
            self.judge(at_step(step, epoch, 0.9 if step in self.SAVED else 0.1, self.clock), resumable=False)
        self.judge(record_of(epoch, loss, self.clock))
        self.done.append(epoch)


def carried(run):
    """Step -> of which record the checkpoint tells."""
    return {stored.step: stored.manifest.at for stored in run.live()}


REASONS = {"epoch": "val_loss 0.4 is at most 0.5", "step": "accuracy 0.9 is at least 0.5"}
JUDGED_TWICE = [
    pytest.param(0.9, 0.4, "epoch", {"loss": 0.5, "val_loss": 0.4}, id="both saved: it tells of the epoch"),
    pytest.param(0.9, 0.9, "step", {"loss": 0.5, "accuracy": 0.9}, id="the step saved, the epoch refused: of the step"),
    pytest.param(0.1, 0.4, "epoch", {"loss": 0.5, "val_loss": 0.4}, id="the step refused, the epoch saved: the epoch"),
]


@pytest.mark.parametrize("resumable", [False, True], ids=["as the callback does", "as a loop of one's own does"])
@pytest.mark.parametrize("bytes_differ", [False, True], ids=["the same bytes", "the writer's bytes differ"])
@pytest.mark.parametrize("saving", ["synchronous", "background"])
@pytest.mark.parametrize(("accuracy", "loss", "at", "metrics"), JUDGED_TWICE)
def test_a_step_that_is_judged_twice_has_one_checkpoint(
    loop, clock, write, accuracy, loss, at, metrics, saving, bytes_differ, resumable
):
    training = loop(BOTH, saving)
    training.start()
    weight = iter(range(40, 50))
    if bytes_differ:
        training.write = lambda prefix, step: write(prefix, step, next(weight))
    training.judge(at_step(5, 0, accuracy, clock), resumable)
    training.judge(record_of(0, loss, clock))
    training.training.finish(1)
    run = training.run
    (stored,) = run.live()
    assert (stored.step, stored.manifest.at, stored.manifest.metrics) == (5, at, metrics)
    assert (
        stored.manifest.decision == f"{'val_loss 0.4 is at most' if at == 'epoch' else 'accuracy 0.9 is at least'} 0.5"
    )
    assert [(step, save) for step, save, _ in decisions(run)] == [(5, accuracy == 0.9), (5, loss == 0.4)]
    assert verify_files(run.files, stored) is None
    assert (run.resume_state().step, run.files.names("run/tmp")) == (5, [])
    assert run.files.names("run/resume") == ["step-000000005"]


@pytest.mark.parametrize(("saving", "stride"), [("synchronous", 1), ("background", 4)])
def test_killed_anywhere_what_is_judged_twice_ends_all_the_same(attempt, killable, killed, saving, stride):
    losses = [0.4, 0.9]
    whole = attempt("whole", kind=SteppedLoop, rules=BOTH)
    killable.arm(None)
    whole.train(losses)
    operations, expected = killable.done, (*outcome(whole.run), carried(whole.run))
    assert carried(whole.run) == {5: "epoch", 10: "step"}
    assert [mark["step"] for mark in pruned_before(whole.run)] == [3]
    for at in range(0, operations, stride):
        first = attempt("killed", saving=saving, kind=SteppedLoop, rules=BOTH)
        killable.arm(at)
        with pytest.raises(killed):
            first.train(losses)
        killable.arm(None)
        again = attempt("killed", again=True, saving=saving, kind=SteppedLoop, rules=BOTH)
        resumed = again.train(losses)
        assert resumed >= len(first.done) - (saving == "background"), at
        assert (*outcome(again.run), carried(again.run)) == expected, at


def test_a_step_that_is_saved_is_not_resumed_from_unless_it_is_to_be(loop, clock):
    training = loop(BOTH)
    training.start()
    training.judge(at_step(3, 0, 0.9, clock), resumable=False)
    assert (live_steps(training.run), training.run.files.names("run/resume")) == ([3], [])


@pytest.mark.parametrize(
    ("step", "epoch_ends"),
    [
        pytest.param(8, False, id="from within an epoch"),
        pytest.param(10, True, id="of an epoch's last step, where the epoch was refused"),
    ],
)
def test_a_checkpoint_of_a_step_is_not_resumed_from(loop, clock, step, epoch_ends):
    training = loop(BOTH)
    training.start()
    training.judge(at_step(4, 0, 0.1, clock), resumable=False)
    training.judge(record_of(0, 0.4, clock))
    training.judge(at_step(step, 1, 0.9, clock), resumable=False)
    if epoch_ends:
        training.judge(record_of(1, 0.9, clock))
    assert live_steps(training.run) == [5, step]
    for state in training.run.resumable.stored():
        spoil(training.run.files.local(f"{state.folder}/manifest.json"))
    again = loop(BOTH)
    assert again.start() == 1
    assert again.run.resume_state().step == 5
    assert again.run.files.names("run/superseded") == [f"step-{step:09d}"]


def test_a_state_from_within_an_epoch_is_resumed_from_where_it_was_saved_for_that(loop, clock):
    training = loop(BOTH)
    training.start()
    training.judge(at_step(8, 0, 0.1, clock))
    assert loop(BOTH).training.begin(None).step == 8


# Behind training.


def finished(run):
    """All that a finished run is, but for the times at which it became so."""
    events = [{k: v for k, v in event.items() if k != "time"} for event in run.ledger.read().events]
    manifests = [stored.manifest.changed(time=0.0) for stored in run.live()]
    tombstones = [(mark["step"], mark["event"], mark["by"], mark["reason"]) for mark in pruned_before(run)]
    return (*outcome(run), events, manifests, tombstones)


# Not `within`: how old a checkpoint is when another is done depends on how far behind training that is.
TRAININGS = [
    pytest.param([(RULES, LOSSES)], id="some are refused, some pruned"),
    pytest.param([(IMPROVES, [math.nan, 0.5, math.inf, 0.4])], id="not finite"),
    pytest.param([(ALWAYS + "\nkeep: {last: 2}", LOSSES)], id="the last two"),
    pytest.param([(ALWAYS + "\nkeep: {milestone: 3}", LOSSES)], id="milestones"),
    pytest.param([(ALWAYS + "\nkeep: {budget: 400B}", LOSSES)], id="a budget"),
    pytest.param([(ALWAYS + "\nkeep: {best: {metric: val_loss, mode: min, n: 2}}", LOSSES)], id="the two best"),
    pytest.param([("save: {metric: loss, at_most: 0.1}", LOSSES)], id="all refused"),
    pytest.param([(RULES, LOSSES[:2]), (RULES, LOSSES)], id="resumed"),
    pytest.param([(ALWAYS, LOSSES[:3]), (RULES, LOSSES)], id="resumed with other rules"),
    pytest.param([(ALWAYS, LOSSES), (ALWAYS + "\nkeep: {last: 1}", LOSSES)], id="nothing more to train"),
]


@pytest.mark.parametrize("kind", [Loop, SteppedLoop], ids=["epochs", "steps and epochs"])
@pytest.mark.parametrize("trainings", TRAININGS)
def test_behind_training_the_store_becomes_what_it_becomes_at_once(attempt, trainings, kind):
    ends = {}
    for saving in ("synchronous", "background"):
        for number, (rules, losses) in enumerate(trainings):
            training = attempt(saving, again=number > 0, saving=saving, kind=kind, rules=rules)
            training.train(losses, finish=losses is LOSSES)
            training.training.abandon()
        ends[saving] = finished(training.run)
    assert ends["background"] == ends["synchronous"]


class SlowWriter:
    """Writes the state of step 5 no sooner than it is let; the others at once."""

    def __init__(self, write):
        self.write = write
        self.begun = threading.Event()
        self.free = threading.Event()
        self.threads = {}

    def __call__(self, prefix, step):
        self.threads[step] = threading.current_thread()
        if step == 5:
            self.begun.set()
            assert self.free.wait(10.0)
        self.write(prefix, step)


@pytest.fixture
def slow(write):
    writer = SlowWriter(write)
    yield writer
    writer.free.set()


def begun(loop, slow, rules=ALWAYS, saving="background"):
    """A training whose first state is being written."""
    training = loop(rules, saving)
    training.start()
    training.write = slow
    training.epoch(0, LOSSES[0])
    assert slow.begun.wait(10.0)
    return training


def test_what_is_on_the_disk_is_the_state_at_the_call(loop, slow):
    training = begun(loop, slow)
    assert training.model.weights == [-1, -1]  # training has gone on, nothing is on the disk
    assert live_steps(training.run) == []
    slow.free.set()
    training.training.finish(1)
    (stored,) = training.run.live()
    assert training.run.files.read(f"{stored.folder}/ckpt.index", 100) == b"index of 5"
    assert slow.threads[5] is not threading.current_thread()


def test_what_is_broken_off_in_a_notebook_is_written_before_the_same_training_begins_again(loop, slow):
    begun(loop, slow)  # and a cell of a notebook is interrupted
    again = loop(ALWAYS, "background")
    threading.Timer(0.2, slow.free.set).start()
    again.start()
    assert slow.free.is_set()
    again.training.abandon()


def told(line):
    """A line of the ledger in short."""
    return " ".join(str(line[key]) for key in ("event", "step", "at") if key in line and line.get("event") != "started")


@pytest.mark.parametrize(
    ("saving", "losses", "lines", "live"),
    [
        pytest.param("background", LOSSES[:1], ["", "5", "finished"], [5], id="background: alone"),
        pytest.param("latest", LOSSES[:2], ["", "5", "10", "finished"], [5, 10], id="latest: the newest is written"),
        pytest.param(
            "latest",
            LOSSES[:4],
            ["", "5", "10", "overtaken 10 epoch", "15", "20", "finished"],
            [5, 20],
            id="latest: the ledger has them all, and says which were let through and overtaken",
        ),
        pytest.param(
            "latest",
            [0.9, 0.5, 0.7, 0.6],
            ["", "5", "10", "overtaken 10 epoch", "15", "20", "finished"],
            [5],
            id="latest: also by a state that is only there to resume from",
        ),
    ],
)
def test_what_is_overtaken_has_its_line_in_the_ledger(loop, slow, saving, losses, lines, live):
    training = begun(loop, slow, IMPROVES, saving)
    for epoch, loss in list(enumerate(losses))[1:]:
        training.epoch(epoch, loss)
    slow.free.set()
    training.training.finish(len(losses))
    run = training.run
    written = [json.loads(line) for line in run.ledger.text().splitlines()]
    assert [told(line) for line in written] == lines
    assert [save for _, save, _ in decisions(run)] == [True, True, False, losses[-1] == 0.4][: len(losses)]
    assert live_steps(run) == live
    assert [finding for finding in check_run(run) if finding.severity != "note"] == []
    assert (run.resume_state().step, run.files.names("run/tmp")) == (5 * len(losses), [])
    again = loop(IMPROVES, saving)
    assert again.start() == len(losses)
    assert again.epoch(len(losses), 0.95).reason == f"val_loss 0.95 does not improve on {min(losses)}"


def test_a_training_that_was_killed_after_states_were_overtaken_resumes_at_the_last_one_written(loop, slow):
    training = begun(loop, slow, ALWAYS, "latest")
    training.write = slow.write = lambda prefix, step: slow.free.wait(10.0)  # writes nothing: an error
    for epoch in (1, 2):
        training.epoch(epoch, LOSSES[epoch])
    slow.free.set()
    with pytest.raises(StoreError, match="Nothing was written"):
        training.training.finish(3)
    training.training.abandon()
    again = loop(ALWAYS, "latest")
    assert again.start() == 0
    assert decisions(again.run) == []


class Once(Model):
    """A state that can only be written at once."""

    def capture(self):
        return None

    def write(self, prefix):
        self.loop.write(prefix, self.weights[0])


@pytest.mark.parametrize("plain", [False, True], ids=["a state", "a plain function"])
@pytest.mark.parametrize("saving", ["synchronous", "background", "latest"])
def test_what_cannot_be_captured_is_written_at_once_by_the_caller(loop, slow, saving, plain):
    training = loop(ALWAYS, saving)
    slow.free.set()
    training.write = slow
    training.start()
    training.model = None if plain else Once(training)
    training.epoch(0, 0.9)
    assert slow.threads == {5: threading.current_thread()}
    training.epoch(1, 0.8)
    training.training.finish(2)
    assert live_steps(training.run) == [5, 10]
    assert [verify_files(training.run.files, stored) for stored in training.run.live()] == [None, None]


@pytest.mark.parametrize("saving", ["background", "latest"])
def test_what_cannot_be_captured_waits_for_what_is_being_written(loop, slow, saving):
    training = begun(loop, slow, ALWAYS, saving)
    training.model = Once(training)
    caller = threading.Thread(target=training.epoch, args=(1, 0.8))
    caller.start()
    caller.join(0.01)
    assert caller.is_alive()
    assert list(slow.threads) == [5]
    slow.free.set()
    caller.join(10.0)
    training.training.finish(2)
    assert live_steps(training.run) == [5, 10]


class Copy:
    """A captured state."""

    def __init__(self, model):
        self.step = model.weights[0]
        self.write = model.loop.write

    def __call__(self, prefix):
        self.write(prefix, self.step)


class Counted(Model):
    """Knows how many captured states are alive, and how many were when another was asked for."""

    def __init__(self, loop):
        super().__init__(loop)
        self.alive = weakref.WeakSet()
        self.seen = []

    def capture(self):
        self.seen.append(len(self.alive))
        copy = Copy(self)
        self.alive.add(copy)
        return copy


def test_in_the_background_no_two_captured_states_are_alive(loop):
    training = loop(ALWAYS, "background")
    training.start()
    training.model = Counted(training)
    for epoch, loss in enumerate(LOSSES):
        training.epoch(epoch, loss)
    training.training.finish(len(LOSSES))
    assert training.model.seen == [0] * len(LOSSES)
    assert len(training.model.alive) == 0


def test_with_latest_no_more_than_the_one_being_written_and_the_newest_are_alive(loop, slow):
    training = loop(ALWAYS, "latest")
    training.start()
    training.write = slow
    training.model = Counted(training)
    training.epoch(0, 0.9)
    assert slow.begun.wait(10.0)
    for epoch in range(1, 6):
        training.epoch(epoch, 0.5)
        assert len(training.model.alive) == 2
    assert training.model.seen == [0, 1, 2, 2, 2, 2]
    slow.free.set()
    training.training.finish(6)
    assert len(training.model.alive) == 0


def record_at(clock, step=10, epoch=1):
    return Record(step, epoch, {"loss": 0.5, "val_loss": 0.1}, time=clock())


FIRST_CALLS = [
    pytest.param(lambda loop: loop.training.check(), id="check"),
    pytest.param(lambda loop: loop.training.observe(record_at(loop.clock)), id="observe"),
    pytest.param(lambda loop: loop.training.note(record_at(loop.clock), Decision(False, "no")), id="note"),
    pytest.param(
        lambda loop: loop.training.commit(record_at(loop.clock), Decision(True, "yes"), loop.state(10)), id="commit"
    ),
    pytest.param(
        lambda loop: loop.training.commit(
            record_at(loop.clock), Decision(False, "no"), loop.state(10), resumable=False
        ),
        id="commit, refused",
    ),
    pytest.param(lambda loop: loop.training.save_resumable(record_at(loop.clock), loop.state(10)), id="save_resumable"),
    pytest.param(lambda loop: loop.training.finish(1), id="finish"),
]


@pytest.mark.parametrize("saving", ["background", "latest"])
@pytest.mark.parametrize("call", FIRST_CALLS)
def test_a_disk_that_failed_behind_training_is_told_by_the_next_call(loop, slow, caplog, saving, call):
    training = loop(ALWAYS, saving)
    training.start()

    def full(prefix, step):
        raise OSError(errno.ENOSPC, "No space left on device")

    training.write = full
    training.epoch(0, 0.9)
    wait_for_error(training.training)
    text = r"The state of epoch 1 could not be written to .*: No space left on device\. What was saved before is untou"
    for _ in range(2):
        with pytest.raises(StoreError, match=text):
            call(training)
    training.training.abandon()
    assert decisions(training.run) == []
    assert live_steps(training.run) == training.run.files.names("run/tmp") == []
    assert [event["event"] for event in training.run.ledger.read().events] == ["started"]
    with training.run.lease("pruning"):
        pass


def wait_for_error(training):
    """Until something has failed behind training."""
    for _ in range(2000):
        try:
            training.check()
        except StoreError:
            return
        time.sleep(0.005)
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("saving", ["synchronous", "background"])
def test_a_decision_that_cannot_be_recorded_is_told(loop, killable, clock, saving):
    training = loop(ALWAYS, saving)
    training.start()
    record = at_step(3, 0, 0.1, clock)
    decision = training.training.observe(record)
    killable.arm(0, errno.EIO)
    told = pytest.raises(
        StoreError, match=r"The decision about step 3 could not be written to .*: Input/output error\."
    )
    if saving == "synchronous":
        with told:
            training.training.note(record, decision)
    else:
        training.training.note(record, decision)
        with told:
            training.training.finish(1)
    killable.arm(None)
    assert decisions(training.run) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_whatever_fails_in_a_commit_is_told_in_a_sentence(attempt, killable, error):
    told = []
    for operation in range(operations_of_a_commit(attempt, killable)):
        training = attempt("failing", rules=ALWAYS)
        training.start()
        killable.arm(operation, error)
        try:
            training.epoch(0, 0.9)
        except StoreError as failed:
            told.append(re.sub(" to .*:", " to …:", str(failed)))
        killable.arm(None)
    why = f"{os.strerror(error)}. What was saved before is untouched."
    assert set(told) == {f"The state of epoch 1 could not be written to …: {why}"}
    assert len(told) == operation + 1 - 2  # links; in their place files are copied


def operations_of_a_commit(attempt, killable):
    training = attempt("whole", rules=ALWAYS)
    training.start()
    killable.arm(None)
    training.epoch(0, 0.9)
    return killable.done


@pytest.mark.parametrize("saving", ["background", "latest"])
@pytest.mark.parametrize("end", [lambda t: t.finish(1), lambda t: t.abandon()], ids=["finish", "abandon"])
def test_at_the_end_no_thread_is_left(loop, saving, end):
    before = set(threading.enumerate())  # with those of trainings that were killed
    training = loop(ALWAYS, saving)
    training.start()
    training.epoch(0, 0.9)
    started = set(threading.enumerate()) - before
    assert sorted(thread.name for thread in started) == ["checkpoint-gate lease", "checkpoint-gate_0"]
    end(training.training)
    for thread in started:
        thread.join(timeout=10)
    assert not [thread for thread in started if thread.is_alive()]


# Order, rules that change, and what is told.


LOW = "save: {metric: loss, at_most: 1}"


def at(step, kind="epoch"):
    return Record(step, 0, {"loss": 0.5, "val_loss": 0.5}, kind)


@pytest.mark.parametrize(
    ("last", "following", "fine"),
    [
        pytest.param(at(5), at(6), True, id="epoch after epoch"),
        pytest.param(at(5, "step"), at(6, "step"), True, id="step after step"),
        pytest.param(at(5), at(6, "step"), True, id="a step after an epoch"),
        pytest.param(at(5, "step"), at(5), True, id="the epoch whose last step it was"),
        pytest.param(at(5), at(5), False, id="the same epoch again"),
        pytest.param(at(5, "step"), at(5, "step"), False, id="the same step again"),
        pytest.param(at(5), at(5, "step"), False, id="the last step after its epoch"),
        pytest.param(at(5), at(4), False, id="an earlier epoch"),
        pytest.param(at(5, "step"), at(4, "step"), False, id="an earlier step"),
        pytest.param(at(5, "step"), at(4), False, id="an epoch that ended before the step"),
    ],
)
@pytest.mark.parametrize("resumed", [False, True], ids=["at once", "after resuming"])
def test_records_go_forward(loop, last, following, fine, resumed):
    training = loop(LOW)
    training.start()
    training.judge(last)
    if resumed:
        training = loop(LOW)
        training.start()
    if fine:
        assert training.training.observe(following).save
        return
    with pytest.raises(RecordOrderError) as told:
        training.training.observe(following)
    assert str(told.value) == (
        f"Steps must go forward. Received: step {following.step} (at: {following.at}) after step 5 (at: {last.at})."
    )
    with pytest.raises(RecordOrderError, match=rf"after step 5 \(at: {last.at}\)"):  # the refused one left no trace
        training.training.observe(last)


@pytest.mark.parametrize(
    ("rules", "differing", "words"),
    [
        pytest.param(
            "save: {metric: val_loss, at_most: 0.6}",
            2,
            "of the 3 decisions before, 2 would have been others, the first at epoch 1, step 5: saved then, "
            "refused now (val_loss 0.9 is not at most 0.6 (by 0.3))",
            id="some would have been others",
        ),
        pytest.param(
            "save: {metric: val_loss, at_most: 0.9}",
            0,
            "none of the 3 decisions before would have been another",
            id="none would",
        ),
        pytest.param(
            "save: {metric: f1, at_least: 0.5}",
            3,
            "of the 3 decisions before, 3 would have been others, the first at epoch 1, step 5: saved then, "
            "refused now (f1 was not logged)",
            id="a metric that was not logged then",
        ),
    ],
)
def test_rules_that_change_are_told_with_what_they_would_have_decided(loop, caplog, rules, differing, words):
    training = loop(ALWAYS)
    training.train(LOSSES[:3], finish=False)
    assert caplog.text == ""
    again = loop(rules)
    again.start()
    warning = f"the rules of run run have changed: the new ones hold after step 15; {words}"
    assert [record.getMessage() for record in caplog.records] == [warning]
    (changed,) = [e for e in again.run.ledger.read().events if e["event"] == "gate_changed"]
    gate = write_rules(parse_rules(rules))
    assert {k: changed[k] for k in changed if k != "time"} == {
        "event": "gate_changed",
        "gate": gate,
        "after_step": 15,
        "differing": differing,
    }
    started = [e["gate"] for e in again.run.ledger.read().events if e["event"] == "started"]
    assert started == [write_rules(parse_rules(ALWAYS)), gate]
    caplog.clear()
    loop(rules).start()  # the same rules once more
    assert caplog.text == ""


def test_rules_that_change_before_anything_was_decided_are_no_change(loop, caplog):
    loop(ALWAYS).start()
    again = loop(IMPROVES)
    again.start()
    assert caplog.text == ""
    assert [event["event"] for event in again.run.ledger.read().events] == ["started", "started"]


def test_a_metric_of_new_rules_may_come_after_resuming(loop, clock):
    loop(ALWAYS).train(LOSSES[:2], finish=False)
    again = loop("save: {metric: f1, at_least: 0.5}")
    assert again.start() == 2
    assert again.training.observe(Record(15, 2, {"loss": 0.5, "f1": 0.6}, time=clock())).save


def test_a_metric_that_was_logged_before_resuming_need_not_come_again(loop, clock):
    rules = "save: {any: [{metric: f1, at_least: 0.5}, {every: 1}]}"
    training = loop(rules)
    training.start()
    training.judge(Record(5, 0, {"loss": 0.5, "f1": 0.6}, time=clock()))
    again = loop(rules)
    assert again.start() == 1
    assert again.epoch(1, 0.5).save


def test_a_metric_of_new_rules_that_does_not_come_is_named_at_the_first_epoch(loop, clock):
    loop(ALWAYS).train(LOSSES[:2], finish=False)
    again = loop("save: {metric: f1, at_least: 0.5}")
    again.start()
    with pytest.raises(UnknownMetricError, match="'f1', which training never logged"):
        again.training.observe(record_of(2, 0.5, clock))


@pytest.mark.parametrize(
    ("rules", "warnings"),
    [
        pytest.param(
            "save: {metric: los, at_most: 1}",
            ["the rules name 'los', which step 1 does not log; logged are: accuracy, loss"],
            id="a misspelt metric: once",
        ),
        pytest.param("save: {metric: loss, at_most: 1}", [], id="none is missing"),
        pytest.param("save: {metric: val_loss, at_most: 1}", [], id="val_*: validation may come yet"),
    ],
)
def test_steps_that_lack_a_metric_of_the_rules_are_told_once(loop, clock, caplog, rules, warnings):
    training = loop(rules)
    training.start()
    for step in (1, 2, 3):
        training.judge(at_step(step, 0, 0.1, clock), resumable=False)
    again = loop(rules)
    again.start()
    assert [record.getMessage() for record in caplog.records] == warnings


@pytest.mark.parametrize("saving", ["synchronous", "background"])
def test_an_interrupted_training_says_by_what(loop, saving):
    training = loop(ALWAYS, saving)
    training.train(LOSSES[:2], finish=False)
    training.training.abandon("SIGTERM")
    events = training.run.ledger.read().events
    assert [(event["event"], event.get("why")) for event in events] == [("started", None), ("interrupted", "SIGTERM")]
    assert len(decisions(training.run)) == 2  # all was saved first
    with training.run.lease("pruning"):
        pass


def test_who_lost_the_lease_writes_no_last_word(loop, tree):
    training = loop(ALWAYS)
    training.train(LOSSES[:1], finish=False)
    take_over(training.run)
    before = tree(training.run.files.root)
    training.training.abandon("SIGTERM")
    assert tree(training.run.files.root) == before


def test_retention_with_nothing_to_remove_reads_no_tombstones(loop, monkeypatch):
    training = loop(ALWAYS + "\nkeep: {last: 2}")
    training.train(LOSSES[:3], finish=False)
    files, read = training.run.files, []
    monkeypatch.setattr(files, "read", lambda path, limit, _read=files.read: (read.append(path), _read(path, limit))[1])
    monkeypatch.setattr(files, "names", lambda path, _names=files.names: (read.append(path), _names(path))[1])
    training.training.retain()
    assert read
    assert not [path for path in read if re.search("tombstones|journal|trash", path)]
    training.run.buried = None  # as in another process
    training.epoch(3, 0.1)
    assert "run/tombstones.jsonl" in read
