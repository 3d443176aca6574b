"""Fixtures for submitting and scheduling: a server, a compiled file, and the command as the shell runs it."""

from __future__ import annotations

import sys

import pytest
from compiled_sample import write_sample
from kfp_server import KfpServer

from gated_pipelines.cli import main
from gated_pipelines.kubeflow.servers import kfp_connection, submitting


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No setting of the machine's user counts, and nothing waits long."""
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    monkeypatch.setattr(kfp_connection, "TIMEOUT", (2.0, 1.5))
    monkeypatch.setattr(submitting, "POLL", 0.01)


@pytest.fixture
def server(alone):
    with KfpServer() as running:
        yield running


@pytest.fixture
def compiled(tmp_path):
    return write_sample(tmp_path / "compiled.yaml")


@pytest.fixture
def call(alone, monkeypatch, capsys):
    """Runs the command as the shell does, and returns exit code, standard output and standard error."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["gated-pipeline", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run
