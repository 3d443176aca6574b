"""A loss that hides itself: what a check calls a fault although nothing that it can list is damaged."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from checkpoint_gate.cli import cli
from checkpoint_gate.store.checking import check_store

SHELVES = ["checkpoints", "resume", "trash", "quarantine", "superseded", "journal", "tmp"]


@pytest.fixture
def run(crowd):
    return crowd.run([0.9, 0.8, 0.3])


def faults(store) -> list[tuple[str | None, str, str]]:
    found = (finding for finding in check_store(store) if finding.severity == "fault")
    return [(fault.run, str(fault.place).removeprefix(f"{store.root}/"), fault.what) for fault in found]


@pytest.mark.parametrize(
    "left",
    [
        pytest.param({"checkpoints"}, id="its checkpoints"),
        pytest.param({"ledger.jsonl"}, id="its ledger"),
        pytest.param({"checkpoints", "ledger.jsonl"}, id="both"),
    ],
)
def test_a_run_without_its_run_json_is_a_fault_if_anything_tells_that_it_was_one(run, crowd, left):
    folder = run.files.local("run")
    for path in folder.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert faults(crowd.store) == [
        ("run", "run", "has no run.json, so it does not count as a run: it is not listed, pruned or verified")
    ]


def test_a_folder_of_others_is_no_fault(run, crowd):
    (crowd.root / "notes").mkdir()
    (crowd.root / "notes" / "checkpoints.txt").touch()
    (crowd.root / "begun").mkdir()  # a run whose making was interrupted
    assert faults(crowd.store) == []


@pytest.mark.parametrize("content", [None, b""], ids=["gone", "empty"])
def test_live_checkpoints_without_a_ledger_are_a_fault(run, crowd, content):
    ledger = run.files.local("run/ledger.jsonl")
    ledger.unlink()
    if content is not None:
        ledger.write_bytes(content)
    assert faults(crowd.store) == [("run", "run/ledger.jsonl", "tells of none of the 3 live checkpoints")]


def test_a_ledger_that_was_cut_is_a_fault(run, crowd):
    ledger = run.files.local("run/ledger.jsonl")
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    assert faults(crowd.store) == [("run", "run/ledger.jsonl", "does not tell of 2 of the 3 live checkpoints")]


def test_a_checkpoint_whose_line_a_crash_kept_from_the_ledger_is_no_fault(run, crowd):
    ledger = run.files.local("run/ledger.jsonl")
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    assert faults(crowd.store) == []


def test_a_run_without_checkpoints_needs_no_ledger(crowd):
    run = crowd.run([])
    assert (faults(crowd.store), run.live()) == ([], [])


@pytest.mark.parametrize("shelf", SHELVES)
def test_a_file_in_the_place_of_a_folder_is_a_fault(run, crowd, shelf):
    place = run.files.local(f"run/{shelf}")
    if place.exists():
        shutil.rmtree(place)
    place.touch()
    assert ("run", f"run/{shelf}", "is no folder") in faults(crowd.store)
    result = CliRunner().invoke(cli, ["check", str(crowd.root), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (1, False)
