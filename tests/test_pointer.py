"""The pointer from Trainer's result to the store, which lies elsewhere."""

from __future__ import annotations

import shutil

import pytest

from checkpoint_gate.artifact_files.pointer import RunPointer, read_pointer
from checkpoint_gate.errors import RunMissing, StoreError


def test_a_pointer_leads_to_its_run(crowd, tmp_path):
    crowd.run([0.4], "a")
    RunPointer(str(crowd.root), "a").write(tmp_path)
    pointer = read_pointer(tmp_path)
    assert pointer == RunPointer(str(crowd.root), "a")
    assert [stored.step for stored in pointer.open().live()] == [1]


def test_the_place_may_be_overridden(crowd, tmp_path):
    crowd.run([0.4], "a")
    moved = crowd.root.with_name("moved")
    crowd.root.rename(moved)
    assert [stored.step for stored in RunPointer(str(crowd.root), "a").open(str(moved)).live()] == [1]


def test_a_run_that_is_gone_is_told_with_what_to_do(crowd):
    crowd.run([0.4], "a")
    pointer = RunPointer(str(crowd.root), "a")
    shutil.rmtree(crowd.root / "a")
    with pytest.raises(RunMissing) as error:
        pointer.open()
    assert str(error.value) == (
        f"Training run a is not in the store {crowd.root} any more, though the Trainer's result is still cached. "
        f"Run again with --retrain to train anew."
    )
    shutil.rmtree(crowd.root)
    with pytest.raises(RunMissing, match="is not in the store"):
        pointer.open()


@pytest.mark.parametrize("key", ["../a", "/a", ""])
def test_a_pointer_does_not_lead_out_of_the_store(crowd, key):
    crowd.run([0.4], "a")
    with pytest.raises(RunMissing, match="is not in the store"):
        RunPointer(str(crowd.root / "a"), key).open(str(crowd.root))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "No such file or directory", id="no pointer"),
        pytest.param("{", "Expecting property name", id="half a pointer"),
        pytest.param("[]", "list indices", id="no object"),
        pytest.param(
            '{"format": 2, "store": "s", "run": "r"}', "its format is 2; this version reads format 1", id="newer"
        ),
        pytest.param('{"format": 1, "store": "s"}', "'run'", id="no run"),
        pytest.param('{"format": 1, "store": "s", "run": "r", "run": "q"}', "duplicate key 'run'", id="two runs"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_told(tmp_path, content, words):
    if content is not None:
        (tmp_path / "run_pointer.json").write_text(content)
    with pytest.raises(StoreError) as error:
        read_pointer(tmp_path)
    assert f"{tmp_path}/run_pointer.json does not lead to a checkpoint store (" in str(error.value)
    assert words in str(error.value)
    assert "The Trainer has to use GatedCheckpoint and write the pointer" in str(error.value)
