"""What a pipeline run did, from ML Metadata; and ML Metadata that cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from checkpoint_gate.errors import CheckpointGateError
from gated_pipelines.reporting.lineage import last_run, newest_run
from gated_pipelines.running.local import run_local

DATA = Path(__file__).parents[1] / "data" / "penguins"


def test_without_a_database_there_was_no_run(tmp_path):
    assert (newest_run(tmp_path / "metadata.sqlite"), last_run(tmp_path / "metadata.sqlite")) == (0, {})


def test_artifacts_without_their_database_are_one_sentence(tmp_path):
    shutil.copytree(DATA, tmp_path / "project")
    left = tmp_path / "root" / "artifacts" / "Transform"
    left.mkdir(parents=True)
    summary = run_local(tmp_path / "project" / "pipeline.yaml", tmp_path / "root")
    assert (summary.outcome, summary.green) == ("failed", False)
    assert f"move {left.parent} away to execute everything anew" in summary.reason


def test_a_damaged_database_is_one_sentence(tmp_path):
    database = tmp_path / "metadata.sqlite"
    database.write_bytes(b"no database" * 100)
    with pytest.raises(
        CheckpointGateError, match=r"metadata.sqlite cannot be opened \(.*file is not a database"
    ) as error:
        newest_run(database)
    assert "\n" not in str(error.value)
