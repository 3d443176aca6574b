"""A disk that is full when a state is to be saved: training stops, or goes on without that state if it is told to."""

from __future__ import annotations

import errno
import os
import shutil

import numpy as np
import pytest

from checkpoint_gate import GatedLoop
from checkpoint_gate.errors import NoRoom, RuleError, StoreError
from checkpoint_gate.reviewing.explaining import explain
from checkpoint_gate.reviewing.replaying import read_ledger_file, replay_recorded
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.training.gated_training import GatedTraining
from checkpoint_gate.training.room import is_no_room

LOSSES = [0.9, 0.8, 0.95, 0.6, 0.5]
RULES = """
save: {any: [{metric: val_loss, improves: min}, {metric: val_loss, moving_average: 3, at_most: 0.7}]}
keep: {best: {metric: val_loss, mode: min, n: 2}, last: 1}
"""
WITHOUT_KEEP = "save: {metric: val_loss, improves: min}"


class Training:
    """Five epochs of ten steps. Where saving is behind training, the state is captured, else a plain function."""

    def __init__(self, store, write, rules=RULES, saving="synchronous", on_no_room="skip"):
        self.training = GatedTraining(store, parse_rules(rules), "run", saving=saving, on_no_room=on_no_room)
        self.run = self.training.run
        self.write = write
        self.captures = saving != "synchronous"

    def train(self, before=lambda epoch: None):
        state = self.training.begin(len(LOSSES))
        first = 0 if state is None else state.manifest.epoch + 1
        for epoch in range(first, len(LOSSES)):
            before(epoch)
            record = Record(10 * (epoch + 1), epoch, {"loss": 0.5, "val_loss": LOSSES[epoch]}, time=1.0e9 + epoch)
            self.training.commit(record, self.training.observe(record), self._state(record.step))
        self.training.finish(len(LOSSES))

    def _state(self, step):
        def write(prefix):
            self.write(prefix, step)

        return Captured(write) if self.captures else write


class Captured:
    def __init__(self, write):
        self.write = write

    def capture(self):
        return self.write


@pytest.fixture
def store(memory_path, clock):
    return Store(memory_path / "store", clock)


def decisions(run):
    return [(entry.record.step, entry.decision) for entry in run.ledger.read().entries]


def skipped(run):
    return [entry.record.step for entry in run.ledger.read().entries if entry.skipped is not None]


def agrees(store, run):
    """Whether the ledger, the store, `check`, `why` and a replay say the same."""
    history = run.ledger.read()
    assert [finding for finding in check_store(store) if finding.severity != "note"] == []
    assert run.files.names("run/tmp") == []
    live = [stored.step for stored in run.live()]
    assert [verify_files(run.files, stored) for stored in run.live()] == [None] * len(live)
    states = {told.step: told.state for told in explain(run) if told.superseded is None}
    assert [step for step, state in states.items() if state == "kept"] == live
    assert "missing" not in states.values()
    for entry in history.entries:
        if entry.decision.save and entry.skipped is not None:
            assert states[entry.record.step] == "skipped"
            assert entry.record.step not in live
    lines, _ = read_ledger_file(run.files.local("run/ledger.jsonl"))
    assert all(replayed.holds == replayed.recorded for replayed in replay_recorded(lines, "the ledger"))


@pytest.fixture
def undisturbed(memory_path, clock, write):
    training = Training(Store(memory_path / "undisturbed", clock), write)
    training.train()
    return decisions(training.run)


@pytest.mark.parametrize("saving", ["synchronous", "background"])
def test_what_there_is_no_room_for_is_skipped_and_the_decisions_stay_the_same(
    store, write, undisturbed, caplog, saving
):
    def full_at_the_second(prefix, step):
        write(prefix, step)
        if step in (20, 30):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    training = Training(store, full_at_the_second, saving=saving)
    training.train()
    assert decisions(training.run) == undisturbed
    assert skipped(training.run) == [20, 30]  # of step 30, which was refused, the state to resume from
    assert [stored.step for stored in training.run.live()] == [40, 50]
    assert training.run.resume_state().step == 50
    assert caplog.text.count("No space left on device. What was saved before is untouched. Training goes on") == 2
    agrees(store, training.run)


def test_the_state_before_stays_the_one_to_resume_from(store, write):
    def full_from_the_second(prefix, step):
        write(prefix, step)
        if step >= 20:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    training = Training(store, full_from_the_second)
    training.train()
    assert [stored.step for stored in training.run.live()] == [10]
    assert training.run.resume_state().step == 10
    agrees(store, training.run)
    again = Training(store, write)
    again.train()  # there is room now: it goes on after the epoch whose state is there
    assert [stored.step for stored in again.run.live()] == [40, 50]
    assert skipped(again.run) == []
    agrees(store, again.run)


@pytest.mark.parametrize(
    ("rules", "saving", "epoch", "stride"),
    [
        pytest.param(RULES, "synchronous", 3, 3, id="an epoch that is saved"),
        pytest.param(RULES, "synchronous", 2, 3, id="an epoch that is refused"),
        pytest.param(RULES, "background", 3, 5, id="behind training"),
        pytest.param(WITHOUT_KEEP, "synchronous", 3, 4, id="without retention"),
    ],
)
def test_wherever_the_room_ends_nothing_is_lost_and_nothing_counts_that_is_not_there(
    memory_path, clock, write, killable, rules, saving, epoch, stride
):
    """At each operation from the beginning of an epoch on, for one operation or for some.

    Where there is not even room for the line in the ledger training stops, and the same again goes on.
    """
    killable.syncs = True
    killable.arm(None)
    whole = Training(Store(memory_path / "whole", clock), write, rules, saving)
    whole.train(lambda now: killable.arm(None) if now == epoch else None)
    expected = decisions(whole.run)
    ended = set()
    for times in (1, 3, 1000):
        for at in range(0, killable.done if times == 1 else 24, stride):
            store = Store(memory_path / f"{times} {at}", clock)
            training = Training(store, write, rules, saving)

            def fill(now, at=at, times=times, training=training):
                training.training._saver.wait()
                killable.fuse.arm(at if now == epoch else None, errno.ENOSPC, times=times)

            try:
                training.train(fill)
                ended.add("skipped" if skipped(training.run) else "whole")
                assert [finding for finding in check_store(store) if finding.severity == "fault"] == []
                left = [path for path in training.run.files.local("run/tmp").rglob("*") if path.is_file()]
                assert times > 1 or left == []
            except StoreError:
                killable.arm(None)
                training.training.abandon()
                ended.add("stopped")
            killable.arm(None)
            Training(store, write, rules, saving).train()  # goes on, or clears away what could not be removed either
            assert decisions(training.run) == expected, (times, at)
            agrees(store, training.run)
            shutil.rmtree(store.root)
    assert ended == {"skipped", "whole", "stopped"}


def test_by_default_training_stops(store, write):
    def full(prefix, step):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    training = Training(store, full, on_no_room="stop")
    with pytest.raises(NoRoom, match=r"The state of epoch 1 could not be written to .*: No space left on device\."):
        training.train()
    assert decisions(training.run) == []
    training.training.abandon()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EROFS], ids=errno.errorcode.get)
def test_another_error_stops_training_whatever_is_chosen(store, number):
    def broken(prefix, step):
        raise OSError(number, os.strerror(number))

    training = Training(store, broken)
    with pytest.raises(StoreError, match="The state of epoch 1 could not be written") as told:
        training.train()
    assert not isinstance(told.value, NoRoom)
    training.training.abandon()


def test_another_choice_is_refused(store, write):
    with pytest.raises(RuleError, match=r"on_no_room must be one of stop, skip\. Received: on_no_room='wait'\."):
        Training(store, write, on_no_room="wait")


def test_a_loop_of_ones_own_goes_on_too(store):
    def write(prefix):
        with open(prefix + ".npy", "wb") as file:
            np.save(file, weights)
        if step == 2:
            weights.tofile("/dev/full")

    weights = np.zeros(100_000)
    with GatedLoop(store, "save: {every: {steps: 1}}", "run", on_no_room="skip") as gate:
        for step in (1, 2, 3):
            gate.observe(step, {})
            gate.save(write)
    run = store.run("run")
    assert ([stored.step for stored in run.live()], skipped(run)) == ([1, 3], [2])
    agrees(store, run)


class ResourceExhaustedError(Exception):
    """As TensorFlow's, whose words are the system's."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(OSError(errno.ENOSPC, "full"), True, id="a full disk"),
        pytest.param(OSError(errno.EDQUOT, "over"), True, id="a used-up quota"),
        pytest.param(
            ResourceExhaustedError("/x/ckpt.index; No space left on device"), True, id="as TensorFlow says it"
        ),
        pytest.param(ResourceExhaustedError("OOM when allocating tensor"), False, id="memory is no disk"),
        pytest.param(OSError("4000 requested and 512 written"), True, id="as numpy says it"),
        pytest.param(OSError(errno.EIO, "Input/output error"), False, id="a broken disk"),
        pytest.param(ValueError("cannot reshape"), False, id="an error of the program"),
    ],
)
def test_how_a_full_disk_is_known(error, expected):
    assert is_no_room(error) == expected


def test_numpy_says_it_so():
    with pytest.raises(OSError, match=r"requested and .* written") as told:
        np.zeros(1_000_000).tofile("/dev/full")
    assert is_no_room(told.value)
