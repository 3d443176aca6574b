"""SIGTERM while training: nothing is lost, the exit code says so, and other people's signals are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from checkpoint_gate import Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.training.preemption import Preemption

SECONDS = 30.0  # far more than leaving takes, even on a machine that does much else

SAY = """
def say(words):
    sys.stdout.write(words + "\\n")  # at once, since another thread may speak too
    sys.stdout.flush()
"""
TRAINING = (
    """
import pathlib, signal, sys, threading, time
from checkpoint_gate import GatedLoop

FOLDER, STEPS, RULES = sys.argv[1], 40, "save: {metric: loss, at_most: 5}"
total = 0
"""
    + SAY
    + """

def write(prefix):
    pathlib.Path(prefix + ".txt").write_text(str(total))

def read(prefix):
    global total
    total = int(pathlib.Path(prefix + ".txt").read_text())

def train(number):
    global total
    total = (total * 31 + number) % 1_000_003
    say(f"step {number + 1}")
    time.sleep(0.02)
    return total % 10

class Slowly:
    def capture(self):
        then = total
        def write(prefix):
            say("writing")
            time.sleep(1.0)
            pathlib.Path(prefix + ".txt").write_text(str(then))
        return write
    def write(self, prefix):
        self.capture()(prefix)

"""
)
LEAVES = """
with GatedLoop(FOLDER, RULES, run="run") as gate:
    for number in range(gate.resume(read), STEPS):
        loss = train(number)
        if (number + 1) % 4 == 0:
            gate.observe(number + 1, {"loss": loss})
            gate.save(write)
        if gate.stopping:
            gate.leave(number + 1, write)
print("total", total)
"""
ONLY_SAVES = LEAVES.replace("if gate.stopping:", "if False:")
ONLY_OBSERVES = ONLY_SAVES.replace("gate.save(write)", "pass")
SLOWLY_BEHIND = LEAVES.replace("save(write)", "save(Slowly())").replace("% 4", "% 20")
SLOWLY_AT_ONCE = ONLY_SAVES.replace("save(write)", "save(Slowly().write)").replace("% 4", "% 20")
SLOW_END = ONLY_SAVES.replace("save(write)", "save(Slowly())").replace("% 4", "% 40")


class Program:
    """A process that trains, and what it has said so far."""

    def __init__(self, folder, code, *arguments):
        command = [sys.executable, "-c", code, str(folder), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        self.said = []

    def listen(self, line):
        """Returns when it says `line`."""
        while self.said[-1:] != [line]:
            read = self.process.stdout.readline()
            assert read, f"it ended, with {self.process.wait()}, without saying {line!r}"
            self.said.append(read.rstrip("\n"))

    def terminate(self):
        """Sends SIGTERM; answers with the exit code and the seconds until it was there."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.end(), time.monotonic() - began

    def end(self):
        self.said += self.process.stdout.read().splitlines()
        return self.process.wait()


@pytest.fixture
def program():
    started = []

    def start(*arguments):
        started.append(Program(*arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        each.process.stdout.close()


def records(run):
    return [(e.record.step, dict(e.record.metrics), e.decision.save) for e in run.ledger.read().entries]


def events(run):
    return [(event["event"], event.get("why")) for event in run.ledger.read().events]


def outcome(folder, said):
    run = Store.open(folder).run("run")
    assert [verify_files(run.files, stored) for stored in run.live()] == [None] * len(run.live())
    return records(run), [stored.step for stored in run.live()], said[-1]


def interrupted(folder):
    """The run, which SIGTERM has interrupted: it says so, and nobody holds it."""
    run = Store.open(folder).run("run")
    assert events(run)[-1] == ("interrupted", "SIGTERM")
    assert not run.files.exists("run/lease.json")
    return run


@pytest.mark.parametrize(
    ("code", "when", "trained", "saved"),
    [
        pytest.param(LEAVES, "step 10", range(10, 13), range(10, 13), id="a loop that looks leaves after that step"),
        pytest.param(LEAVES, "step 1", range(1, 4), range(1, 4), id="before anything was saved"),
        pytest.param(ONLY_SAVES, "step 10", [12], [12], id="a loop that does not look leaves when it saves next"),
        pytest.param(SLOWLY_BEHIND, "writing", range(20, 40), range(20, 40), id="while a state is being written"),
        pytest.param(SLOWLY_AT_ONCE, "writing", [20], [20], id="within a save that training waits for"),
    ],
)
def test_sigterm_loses_no_step_and_the_same_again_ends_as_ever(program, tmp_path, code, when, trained, saved):
    first = program(tmp_path / "killed", TRAINING + code)
    first.listen(when)
    code_of_exit, seconds = first.terminate()
    assert code_of_exit == 75
    assert seconds < SECONDS
    steps = [int(line.split()[1]) for line in first.said if line.startswith("step")]
    run = interrupted(tmp_path / "killed")
    state = run.resume_state()
    assert steps[-1] in trained
    assert state.step in saved
    assert state.step == steps[-1]
    assert verify_files(run.files, state) is None
    again, whole = (program(tmp_path / name, TRAINING + code) for name in ("killed", "whole"))
    assert (again.end(), whole.end()) == (0, 0)
    assert next(line for line in again.said if line.startswith("step")) == f"step {state.step + 1}"
    assert outcome(tmp_path / "killed", again.said) == outcome(tmp_path / "whole", whole.said)


def test_a_second_sigterm_ends_a_loop_that_never_looks_at_once(program, tmp_path):
    first = program(tmp_path, TRAINING + ONLY_OBSERVES)
    first.listen("step 3")
    first.process.send_signal(signal.SIGTERM)
    first.listen("step 9")
    code, seconds = first.terminate()
    assert (code, seconds < SECONDS) == (75, True)
    assert first.said[-1] != "step 40"
    interrupted(tmp_path)
    again = program(tmp_path, TRAINING + ONLY_OBSERVES)
    assert again.end() == 0
    assert [step for step, _, _ in records(Store.open(tmp_path).run("run"))] == list(range(4, 41, 4))


def test_sigterm_while_the_end_waits_for_the_last_state_loses_nothing_and_nothing_follows(program, tmp_path):
    first = program(tmp_path, TRAINING + SLOW_END)
    first.listen("writing")
    code, _ = first.terminate()
    assert (code, first.said[-1]) == (75, "writing")
    run = Store.open(tmp_path).run("run")
    assert (run.resume_state().step, events(run)[-1][0]) == (40, "finished")
    assert not run.files.exists("run/lease.json")


OWN_HANDLER = """
signal.signal(signal.SIGTERM, lambda number, frame: print("mine", flush=True))
"""
IGNORED = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
LATER = LEAVES.replace("loss = train(number)", "loss = train(number); number or " + OWN_HANDLER.strip())
WAITS = """
print("waiting", flush=True)
time.sleep(60)
"""
UNUSED = """
gate = GatedLoop(FOLDER, RULES, run="run")
"""
FAILS = """
try:
    with GatedLoop(FOLDER, RULES, run="run") as gate:
        raise ValueError
except ValueError:
    pass
"""
IN_A_THREAD = f"""
def loop():
{textwrap.indent(LEAVES, "    ")}
thread = threading.Thread(target=loop)
thread.start()
thread.join()
"""


@pytest.mark.parametrize(
    ("code", "when", "exit_code", "last"),
    [
        pytest.param(OWN_HANDLER + LEAVES, "step 10", 0, "total", id="a handler of the program's own is left alone"),
        pytest.param(LATER, "step 10", 0, "total", id="and so is one that it installs while training"),
        pytest.param(IGNORED + LEAVES, "step 10", 0, "total", id="who ignores SIGTERM goes on ignoring it"),
        pytest.param(UNUSED + WAITS, "waiting", -signal.SIGTERM, "waiting", id="before training it ends the program"),
        pytest.param(LEAVES + WAITS, "waiting", -signal.SIGTERM, "waiting", id="after training it ends the program"),
        pytest.param(FAILS + WAITS, "waiting", -signal.SIGTERM, "waiting", id="and after one that failed"),
        pytest.param(IN_A_THREAD, "step 10", -signal.SIGTERM, "step", id="in a thread nothing is installed"),
    ],
)
def test_sigterm_that_is_not_the_gates(program, tmp_path, code, when, exit_code, last):
    first = program(tmp_path, TRAINING + code)
    first.listen(when)
    code_of_exit, seconds = first.terminate()
    assert (code_of_exit, seconds < SECONDS) == (exit_code, True)
    assert first.said[-1].split()[0] == last
    assert ("mine" in first.said) == (OWN_HANDLER.strip() in code)


def test_a_handler_that_was_installed_while_training_is_there_after_it(program, tmp_path):
    first = program(tmp_path, TRAINING + LATER + WAITS.replace("60", "0.5"))
    first.listen("waiting")
    assert first.terminate()[0] == 0
    assert first.said[-1] == "mine"


def test_training_in_a_thread_works(program, tmp_path):
    first = program(tmp_path, TRAINING + IN_A_THREAD)
    assert first.end() == 0
    assert events(Store.open(tmp_path).run("run")) == [("started", None), ("finished", None)]


FIT = (
    """
import hashlib, importlib, sys, time
import numpy as np
from checkpoint_gate import GatedCheckpoint
from checkpoint_gate.training import tensorflow_state

folder, library, wait = sys.argv[1], importlib.import_module(sys.argv[2]), sys.argv[3]
x = np.random.default_rng(0).random((28, 4)).astype("float32")
plainly = tensorflow_state._write
"""
    + SAY
    + """
def slowly(*arguments):
    say("writing")
    time.sleep(1.0)
    plainly(*arguments)

if wait == "writing":
    tensorflow_state._write = slowly

class Tell(library.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        say(f"batch {self.epoch} {batch}")
        time.sleep(0.05)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        say(f"epoch {epoch}")

def train(folder, *tell):
    library.utils.set_random_seed(1)
    model = library.Sequential([library.layers.Dense(4), library.layers.Dense(1)])
    model.build((None, 4))
    model.compile(library.optimizers.Adam(0.01), "mse")
    gate = GatedCheckpoint(folder, "save: {metric: val_loss, improves: min}", run="run", every_n_steps=3)
    data = dict(validation_data=(x, x.mean(axis=1)), batch_size=4, shuffle=False, verbose=0)
    model.fit(x, x.sum(axis=1), epochs=4, callbacks=[gate, *tell], **data)
    variables = [*model.variables, *model.optimizer.variables]
    return hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in variables)).hexdigest()

tell = Tell()
ended = train(folder, tell)
print("equal", ended == train(folder + " whole"), flush=True)
"""
)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    "when",
    [
        pytest.param("batch 2 3", id="within an epoch"),
        pytest.param("writing", id="while an epoch's state is being written"),
    ],
)
def test_sigterm_in_fit_keeps_the_last_complete_epoch_and_the_same_again_ends_as_ever(program, tmp_path, library, when):
    first = program(tmp_path / "fit", FIT, library, when)
    first.listen(when)
    code, seconds = first.terminate()
    assert (code, seconds < SECONDS) == (75, True)
    complete = [int(line.split()[1]) for line in first.said if line.startswith("epoch")]
    run = interrupted(tmp_path / "fit")
    assert complete
    assert run.resume_state().manifest.epoch == complete[-1]
    again = program(tmp_path / "fit", FIT, library, "nothing")
    assert again.end() == 0
    assert again.said[-1] == "equal True"
    trained = [line for line in again.said if line.startswith("batch")]
    assert trained[0] == f"batch {complete[-1] + 1} 0"
    whole = Store.open(tmp_path / "fit whole").run("run")
    assert records(Store.open(tmp_path / "fit").run("run")) == records(whole)
    assert [stored.step for stored in run.live()] == [stored.step for stored in whole.live()]


# The signal alone.


class Leaving(BaseException):
    pass


def leave():
    raise Leaving


@pytest.fixture
def preemption():
    """One that listens; at once, or when it is asked to."""
    before = signal.getsignal(signal.SIGTERM)
    made = []

    def make(at_once):
        made.append(Preemption(leave, at_once))
        made[-1].install()
        return made[-1]

    yield make
    signal.signal(signal.SIGTERM, before)


def test_at_once_means_from_within_the_handler(preemption):
    preemption(at_once=True)
    with pytest.raises(Leaving):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_stands_within_shields_is_done_first(preemption):
    told, done = preemption(at_once=True), []

    def shielded():
        with told.shield():
            with told.shield():
                signal.raise_signal(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("too late")

    with pytest.raises(Leaving):
        shielded()
    assert done == ["inner", "outer"]


def test_an_error_within_a_shield_is_not_hidden_by_leaving(preemption):
    told = preemption(at_once=True)

    def shielded():
        with told.shield():
            signal.raise_signal(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shielded()
    with pytest.raises(Leaving):
        told.check()


def test_who_is_asked_leaves_at_the_second_signal_even_if_both_come_within_a_shield(preemption):
    told, done = preemption(at_once=False), []
    with told.shield():
        signal.raise_signal(signal.SIGTERM)
    assert told.asked

    def shielded():
        with told.shield():
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")

    with pytest.raises(Leaving):
        shielded()
    assert done == ["whole"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_leaving_that_was_lost_is_made_up_for(preemption):
    told = preemption(at_once=True)

    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    dying = Dying()
    del dying  # what is raised in there goes nowhere
    with pytest.raises(Leaving):
        told.check()


def test_listening_anew_forgets_what_was_asked_before(preemption):
    told = preemption(at_once=False)
    signal.raise_signal(signal.SIGTERM)
    told.restore()
    told.install()
    assert not told.asked
    told.check()


def test_two_at_a_time_the_first_is_told(preemption):
    first, second = preemption(at_once=False), preemption(at_once=False)
    signal.raise_signal(signal.SIGTERM)
    assert (first.asked, second.asked) == (True, False)
    second.restore()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL


def test_one_that_is_gone_hands_the_signal_on(preemption):
    told = Preemption(leave, at_once=False)
    told.install()
    del told
    assert preemption(at_once=False).asked is False
    signal.raise_signal(signal.SIGTERM)  # else this process ends here


def test_in_another_thread_nothing_is_installed_and_nothing_is_taken_back(preemption):
    told = preemption(at_once=False)
    other = Preemption(leave, at_once=True)
    for work in (other.install, other.restore, told.restore):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    signal.raise_signal(signal.SIGTERM)
    assert (told.asked, other.asked) == (True, False)


def test_a_training_that_nobody_holds_any_more_leaves_sigterm_its_meaning(program, tmp_path):
    code = """
        import sys, time
        from checkpoint_gate.training.preemption import Preemption
        Preemption(lambda: sys.exit(75), at_once=True).install()
        print("waiting", flush=True)
        time.sleep(60)
    """
    first = program(tmp_path, textwrap.dedent(code))
    first.listen("waiting")
    assert first.terminate()[0] == -signal.SIGTERM
