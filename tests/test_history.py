"""The history of a pipeline's runs: what is written, read again, and said."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from past_runs import ended
from rich.console import Console

from checkpoint_gate.errors import ConfigError, StoreError
from gated_pipelines.cli import cli
from gated_pipelines.history.history import FILE, History, Measured, to_json
from gated_pipelines.history.plot import draw
from gated_pipelines.history.words import table


def told(runs):
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(table(runs))
    return console.export_text()


def test_what_is_written_is_read_again_in_the_order_of_beginning(tmp_path):
    log = History(tmp_path)
    later, earlier = ended("b", 1_790_000_100.0, outcome="not_blessed", pushed=None), ended("a")
    log.begin("b", later.began, "schedule", later.why)
    log.end(later)
    log.end(earlier)
    assert [past.ended for past in log.read()] == [earlier, later]
    assert to_json(log.read()[1]) == later.model_dump() | {"state": "ended"}


def test_there_is_no_history_before_the_first_run(tmp_path):
    assert History(tmp_path).read() == []


def test_a_run_without_an_end_is_at_work_while_its_process_lives_and_died_after(tmp_path):
    log = History(tmp_path)
    log.begin("mine", 1.0, "by hand", "it is the first run")
    code = "import sys; from gated_pipelines.history.history import History; from pathlib import Path\n"
    code += "History(Path(sys.argv[1])).begin('dead', 2.0, 'schedule', 'the data is new')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [to_json(past)["state"] for past in log.read()] == ["running", "died"]
    words = told(log.read())
    assert "running" in words
    assert "died" in words


def test_a_torn_last_line_is_not_read_and_the_next_one_is(tmp_path):
    log = History(tmp_path)
    log.end(ended("a"))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[: len(whole) // 2])
    log.end(ended("b"))
    assert [past.ended.id for past in log.read()] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param({"event": "ended", "id": "a"}, "is damaged: began: Field required", id="a line without a time"),
        pytest.param(
            {"event": "ended", "id": 3, "began": 1.0}, "is damaged: id: Input should be", id="a number for an id"
        ),
        pytest.param(
            {"event": "begun", "format": 2}, "has the format 2; this version reads format 1", id="a newer format"
        ),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, line, words):
    (tmp_path / FILE).write_text(json.dumps(line) + "\n")
    with pytest.raises(StoreError, match=words):
        History(tmp_path).read()


def test_many_writers_lose_no_line(tmp_path):
    code = "import sys; from gated_pipelines.history.history import History; from pathlib import Path\n"
    code += (
        "for n in range(50): History(Path(sys.argv[1])).begin(f'{sys.argv[2]}-{n}', float(n), 'schedule', 'x' * 5000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(History(tmp_path).read()) == 150


def test_the_table_tells_each_run(tmp_path):
    log = History(tmp_path)
    log.end(ended("a"))
    skip = {
        "work": None,
        "metric": None,
        "saved": 0,
        "refused": 0,
        "survivors": 0,
        "pushed": None,
        "champion_before": 12,
    }
    log.end(ended("b", 1_790_086_400.0, skipped=True, outcome="skipped", reason="nothing is new", **skip))
    log.end(
        ended("c", 1_790_172_800.0, metric=Measured(name="mean_squared_error", challenger=2.0, champion=1.5, best=1.25))
    )
    words = told(log.read())
    for part in (
        "2026-09-21 14:13", "the data is new", "201301–201303 750 rows", "7 of 20", "pushed: every threshold holds",
        "11 → 12", "mean squared error, challenger / champion", "1.5 / 1.75", "30 s", "3.0 MiB",
        "skipped: nothing is new", "2 / 1.5; best so far 1.25",
    ):  # fmt: skip
        assert part in words
    assert words.count("7 of 20") == 2


@pytest.fixture
def pipeline(tmp_path):
    log = History(tmp_path / "root")
    (tmp_path / "root").mkdir()
    for place in range(3):
        log.end(ended(str(place), 1_790_000_000.0 + place))
    return [str(tmp_path / "pipeline.yaml"), "--root", str(tmp_path / "root")]


def test_the_command_prints_json_of_the_newest(pipeline):
    result = CliRunner().invoke(cli, ["history", *pipeline, "--json", "--last", "2"])
    assert [run["id"] for run in json.loads(result.stdout)] == ["1", "2"]


def test_the_command_says_that_there_is_no_run(tmp_path):
    result = CliRunner().invoke(cli, ["history", str(tmp_path / "pipeline.yaml"), "--root", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"There is no run yet below {tmp_path}.\n"


@pytest.mark.parametrize(("name", "begins"), [("h.svg", b"<?xml"), ("h.png", b"\x89PNG"), ("h.pdf", b"%PDF")])
def test_the_command_draws_a_picture(pipeline, tmp_path, name, begins):
    result = CliRunner().invoke(cli, ["history", *pipeline, "--plot", str(tmp_path / name)])
    assert result.exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_picture_tells_champion_challenger_and_disk(tmp_path):
    log = History(tmp_path)
    log.end(ended("a", metric=Measured(name="auc", challenger=0.5, champion=0.25, best=0.125)))
    log.end(
        ended("b", 1_790_000_001.0, outcome="not_blessed", metric=Measured(name="auc", challenger=0.5, champion=None))
    )
    draw(log.read(), tmp_path / "h.svg")
    text = (tmp_path / "h.svg").read_text()
    for words in (
        "challenger, pushed",
        "challenger, not_blessed",
        "best champion so far",
        "disk, MiB",
        "artifacts",
        "auc",
    ):
        assert f"<!-- {words} -->" in text


@pytest.mark.parametrize(
    ("name", "runs", "words"),
    [
        pytest.param("h.jpeg", 1, r"must end in \.svg, \.png, \.pdf\. Received: .*h\.jpeg", id="another kind"),
        pytest.param("h.svg", 0, "There is nothing to draw: no run has ended that did anything", id="no run"),
        pytest.param("no/h.svg", 1, "cannot be written: No such file or directory", id="no such folder"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, name, runs, words):
    log = History(tmp_path)
    for place in range(runs):
        log.end(ended(str(place)))
    with pytest.raises(ConfigError, match=words):
        draw(log.read(), tmp_path / name)
