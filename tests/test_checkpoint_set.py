"""The folder of survivors: self-contained, and read only when every byte is there."""

from __future__ import annotations

import errno
import json
import pathlib
import shutil

import pytest

from checkpoint_gate.artifact_files.checkpoint_set import publish_survivors, read_about, read_set, write_about
from checkpoint_gate.errors import DamagedCheckpoint, StoreError
from checkpoint_gate.reviewing.judging import judge_runs
from checkpoint_gate.rule_text.rule_set import parse_rules

HALF = parse_rules("filter: {metric: val_loss, at_most: 0.5}").filter


@pytest.fixture
def folder(memory_path):
    return memory_path / "artifact" / "7"


def publish(folder, runs, **about):
    judged = judge_runs(runs, HALF)
    publish_survivors(folder, runs, judged)
    write_about(folder, runs, judged, about)
    return judged


def test_the_survivors_and_every_verdict_are_there(crowd, folder):
    run = crowd.run([0.9, 0.4, float("nan"), 0.3])
    publish(folder, [run], kept=2)
    assert [(s.name, s.manifest.step) for s in read_set(folder)] == [("step-000000002", 2), ("step-000000004", 4)]
    assert read_set(folder)[0].prefix == str(folder / "survivors" / "step-000000002" / "ckpt")
    verdicts = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert [(v["run"], v["step"], v["outcome"]) for v in verdicts] == [
        ("run", 1, "reject"),
        ("run", 2, "keep"),
        ("run", 3, "reject"),
        ("run", 4, "keep"),
    ]
    assert verdicts[0]["reason"] == "val_loss 0.9 is not at most 0.5 (by 0.4)"
    assert verdicts[2]["metrics"] == {"loss": 0.5, "val_loss": "nan"}
    assert read_about(folder) == {"format": 1, "runs": ["run"], "pruned_earlier": [], "kept": 2}


def test_the_set_outlives_the_store(crowd, folder):
    publish(folder, [crowd.run([0.4])])
    shutil.rmtree(crowd.root)
    (survivor,) = read_set(folder)
    assert pathlib.Path(survivor.prefix + ".index").read_bytes() == b"index of 1"


def test_the_store_outlives_the_set(crowd, folder):
    run = crowd.run([0.4])
    publish(folder, [run])
    shutil.rmtree(folder)
    assert [v.outcome for v in judge_runs([run], HALF).verdicts] == ["keep"]


def test_survivors_of_several_runs_keep_their_runs_in_their_names(crowd, folder):
    runs = [crowd.run([0.4], "a"), crowd.run([0.3], "b")]
    publish(folder, runs)
    assert [(s.name, s.manifest.run) for s in read_set(folder)] == [
        ("a--step-000000001", "a"),
        ("b--step-000000001", "b"),
    ]


def test_where_links_cannot_be_made_the_set_is_a_copy(crowd, folder, monkeypatch):
    run = crowd.run([0.4])

    def refuse(*args, **kwargs):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("checkpoint_gate.store.files.os.link", refuse)
    publish(folder, [run])
    (survivor,) = read_set(folder)
    assert pathlib.Path(survivor.prefix + ".index").read_bytes() == b"index of 1"


def test_a_set_without_survivors_is_a_set(crowd, folder):
    publish(folder, [crowd.run([0.9])])
    assert read_set(folder) == []


def test_half_a_set_is_no_set(crowd, folder):
    run = crowd.run([0.4])
    publish_survivors(folder, [run], judge_runs([run], HALF))
    with pytest.raises(StoreError, match=rf"{folder} is not a CheckpointSet: it has no set\.json\."):
        read_set(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(
            lambda p: (p / "ckpt.index").write_bytes(b"xndex of 2"), "does not match its checksum", id="a byte"
        ),
        pytest.param(lambda p: (p / "ckpt.index").unlink(), "ckpt.index is missing", id="a lost file"),
        pytest.param(lambda p: (p / "manifest.json").unlink(), "it has no manifest", id="a lost manifest"),
        pytest.param(lambda p: (p / "manifest.json").write_text("{"), "is damaged: Expecting", id="half a manifest"),
        pytest.param(
            lambda p: p.rename(p.with_name("step-000000009")), "it has the manifest of step 2", id="another step's name"
        ),
    ],
)
def test_a_damaged_survivor_is_told(crowd, folder, spoil, words):
    publish(folder, [crowd.run([0.4, 0.3])])
    place = folder / "survivors" / "step-000000002"
    for name in ("ckpt.index", "manifest.json"):  # not the store's own bytes, which a link shares
        data = (place / name).read_bytes()
        (place / name).unlink()
        (place / name).write_bytes(data)
    spoil(place)
    with pytest.raises(DamagedCheckpoint, match=words):
        read_set(folder)


def test_a_survivor_that_is_missing_altogether_is_noticed(crowd, folder):
    publish(folder, [crowd.run([0.4, 0.3])])
    shutil.rmtree(folder / "survivors" / "step-000000002")
    with pytest.raises(DamagedCheckpoint, match=r"is damaged: the survivor of step 2 is missing\."):
        read_set(folder)
