"""The schedule in the foreground, and what cron and systemd are told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cli import cli
from gated_pipelines.cron import Cron, read_cron
from gated_pipelines.history.history import History
from gated_pipelines.local_schedule.foreground import CronTimes, Foreground, in_local_time, once_command
from gated_pipelines.local_schedule.lines import Task, crontab_line, on_calendar, service_unit, timer_unit

PENGUINS = Path(__file__).parent.parent / "data" / "penguins" / "pipeline.yaml"
SECONDS = "* * * * * *"

# A scheduler whose runs write when they begin and end, and take so many seconds.
SCHEDULER = """
import sys
from gated_pipelines.cron import read_cron
from gated_pipelines.local_schedule.foreground import Foreground
run = "import sys, time; log = open(sys.argv[1], 'a'); print('begin', file=log, flush=True)\\n"
run += "time.sleep(float(sys.argv[2])); print('end', file=log, flush=True); sys.exit(int(sys.argv[3]))"
command = [sys.executable, "-c", run, *sys.argv[2:]]
ended = lambda output, code: print(f"ended {code}", flush=True)
Foreground(command, lambda words: print(words, flush=True), ended).serve(read_cron(sys.argv[1]))
"""


class Scheduler:
    """A scheduler in a process of its own."""

    def __init__(self, folder, cron, seconds, code=0):
        self.log = folder / "log"
        self.log.touch()
        arguments = [cron, str(self.log), str(seconds), str(code)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCHEDULER, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def lines(self, count):
        """Waits for so many lines of the runs."""
        deadline = time.monotonic() + 60
        while len(found := self.log.read_text().split()) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def stop(self, *signals):
        for number in signals:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return output


@pytest.fixture
def scheduler(tmp_path):
    begun = []

    def begin(*args):
        begun.append(Scheduler(tmp_path, *args))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()


def test_runs_follow_each_other_and_never_overlap(scheduler):
    running = scheduler(SECONDS, 1.3)
    found = running.lines(6)
    running.stop(signal.SIGTERM)
    assert found[:6] == ["begin", "end"] * 3


def test_a_run_that_fails_does_not_keep_the_next_one(scheduler):
    running = scheduler(SECONDS, 0, 3)
    running.lines(4)
    assert running.stop(signal.SIGTERM).count("ended 3") >= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_lets_the_run_at_work_end_and_begins_no_other(scheduler, number):
    running = scheduler(SECONDS, 2.5)
    running.lines(1)
    output = running.stop(number)
    assert running.log.read_text().split() == ["begin", "end"]
    assert "Stopping when the run that is at work has ended; a second signal stops it, too." in output
    assert "ended 0" in output


def test_a_second_signal_is_handed_on_to_the_run(scheduler):
    running = scheduler(SECONDS, 60)
    running.lines(1)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    output = running.stop(signal.SIGTERM)
    assert running.log.read_text().split() == ["begin"]
    assert f"ended {-signal.SIGTERM}" in output


def test_a_signal_while_nothing_runs_ends_at_once(scheduler):
    running = scheduler("0 0 1 1 *", 0)
    line = running.process.stdout.readline()
    assert re.fullmatch(r"The next run is at \d{4}-01-01 00:00:00 UTC\.\n", line)
    running.stop(signal.SIGTERM)
    assert running.log.read_text() == ""


def test_a_command_that_is_not_there_is_said_and_tried_again():
    told = []
    foreground = Foreground(["/no/such/command"], told.append)

    def stop_after_two(output, code):
        if sum("could not be started" in words for words in told) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    foreground._ended = stop_after_two
    foreground.serve(read_cron(SECONDS))
    assert [w for w in told if "could not" in w] == ["The run could not be started: No such file or directory."] * 2


def test_of_the_times_that_passed_while_the_machine_slept_one_is_made_up_for(monkeypatch):
    """The clock jumps by ten days, in each of which there is a time, under a scheduler that waits for the first."""
    slept = []

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=sum(slept))

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Clock)
    monkeypatch.setattr("gated_pipelines.local_schedule.foreground._LOOK_AGAIN", 0.3)
    begun = []
    noon = datetime.now(timezone.utc) + timedelta(hours=12)  # far from now, by whatever clock
    threading.Timer(0.5, slept.append, (10,)).start()
    threading.Timer(6, os.kill, (os.getpid(), signal.SIGTERM)).start()
    foreground = Foreground([sys.executable, "-c", ""], lambda words: None, lambda output, code: begun.append(code))
    foreground.serve(read_cron(f"{noon.minute} {noon.hour} * * *"))
    assert begun == [0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param("sys.exit(3)", "The run ended with exit code 3.", id="an error"),
        pytest.param("os.kill(os.getpid(), 9)", "The run was ended by SIGKILL.", id="a signal"),
        pytest.param("pass", None, id="done, and saying nothing"),
    ],
)
def test_how_a_run_ended_is_said(code, words):
    told = []
    foreground = Foreground(
        [sys.executable, "-c", f"import os, sys; {code}"], told.append, lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    foreground.serve(read_cron(SECONDS))
    assert [each for each in told if each.startswith("The run")] == ([words] if words else [])


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param("print('{\"outcome\": \"pushed\"}')", {"outcome": "pushed"}, id="one that comes to its end"),
        pytest.param(
            "import sys; sys.exit(3)",
            {"outcome": "failed", "green": False, "reason": "The run ended with exit code 3."}, id="one that dies",
        ),
        pytest.param(
            "import os; print('half', flush=True); os.kill(os.getpid(), 9)",
            {"outcome": "failed", "green": False, "reason": "The run was ended by SIGKILL."}, id="one that is killed",
        ),
    ],
)  # fmt: skip
def test_each_run_of_a_schedule_gives_one_object(tmp_path, run, expected):
    code = (
        "import sys; from gated_pipelines.local_schedule import foreground; from gated_pipelines.cli import cli\n"
        "foreground.once_command = lambda *_: [sys.executable, '-c', sys.argv[1]]\n"
        "cli(['schedule', 'local', sys.argv[2], '--cron', '* * * * * *', '--root', sys.argv[3], '--json'])"
    )
    arguments = [sys.executable, "-c", code, run, str(PENGUINS), str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert expected.items() <= json.loads(line).items()


def test_the_first_day_of_the_week_is_sunday():
    times = CronTimes(read_cron("0 3 * * 0"))
    after = datetime(2026, 11, 23, tzinfo=timezone.utc)  # a Monday
    assert times.get_next_fire_time(None, after) == datetime(2026, 11, 29, 3, tzinfo=timezone.utc)
    assert times.get_next_fire_time(after + timedelta(days=7), after) == datetime(2026, 12, 6, 3, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "zone"),
    [("0 3 * * *", "Asia/Tokyo"), ("TZ=Europe/Paris 0 3 * * *", "Europe/Paris")],
    ids=["none", "its own"],
)
def test_a_time_without_a_zone_is_meant_here(monkeypatch, text, zone):
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: "Asia/Tokyo")
    assert in_local_time(read_cron(text)).zone == zone


# What systemd.time(7) says of the events that are written here.


def matches(event, moment):
    words = event.split()
    weekdays = words.pop(0).split(",") if words[0][0].isalpha() else None
    date, clock = words[0], words[1]
    fields = [*date.split("-")[1:], *clock.split(":")]
    values = [moment.month, moment.day, moment.hour, moment.minute, moment.second]
    return (weekdays is None or f"{moment:%a}" in weekdays) and all(
        field == "*" or value in map(int, field.split(",")) for field, value in zip(fields, values, strict=True)
    )


def fields(low, high):
    number = st.integers(low, high)
    lists = st.lists(number, min_size=1, max_size=3, unique=True).map(lambda found: ",".join(map(str, found)))
    steps = st.integers(1, 9).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), lists, steps)


@settings(max_examples=300, deadline=None)
@given(st.tuples(fields(0, 59), fields(0, 23), fields(1, 28), fields(1, 12), fields(0, 6)), st.integers(0, 500 * 86400))
def test_systemd_is_told_the_same_times_as_cron(parts, after):
    cron = read_cron(" ".join(parts))
    events = on_calendar(cron)
    times = cron.times(datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=after))
    first, second = next(times), next(times)
    assert any(matches(event, first) for event in events)
    between = [first + timedelta(minutes=n) for n in range(1, min(2000, int((second - first).total_seconds() // 60)))]
    assert not [moment for moment in between if any(matches(event, moment) for event in events)]


TASK = Task("penguins", Path("/opt/a b/gated-pipeline"), Path("/data/50%/pipeline.yaml"), Path("/runs/x"))


def test_the_crontab_line():
    line = crontab_line(read_cron("CRON_TZ=Europe/Paris 0 3 * * 1-5"), TASK)
    assert line == (
        "CRON_TZ=Europe/Paris\n0 3 * * 1-5 '/opt/a b/gated-pipeline' schedule local /data/50\\%/pipeline.yaml --once "
        "--root /runs/x\n"
    )


def test_the_systemd_units():
    service, timer = service_unit(TASK), timer_unit(Cron(("0", "0", "3", "1", "*", "1"), "Europe/Paris"), TASK)
    start = '"/opt/a b/gated-pipeline" schedule local "/data/50%%/pipeline.yaml" --once --root /runs/x'
    assert f"\nExecStart={start}\n" in service
    assert "\nKillMode=mixed\n" in service
    assert "\nOnCalendar=*-*-01 03:00:00 Europe/Paris\nOnCalendar=Mon *-*-* 03:00:00 Europe/Paris\n" in timer


def printed(*arguments, pipeline=PENGUINS, cron="0 3 * * *", kind="systemd"):
    command = ["schedule", "print", str(pipeline), "--cron", cron, "--for", kind, *arguments]
    return CliRunner().invoke(cli, command)


def test_print_writes_both_units(tmp_path):
    result = printed("--into", str(tmp_path))
    assert (result.exit_code, result.stderr) == (
        0,
        "Then: systemctl --user enable --now penguins.timer\n"
        "So that it runs while you are not logged in: loginctl enable-linger\n",
    )
    assert {path.name for path in tmp_path.iterdir()} == {"penguins.service", "penguins.timer"}
    assert f"schedule local {PENGUINS} --once --root " in (tmp_path / "penguins.service").read_text()


def test_print_replaces_the_units_of_the_same_run_and_no_others(tmp_path):
    assert printed("--into", str(tmp_path / "units")).exit_code == 0
    assert printed("--into", str(tmp_path / "units"), cron="0 4 * * *").exit_code == 0
    before = {path: path.read_text() for path in (tmp_path / "units").iterdir()}
    assert "04:00:00" in before[tmp_path / "units" / "penguins.timer"]
    other = tmp_path / "pipeline.yaml"
    other.write_text(PENGUINS.read_text())
    result = printed("--into", str(tmp_path / "units"), pipeline=other)
    assert isinstance(result.exception, ConfigError)
    assert "penguins.service is there already and runs something else (ExecStart=" in str(result.exception)
    assert {path: path.read_text() for path in (tmp_path / "units").iterdir()} == before


def test_units_that_cannot_be_written_are_one_sentence():
    result = printed("--into", "/proc/no such folder")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("The units cannot be written to /proc/no such folder: ")


def test_a_zone_that_some_crons_ignore_is_warned_of():
    with_zone, without = (printed(cron=f"{zone}0 3 * * *", kind="crontab") for zone in ("TZ=Europe/Paris ", ""))
    assert with_zone.stdout.startswith("CRON_TZ=Europe/Paris\n0 3 * * * ")
    assert with_zone.stderr.startswith("Debian's and Ubuntu's cron ignore CRON_TZ, ")
    assert without.stderr == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param(
            ["print", "--cron", "0 3 * * *", "--for", "crontab", "--into", "x"],
            "--into is for systemd", id="a folder for a crontab",
        ),
        pytest.param(
            ["print", "--cron", "0 3 * * *", "--for", "systemd", "--root", "gs://x/y"],
            "must be a folder of this machine. Received: gs://x/y", id="a root behind a URL",
        ),
        pytest.param(
            ["local", "--once", "--root", "gs://x/y"],
            "must be a folder of this machine. Received: gs://x/y", id="a run's root behind a URL",
        ),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(command, words):
    result = CliRunner().invoke(cli, ["schedule", command[0], str(PENGUINS), *command[1:]])
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "Give either --cron or --once.", id="neither"),
        pytest.param(["--cron", "0 3 * * *", "--once"], "Give either --cron or --once.", id="both"),
    ],
)
def test_once_or_at_times(arguments, words):
    result = CliRunner().invoke(cli, ["schedule", "local", str(PENGUINS), *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def run(*arguments):
    command = [sys.executable, "-m", "gated_pipelines", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_schedule_for_a_file_that_is_wrong_is_refused_at_once(tmp_path):
    (tmp_path / "pipeline.yaml").write_text("name: x\n")
    result = run("schedule", "local", str(tmp_path / "pipeline.yaml"), "--cron", "0 3 * * *")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")


def test_a_run_that_cannot_begin_fails_with_its_reason_and_stands_in_the_history(tmp_path):
    (tmp_path / "pipeline.yaml").write_text(PENGUINS.read_text())  # without its table
    command = once_command(str(tmp_path / "pipeline.yaml"), str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    result = run(*command[3:])
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (result.returncode, summary["outcome"]) == (1, "failed")
    history = run("history", str(tmp_path / "pipeline.yaml"), "--root", str(tmp_path / "root"), "--json")
    (past,) = json.loads(history.stdout)
    assert (past["state"], past["trigger"], past["outcome"]) == ("ended", "schedule", "failed")
    assert past["reason"] == summary["reason"]
    assert "penguins.csv" in past["reason"]


# One scheduled run whose training, in place of TFX, goes on until it is told to end.
TRAINS_UNTIL = """
import sys, time
from pathlib import Path
from gated_pipelines.cli import cli
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.running import local

pipeline, root, end = sys.argv[1:]

def train(job, log_file):
    (Path(root) / "at work").touch(exist_ok=False)
    while not Path(end).exists():
        time.sleep(0.02)
    return Summary(outcome="not_blessed", green=True, reason="trained"), local._catch_up(job)

local._run = train
cli(["schedule", "local", pipeline, "--once", "--root", root, "--json"])
"""


def test_of_two_schedules_that_strike_at_once_one_runs_and_one_leaves(tmp_path):
    root, end = tmp_path / "root", tmp_path / "end"
    command = [sys.executable, "-c", TRAINS_UNTIL, str(PENGUINS), str(root), str(end)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        deadline = time.monotonic() + 60
        while all(process.poll() is None for process in both):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (left,) = [process for process in both if process.poll() is not None]
        (stays,) = [process for process in both if process is not left]
        summary = json.loads(left.communicate()[0])
        assert (left.returncode, summary["outcome"]) == (0, "skipped")
        holder = rf"is in use by process {stays.pid} on .*|was just taken by another writer\."
        assert re.fullmatch(f"another run is at work: {root} ({holder})", summary["reason"])
        end.touch()
        assert json.loads(stays.communicate(timeout=60)[0])["reason"] == "trained"
        assert stays.returncode == 0
    finally:
        for process in both:
            process.kill()
    past = History(root).read().past
    assert sorted((each.ended.skipped, each.ended.outcome) for each in past) == [
        (False, "not_blessed"),
        (True, "skipped"),
    ]
