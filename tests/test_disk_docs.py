"""The page on the disk shows what there is: its YAML is read, its commands run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from checkpoint_gate.errors import LeaseHeld
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease
from gated_pipelines.cli import cli
from gated_pipelines.config.pipeline_config import parse_config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "pipelines" / "docs" / "disk.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ gated-pipeline (.*)$", PAGE, re.MULTILINE)]
PENGUINS = (ROOT / "data" / "penguins" / "pipeline.yaml").read_text(encoding="utf-8")


def test_the_yaml_is_a_part_of_a_pipeline():
    [said] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = parse_config(PENGUINS.replace("push: {folder: serving}", "") + said, Path("pipeline.yaml"))
    assert (config.disk.keep_runs, config.disk.keep_logs, config.push.keep.last) == (3, 20, 3)


def test_the_commands_run_one_after_another(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "data" / "penguins", tmp_path / "data" / "penguins")
    (tmp_path / "runs" / "penguins").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    plan, execute = COMMANDS
    shown = CliRunner().invoke(cli, plan)
    assert shown.exit_code == 0, shown.output
    digest = re.search("^digest ([0-9a-f]{64})$", shown.stdout, re.MULTILINE)[1]
    done = CliRunner().invoke(cli, [digest if word == "DIGEST" else word for word in execute])
    assert (done.exit_code, "Freed: 0 B" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--keep-runs", "0"], "0 is not in the range x>=1", id="no run at all"),
        pytest.param(["--root", "nowhere", "--keep-runs", "1"], "no run has made it", id="no such root"),
        pytest.param([], "does not say how many runs stay", id="no number"),
    ],
)
def test_what_could_only_be_a_slip_is_refused(tmp_path, monkeypatch, options, words):
    shutil.copytree(ROOT / "data" / "penguins", tmp_path / "penguins")
    (tmp_path / "runs" / "penguins").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(cli, ["prune", "penguins/pipeline.yaml", *options])
    assert told.exit_code != 0
    assert words in told.output + str(told.exception)


@pytest.mark.parametrize("key", ["keep_runs", "keep_logs"])
def test_the_section_takes_whole_numbers_from_1(key):
    from checkpoint_gate.errors import ConfigError

    with pytest.raises(ConfigError, match=f"disk.{key} must be greater than or equal to 1"):
        parse_config(f"{PENGUINS}\ndisk: {{{key}: 0}}\n", Path("pipeline.yaml"))


@pytest.fixture
def other(tmp_path):
    """A folder that somebody named as the root by mistake."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    return tmp_path / "other"


def planned(root, *options):
    pipeline = str(ROOT / "data" / "penguins" / "pipeline.yaml")
    return CliRunner().invoke(cli, ["prune", pipeline, "--root", str(root), "--keep-runs", "3", *options])


def test_a_plan_writes_nothing(other):
    assert planned(other).exit_code == 0
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_a_plan_waits_for_no_run_and_says_so(other):
    with Lease(LocalFiles(other), "run.lease", "running a pipeline", time.time, again=False):
        told = planned(other)
    assert isinstance(told.exception, LeaseHeld)
    assert "(running a pipeline)" in str(told.exception)


def test_a_run_that_began_while_a_plan_was_made_is_told(other, monkeypatch):
    begin = Lease(LocalFiles(other), "run.lease", "running a pipeline", time.time, again=False)
    monkeypatch.setattr("gated_pipelines.disk.planning._old_logs", lambda *_: begin.acquire())
    told = planned(other)
    begin.release()
    assert isinstance(told.exception, LeaseHeld)


@pytest.mark.parametrize("digest", ["", "DIGEST", "0" * 63])
def test_what_is_no_digest_is_refused(other, digest):
    told = planned(other, "--execute", digest)
    assert told.exit_code == 2
    assert f"--execute must be the digest that was printed with the plan. Received: {digest!r}." in told.stderr
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
