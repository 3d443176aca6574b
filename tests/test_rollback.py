"""Going back to an earlier version: what is published, withdrawn and remembered; a kill anywhere is harmless."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from faults.papers import papers_of, pushed_papers, write_version

from checkpoint_gate.errors import ConfigError, ModelError, StoreError
from checkpoint_gate.pushed.papers import read_papers, write_papers
from checkpoint_gate.pushed.push_folder import champion_path, listing_digest, live_versions, next_version
from checkpoint_gate.pushed.push_log import add_to_log, read_log, withdrawn_from
from checkpoint_gate.pusher.publish import exclusive
from checkpoint_gate.pusher.rollback import plan_rollback, plan_undo, roll_back, undo_rollback

NOW = 1_790_001_000
WEIGHTS_DIGEST = "checkpoint_gate.models.weights.weights_digest"


@pytest.fixture
def folder(memory_path):
    """A push folder with the versions 10, 20 and 30, each of its own weights."""
    place = memory_path / "push"
    for version in (10, 20, 30):
        write_version(place, version, f"w{version}")
    return place


def fine(model: str) -> None:
    """A check that finds nothing wrong."""


def back(folder: Path | str, to=None, reason="wrong prices", now=NOW, check=fine) -> str:
    with exclusive(str(folder)):
        return roll_back(plan_rollback(str(folder), to, now), reason, float(now), check)


def undo(folder: Path | str, now=NOW + 100, check=fine) -> str | None:
    with exclusive(str(folder)):
        return undo_rollback(plan_undo(str(folder), now), "it was fine", float(now), check)


def weights(folder: Path, version: int) -> str:
    return (folder / str(version) / "fingerprint.pb").read_bytes().decode().removeprefix("fingerprint of ")


def in_force(folder: Path) -> list[tuple[int, str, str]]:
    return [(w.version, w.weights, w.reason) for w in withdrawn_from(str(folder))]


def test_the_version_before_is_published_again_under_a_larger_number(folder):
    assert back(folder) == f"{folder}/{NOW}"
    assert live_versions(str(folder)) == (10, 20, 30, NOW)
    assert weights(folder, NOW) == "w20"
    assert in_force(folder) == [(30, "w30", "wrong prices")]
    assert str(withdrawn_from(str(folder))[0]) == "withdrawn on 2026-09-21 14:30 UTC: wrong prices"


def test_its_papers_say_that_it_was_brought_back_and_the_earlier_ones_stay_as_they_are(folder):
    before = read_papers(folder / "20")
    back(folder)
    papers = read_papers(folder / str(NOW))
    assert papers.push.model_dump() == {
        "version": NOW,
        "time": float(NOW),
        "weights": "w20",
        "replaces": 30,
        "blessing": before.push.blessing,
        "rollback": {"withdrew": 30, "restored": 20, "reason": "wrong prices"},
        "best": None,
    }
    assert papers.model_copy(update={"push": None}) == before.model_copy(update={"push": None})
    assert read_papers(folder / "20") == before


def test_on_a_disk_its_files_cost_no_space(folder):
    back(folder)
    for path in ("saved_model.pb", "variables/variables.index"):
        assert os.path.samefile(folder / "20" / path, folder / str(NOW) / path)
    place = "assets.extra/checkpoint_gate.json"
    assert not os.path.samefile(folder / "20" / place, folder / str(NOW) / place)


def test_where_links_are_impossible_verified_copies_are_made(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("checkpoint_gate.store.files.os.link", refuse)
    back(folder)
    assert weights(folder, NOW) == "w20"
    assert not os.path.samefile(folder / "20" / "saved_model.pb", folder / str(NOW) / "saved_model.pb")


def test_behind_a_url_it_is_copied(folder):
    assert back(f"file://{folder}") == f"file://{folder}/{NOW}"
    assert weights(folder, NOW) == "w20"
    assert read_papers(folder / str(NOW)).push.rollback.restored == 20
    assert in_force(folder) == [(30, "w30", "wrong prices")]
    assert undo(f"file://{folder}") == f"file://{folder}/{NOW + 100}"
    assert in_force(folder) == []


def test_a_copy_behind_a_url_that_differs_is_not_live(folder, monkeypatch):
    from checkpoint_gate.pusher import uploading

    monkeypatch.setattr(uploading, "copy_file", lambda source, target: None)
    with pytest.raises(ConfigError, match=rf"the copy file://{folder}/{NOW}/.* differs from"):
        back(f"file://{folder}")
    assert live_versions(str(folder)) == (10, 20, 30)


def test_again_and_again_it_goes_further_back_and_then_says_that_there_is_no_more(folder):
    back(folder)
    back(folder)
    assert live_versions(str(folder)) == (10, 20, 30, NOW, NOW + 1)
    assert weights(folder, NOW + 1) == "w10"
    assert [w[1] for w in in_force(folder)] == ["w30", "w20"]
    with pytest.raises(
        ConfigError, match=rf"There is no version to go back to from {NOW + 1}: the earlier ones \(10, "
    ):
        back(folder)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        pytest.param(15, r"has no live version 15\. It has: 10, 20, 30\.", id="one that is not there"),
        pytest.param(30, "Version 30 is the newest already", id="the champion"),
        pytest.param(25, r"has no live version 25", id="a half-written one"),
    ],
)
def test_a_version_that_cannot_be_gone_back_to_is_one_sentence(folder, to, words):
    (folder / "25" / "variables").mkdir(parents=True)
    with pytest.raises(ConfigError, match=words):
        back(folder, to)
    assert read_log(str(folder)) == []


def test_a_version_of_the_champion_s_weights_is_no_way_back(memory_path):
    for version, name in ((10, "w1"), (20, "w2"), (30, "w2")):
        write_version(memory_path, version, name)
    assert plan_rollback(str(memory_path), None, NOW).restored == 10
    with pytest.raises(ConfigError, match="Version 20 has the same weights as the champion, 30"):
        back(memory_path, 20)


def test_a_version_can_be_named(folder):
    back(folder, 10)
    assert weights(folder, NOW) == "w10"


def test_a_withdrawn_version_is_not_gone_back_to(folder):
    back(folder)
    with pytest.raises(ConfigError, match=r"Version 30 was withdrawn on .*: wrong prices\. Take that back first"):
        back(folder, 30)


@pytest.mark.parametrize("count", [0, 1])
def test_without_an_earlier_version_it_is_one_sentence(memory_path, count):
    folder = memory_path / "push"
    for version in range(1, count + 1):
        write_version(folder, version, "w")
    words = {0: "holds no live version", 1: "There is no version to go back to from 1: it is the only live one"}
    with pytest.raises(ConfigError, match=words[count]):
        plan_rollback(str(folder), None, NOW)


def test_a_version_that_cannot_serve_changes_nothing(folder):
    def broken(model):
        raise ModelError("The model does not load, so it is not pushed.")

    with pytest.raises(ModelError, match="does not load"):
        back(folder, check=broken)
    assert sorted(os.listdir(folder)) == ["10", "20", "30"]


@pytest.mark.parametrize(
    "papers", [pytest.param(None, id="none"), pytest.param(b'{"format": 1}', id="of an earlier version")]
)
def test_a_version_whose_papers_cannot_be_amended_comes_back_as_it_is(folder, papers, monkeypatch):
    monkeypatch.setattr(
        "checkpoint_gate.models.weights.weights_digest", lambda model: f"read from {os.path.basename(model)}"
    )
    place = Path("assets.extra", "checkpoint_gate.json")
    (folder / "20" / place).unlink()
    if papers is not None:
        (folder / "20" / place).write_bytes(papers)
    back(folder)
    assert weights(folder, NOW) == "w20"
    there = folder / str(NOW) / place
    assert (there.read_bytes() if there.exists() else None) == papers


def test_taking_it_back_publishes_the_withdrawn_version_again(folder):
    back(folder)
    assert undo(folder) == f"{folder}/{NOW + 100}"
    assert weights(folder, NOW + 100) == "w30"
    assert in_force(folder) == []
    papers = read_papers(folder / str(NOW + 100))
    assert papers.push.rollback.model_dump() == {"withdrew": None, "restored": 30, "reason": "it was fine"}
    with pytest.raises(ConfigError, match="There is no rollback to take back"):
        undo(folder)


def test_the_newest_is_taken_back_first(folder):
    back(folder)
    back(folder)
    undo(folder)
    assert weights(folder, NOW + 100) == "w20"
    assert [w[1] for w in in_force(folder)] == ["w30"]


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(lambda folder: write_version(folder, NOW + 5, "w4"), id="another one was pushed since"),
        pytest.param(lambda folder: shutil.rmtree(folder / "30"), id="the withdrawn version is gone"),
    ],
)
def test_taking_back_only_allows_the_weights_where_there_is_nothing_to_publish(folder, meanwhile):
    back(folder)
    meanwhile(folder)
    champion = champion_path(str(folder))
    assert undo(folder) is None
    assert champion_path(str(folder)) == champion
    assert in_force(folder) == []


def test_weights_that_are_withdrawn_once_more_are_the_newest_withdrawal(folder):
    for version, weights in ((10, "w1"), (20, "w2"), (30, "w1")):
        add_to_log(str(folder), "withdrawn", version, weights=weights, by=40, reason="so", time=1.0)
    assert in_force(folder) == [(20, "w2", "so"), (30, "w1", "so")]


def test_withdrawals_outlive_their_version_and_change_the_listing(folder):
    back(folder)
    shutil.rmtree(folder / "30")
    with_withdrawal = listing_digest(str(folder))
    assert in_force(folder) == [(30, "w30", "wrong prices")]
    shutil.rmtree(folder / ".checkpoint-gate")
    assert listing_digest(str(folder)) != with_withdrawal


def test_numbers_that_the_log_tells_of_are_not_used_again(folder):
    add_to_log(str(folder), "swept", NOW + 50)
    back(folder)
    assert live_versions(str(folder))[-1] == NOW + 51
    shutil.rmtree(folder / str(NOW + 51))
    assert next_version(str(folder), NOW) == NOW + 52


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param('{"event": "withdrawn", "version": 30}', "A withdrawal must tell version, by, weights", id="half"),
        pytest.param('{"event": "withdrawn"}', "a line needs event and version", id="without a version"),
        pytest.param(
            '{"event": "allowed", "version": 3, "crc": "00000000"}', "its checksum does not hold", id="changed"
        ),
        pytest.param('{"format": 2, "event": "x", "version": 3}', "has the format 2", id="of a newer format"),
        pytest.param("{", "log.jsonl line 1", id="no JSON"),
    ],
)
def test_a_damaged_log_stops_what_rests_on_it(folder, line, words):
    (folder / ".checkpoint-gate").mkdir()
    (folder / ".checkpoint-gate" / "log.jsonl").write_text(f"{line}\n")
    for call in (lambda: listing_digest(str(folder)), lambda: plan_rollback(str(folder), None, NOW)):
        with pytest.raises(StoreError, match=words):
            call()


def test_links_are_not_followed_out_of_the_push_folder(folder, tmp_path):
    outside = write_version(tmp_path, 1, "w0")
    shutil.rmtree(folder / "20")
    (folder / "20").symlink_to(outside)
    with pytest.raises(StoreError, match="is a symbolic link"):
        back(folder, 20)
    (folder / ".checkpoint-gate").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a symbolic link"):
        back(folder, 10)
    assert sorted(os.listdir(folder)) == [".checkpoint-gate", "10", "20", "30"]
    assert sorted(os.listdir(tmp_path)) == ["1"]


def state(folder: Path) -> tuple[str, list[str], bool]:
    """The champion's weights, what is withdrawn, and whether it is whole."""
    champion = Path(champion_path(str(folder)))
    whole = sorted(p.name for p in champion.rglob("*") if p.is_file()) == [
        "checkpoint_gate.json",
        "fingerprint.pb",
        "saved_model.pb",
        "variables.index",
    ]
    return weights(folder, int(champion.name)), [w[1] for w in in_force(folder)], whole


@pytest.mark.parametrize(
    ("work", "first", "middle", "done"),
    [
        pytest.param(back, ("w30", []), ("w30", ["w30"]), ("w20", ["w30"]), id="rollback"),
        pytest.param(undo, ("w20", ["w30"]), ("w30", ["w30"]), ("w30", []), id="taking it back"),
    ],
)
def test_killed_at_any_operation_it_is_whole_and_the_same_again_finishes(
    folder, memory_path, killable, killed, monkeypatch, work, first, middle, done
):
    from checkpoint_gate.pusher import publish

    if work is undo:
        back(folder)
    monkeypatch.setattr(publish, "os", killable)
    monkeypatch.setattr(publish, "shutil", killable)
    killable.arm(None)
    seen, at = set(), 0
    while True:
        copy = memory_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        killable.arm(at)
        try:
            work(copy)
            break
        except killed:
            pass
        finally:
            killable.arm(None)
        champion, withdrawn, whole = state(copy)
        assert whole
        assert (champion, withdrawn) in (first, middle, done)
        seen.add((champion, tuple(withdrawn)))
        if (champion, withdrawn) != done:
            work(copy, now=NOW + 500)
        assert state(copy) == (*done, True)
        assert [name for name in os.listdir(copy) if name.startswith(".tmp-")] == []
        at += 1
    assert at > 12
    assert {(first[0], tuple(first[1])), (middle[0], tuple(middle[1]))} <= seen


def test_the_log_is_strict_json_that_other_programs_can_read(folder):
    back(folder)
    (line,) = (folder / ".checkpoint-gate" / "log.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told["event"], told["version"], told["by"], told["weights"]) == ("withdrawn", 30, NOW, "w30")


def test_weights_that_no_papers_tell_are_read_from_the_model(folder, monkeypatch):
    monkeypatch.setattr(
        "checkpoint_gate.models.weights.weights_digest", lambda model: f"read from {os.path.basename(model)}"
    )
    write_papers(folder / "30", papers_of())
    back(folder)
    assert in_force(folder) == [(30, "read from 30", "wrong prices")]


def test_from_a_damaged_champion_one_goes_back_and_passes_over_damaged_versions(folder, monkeypatch):
    def damaged(model):
        raise ModelError(f"The weights of the SavedModel in {model} cannot be read.")

    monkeypatch.setattr(WEIGHTS_DIGEST, damaged)
    for version in (20, 30):
        (folder / str(version) / "assets.extra" / "checkpoint_gate.json").write_text("{")
    back(folder)
    assert weights(folder, NOW) == "w10"
    assert in_force(folder) == [(30, "unknown-30", "wrong prices")]


@pytest.mark.parametrize("out_of_reach", ["30", "20"], ids=["the champion", "an earlier version"])
def test_what_cannot_be_reached_may_be_gone_back_from_and_is_never_passed_over(folder, monkeypatch, out_of_reach):
    def unreachable(model):
        raise StoreError(f"The weights of the SavedModel in {model} cannot be reached (Connection timed out).")

    monkeypatch.setattr(WEIGHTS_DIGEST, unreachable)
    (folder / out_of_reach / "assets.extra" / "checkpoint_gate.json").write_text("{")
    if out_of_reach == "30":
        back(folder)
        assert weights(folder, NOW) == "w20"
    else:
        with pytest.raises(StoreError, match="Connection timed out"):
            back(folder)


def test_what_was_pushed_before_is_told_by_its_papers(folder):
    assert read_papers(folder / "30") == pushed_papers(30, "w30")
