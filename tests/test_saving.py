"""Work behind training: its order, who waits for what, what is overtaken, and how an error is told."""

from __future__ import annotations

import itertools
import pathlib
import subprocess
import sys
import threading
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import checkpoint_gate
from checkpoint_gate.errors import RuleError, StoreError
from checkpoint_gate.training.saving import SAVING, AtOnce, Behind, saver

A_MOMENT = 0.01  # seconds in which a thread that waits for nothing has long ended
LONG = 10.0  # seconds; only a test that fails waits as long


class Worker:
    """A saver with work that notes when it is done, or does not end before it is let."""

    def __init__(self, saver) -> None:
        self.saver = saver
        self.done: list[str] = []
        self.blocked = threading.Event()
        self.free = threading.Event()

    def block(self, save: bool = True) -> None:
        """Adds work that is under way when this returns, and until `free` is set."""

        def work():
            self.blocked.set()
            assert self.free.wait(LONG)
            self.done.append("first")

        self.saver.add(work, (lambda: self.done.append("not first")) if save else None)
        assert self.blocked.wait(LONG)

    def add(self, name: str) -> None:
        """Adds work; a save where the name begins with S, instead of which it can note its name in lower case."""
        self.saver.add(lambda: self.done.append(name), self._instead(name) if name.startswith("S") else None)

    def _instead(self, name: str):
        return lambda: self.done.append(name.lower())

    def fail(self, error: BaseException) -> None:
        def work():
            raise error

        self.saver.add(work)


@pytest.fixture
def behind():
    """Makes workers, and lets them end."""
    made: list[Worker] = []

    def make(saving="background") -> Worker:
        made.append(Worker(saver(saving)))
        return made[-1]

    yield make
    for worker in made:
        worker.free.set()
        worker.saver.close()


def waits(call) -> bool:
    """Whether `call` does not return at once; where it does not, it is left to end in a thread."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(A_MOMENT)
    return thread.is_alive()


@pytest.mark.parametrize("saving", SAVING)
def test_work_is_done_once_and_in_the_order_in_which_it_was_given(saving):
    worker = Worker(saver(saving))
    for number in range(20):
        worker.add(f"w{number}")
    worker.saver.wait()
    assert worker.done == [f"w{number}" for number in range(20)]
    worker.saver.close()


def test_synchronous_work_is_done_when_add_returns():
    worker = Worker(AtOnce())
    worker.add("S1")
    assert worker.done == ["S1"]


def test_synchronous_work_raises_where_it_is_given():
    with pytest.raises(StoreError, match="no space"):
        Worker(AtOnce()).fail(StoreError("no space"))


def test_work_behind_training_is_not_waited_for_when_it_is_given(behind):
    worker = behind()
    worker.block()
    for name in ("w", "S", "x"):
        worker.add(name)
    assert worker.done == []


@pytest.mark.parametrize(
    ("saving", "save", "expected"),
    [
        pytest.param("background", True, True, id="background: the next capture waits for the save in flight"),
        pytest.param("background", False, False, id="background: but not for plain work"),
        pytest.param("latest", True, False, id="latest: nobody waits for a save"),
        pytest.param("latest", False, False, id="latest: nor for plain work"),
    ],
)
def test_when_another_state_may_be_captured(behind, saving, save, expected):
    worker = behind(saving)
    worker.block(save)
    assert waits(worker.saver.ready) is expected


def test_plain_work_after_a_save_does_not_make_the_next_capture_wait(behind):
    worker = behind()
    worker.free.set()
    worker.block()
    worker.saver.ready()
    worker.free.clear()
    worker.blocked.clear()
    worker.block(save=False)
    assert not waits(worker.saver.ready)


def test_a_save_behind_plain_work_is_waited_for_too(behind):
    worker = behind()
    worker.block(save=False)
    worker.add("S")
    assert waits(worker.saver.ready)
    worker.free.set()
    worker.saver.ready()
    assert worker.done == ["first", "S"]


@pytest.mark.parametrize("what", ["wait", "close"])
@pytest.mark.parametrize("saving", ["background", "latest"])
def test_waiting_and_closing_last_until_all_is_done(behind, saving, what):
    worker = behind(saving)
    worker.block(save=False)
    worker.add("w")
    call = getattr(worker.saver, what)
    assert waits(call)
    worker.free.set()
    call()
    assert worker.done == ["first", "w"]


@pytest.mark.parametrize(
    ("given", "done"),
    [
        pytest.param("S1", "first S1", id="one that waits is written"),
        pytest.param("S1 S2 S3", "first s1 s2 S3", id="of those that wait only the newest is written"),
        pytest.param("w S1 x S2 y", "first w s1 x S2 y", id="the work between keeps its place"),
        pytest.param("w x y", "first w x y", id="plain work is never overtaken"),
        pytest.param("S1 w", "first S1 w", id="nor does plain work overtake a save"),
    ],
)
def test_latest_writes_only_the_newest_state_that_waits(behind, given, done):
    worker = behind("latest")
    worker.block()
    for name in given.split():
        worker.saver.ready()
        worker.add(name)
    worker.free.set()
    worker.saver.wait()
    assert worker.done == done.split()


def test_in_the_background_no_save_is_overtaken(behind):
    worker = behind("background")
    worker.block()
    for name in ("S1", "S2"):  # whoever does not ask `ready` first
        worker.add(name)
    worker.free.set()
    worker.saver.wait()
    assert worker.done == ["first", "S1", "S2"]


def test_a_save_that_is_being_written_is_not_overtaken(behind):
    worker = behind("latest")
    worker.block()
    worker.add("S1")
    worker.free.set()
    worker.saver.wait()
    assert worker.done == ["first", "S1"]


class Captured:
    """A state in memory."""


@pytest.mark.parametrize(
    ("saving", "held"),
    [
        pytest.param("background", 1, id="background: one state in memory"),
        pytest.param("latest", 2, id="latest: the one being written, and the newest"),
    ],
)
def test_how_many_captured_states_are_held(behind, saving, held):
    worker = behind(saving)
    started, ended = threading.Semaphore(0), threading.Semaphore(0)
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def write(state):
        started.release()
        assert ended.acquire(timeout=LONG)

    for number in range(5):
        if saving == "background" and number:
            ended.release()
        worker.saver.ready()
        state = Captured()
        alive.add(state)
        most = max(most, len(alive))
        worker.saver.add(lambda state=state: write(state), lambda: None)
        del state
        if saving == "background" or number == 0:
            assert started.acquire(timeout=LONG)
    assert most == held + (saving == "latest")  # the one that overtakes, while it is handed over
    assert len(alive) == held
    for _ in range(5):
        ended.release()
    worker.saver.wait()
    assert len(alive) == 0


CALLS = [
    pytest.param(lambda worker: worker.saver.check(), id="check"),
    pytest.param(lambda worker: worker.saver.ready(), id="ready"),
    pytest.param(lambda worker: worker.saver.wait(), id="wait"),
    pytest.param(lambda worker: worker.add("w"), id="add"),
    pytest.param(lambda worker: worker.add("S"), id="add a save"),
]


@pytest.mark.parametrize("saving", ["background", "latest"])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_is_raised_by_every_later_call_each_time(behind, saving, call):
    worker = behind(saving)
    worker.fail(StoreError("no space left"))
    with pytest.raises(StoreError, match="no space left"):
        worker.saver.wait()
    for _ in range(3):
        with pytest.raises(StoreError, match="no space left"):
            call(worker)


@pytest.mark.parametrize("saving", ["background", "latest"])
def test_an_error_stops_what_was_given_after_it(behind, saving):
    worker = behind(saving)
    worker.block()
    worker.fail(StoreError("no space left"))
    for name in ("w", "S1", "x", "S2"):
        worker.add(name)
    worker.free.set()
    with pytest.raises(StoreError):
        worker.saver.wait()
    worker.saver.close()
    assert worker.done == ["first"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()], ids=repr)
def test_errors_of_every_kind_come_through_as_they_are(behind, error):
    worker = behind()
    worker.fail(error)
    with pytest.raises(type(error)) as told:
        worker.saver.wait()
    assert told.value is error


@pytest.mark.parametrize(
    ("told", "logged"),
    [
        pytest.param(False, ["saving behind training failed: no space left"], id="nobody was told: logged, once"),
        pytest.param(True, [], id="somebody was: nothing more to say"),
    ],
)
def test_closing_raises_nothing_and_logs_what_nobody_was_told_of(behind, caplog, told, logged):
    worker = behind()
    worker.fail(StoreError("no space left"))
    if told:
        with pytest.raises(StoreError):
            worker.saver.wait()
    worker.saver.close()
    worker.saver.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", text) for text in logged
    ]


EXIT = """
import pathlib, sys, threading
sys.path.insert(0, sys.argv[1])
from checkpoint_gate.training.saving import saver

begun, ended = threading.Event(), threading.Event()
behind = saver(sys.argv[2])

def work():
    begun.set()
    ended.wait(0.05)
    pathlib.Path(sys.argv[3]).write_text("written")

behind.add(work, None)
behind.add(lambda: pathlib.Path(sys.argv[3] + ".2").write_text("written"), None)
begun.wait()
assert "tensorflow" not in sys.modules
if sys.argv[4] == "by an error":
    raise KeyError("of the training loop")
"""


@pytest.mark.parametrize("end", ["at its end", "by an error"])
@pytest.mark.parametrize("saving", ["background", "latest"])
def test_a_program_that_ends_waits_for_what_is_under_way(tmp_path, saving, end):
    source = pathlib.Path(checkpoint_gate.__file__).parents[1]
    paths = [tmp_path / "file", tmp_path / "file.2"]
    program = [sys.executable, "-c", EXIT, str(source), saving, str(paths[0]), end]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "of the training loop" in ended.stderr) == ((1, True) if "error" in end else (0, False))
    assert [path.read_text() for path in paths] == ["written", "written"]


@pytest.mark.parametrize("name", ["", "async", "Background", None, True])
def test_another_name_is_an_error_of_the_rules(name):
    expected = f"saving must be one of background, latest, synchronous. Received: saving={name!r}."
    with pytest.raises(RuleError) as told:
        saver(name)
    assert str(told.value) == expected


@pytest.mark.parametrize(
    ("saving", "kind"), [("background", Behind), ("latest", Behind), ("synchronous", AtOnce)], ids=SAVING
)
def test_the_names_of_savers(saving, kind):
    assert type(saver(saving)) is kind


# Whatever the interleaving.

OPERATIONS = st.lists(
    st.one_of(
        st.sampled_from(["work", "save", "ready", "wait"]),
        st.integers(1, 3),  # so many jobs may end
        st.just("fail"),
    ),
    max_size=30,
)


class Fate:
    """Jobs that wait for leave to end, and note what became of them."""

    def __init__(self) -> None:
        self.leave = threading.Semaphore(0)
        self.noted: list[tuple[int, str]] = []
        self.number = itertools.count()
        self.saves: list[int] = []

    def add(self, saver, kind: str) -> None:
        number = next(self.number)
        instead = (lambda: self.noted.append((number, "instead"))) if kind == "save" else None
        saver.add(lambda: self._work(number, kind), instead)
        if kind == "save":
            self.saves.append(number)

    def _work(self, number: int, kind: str) -> None:
        assert self.leave.acquire(timeout=LONG)
        self.noted.append((number, "failed" if kind == "fail" else "done"))
        if kind == "fail":
            raise StoreError("told")


@settings(max_examples=150, deadline=None)
@given(saving=st.sampled_from(["background", "latest"]), operations=OPERATIONS)
def test_no_job_is_lost_or_done_twice_whatever_the_interleaving(saving, operations):
    behind, fate = saver(saving), Fate()
    given = 0
    try:
        for operation in operations:
            if isinstance(operation, int):
                for _ in range(operation):
                    fate.leave.release()
            elif operation in ("ready", "wait"):
                for _ in range(given):
                    fate.leave.release()
                getattr(behind, operation)()
            else:
                fate.add(behind, operation)
                given += 1
        for _ in range(given):
            fate.leave.release()
        behind.wait()
        told = False
    except StoreError:
        told = True
    for _ in range(given):
        fate.leave.release()
    behind.close()
    numbers = [number for number, _ in fate.noted]
    fates = dict(fate.noted)
    assert told == ("failed" in fates.values())
    assert numbers == list(range(len(numbers)))  # each once, in order
    assert len(numbers) == given if not told else fate.noted[-1][1] == "failed"
    overtaken = [number for number, what in fate.noted if what == "instead"]
    assert set(overtaken) <= set(fate.saves[:-1] if saving == "latest" else [])
