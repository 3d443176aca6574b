"""The commands of the page on submitting and scheduling work as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from compiled_sample import write_sample

from gated_pipelines.cron import read_cron
from gated_pipelines.kubeflow.servers.kfp_requests import kfp_cron
from gated_pipelines.kubeflow.servers.vertex_requests import vertex_cron

pytest_plugins = ["kubeflow_fixtures"]

PAGE = (Path(__file__).parents[1] / "pipelines" / "docs" / "scheduling.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ (gated-pipeline .*)$", PAGE, re.MULTILINE)]
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\|.*\|$", PAGE, re.MULTILINE)
][2:]


def test_the_commands_run_one_after_another(call, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
    (tmp_path / "kubeflow").mkdir()
    write_sample(tmp_path / "kubeflow" / "gated-penguins.yaml")
    for command in COMMANDS:
        code, out, err = call(*command[1:])
        assert (code, err) == (0, ""), (command, out)
    assert len(COMMANDS) == 7
    assert (len(server.runs), len(server.recurring), server.refusals) == (1, 0, [])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_of_expressions(row):
    given, kubeflow, vertex = row
    for write, wanted in ((kfp_cron, kubeflow), (vertex_cron, vertex)):
        if wanted.startswith("refused"):
            with pytest.raises(ValueError, match="Received"):
                write(read_cron(given))
        else:
            assert write(read_cron(given)) == wanted


def test_every_option_is_told_of(call):
    for command in (["submit"], ["schedule", "kubeflow", "create"]):
        _, out, _ = call(*command, "--help")
        options = set(re.findall(r"--[a-z-]+", out)) - {"--help", "--no-cache", "--parameter"}
        assert {option for option in options if option not in PAGE} == set()
