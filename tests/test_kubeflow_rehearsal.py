"""`gated-pipeline rehearse` on pipelines whose executor is a small script: real processes, no framework."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import click
import pytest
from click.testing import CliRunner
from small_pipeline import compiled, write

from gated_pipelines.cli import main
from gated_pipelines.kubeflow.rehearsal.task_process import telling_line

CHAIN = {
    "A": {"outputs": ["model"], "parameters": {"rules": "$rules"}},
    "B": {"inputs": {"given": "A.model"}, "outputs": ["model"]},
    "C": {"inputs": {"given": "B.model"}, "outputs": ["model"]},
}
RULES = {"rules": "save: {every: 1}", "root": "gs://bucket/root"}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def as_called(words):
    """`gated-pipeline` with its main, which tells errors in one sentence."""
    with mock.patch.object(sys, "argv", ["gated-pipeline", *words]):
        main()


def command(*args):
    return CliRunner().invoke(as_called, [*map(str, args)])


class Rehearsed:
    """What a rehearsal said and left."""

    def __init__(self, result, root):
        self.code, self.words, self.root = result.exit_code, result.stderr, root
        self.json = json.loads(result.stdout.splitlines()[-1]) if result.stdout.strip() else None
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception

    def task(self, name):
        return next(one for one in self.json["tasks"] if one["name"] == name)

    @property
    def states(self):
        return {one["name"]: one["state"] for one in self.json["tasks"]}

    def about(self, task, key="model"):
        """What the small executor wrote of its call."""
        return json.loads((Path(self.json["outputs"][task][key]) / "about.json").read_text())


@pytest.fixture
def rehearse(tmp_path):
    def call(tasks, *args, parameters=RULES, spec=None):
        file = write(tmp_path / "small.yaml", spec or compiled(tasks, parameters))
        root = tmp_path / "root"
        return Rehearsed(command("rehearse", file, "--root", root, "--json", *args), root)

    return call


@pytest.mark.parametrize("mode", ["open-source", "vertex"])
def test_each_task_gets_what_the_one_before_left(rehearse, mode):
    done = rehearse(CHAIN, "--mode", mode)
    assert done.code == 0, done.words
    assert done.states == {"A": "done", "B": "done", "C": "done"}
    assert done.json["mode"] == mode
    for producer, consumer in (("A", "B"), ("B", "C")):
        given = done.about(consumer)["given"]["inputs"]["artifacts"]["given"]["artifacts"][0]
        assert given["uri"] == done.json["outputs"][producer]["model"]
        assert given["metadata"]["made_by"] == "small"
        assert given["metadata"]["steps"] == 3
        parts = {"open-source": {"list": ["a"]}, "vertex": ["a"]}[mode]
        assert given["metadata"]["parts"] == parts
    outputs = done.about("A")["given"]["outputs"]["artifacts"]
    assert set(outputs) == {"model"} | ({"executor-logs"} if mode == "open-source" else set())
    numbers = [done.about(task)["given"]["inputs"]["artifacts"]["given"]["artifacts"][0]["name"] for task in "BC"]
    assert len(set(numbers)) == 2


def test_an_executor_may_put_an_output_elsewhere(rehearse):
    done = rehearse(CHAIN | {"A": CHAIN["A"] | {"do": ["elsewhere", "gs://other/place"]}})
    assert done.json["outputs"]["A"] == {"model": "gs://other/place"}
    assert done.about("B")["given"]["inputs"]["artifacts"]["given"]["artifacts"][0]["uri"] == "gs://other/place"


def test_the_root_takes_the_place_of_the_compiled_one(rehearse):
    done = rehearse({"A": {"outputs": ["model"], "parameters": {"root": "$root", "rules": "$rules"}}}, "-p", "rules=x")
    assert done.about("A")["given"]["inputs"]["parameterValues"] == {"root": str(done.root), "rules": "x"}
    assert done.json["outputs"]["A"]["model"].startswith(f"{done.root}/artifacts/small/{done.json['id']}/A/")
    assert done.json["root"] == str(done.root)


def test_a_table_is_given_as_its_absolute_path(rehearse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("a\n1\n")
    tasks = {"A": {"outputs": ["model"], "parameters": {"data": "$data"}}}
    done = rehearse(tasks, "--data", "table.csv", parameters={"data": "data/table.csv"})
    assert done.about("A")["given"]["inputs"]["parameterValues"] == {"data": str(tmp_path / "table.csv")}
    none = rehearse(tasks, parameters={"data": "data/gone.csv"})
    assert none.code == 1
    assert none.json["reason"] == f"There is no table {none.root}/data/gone.csv: give one with --data FILE."
    gone = rehearse(tasks, "--data", "gone.csv", parameters={"data": "data/table.csv"})
    assert gone.json["reason"] == f"There is no table {tmp_path}/gone.csv: give one with --data FILE."
    folder = rehearse(tasks, "--data", ".", parameters={"data": "data/table.csv"})
    assert folder.json["reason"] == f"There is no table {tmp_path}: give one with --data FILE."
    both = rehearse(tasks, "--data", "table.csv", "-p", "data=x", parameters={"data": "data/gone.csv"})
    assert both.code == 2


def test_a_table_with_a_span_is_looked_for_by_it(rehearse):
    tasks = {"A": {"outputs": ["model"], "parameters": {"data": "$data", "span": "$span"}}}
    parameters = {"data": "m-{SPAN}.csv", "span": ""}
    none = rehearse(tasks, parameters=parameters)
    assert none.json["reason"] == f"There is no file {none.root}/m-{{SPAN}}.csv for any {{SPAN}}."
    none.root.mkdir(exist_ok=True)
    (none.root / "m-3.csv").write_text("a\n1\n")
    done = rehearse(tasks, parameters=parameters)
    assert done.about("A")["given"]["inputs"]["parameterValues"] == {"data": "m-{SPAN}.csv", "span": ""}
    told = rehearse(tasks, "--data", f"{none.root}/m-{{SPAN}}.csv", parameters={"data": "gone.csv", "span": ""})
    assert told.about("A")["given"]["inputs"]["parameterValues"]["data"] == f"{none.root}/m-{{SPAN}}.csv"
    gone = rehearse(tasks, "-p", "span=7", parameters=parameters)
    assert "for the span 7; there are 3." in gone.json["reason"]


def test_a_task_runs_as_in_its_container(rehearse, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "relative:/absolute")
    task = {"outputs": ["model"], "env": {"OWN": "1", "HOME": "/container"}, "do": ["say", "$(touch /tmp/x); `id` *"]}
    done = rehearse({"A": task})
    about = done.about("A")
    assert about["argv"] == ["say", "$(touch /tmp/x); `id` *"]
    assert about["env"]["OWN"] == "1"
    assert about["env"]["HOME"] == "/container"
    assert about["env"]["PYTHONPATH"] == f"{os.path.abspath('relative')}:/absolute"
    assert about["cwd"] not in (os.getcwd(), str(done.root))
    assert Path(done.task("A")["log"]).read_text() == "$(touch /tmp/x); `id` *\n"


def test_a_failing_task_stops_the_rest(rehearse):
    done = rehearse(CHAIN | {"B": CHAIN["B"] | {"do": ["fail", "no  rows\nat all"]}})
    log = done.root / "rehearsal" / done.json["id"] / "B.log"
    assert done.code == 1
    assert done.states == {"A": "done", "B": "failed", "C": "waiting"}
    assert done.json["outcome"] == "failed"
    assert done.json["reason"] == f"B failed with exit code 1: ValueError: no  rows. Its log is {log}."
    go_on = f"gated-pipeline rehearse {done.root.parent}/small.yaml --root {done.root} --from B"
    assert done.words.splitlines()[-1] == f"Error: {done.json['reason']} Go on with: {go_on}"
    assert "Traceback" not in done.words


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        pytest.param("raise checkpoint_gate.errors.NoSurvivors('none was near')", "no_survivors", id="no survivors"),
        pytest.param("raise checkpoint_gate.errors.NoCandidate('none fits')", "no_candidate", id="no candidate"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "failed", id="killed"),
    ],
)
def test_how_a_failure_is_told(rehearse, words, outcome):
    spec = compiled({"A": {}})
    container = spec["deploymentSpec"]["executors"]["A_executor"]["container"]
    container |= {"command": ["python3", "-c"], "args": [f"import checkpoint_gate.errors; {words}"]}
    done = rehearse({}, spec=spec)
    assert done.code == 1
    assert done.json["outcome"] == outcome
    told = {"failed": r"signal SIGKILL \(out of memory\?\): it said nothing"}.get(outcome, "exit code 1: .*none ")
    assert re.search(told, done.json["reason"])


TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\n    x()\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("one\ntwo\n\n", "two", id="the last line"),
        pytest.param("", "it said nothing", id="nothing"),
        pytest.param(f"{TRACEBACK}ValueError: bad\nmore of it\nbye\n", "ValueError: bad", id="a traceback's error"),
        pytest.param(f"{TRACEBACK}my.Stop\nbye\n", "my.Stop", id="an error without words"),
        pytest.param(
            f"{TRACEBACK}KeyError: a\n\nDuring handling:\n\n{TRACEBACK}ValueError: b\n",
            "ValueError: b",
            id="the last one",
        ),
        pytest.param(f"{TRACEBACK}KeyError: handled\nError: no rows.\nbye\n", "Error: no rows.", id="a later sentence"),
        pytest.param("\x1b[31mError: red\x1b[0m\n", "Error: red", id="colours are left out"),
        pytest.param("x" * 1000, "x" * 400, id="not too much of it"),
    ],
)
def test_the_line_that_tells_most(tmp_path, text, line):
    log = tmp_path / "a.log"
    log.write_text(f"Error: of the attempt before\n{text}")
    assert telling_line(log, log.stat().st_size - len(text.encode())) == line


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["no-such-program"], "No such file", id="no such program"),
        pytest.param(["true", "a\0b"], "embedded null byte", id="a word that no process can be given"),
        pytest.param(["true", "a" * 200_000], "Argument list too long", id="a word that is too long for any process"),
    ],
)
def test_what_cannot_be_started(rehearse, words, why):
    spec = compiled({"A": {}})
    spec["deploymentSpec"]["executors"]["A_executor"]["container"]["command"] = words
    done = rehearse({}, spec=spec)
    assert done.code == 1
    assert f"A cannot go on: {words[0]} cannot be run on this machine: {why}" in done.json["reason"]


def test_metadata_that_ml_metadata_cannot_hold(rehearse):
    tasks = {"A": {"outputs": ["model"], "do": ["null"]}}
    assert rehearse(tasks, "--mode", "vertex").code == 0
    done = rehearse(tasks)
    assert done.code == 1
    assert "nothing in the metadata of model of A must not be null" in done.json["reason"]


@pytest.mark.parametrize(
    ("retries", "args", "mode", "before"),
    [
        pytest.param(1, [], "open-source", None, id="as the file says, on an empty disk"),
        pytest.param(0, ["--retries", "2"], "open-source", None, id="as is asked for"),
        pytest.param(1, [], "vertex", [], id="on Vertex AI what the last one left is still there"),
    ],
)
def test_a_task_is_tried_again(rehearse, tmp_path, retries, args, mode, before):
    task = {"outputs": ["model"], "retries": retries, "do": ["fail-once", "busy"], "env": {"MARK": f"{tmp_path}/mark"}}
    done = rehearse({"A": task}, "--mode", mode, *args)
    assert done.code == 0
    assert done.task("A")["attempts"] == 2
    assert "ValueError: busy" in Path(done.task("A")["log"]).read_text()
    assert "A failed after" in done.words
    assert "A …, attempt 2" in done.words
    about = done.about("A")
    assert about["before"] == before
    logs = about["given"]["outputs"]["artifacts"].get("executor-logs")
    assert logs is None or logs["artifacts"][0]["uri"].endswith("/executor-logs-1")


def test_retries_that_are_asked_for_stand_above_the_files(rehearse, tmp_path):
    task = {"retries": 3, "do": ["say", "first", "fail", "busy"]}
    done = rehearse({"A": task}, "--retries", "1")
    assert done.task("A")["attempts"] == 2
    assert "A failed with exit code 1 at attempt 2: ValueError: busy" in done.json["reason"]
    assert rehearse({"A": task}, "--retries", "0").task("A")["attempts"] == 1


def test_it_goes_on_from_a_task(rehearse):
    broken = CHAIN | {"B": CHAIN["B"] | {"do": ["fail", "no"]}}
    first = rehearse(broken, "-p", "rules=mine", "--mode", "vertex")
    then = rehearse(CHAIN, "--from", "B")
    assert then.code == 0, then.words
    assert then.states == {"A": "reused", "B": "done", "C": "done"}
    assert then.json["outputs"]["A"] == first.json["outputs"]["A"]
    assert (then.json["id"], then.json["mode"]) == (first.json["id"], "vertex")
    assert then.about("B")["given"]["inputs"]["artifacts"]["given"]["artifacts"][0]["metadata"]["made_by"] == "small"
    numbers = [then.about(task)["given"]["inputs"]["artifacts"]["given"]["artifacts"][0]["name"] for task in "BC"]
    assert len(set(numbers)) == 2
    again = rehearse(CHAIN, "--from", "C")
    assert again.states == {"A": "reused", "B": "reused", "C": "done"}
    assert again.json["outputs"]["C"] != then.json["outputs"]["C"]
    whole = rehearse(CHAIN, "--from", "A")
    assert whole.states == dict.fromkeys("ABC", "done")
    assert whole.about("A")["given"]["inputs"]["parameterValues"] == {"rules": "mine"}
    other = rehearse(CHAIN, "--from", "A", "-p", "rules=other")
    assert other.about("A")["given"]["inputs"]["parameterValues"] == {"rules": "other"}


def test_going_on_does_what_was_left_undone_beside_it(rehearse):
    tasks = {"A": {"outputs": ["model"], "do": ["fail", "no"]}, "Z": {"outputs": ["model"]}, "B": CHAIN["B"]}
    rehearse(tasks, "--jobs", "1")
    assert rehearse(tasks | {"A": {"outputs": ["model"]}}, "--from", "A").states == dict.fromkeys("AZB", "done")


@pytest.mark.parametrize(
    ("prepare", "task", "words"),
    [
        pytest.param("nothing", "B", "There is no rehearsal in .*: begin without --from", id="never rehearsed"),
        pytest.param("whole", "D", "There is no task D in .*, known are A, B, C", id="no such task"),
        pytest.param("failed", "C", "C needs the outputs of B, which are not there: begin with --from B", id="undone"),
        pytest.param("gone", "B", "B needs the outputs of A, which are not there: begin with --from A", id="gone"),
        pytest.param("damaged", "B", "record.json is damaged .* without --from", id="a damaged record"),
        pytest.param("other", "B", "was of the pipeline other, not of small", id="another pipeline"),
    ],
)
def test_what_it_cannot_go_on_from(rehearse, prepare, task, words):
    if prepare != "nothing":
        other = {"pipelineInfo": {"name": "other"}} if prepare == "other" else {}
        fails = {"B": CHAIN["B"] | {"do": ["fail", "no"]}} if prepare == "failed" else {}
        done = rehearse({}, spec=compiled(CHAIN | fails, RULES, **other))
        if prepare == "gone":
            folder = done.root / "artifacts"
            folder.rename(done.root / "moved")
        if prepare == "damaged":
            (done.root / "rehearsal" / "record.json").write_text("{")
    told = rehearse(CHAIN, "--from", task)
    assert told.code == 1
    assert re.search(words, told.json["reason"])


def test_the_default_root_is_new_each_time_and_the_newest_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "small.yaml", compiled(CHAIN, RULES))

    def roots(*args):
        return json.loads(command("rehearse", file, "--json", *args).stdout.splitlines()[-1])["root"]

    first, second = roots(), roots()
    assert first != second
    assert Path(second).parent == tmp_path / "runs" / "rehearsals" / "small"
    assert (Path(second) / "rehearsal" / Path(second).name / "A.log").is_file()
    assert roots("--from", "B") == max(first, second)


def test_a_bucket_is_kept_where_a_pod_has_it_on_its_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = {"A": CHAIN["A"] | {"parameters": {"root": "$root"}}, "B": CHAIN["B"]}
    file = write(tmp_path / "small.yaml", compiled(tasks, RULES))
    first = Rehearsed(command("rehearse", file, "--root", "minio://bucket/here/", "--json"), None)
    assert first.code == 0, first.words
    assert first.json["root"] == "minio://bucket/here"
    uri = first.json["outputs"]["A"]["model"]
    assert uri.startswith(f"minio://bucket/here/artifacts/small/{first.json['id']}/A/")
    (mirror,) = (tmp_path / "runs" / "rehearsals" / "small").glob("*/mirror")
    place = str(mirror / "minio" / uri.removeprefix("minio://"))
    about = json.loads((Path(place) / "about.json").read_text())
    assert about["env"]["GATED_PIPELINE_MIRROR"] == str(mirror)
    assert about["given"]["inputs"]["parameterValues"] == {"root": "minio://bucket/here"}
    assert about["given"]["outputs"]["outputFile"] == f"{Path(place).parent}/output_metadata.json"
    for root in ([], ["--root", "minio://bucket/here"]):
        again = Rehearsed(command("rehearse", file, *root, "--from", "B", "--json"), None)
        assert again.states == {"A": "reused", "B": "done"}, again.words
        assert again.json["root"] == "minio://bucket/here"
    other = Rehearsed(command("rehearse", file, "--root", "s3://other", "--from", "B", "--json"), None)
    assert "was below minio://bucket/here, not below s3://other" in other.json["reason"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["--root", "ftp://b/r"], "must be a folder, or begin with gs://, minio://, s3://", id="unknown"),
        pytest.param(["--root", "gs://b/r", "--mode", "vertex"], "Vertex AI's must have a folder as its root", id="no"),
        pytest.param(["-p", "root=gs://b/r"], "The root of a rehearsal is given with --root", id="as a parameter"),
    ],
)
def test_roots_that_are_refused(tmp_path, args, words):
    file = write(tmp_path / "small.yaml", compiled(CHAIN, RULES))
    told = command("rehearse", file, *args)
    assert told.exit_code == 1
    assert words in told.stderr


def test_one_rehearsal_at_a_time_in_a_root(rehearse):
    from checkpoint_gate.store.files import LocalFiles
    from checkpoint_gate.store.lease import Lease

    root = rehearse(CHAIN).root
    with Lease(LocalFiles(root), "run.lease", "running a pipeline", time.time):
        told = rehearse(CHAIN)
    assert told.code == 1
    assert "is in use by process" in told.json["reason"]
    assert rehearse(CHAIN).code == 0


def overlap(done):
    """Whether A and B ran at the same time, by the times that they wrote down."""
    return "B …" in done.words.split("A done")[0]


@pytest.mark.parametrize(("jobs", "together"), [(1, False), (2, True)])
def test_jobs(rehearse, jobs, together):
    tasks = {"A": {"outputs": ["model"]}, "B": {"outputs": ["model"]}}
    done = rehearse(tasks, "--jobs", jobs)
    assert done.code == 0
    assert overlap(done) is together


def test_a_failure_ends_what_runs_beside_it(rehearse, tmp_path):
    tasks = {"A": {"do": ["hang"]}, "B": {"do": ["fail", "no"]}}
    done = rehearse(tasks, "--jobs", 2)
    assert done.states == {"A": "stopped", "B": "failed"}


def test_a_check_before_the_task_runs_on_vertex_only(rehearse):
    for mode, said in (("vertex", "checked\nran\n"), ("open-source", "ran\n")):
        spec = compiled({"A": {"do": ["say", "ran"]}})
        check = {"command": ["python", "-c"], "args": ["import sys; print(sys.argv[1])", "checked"]}
        spec["deploymentSpec"]["executors"]["A_executor"]["container"]["lifecycle"] = {"preCacheCheck": check}
        done = rehearse({}, "--mode", mode, spec=spec)
        assert Path(done.task("A")["log"]).read_text() == said


def test_output_parameters_are_read_from_their_files(rehearse):
    number = {"best": {"parameterType": "NUMBER_INTEGER"}}
    task = {"outputs": ["model"], "parameters": {"best": ""}, "definitions": number, "after": ["A"]}
    spec = compiled({"A": {}, "B": task})
    outputs = {"parameters": {"best": {"parameterType": "NUMBER_INTEGER"}}}
    spec["components"]["A"]["outputDefinitions"] = outputs
    spec["root"]["dag"]["tasks"]["B"]["inputs"]["parameters"]["best"] = {
        "taskOutputParameter": {"producerTask": "A", "outputParameterKey": "best"}
    }
    code = "import sys; open(sys.argv[1], 'w').write('7')"
    spec["deploymentSpec"]["executors"]["A_executor"]["container"] |= {
        "command": ["python", "-c", code],
        "args": ["{{$.outputs.parameters['best'].output_file}}"],
    }
    done = rehearse({}, spec=spec)
    assert done.code == 0, done.words
    assert done.about("B")["given"]["inputs"]["parameterValues"] == {"best": 7}


@pytest.mark.parametrize(
    ("file", "words"),
    [
        pytest.param("gone.yaml", "gone.yaml cannot be read: No such file or directory", id="no file"),
        pytest.param(
            "small.yaml", "The pipeline has no parameter 'rule' (did you mean rules?)", id="a wrong parameter"
        ),
    ],
)
def test_without_json_an_error_is_one_sentence(tmp_path, file, words):
    write(tmp_path / "small.yaml", compiled(CHAIN, RULES))
    told = command("rehearse", tmp_path / file, "--root", tmp_path / "root", "-p", "rule=x")
    assert told.exit_code == 1
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert told.stdout == ""


def test_without_json_the_last_outputs_are_told(tmp_path):
    file = write(tmp_path / "small.yaml", compiled(CHAIN, RULES))
    told = command("rehearse", file, "--root", tmp_path / "root")
    assert told.exit_code == 0
    assert "images are not used" in told.stderr
    assert "outputs" in told.stdout
    assert "C" in told.stdout.split()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_task_with_all_its_processes(tmp_path, number):
    mark = tmp_path / "child"
    tasks = CHAIN | {"B": CHAIN["B"] | {"do": ["child", "hang"], "env": {"MARK": str(mark)}}}
    file = write(tmp_path / "small.yaml", compiled(tasks, RULES))
    root = tmp_path / "root"
    code = "from gated_pipelines.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "rehearse", str(file), "--root", str(root), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    child = int(mark.read_text())
    assert alive(child)
    process.send_signal(number)
    out, words = process.communicate(timeout=30)
    assert process.returncode == 128 + number, words
    assert not alive(child)
    said = json.loads(out.splitlines()[-1])
    assert {one["name"]: one["state"] for one in said["tasks"]} == {"A": "done", "B": "stopped", "C": "waiting"}
    assert said["reason"].startswith(f"B was ended by {number.name}.")
    assert "--from B" in words
    write(tmp_path / "small.yaml", compiled(CHAIN, RULES))
    then = Rehearsed(command("rehearse", file, "--root", root, "--from", "B", "--json"), root)
    assert then.states == {"A": "reused", "B": "done", "C": "done"}


def test_a_killed_rehearsal_is_not_taken_for_the_one_before(rehearse, tmp_path):
    root = rehearse(CHAIN).root
    mark = tmp_path / "child"
    tasks = CHAIN | {"A": CHAIN["A"] | {"do": ["child", "hang"], "env": {"MARK": str(mark)}}}
    file = write(tmp_path / "killed.yaml", compiled(tasks, RULES))
    code = "from gated_pipelines.cli import main; main()"
    words = [sys.executable, "-c", code, "rehearse", str(file), "--root", str(root)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    os.killpg(os.getpgid(int(mark.read_text())), signal.SIGKILL)
    told = rehearse(CHAIN, "--from", "B")
    assert told.json["reason"] == "B needs the outputs of A, which are not there: begin with --from A."
    assert rehearse(CHAIN, "--from", "A").states == dict.fromkeys("ABC", "done")


def test_what_a_task_leaves_running_ends_with_it(rehearse, tmp_path):
    mark = tmp_path / "child"
    assert rehearse({"A": {"do": ["child"], "env": {"MARK": str(mark)}}}).code == 0
    until = time.monotonic() + 5
    while alive(int(mark.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(int(mark.read_text()))


def test_help_needs_no_framework():
    code = "import sys; from gated_pipelines.cli import cli; cli(['rehearse', '--help'], standalone_mode=False);"
    code += "print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--from TASK" in said
    assert not {"tensorflow", "tfx", "kfp", "keras"} & set(said.split())


def test_the_table_on_a_terminal_shows_each_task():
    from rich.console import Console

    from gated_pipelines.kubeflow.rehearsal.progress import TaskTable
    from gated_pipelines.kubeflow.rehearsal.record import TaskReport

    console = Console(force_terminal=True, width=60, record=True, file=io.StringIO())
    tasks = [TaskReport("A", "done", 1.26, 2, "log"), TaskReport("B", "running", 3, 1, "log"), TaskReport("C")]
    with TaskTable(console) as table:
        table.show({task.name: task for task in tasks})
    text = console.export_text()
    assert re.search(r"A +done, attempt 2 +1\.3", text)
    assert re.search(r"B +running +3\.0", text)
    assert re.search(r"C +waiting", text)
