"""The history of a pipeline's runs: what is written, read again, and said."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from past_runs import ended
from rich.console import Console

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cli import cli
from gated_pipelines.history.history import Begun, History, Measured, Past, Runs, to_json
from gated_pipelines.history.plot import draw
from gated_pipelines.history.words import page, table

PENGUINS = Path(__file__).parent.parent / "data" / "penguins" / "pipeline.yaml"


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
    assert [past.ended for past in log.read().past] == [earlier, later]
    assert to_json(log.read().past[1]) == later.model_dump() | {"state": "ended"}


def test_there_is_no_history_before_the_first_run(tmp_path):
    assert History(tmp_path).read() == Runs()


def test_a_run_without_an_end_is_at_work_while_its_process_lives_and_died_after(tmp_path):
    log = History(tmp_path)
    log.begin("mine", 1.0, "by hand", "it is the first run")
    code = "import sys; from gated_pipelines.history.history import History; from pathlib import Path\n"
    code += "History(Path(sys.argv[1])).begin('dead', 2.0, 'schedule', 'the data is new')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [to_json(past)["state"] for past in log.read().past] == ["running", "died"]
    words = told(log.read().past)
    assert "running" in words
    assert "died" in words


def test_a_torn_last_line_is_not_read_and_the_next_one_is(tmp_path):
    log = History(tmp_path)
    log.end(ended("a"))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[: len(whole) // 2])
    log.end(ended("b"))
    assert [past.ended.id for past in log.read().past] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"event": "ended", "id": "a"}', id="a line without a time"),
        pytest.param('{"event": "ended", "id": 3, "began": 1.0}', id="a number for an id"),
        pytest.param('{"event": "begun", "format": 2}', id="a newer format"),
        pytest.param('{"event": "ended", "id": "a", "began": 1.', id="half a line"),
        pytest.param("[]", id="no object"),
        pytest.param("\udcff", id="no UTF-8"),
        pytest.param(None, id="a bit that flipped"),
    ],
)
def test_a_line_that_is_wrong_is_passed_over_and_told(tmp_path, line):
    log = History(tmp_path)
    for name in "abc":
        log.end(ended(name))
    lines = log.path.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("pushed", "pushee", 1) if line is None else f"{line}\n"
    log.path.write_bytes("".join(lines).encode(errors="surrogateescape"))
    runs = log.read()
    assert ([past.ended.id for past in runs.past], runs.unreadable) == (["a", "c"], (2,))
    assert [past.line for past in runs.past] == [1, 3]
    result = CliRunner().invoke(cli, ["history", str(tmp_path / "pipeline.yaml"), "--root", str(tmp_path)])
    assert result.exit_code == 0
    assert f"1 line of the history cannot be read: line 2 of {log.path}." in result.stderr


def test_of_two_pipelines_in_a_root_each_has_its_own_history(tmp_path):
    log = History(tmp_path)
    for run, pipeline in (("a", "A"), ("b", "B"), ("c", "")):
        log.end(ended(run, pipeline=pipeline))
    log.begin("d", 1_790_000_900.0, "schedule", "the data is new", "B")
    names = {name: [past.told.id for past in log.read(name).past] for name in ("A", "B", "")}
    assert names == {"A": ["a", "c"], "B": ["b", "c", "d"], "": ["a", "b", "c", "d"]}


@pytest.mark.parametrize(
    ("file", "runs", "words"),
    [
        pytest.param(str(PENGUINS), ["penguins"], "", id="its own"),
        pytest.param(
            "gone.yaml", ["A", "penguins"],
            "gone.yaml cannot be read: the runs of every pipeline below the root are listed.\n", id="all if it is gone",
        ),
    ],
)  # fmt: skip
def test_the_command_lists_the_runs_of_its_pipeline(tmp_path, file, runs, words):
    for name in ("A", "penguins"):
        History(tmp_path).end(ended(name, pipeline=name))
    result = CliRunner().invoke(cli, ["history", file, "--root", str(tmp_path), "--json"])
    assert ([run["id"] for run in json.loads(result.stdout)], result.stderr) == (runs, words)


def test_many_writers_lose_no_line(tmp_path):
    code = "import sys; from gated_pipelines.history.history import History; from pathlib import Path\n"
    code += (
        "for n in range(50): History(Path(sys.argv[1])).begin(f'{sys.argv[2]}-{n}', float(n), 'schedule', 'x' * 5000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(History(tmp_path).read().past) == 150


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
    words = told(log.read().past)
    for part in (
        "2026-09-21 14:13", "the data is new", "201301–201303 750 rows", "7 of 20", "pushed: every threshold holds",
        "11 → 12", "mean squared error, challenger / champion", "1.5 / 1.75", "30 s", "3.0 MiB",
        "skipped: nothing is new", "2 / 1.5; best so far 1.25",
    ):  # fmt: skip
        assert part in words
    assert words.count("7 of 20") == 2


@pytest.mark.parametrize("width", [60, 80, 120, 189])
def test_where_there_is_no_room_for_a_table_each_run_has_some_lines_and_no_word_is_broken(width):
    version = 1_790_000_300
    same = {"champion_before": version, "champion": version}
    skipped = "nothing is new since the run of 2026-09-21 14:13 UTC: the same data, rules, settings and code"
    refused = "root_mean_squared_error of 46.2 must be at most 44.1 (champion 42.1 plus 2)"
    measured = Measured(name="root_mean_squared_error", challenger=46.2345, champion=42.1234, best=41.25)
    begun = Begun(id="x", began=1.0, trigger="schedule", why="it is the first run", host="h", pid=1, born="2")
    runs = [
        Past(None, ended(champion_before=version - 300, champion=version)),
        Past(None, ended(skipped=True, outcome="skipped", reason=skipped, metric=None, **same)),
        Past(None, ended(outcome="not_blessed", reason=refused, metric=measured, **same)),
        Past(begun, None),
    ]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(page(runs, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= (6 if width < 80 else 5) * len(runs)
    words = " ".join(" ".join(lines).split())
    for part in (
        "2026-09-21 14:13 201301–201303 750 rows saved 7 of 20 survived 3 champion 1790000000 → 1790000300 30 s",
        "why: the data is new pushed: every threshold holds", f"skipped: {skipped}", f"not_blessed: {refused}",
        "46.2345 / 42.1234; best so far 41.25", "1970-01-01 00:00 why: it is the first run died",
    ):  # fmt: skip
        assert part in words


def test_where_nobody_looks_a_run_has_some_lines_of_eighty(pipeline):
    result = CliRunner().invoke(cli, ["history", *pipeline])
    lines = result.stdout.splitlines()
    assert len(lines) <= 5 * 3 + 1
    assert max(map(len, lines)) <= 80


def test_a_reason_is_told_once_where_a_run_could_not_begin():
    reason = "The table penguins.csv cannot be found: No such file or directory."
    assert told([Past(None, ended(why=reason, outcome="failed", reason=reason))]).count("penguins.csv") == 1


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
    draw(log.read().past, tmp_path / "h.svg")
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
        draw(log.read().past, tmp_path / name)
