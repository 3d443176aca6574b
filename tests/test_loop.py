"""The gate in training loops of one's own, with numpy and with TensorFlow; killed anywhere and run again."""

from __future__ import annotations

import contextlib
import errno
import random
import re
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from own_threads import joined

from checkpoint_gate import GatedLoop, Store
from checkpoint_gate.errors import (
    LeaseHeld,
    MetricValueError,
    RecordOrderError,
    RuleError,
    StoreError,
    UnknownMetricError,
)
from checkpoint_gate.reviewing.explaining import explain
from checkpoint_gate.store.checking import check_store

pytestmark = pytest.mark.usefixtures("quick_collection")

STEPS = 60
ALWAYS = "save: {metric: loss, at_most: 100.0}"
RULES = """
save: {any: [{metric: loss, improves: min, min_delta: 0.5}, {metric: loss, moving_average: 3, at_most: 0.9}]}
keep: {best: {metric: loss, mode: min, n: 2}, last: 1}
"""


class Descent:
    """A training in numpy: each step depends on all before, and its data are a function of the step."""

    def __init__(self):
        self.weights = np.full(6, 2.0)
        self.momentum = np.zeros(6)

    def train(self, step):
        """One step; the loss before it, noisy."""
        data = np.random.default_rng(step)
        self.momentum = 0.8 * self.momentum + self.weights + data.normal(0.0, 1.0, 6)
        self.weights = self.weights - 0.02 * self.momentum
        return float(np.mean(self.weights**2) + abs(data.normal(0.0, 1.0)))

    def write(self, prefix):
        np.save(prefix + ".weights.npy", self.weights)
        np.save(prefix + ".momentum.npy", self.momentum)

    def read(self, prefix):
        self.weights = np.load(prefix + ".weights.npy")
        self.momentum = np.load(prefix + ".momentum.npy")

    def bytes(self):
        return self.weights.tobytes() + self.momentum.tobytes()


class Captured:
    """A state that can be written behind training: what was captured, not what the arrays have become."""

    def __init__(self, descent):
        self.descent = descent

    def write(self, prefix):
        self.descent.write(prefix)

    def capture(self):
        as_it_is = Descent()
        as_it_is.weights, as_it_is.momentum = self.descent.weights, self.descent.momentum  # steps make new arrays
        return as_it_is.write


def at_once(descent):
    return descent.write


STATES = [pytest.param(at_once, id="a plain function"), pytest.param(Captured, id="an object that can be captured")]


def loop(gate, descent, state, dies=None, killed=None):
    for step in range(gate.resume(descent.read), STEPS):
        loss = descent.train(step)
        if step + 1 == dies:
            raise killed
        if (step + 1) % 4 == 0:
            gate.observe(step + 1, {"loss": loss})
            if (step + 1) % 12:
                gate.save(state)


def train(folder, state=at_once, rules=RULES, saving="background"):
    descent = Descent()
    with GatedLoop(folder, rules, run="loop", saving=saving) as gate:
        loop(gate, descent, state(descent))
    return descent


def records(run):
    return [
        (e.record.at, e.record.epoch, e.record.step, dict(e.record.metrics), e.decision.save, e.decision.reason)
        for e in run.ledger.read().entries
    ]


def events(run):
    return [event["event"] for event in run.ledger.read().events]


def outcome(folder, descent):
    run = Store.open(folder).run("loop")
    assert run.files.names("loop/tmp") == []
    live = {stored.step: stored.manifest.files for stored in run.live()}
    return descent.bytes(), records(run), live, run.resume_state().manifest.files, events(run)[-1]


def unfinished_and_free(folder):
    run = Store.open(folder).run("loop")
    with run.lease("another"):
        pass
    return "finished" not in events(run)


def test_a_loop_is_gated_and_every_decision_recorded(tmp_path):
    descent = train(tmp_path)
    run = Store.open(tmp_path).run("loop")
    assert [step for _, _, step, _, _, _ in records(run)] == list(range(4, STEPS + 1, 4))
    assert {save for _, _, _, _, save, _ in records(run)} == {True, False}
    assert events(run) == ["started", *["overtaken"] * 3, "finished"]  # thrice it was to be saved, and save not called
    saved = Descent()
    saved.read(run.prefix(run.resume_state()))
    assert run.resume_state().step == 56
    for step in range(56, STEPS):
        saved.train(step)
    assert saved.bytes() == descent.bytes()


@pytest.mark.parametrize("state", STATES)
def test_an_exception_at_any_step_and_run_again(memory_path, killed, state):
    expected = outcome(memory_path / "whole", train(memory_path / "whole", state))
    for at in range(1, STEPS + 1):
        folder = memory_path / str(at)
        descent = Descent()
        with pytest.raises(killed), GatedLoop(folder, RULES, run="loop") as gate:
            loop(gate, descent, state(descent), at, killed)
        assert unfinished_and_free(folder), at
        assert outcome(folder, train(folder, state)) == expected, at


@pytest.mark.parametrize("state", STATES)
def test_killed_at_any_step_and_run_again(memory_path, killable, killed, state):
    expected = outcome(memory_path / "whole", train(memory_path / "whole", state))
    chance = random.Random(state.__name__)
    for at in range(1, STEPS + 1):
        folder = memory_path / str(at)
        descent = Descent()
        dropped = chance.choice([None, 0, chance.randrange(20)])  # operations on the disk left to what is in flight
        with joined():
            gate = GatedLoop(folder, RULES, run="loop").__enter__()
            with pytest.raises(killed):
                loop(gate, descent, state(descent), at, killed)
            killable.arm(dropped)
            del gate
        killable.arm(None)
        assert outcome(folder, train(folder, state)) == expected, (at, dropped)


@pytest.mark.parametrize("saving", ["synchronous", "latest"])
def test_however_it_is_saved_the_state_and_the_decisions_are_the_same(memory_path, saving):
    weights, decisions, _, state, last = outcome(memory_path / "a", train(memory_path / "a", Captured))
    other = outcome(memory_path / "b", train(memory_path / "b", Captured, saving=saving))
    assert (other[0], other[1], other[3], other[4]) == (weights, decisions, state, last)


def test_run_again_after_the_end_it_goes_on_where_save_was_called_last(tmp_path):
    first = train(tmp_path)
    began = []
    descent = Descent()
    with GatedLoop(tmp_path, RULES, run="loop") as gate:
        began.append(gate.resume(descent.read))
        for step in range(began[0], STEPS):
            descent.train(step)
    assert began == [56]
    assert descent.bytes() == first.bytes()


# One observation, one save.


@pytest.fixture
def gate(tmp_path):
    """A loop that is open, and saves while one looks on."""
    with GatedLoop(tmp_path, ALWAYS, run="loop", saving="synchronous") as gate:
        yield gate


def test_what_is_observed_and_not_saved_is_recorded_as_not_written(tmp_path, caplog):
    with GatedLoop(tmp_path, ALWAYS, run="loop") as gate:
        for step in (1, 2, 3):
            assert gate.observe(step, {"loss": 0.1 * step}).save
    told = [r.getMessage() for r in caplog.records if r.name == "checkpoint_gate.training.loop"]
    assert told == [f"step {step} was to be saved, but save was not called after observe" for step in (1, 2, 3)]
    assert [finding for finding in check_store(Store.open(tmp_path)) if finding.severity != "note"] == []
    run = Store.open(tmp_path).run("loop")
    assert [(step, save) for _, _, step, _, save, _ in records(run)] == [(1, True), (2, True), (3, True)]
    assert run.live() == []
    assert run.resume_state() is None
    assert [e.state for e in explain(run)] == ["overtaken"] * 3


def test_outside_of_with_nothing_is_observed(tmp_path):
    gate = GatedLoop(tmp_path, ALWAYS, run="loop")
    words = "observe and save work within `with`"
    with pytest.raises(StoreError, match=words):
        gate.observe(1, {"loss": 0.1})
    with gate:
        gate.observe(1, {"loss": 0.1})
        gate.save(Descent().write)
    with pytest.raises(StoreError, match=words):
        gate.observe(2, {"loss": 0.1})


def test_save_says_whether_the_gate_let_it_through_and_keeps_a_state_in_any_case(gate):
    descent = Descent()
    gate.observe(1, {"loss": 1.0})
    assert gate.save(descent.write) is True
    gate.observe(2, {"loss": 1000.0})
    assert gate.save(descent.write) is False
    assert [stored.step for stored in gate.training.run.live()] == [1]
    assert gate.training.run.resume_state().step == 2


@pytest.mark.parametrize("before", [[], [1]], ids=["nothing was observed", "it was saved before"])
def test_save_without_observe_is_refused(gate, before):
    descent = Descent()
    for step in before:
        gate.observe(step, {"loss": 0.1})
        gate.save(descent.write)
    with pytest.raises(StoreError, match="save keeps the state that was observed last: call observe before each save"):
        gate.save(descent.write)


@pytest.mark.parametrize(
    ("first", "second", "goes"),
    [
        pytest.param((5, "step"), (6, "step"), True, id="forward"),
        pytest.param((5, "step"), (5, "step"), False, id="the same step again"),
        pytest.param((5, "step"), (4, "step"), False, id="backward"),
        pytest.param((5, "step"), (5, "epoch"), True, id="an epoch that ends with an observed step"),
        pytest.param((5, "epoch"), (5, "step"), False, id="the step after its epoch has ended"),
        pytest.param((5, "epoch"), (5, "epoch"), False, id="two epochs of the same step"),
    ],
)
def test_steps_go_forward(gate, first, second, goes):
    gate.observe(first[0], {"loss": 0.1}, at=first[1])
    if goes:
        gate.observe(second[0], {"loss": 0.1}, at=second[1])
        return
    told = rf"Steps must go forward\. Received: step {second[0]} \(at: {second[1]}\) after step 5"
    with pytest.raises(RecordOrderError, match=told):
        gate.observe(second[0], {"loss": 0.1}, at=second[1])


def test_a_resumed_loop_that_begins_at_its_first_step_again_is_told(tmp_path):
    train(tmp_path)
    with (
        pytest.raises(RecordOrderError, match="Step 4 is done: the run loop goes on after step 56"),
        GatedLoop(tmp_path, RULES, run="loop") as gate,
    ):
        gate.observe(4, {"loss": 0.1})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(1, 1.0, id="an int"),
        pytest.param(0.25, 0.25, id="a float"),
        pytest.param(np.float32(0.1), float(np.float32(0.1)), id="a float32, as it is"),
        pytest.param(np.int64(3), 3.0, id="a numpy int"),
        pytest.param(np.array(0.5), 0.5, id="an array without dimensions"),
        pytest.param(Fraction(1, 4), 0.25, id="a fraction"),
        pytest.param(Decimal("0.5"), 0.5, id="a decimal"),
        pytest.param(float("inf"), float("inf"), id="an infinity"),
    ],
)
def test_a_metric_is_a_number(tmp_path, value, number):
    with GatedLoop(tmp_path, "save: {every: 1}", run="loop") as gate:
        gate.observe(1, {"score": value})
    assert records(Store.open(tmp_path).run("loop"))[0][3] == {"score": number}


@pytest.mark.parametrize(
    ("value", "received"),
    [
        pytest.param(np.zeros(2), r"an array of shape \(2,\)", id="an array"),
        pytest.param(np.zeros((1, 1)), r"an array of shape \(1, 1\)", id="an array of one number"),
        pytest.param("0.5", "'0.5'", id="a string"),
        pytest.param(True, "True", id="a bool"),
        pytest.param(np.bool_(True), "True", id="a bool of numpy"),
        pytest.param(None, "None", id="nothing"),
        pytest.param([0.5], r"\[0\.5\]", id="a list"),
        pytest.param({"mean": 0.5}, r"\{'mean': 0\.5\}", id="a mapping"),
        pytest.param(1j, "1j", id="a complex number"),
    ],
)
def test_what_is_no_number_is_refused_with_its_name(gate, value, received):
    with pytest.raises(MetricValueError, match=rf"Metric 'score' must be a single number\. Received: .*{received}"):
        gate.observe(1, {"loss": 0.1, "score": value})
    assert gate.observe(1, {"loss": 0.1}).save  # nothing of the refused one is left


@pytest.mark.parametrize(
    "step", [np.int64(7), np.array(7), np.uint8(7)], ids=["a numpy int", "an array without dimensions", "a byte"]
)
def test_a_step_may_be_any_whole_number(gate, step):
    gate.observe(step, {"loss": 0.1})
    gate.save(Descent().write)
    assert gate.training.run.resume_state().step == 7


@pytest.mark.parametrize("step", [1.0, -1, True, "1", None])
def test_a_step_that_is_no_whole_number_is_refused(gate, step):
    with pytest.raises(ValueError, match=rf"step must be a whole number of at least 0\. Received: step={step!r}"):
        gate.observe(step, {"loss": 0.1})


def test_a_metric_that_is_absent_is_refused_with_the_reason(gate):
    assert gate.observe(1, {"loss": 0.1}).save
    assert (gate.observe(2, {}).save, gate.observe(3, {"acc": 1.0}).reason) == (False, "loss was not logged")


def test_a_misspelt_metric_is_warned_of_at_once_and_raised_at_the_end(tmp_path, caplog):
    def misspelt():
        with GatedLoop(tmp_path, "save: {metric: los, at_most: 1.0}", run="loop") as gate:
            for step in (1, 2, 3):
                gate.observe(step, {"loss": 0.5, "acc": 0.5})
                gate.save(Descent().write)
                assert caplog.text.count("the rules name 'los', which step 1 does not log; logged are: acc, loss") == 1

    with pytest.raises(UnknownMetricError, match=r"'los', which training never logged\. Logged were: acc, loss\."):
        misspelt()
    assert unfinished_and_free(tmp_path)
    with GatedLoop(tmp_path, ALWAYS, run="loop") as gate:
        assert gate.resume(Descent().read) == 3
    assert Store.open(tmp_path).run("loop").ledger.read().entries[-1].record.step == 3


def test_a_validation_metric_that_comes_later_is_not_warned_of(tmp_path, caplog):
    with GatedLoop(tmp_path, "save: {metric: val_loss, at_most: 1.0}", run="loop") as gate:
        gate.observe(1, {"loss": 0.5})
        gate.observe(2, {"loss": 0.5, "val_loss": 0.5}, at="epoch")
        gate.save(Descent().write)
    assert caplog.text == ""


def test_rules_that_are_wrong_are_told_before_anything_is_made(tmp_path):
    with pytest.raises(RuleError, match="Gating needs the section `save`"):
        GatedLoop(tmp_path, "keep: {last: 1}", run="loop")
    with pytest.raises(RuleError, match=r"saving must be one of background, latest, synchronous\. Received: .*'later'"):
        GatedLoop(tmp_path, ALWAYS, run="loop", saving="later")
    assert list(tmp_path.iterdir()) == []


def test_averages_never_mix_steps_and_epochs(gate):
    with GatedLoop(gate.training.run.files.root, "save: {metric: loss, moving_average: 2, at_most: 4.0}", run="b") as b:
        decisions = [
            b.observe(step, {"loss": loss}, at=at, epoch=epoch)
            for step, loss, at, epoch in [
                (1, 1.0, "step", 0),
                (2, 9.0, "epoch", 0),
                (3, 3.0, "step", 1),
                (4, 1.0, "epoch", 1),
            ]
        ]
    assert [(decision.save, decision.reason) for decision in decisions] == [
        (False, "loss has 1 of the 2 values its mean needs"),
        (False, "loss has 1 of the 2 values its mean needs"),
        (True, "loss's mean of the last 2 2 is at most 4"),
        (False, "loss's mean of the last 2 5 is not at most 4 (by 1)"),
    ]
    assert [line[:3] for line in records(b.training.run)] == [
        ("step", 0, 1),
        ("epoch", 0, 2),
        ("step", 1, 3),
        ("epoch", 1, 4),
    ]


# What goes wrong.


def full(prefix):
    with open(prefix + ".npy", "wb") as file:
        file.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def quota(prefix):
    raise OSError("over quota")


def broken(prefix):
    raise ValueError("cannot reshape\nthe second line")


def nothing(prefix):
    pass


FAILURES = [
    pytest.param(
        full, r"The state of step 2 could not be written to .*: No space left on device\. What was", id="full"
    ),
    pytest.param(
        quota, r"could not be written to .*: over quota\. What was saved before", id="OSError with words only"
    ),
    pytest.param(broken, r"could not be written to .*: ValueError: cannot reshape\. What was", id="another error"),
    pytest.param(nothing, r"Nothing was written to .*, so there is nothing to publish\.", id="nothing is written"),
]


@pytest.mark.parametrize("behind", [False, True], ids=["written at once", "written behind training"])
@pytest.mark.parametrize(("write", "told"), FAILURES)
def test_a_state_that_cannot_be_written_is_one_sentence_and_leaves_what_was_saved(tmp_path, write, told, behind):
    descent = Descent()

    class State:
        def capture(self):
            return write

        def write(self, prefix):
            raise AssertionError("it was captured")

    def failing():
        with GatedLoop(tmp_path, ALWAYS, run="loop") as gate:
            gate.observe(1, {"loss": 0.5})
            gate.save(descent.write)
            gate.observe(2, {"loss": 0.4})
            gate.save(State() if behind else write)
            for step in range(3, 1000):
                time.sleep(0.01)
                gate.observe(step, {"loss": 0.3})

    with pytest.raises(StoreError, match=told):
        failing()
    assert unfinished_and_free(tmp_path)
    run = Store.open(tmp_path).run("loop")
    assert [stored.step for stored in run.live()] == [1]
    assert [line[2] for line in records(run)] == [1]
    assert run.files.names("loop/tmp") == []
    with GatedLoop(tmp_path, ALWAYS, run="loop") as gate:
        assert gate.resume(descent.read) == 1


def test_an_error_behind_training_that_nobody_was_told_of_comes_at_the_end(tmp_path):
    class State:
        def capture(self):
            return broken

    def failing():
        with GatedLoop(tmp_path, ALWAYS, run="loop") as gate:
            gate.observe(1, {"loss": 0.5})
            gate.save(State())

    with pytest.raises(StoreError, match="cannot reshape"):
        failing()
    assert unfinished_and_free(tmp_path)


def test_an_error_of_the_loop_is_raised_as_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError), GatedLoop(tmp_path, ALWAYS, run="loop") as gate:
        gate.observe(1, {"loss": 1 / 0})
    assert unfinished_and_free(tmp_path)


# Two at the same time.

SECOND = """
    import sys
    from checkpoint_gate import GatedLoop
    from checkpoint_gate.errors import LeaseHeld
    try:
        with GatedLoop(sys.argv[1], "save: {every: 1}", run="loop"):
            print("entered")
    except LeaseHeld as error:
        print(error)
"""


def test_a_second_process_is_refused_while_the_first_trains(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SECOND), str(tmp_path)]
    with GatedLoop(tmp_path, ALWAYS, run="loop"):
        held = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert re.search(r"is in use by process \d+ on .* \(training\)\. Wait until it has ended", held)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "entered\n"


def test_begun_again_in_the_same_process_the_older_one_writes_nothing_more(tmp_path):
    descent = Descent()

    def twice():
        with GatedLoop(tmp_path, ALWAYS, run="loop", saving="synchronous") as older:
            older.observe(1, {"loss": 0.5})
            older.save(descent.write)
            with GatedLoop(tmp_path, ALWAYS, run="loop") as newer:
                assert newer.resume(descent.read) == 1
                newer.observe(2, {"loss": 0.5})
                newer.save(descent.write)
            older.observe(2, {"loss": 0.4})
            older.save(descent.write)

    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        twice()
    assert [line[3] for line in records(Store.open(tmp_path).run("loop"))] == [{"loss": 0.5}, {"loss": 0.5}]


# Leaving before the end.


def leave_at(folder, step, state=at_once):
    descent = Descent()
    with GatedLoop(folder, RULES, run="loop") as gate:
        for done in range(gate.resume(descent.read), STEPS):
            loss = descent.train(done)
            if (done + 1) % 4 == 0:
                gate.observe(done + 1, {"loss": loss})
                if (done + 1) % 12:
                    gate.save(state(descent))
            if done + 1 == step:
                gate.leave(done + 1, state(descent))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(3, id="before anything was saved"),
        pytest.param(8, id="at a step that was saved"),
        pytest.param(12, id="at a step that was observed and not saved"),
        pytest.param(23, id="between"),
    ],
)
def test_leave_loses_no_step_and_decides_nothing(memory_path, state, step):
    expected = outcome(memory_path / "whole", train(memory_path / "whole"))
    with pytest.raises(SystemExit) as left:
        leave_at(memory_path / "left", step, state)
    assert left.value.code == 75
    assert unfinished_and_free(memory_path / "left")
    run = Store.open(memory_path / "left").run("loop")
    assert [line[2] for line in records(run)] == list(range(4, step + 1, 4))
    assert [event.get("why") for event in run.ledger.read().events] == [None, "leave"]
    descent = Descent()
    with GatedLoop(memory_path / "left", RULES, run="loop") as gate:
        assert gate.resume(descent.read) == step
        loop(gate, descent, state(descent))
    assert outcome(memory_path / "left", descent) == expected


def test_leaving_again_and_again_ends_as_ever(memory_path):
    expected = outcome(memory_path / "whole", train(memory_path / "whole"))
    for step in (1, 2, 9, 11, 12, 31, 55):
        with pytest.raises(SystemExit):
            leave_at(memory_path / "left", step)
    assert outcome(memory_path / "left", train(memory_path / "left")) == expected


# With TensorFlow.


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def test_the_example_of_the_docstring_runs(tf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = textwrap.dedent(GatedLoop.__doc__.split("```python\n")[1].split("```")[0])
    model = tf.Variable([4.0])
    optimizer = tf.Variable([0.0])

    def train_step(number):
        optimizer.assign_add([1.0])
        model.assign(model * 0.999)
        return tf.reduce_mean(model)

    from checkpoint_gate import TensorFlowState

    names = {"batch_number": int, "GatedLoop": GatedLoop, "TensorFlowState": TensorFlowState}
    exec(example, {"tf": tf, "model": model, "optimizer": optimizer, "train_step": train_step, **names})
    run = Store.open(tmp_path / "checkpoints").run("loop")
    decisions = [save for _, _, _, _, save, _ in records(run)]
    assert len(decisions) == 100
    assert run.resume_state().step == 10_000
    assert decisions == [False] * (len(decisions) - sum(decisions)) + [True] * sum(decisions)
    assert 0 < sum(decisions) < 100
    assert optimizer.numpy() == 10_000


def test_a_metric_may_be_a_tensor_or_a_variable_without_dimensions(tf, gate):
    values = {"loss": tf.constant(0.5), "float16": tf.constant(0.25, tf.float16), "variable": tf.Variable(2)}
    gate.observe(tf.constant(3), values)
    gate.observe(tf.Variable(4, dtype=tf.int64), values)
    gate.save(Descent().write)
    assert [line[2:4] for line in records(gate.training.run)] == [
        (3, {"loss": 0.5, "float16": 0.25, "variable": 2.0}),
        (4, {"loss": 0.5, "float16": 0.25, "variable": 2.0}),
    ]


@pytest.mark.parametrize("value", [[0.5], True, "0.5"], ids=["dimensions", "a bool", "a string"])
def test_a_tensor_that_is_no_number_is_refused_with_its_name(tf, gate, value):
    with pytest.raises(MetricValueError, match="Metric 'score' must be a single number"):
        gate.observe(5, {"score": tf.constant(value)})


class TensorFlowDescent:
    """The same in TensorFlow: a compiled step, slots and a generator of random numbers."""

    def __init__(self, tf):
        from checkpoint_gate import TensorFlowState

        self.weights = tf.Variable(tf.fill([4, 3], 2.0))
        self.momentum = tf.Variable(tf.zeros([4, 3]))
        self.noise = tf.random.Generator.from_seed(3)
        objects = {"weights": self.weights, "momentum": self.momentum, "noise": self.noise}
        self.checkpoint = tf.train.Checkpoint(**objects)
        self.state = TensorFlowState(self.checkpoint)

        @tf.function
        def train(step):
            gradient = self.weights + self.noise.normal([4, 3]) * 0.3 + tf.cast(step, tf.float32) * 0.001
            self.momentum.assign(0.8 * self.momentum + gradient)
            self.weights.assign_sub(0.05 * self.momentum)
            return tf.reduce_mean(self.weights**2)

        self.train = lambda step: train(tf.constant(step))
        self.read = self.state.read

    def bytes(self):
        return b"".join(v.numpy().tobytes() for v in (self.weights, self.momentum, self.noise.state))


def test_tensorflow_killed_at_random_steps_and_run_again(tf, memory_path, killable, killed):
    def run(folder, dies=None):
        descent = TensorFlowDescent(tf)
        gate = GatedLoop(folder, RULES, run="loop").__enter__()
        loop(gate, descent, descent.state, dies, killed)
        gate.__exit__(None, None, None)
        return descent

    def outcome(folder, descent):
        run = Store.open(folder).run("loop")
        states = [*run.live(), run.resume_state()]
        values = [(state.step, tensors(run.prefix(state))) for state in states]
        return descent.bytes(), records(run), values, events(run)[-1]

    def tensors(prefix):
        reader = tf.train.load_checkpoint(prefix)
        return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_dtype_map() if "/" in name}

    expected = outcome(memory_path / "whole", run(memory_path / "whole"))
    chance = random.Random(0)
    for number in range(12):
        folder = memory_path / str(number)
        for _ in range(1 + number % 2):
            at = chance.randint(1, STEPS)
            with joined():
                with contextlib.suppress(killed):
                    run(folder, at)
                killable.arm(chance.choice([None, 0, chance.randrange(20)]))
            killable.arm(None)
        assert outcome(folder, run(folder)) == expected, at
