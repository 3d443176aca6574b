"""What is wrong is told at once: one sentence that names the thing and the way out, exit code 1, nothing half-done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gated_pipelines.cli import cli
from gated_pipelines.running import local

DATA = Path(__file__).parents[1] / "data" / "penguins"


@pytest.fixture
def project(tmp_path):
    shutil.copytree(DATA, tmp_path / "project")
    return tmp_path / "project"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def one_class(project: Path) -> None:
    lines = (project / "penguins.csv").read_text().splitlines()
    (project / "penguins.csv").write_text("\n".join([lines[0], *(line for line in lines if "Adelie" in line)]))


def blocked_push(project: Path) -> None:
    (project / "a file").write_text("")
    change(project / "pipeline.yaml", "folder: serving", f'folder: "{project}/a file/serving"')


YAML = "pipeline.yaml"
CASES = [
    pytest.param(
        lambda p: (p / "penguins.csv").unlink(),
        ["penguins.csv", "there is no file", "name a CSV"],
        id="the CSV is missing",
    ),
    pytest.param(lambda p: (p / "penguins.csv").write_text(""), ["penguins.csv", "is empty"], id="the CSV is empty"),
    pytest.param(
        lambda p: change(p / YAML, "label: species", "label: specie"),
        ["pipeline.yaml line", "'specie'", "species"],
        id="the label is not a column",
    ),
    pytest.param(one_class, ["species", "one class", "Adelie"], id="the label has one class"),
    pytest.param(
        lambda p: change(p / YAML, "label: species", "label: [species"), ["pipeline.yaml line"], id="malformed YAML"
    ),
    pytest.param(
        lambda p: change(p / YAML, "epochs: 40", "epoch: 40"),
        ["pipeline.yaml line", "train.epoch", "epochs"],
        id="an unknown key",
    ),
    pytest.param(
        lambda p: change(p / YAML, "at_most: 0.40", "at_mots: 0.40"),
        ["pipeline.yaml line", "rules.save.all.0", "at_most"],
        id="an unknown key in a rule",
    ),
    pytest.param(
        lambda p: change(p / YAML, "metric: loss, at_most: 0.40", "metric: los, at_most: 0.40"),
        ["pipeline.yaml line", "rules.save.all[0].metric 'los'", "did you mean loss?"],
        id="a rule names a metric that is never logged",
    ),
    pytest.param(blocked_push, ["The push folder", "cannot be written", "push.folder"], id="push folder not writable"),
    pytest.param(lambda p: (p / YAML).unlink(), ["pipeline.yaml"], id="no pipeline.yaml"),
]


@pytest.mark.parametrize(("spoil", "words"), CASES)
def test_bad_input_is_one_sentence_and_exit_code_1(spoil, words, project, tmp_path):
    spoil(project)
    root = tmp_path / "root"
    result = CliRunner().invoke(cli, ["run", str(project / YAML), "--root", str(root), "--json"])
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, summary["outcome"], summary["pushed"]) == (1, "failed", None)
    for word in words:
        assert word.lower() in summary["reason"].lower()
    assert "\n" not in summary["reason"]
    assert result.stderr.endswith(f"Error: {summary['reason']}\n")
    assert result.stderr.count(summary["reason"][-40:]) == 1, "the same sentence twice"
    assert "outcome" not in result.stderr
    assert not (root / "metadata.sqlite").exists()
    assert not (root / "store").exists()


def test_bad_input_is_told_by_the_installed_command_without_a_traceback(project, tmp_path):
    (project / "penguins.csv").unlink()
    command = Path(sys.executable).parent / "gated-pipeline"
    result = subprocess.run(
        [command, "run", project / YAML, "--root", tmp_path / "root"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert "Error: " in result.stderr


def test_bad_input_is_told_before_tensorflow_is_loaded(project, tmp_path):
    (project / "penguins.csv").unlink()
    code = (
        "import sys; from pathlib import Path; from gated_pipelines.running.local import run_local;"
        f"run_local(Path({str(project / YAML)!r}), Path({str(tmp_path / 'root')!r}));"
        "print([m for m in ('tensorflow', 'tfx', 'keras') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout.strip() == "[]"


def test_a_root_that_cannot_be_written_is_one_sentence(project, tmp_path):
    (tmp_path / "a file").write_text("")
    result = CliRunner().invoke(cli, ["run", str(project / YAML), "--root", str(tmp_path / "a file" / "root")])
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "--root" in result.stderr


def test_a_second_run_in_the_same_root_is_told_that_the_first_is_at_work(project, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    code = (
        "import sys, time; from checkpoint_gate.store.files import LocalFiles;"
        "from checkpoint_gate.store.lease import Lease;"
        f"Lease(LocalFiles({str(root)!r}), 'run.lease', 'running a pipeline', time.time).acquire();"
        "print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline().strip() == "taken"
        result = CliRunner().invoke(cli, ["run", str(project / YAML), "--root", str(root)])
        other.stdin.close()
    assert result.exit_code == 1
    assert f"{root} is in use by process {other.pid}" in result.stderr
    assert not (root / "metadata.sqlite").exists()


@pytest.mark.parametrize(
    ("stopped", "code", "words"),
    [
        pytest.param(KeyboardInterrupt(), 130, "Ctrl-C: the same command goes on", id="by Ctrl-C, wherever it was"),
        pytest.param(SystemExit(75), 75, "SIGTERM: the same command goes on", id="by SIGTERM, while it trained"),
    ],
)
def test_who_interrupts_a_run_is_told_how_it_goes_on(stopped, code, words, project, tmp_path, monkeypatch):
    def interrupted(job, log_file):
        raise stopped

    monkeypatch.setattr(local, "_run", interrupted)
    command = [str(project / YAML), "--root", str(tmp_path / "root")]
    result = CliRunner().invoke(cli, ["run", *command])
    assert result.exit_code == code
    assert f"interrupted by {words}" in result.stderr
    assert "Aborted" not in result.stderr
    (past,) = json.loads(CliRunner().invoke(cli, ["history", *command, "--json"]).stdout)
    assert (past["state"], past["outcome"], past["green"]) == ("ended", "interrupted", False)
    assert past["reason"].startswith(words)
