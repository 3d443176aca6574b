"""What a run does with the push folder beside pushing: the store is told, old versions go, and no run stops at it."""

from __future__ import annotations

import logging

import pytest
from faults.papers import origin_of, pushed_papers, write_version

from checkpoint_gate.pushed.papers import FILE as PAPERS
from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.pusher.noting import note_pushed
from checkpoint_gate.pusher.pruning import PrunedVersions
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import read_pushed
from gated_pipelines.config.sections import KeepVersions, Push
from gated_pipelines.running.pushed import prune_pushed

LAST_2 = Push(keep=KeepVersions(last=2), grace="0s")


@pytest.fixture
def serving(tmp_path):
    """Versions of the steps 1, 2 and 3, the last one an average of the steps 3 and 4."""
    folder = tmp_path / "serving"
    for version, origins in ((10, [1]), (20, [2]), (30, [3, 4])):
        papers = pushed_papers(version, f"w{version}", origins=[origin_of(step) for step in origins])
        write_version(folder, version, f"w{version}", papers)
    return folder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store").create()


def notes(store):
    return [(note.step, note.version) for note in read_pushed(store.files)]


def test_the_store_is_told_of_every_checkpoint_of_every_live_version(serving, store):
    note_pushed(store.root, str(serving))
    assert notes(store) == [(3, "30"), (4, "30"), (2, "20"), (1, "10")]


@pytest.mark.parametrize("content", [b"{", b'{"format": 1}'], ids=["damaged", "of an earlier version"])
def test_what_was_noted_before_stays_where_papers_cannot_be_read(serving, store, content, caplog):
    store.files.replace("champion.json", b'{"format": 1, "run": "demo", "step": 7, "version": "30"}')
    (serving / "30" / PAPERS).write_bytes(content)
    note_pushed(store.root, str(serving))
    assert notes(store) == [(7, "30"), (2, "20"), (1, "10")]
    assert "What the store knows of version 30 stays." in caplog.text


def test_versions_without_papers_tell_nothing(tmp_path, store):
    write_version(tmp_path / "serving", 10, "w", None)
    note_pushed(store.root, str(tmp_path / "serving"))
    assert read_pushed(store.files) == ()


def test_without_a_store_nobody_is_told(tmp_path, serving):
    note_pushed(tmp_path / "none", str(serving))
    assert not (tmp_path / "none").exists()


def test_old_versions_go_and_that_is_told(serving, caplog):
    caplog.set_level(logging.INFO)
    assert prune_pushed(LAST_2, str(serving)) == PrunedVersions((10,), (10,))
    assert caplog.messages == [
        "old versions moved to the push folder's trash: 10",
        "old versions freed: 10",
    ]


def test_in_an_object_store_nothing_goes():
    assert prune_pushed(Push(folder="s3://b/m"), "s3://b/m") == PrunedVersions()


def test_a_damaged_log_or_a_full_disk_is_told_and_stops_no_run(serving, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("checkpoint_gate.pusher.pruning.add_to_log", full)
        assert "No space left on device" in prune_pushed(LAST_2, str(serving)).left[0]
    (serving / ".checkpoint-gate").mkdir(exist_ok=True)
    (serving / ".checkpoint-gate" / "log.jsonl").write_text("[]\n")
    assert "log.jsonl line 1" in prune_pushed(LAST_2, str(serving)).left[0]
    assert live_versions(str(serving)) == (10, 20, 30)
    assert "log.jsonl line 1" in caplog.text
