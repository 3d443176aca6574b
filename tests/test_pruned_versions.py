"""Old versions of a push folder: which go, how, and what is left alone. Versions only grow, whatever happens."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from faults.papers import papers_of, pushed_papers, write_version
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import CheckpointGateError, StoreError
from checkpoint_gate.pushed.papers import write_papers
from checkpoint_gate.pushed.push_folder import champion_path, live_versions, next_version
from checkpoint_gate.pushed.push_log import add_to_log, read_log
from checkpoint_gate.pusher.pruning import prune_versions
from checkpoint_gate.pusher.publish import publish
from checkpoint_gate.pusher.rollback import plan_rollback, plan_undo, roll_back, undo_rollback
from checkpoint_gate.rules.retention import Keep

DAY = 86_400.0
LAST_2 = Keep(last=2)


@pytest.fixture
def folder(memory_path, clock):
    """Five versions, pushed a day apart, the newest now; each of its own weights."""
    place = memory_path / "push"
    clock.now = 1_790_000_000.0
    for place_in_time, version in enumerate((10, 20, 30, 40, 50)):
        push(place, version, clock.now - DAY * (4 - place_in_time))
    return place


def push(folder: Path, version: int, time: float, weights: str | None = None) -> None:
    weights = weights or f"w{version}"
    write_version(folder, version, weights, pushed_papers(version, weights, time))


def trash(folder: Path) -> list[str]:
    place = folder / ".checkpoint-gate" / "trash"
    return sorted(os.listdir(place)) if place.is_dir() else []


def events(folder: Path, version: int) -> list[str]:
    return [line["event"] for line in read_log(str(folder)) if line["version"] == version]


@pytest.mark.parametrize(
    ("keep", "live"),
    [
        pytest.param(None, (10, 20, 30, 40, 50), id="without a rule all stay"),
        pytest.param(Keep(last=3), (30, 40, 50), id="the newest three"),
        pytest.param(Keep(last=1), (40, 50), id="the champion and the version before it always stay"),
        pytest.param(Keep(within=3.5 * DAY), (20, 30, 40, 50), id="those pushed within a time"),
        pytest.param(Keep(last=2, within=2.5 * DAY), (30, 40, 50), id="a union"),
    ],
)
def test_which_versions_stay(folder, clock, keep, live):
    done = prune_versions(str(folder), keep, DAY, clock)
    assert live_versions(str(folder)) == live
    assert done.trashed == tuple(v for v in (10, 20, 30, 40, 50) if v not in live)
    assert [int(name) for name in trash(folder)] == list(done.trashed)
    assert (done.swept, done.left) == ((), ())


def test_the_version_that_a_rollback_would_go_back_to_stays(folder, clock):
    with_rollback = roll_back(plan_rollback(str(folder), 20, 60), "wrong", clock.now, lambda model: None)
    assert with_rollback.endswith("/60")
    prune_versions(str(folder), Keep(last=1), DAY, clock)
    # 60 is 20's weights, 50 is withdrawn: one would go back to 40.
    assert live_versions(str(folder)) == (40, 50, 60)
    assert plan_rollback(str(folder), None, 70).restored == 40


def link_papers(folder: Path) -> None:
    write_version(folder, 15, "w", None)
    (folder / "15" / "assets.extra").symlink_to(folder / "50" / "assets.extra")


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(lambda folder: write_version(folder, 15, "w", None), id="a version without our papers"),
        pytest.param(lambda folder: (folder / "15" / "variables").mkdir(parents=True), id="a half-written version"),
        pytest.param(lambda folder: (folder / "notes").mkdir(), id="a folder of another name"),
        pytest.param(lambda folder: (folder / "007").mkdir(), id="digits that are no version"),
        pytest.param(lambda folder: (folder / "15").symlink_to(folder / "50"), id="a link to a version"),
        pytest.param(lambda folder: link_papers(folder), id="a version with a link on the way to its papers"),
    ],
)
def test_what_is_not_ours_is_left_alone(folder, clock, foreign):
    foreign(folder)
    before = {name for name in os.listdir(folder) if not name.isdecimal() or name in ("15", "007")}
    prune_versions(str(folder), LAST_2, 0.0, clock)
    assert before <= set(os.listdir(folder))
    assert champion_path(str(folder)) == f"{folder}/50"


@pytest.mark.parametrize("papers", [b"{", b'{"format": 1}'], ids=["damaged", "of an earlier version"])
def test_a_version_whose_papers_cannot_be_read_goes_by_its_number(folder, clock, papers):
    (folder / "10" / "assets.extra" / "checkpoint_gate.json").write_bytes(papers)
    prune_versions(str(folder), Keep(within=9 * DAY), DAY, clock)
    assert live_versions(str(folder)) == (20, 30, 40, 50)  # 10 was pushed 10 seconds after 1970


def test_a_link_in_a_version_keeps_it_where_it_is(folder, clock, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (folder / "10" / "assets.extra" / "link").symlink_to(tmp_path / "precious")
    done = prune_versions(str(folder), LAST_2, 0.0, clock)
    assert done.left == (
        f"version 10 stays: {folder}/10/assets.extra/link is neither a file nor a folder, and is left alone.",
    )
    assert live_versions(str(folder)) == (10, 40, 50)
    assert (done.trashed, done.swept) == ((20, 30), (20, 30))


def test_a_link_put_into_the_trash_is_not_followed(folder, clock, tmp_path):
    (tmp_path / "precious").write_text("precious")
    prune_versions(str(folder), LAST_2, DAY, clock)
    (folder / ".checkpoint-gate" / "trash" / "10" / "link").symlink_to(tmp_path)
    clock.now += 2 * DAY
    done = prune_versions(str(folder), LAST_2, DAY, clock)
    assert done.swept == (20, 30)
    assert len(done.left) == 1
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("place", [".checkpoint-gate", ".checkpoint-gate/trash"])
def test_a_trash_that_is_a_link_is_refused(folder, clock, tmp_path, place):
    if place != ".checkpoint-gate":
        (folder / ".checkpoint-gate").mkdir()
    (folder / place).symlink_to(tmp_path)
    try:
        left = prune_versions(str(folder), LAST_2, 0.0, clock).left
        assert len(left) == 3
    except StoreError as error:
        left = (str(error),)
    assert all("symbolic link" in words for words in left)
    assert live_versions(str(folder)) == (10, 20, 30, 40, 50)
    assert os.listdir(tmp_path) == []


def test_a_push_folder_behind_a_link_is_pruned_where_it_is(folder, clock, tmp_path):
    (tmp_path / "serving").symlink_to(folder)
    prune_versions(str(tmp_path / "serving"), LAST_2, 0.0, clock)
    assert live_versions(str(folder)) == (40, 50)


def test_after_the_grace_the_bytes_go_and_the_log_stays(folder, clock):
    prune_versions(str(folder), LAST_2, DAY, clock)
    clock.now += DAY - 1
    assert prune_versions(str(folder), LAST_2, DAY, clock).swept == ()
    clock.now += 1
    assert prune_versions(str(folder), LAST_2, DAY, clock).swept == (10, 20, 30)
    assert trash(folder) == []
    assert events(folder, 10) == ["pruning", "trashed", "swept"]
    (mark, *_) = [line for line in read_log(str(folder)) if line["version"] == 10]
    assert mark["reason"] == "no part of `keep` protects it"
    assert mark["bytes"] > 0


def test_a_grace_of_nothing_frees_at_once(folder, clock):
    done = prune_versions(str(folder), LAST_2, 0.0, clock)
    assert done.trashed == done.swept == (10, 20, 30)


def test_without_a_rule_what_is_in_the_trash_still_goes(folder, clock):
    prune_versions(str(folder), LAST_2, DAY, clock)
    clock.now += DAY
    assert prune_versions(str(folder), None, DAY, clock).swept == (10, 20, 30)


class Rebooted:
    """A clock of another boot, ahead by years."""

    def __init__(self, now: float, boot: str) -> None:
        self.now, self.boot = now, boot

    def __call__(self) -> float:
        return self.now

    def uptime(self) -> tuple[str, float]:
        return self.boot, 100.0


def test_a_clock_that_is_ahead_by_years_frees_nothing_before_two_stretches_of_a_grace(folder, clock):
    prune_versions(str(folder), LAST_2, DAY, Rebooted(clock.now, "first"))
    later = clock.now + 9 * 365 * DAY
    assert prune_versions(str(folder), LAST_2, DAY, Rebooted(later, "first")).swept == ()
    assert prune_versions(str(folder), LAST_2, DAY, Rebooted(later, "second")).swept == ()
    assert prune_versions(str(folder), LAST_2, DAY, Rebooted(later, "third")).swept == ()
    assert prune_versions(str(folder), LAST_2, DAY, Rebooted(later + DAY, "fourth")).swept == ()
    assert prune_versions(str(folder), LAST_2, DAY, Rebooted(later + 2 * DAY, "fifth")).swept == (10, 20, 30)


def test_what_was_moved_back_by_hand_is_live_again_and_goes_by_the_rule_again(folder, clock):
    prune_versions(str(folder), LAST_2, DAY, clock)
    os.rename(folder / ".checkpoint-gate" / "trash" / "30", folder / "30")
    clock.now += 2 * DAY
    done = prune_versions(str(folder), Keep(last=3), DAY, clock)
    assert done.swept == (10, 20)
    assert live_versions(str(folder)) == (30, 40, 50)
    assert events(folder, 30) == ["pruning", "trashed", "restored"]
    assert prune_versions(str(folder), LAST_2, DAY, clock).trashed == (30,)
    assert prune_versions(str(folder), LAST_2, DAY, clock).swept == ()


def test_a_version_that_cannot_be_moved_keeps_no_other(folder, clock, monkeypatch):
    rename = os.rename

    def denied(source, target, **folders):
        if source == "20":
            raise OSError(13, "Permission denied")
        rename(source, target, **folders)

    monkeypatch.setattr("checkpoint_gate.store.files.os.rename", denied)
    done = prune_versions(str(folder), LAST_2, DAY, clock)
    assert done.trashed == (10, 30)
    assert done.left == ("version 20 cannot be moved to the trash: Permission denied",)


def test_a_damaged_log_stops_it(folder, clock):
    (folder / ".checkpoint-gate").mkdir()
    (folder / ".checkpoint-gate" / "log.jsonl").write_text("[]\n")
    with pytest.raises(StoreError, match=r"log\.jsonl line 1"):
        prune_versions(str(folder), LAST_2, DAY, clock)
    assert live_versions(str(folder)) == (10, 20, 30, 40, 50)


@pytest.mark.parametrize("grace", [0.0, DAY], ids=["no grace", "a day's grace"])
def test_killed_at_any_operation_nothing_is_lost_and_one_more_finishes(
    folder, memory_path, clock, killable, killed, grace
):
    at, expected = 0, None
    whole = {p.relative_to(folder / "10") for p in (folder / "10").rglob("*")}
    while True:
        copy = memory_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        killable.arm(at)
        try:
            prune_versions(str(copy), LAST_2, grace, clock)
            break
        except killed:
            pass
        finally:
            killable.arm(None)
        assert live_versions(str(copy))[-2:] == (40, 50)
        log = {(line["event"], line["version"]) for line in read_log(str(copy))}
        for version in (10, 20, 30):
            places = [copy / str(version), copy / ".checkpoint-gate" / "trash" / str(version)]
            there = [{p.relative_to(place) for p in place.rglob("*")} for place in places if place.exists()]
            assert len(there) <= 1
            if (copy / str(version)).exists():
                assert there == [whole]
            else:
                assert ("pruning", version) in log, "moved without a mark"
            if there != [whole]:
                assert ("trashed", version) in log, "removed before the log said that it is in the trash"
                assert grace == 0
        prune_versions(str(copy), LAST_2, grace, clock)
        end = (live_versions(str(copy)), trash(copy), [events(copy, v)[-1] for v in (10, 20, 30)])
        expected = expected or end
        assert end == expected == ((40, 50), [] if grace == 0 else ["10", "20", "30"], [end[2][0]] * 3)
        at += 1
    assert at > (30 if grace == 0 else 12)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3)),
        st.tuples(st.just("rollback"), st.just(0)),
        st.tuples(st.just("undo"), st.just(0)),
        st.tuples(st.just("prune"), st.sampled_from([0, 3600])),
        st.tuples(st.just("remove by hand"), st.integers(0, 3)),
        st.tuples(st.just("somebody's folder"), st.integers(1, 2**40)),
        st.tuples(st.just("clock"), st.integers(-(2**33), 2**33)),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS)
def test_versions_only_grow_whatever_the_clock_the_names_and_the_order(tmp_path_factory, steps):
    """Each new version is larger than every version that has ever stood here, and than every name made of digits."""
    folder = tmp_path_factory.mktemp("push")
    model = write_version(tmp_path_factory.mktemp("model"), 1, "new", papers_of())
    now, largest = 1_790_000_000, 0
    for step, value in steps:
        here, clock = str(folder), Rebooted(float(max(0, now)), "boot")
        before = live_versions(here)
        names = [int(name) for name in os.listdir(folder) if name.isdecimal()]
        largest = max([largest, *before])
        new: str | None = None
        try:
            if step == "push":
                version = next_version(here, max(0, now))
                write_papers(model, pushed_papers(version, f"w{value}"))
                new = publish(str(model), here, version, lambda path: None)
            elif step == "rollback":
                new = roll_back(plan_rollback(here, None, max(0, now)), "so", clock(), lambda path: None)
            elif step == "undo":
                new = undo_rollback(plan_undo(here, max(0, now)), "so", clock(), lambda path: None)
            elif step == "prune":
                prune_versions(here, Keep(last=2), float(value), clock)
                assert live_versions(here)[-2:] == before[-2:]
            elif step == "remove by hand" and before:
                gone = before[value % len(before)]
                if gone != before[-1]:  # who removes the newest by hand asks for an older number
                    shutil.rmtree(folder / str(gone))
            elif step == "somebody's folder":
                (folder / str(value)).mkdir(exist_ok=True)
            else:
                now += value if step == "clock" else 0
        except CheckpointGateError:
            assert live_versions(here) == before, "an error that changed something"
        if new is not None:
            number = int(os.path.basename(new))
            assert number > max([0, largest, *names])
            assert live_versions(here)[-1] == number


def test_a_log_line_of_a_version_that_stands_nowhere_is_no_obstacle(folder, clock):
    add_to_log(str(folder), "pruning", 5, reason="so", grace=0.0, bytes=1, time=clock())
    add_to_log(str(folder), "trashed", 6, grace=0.0, time=clock(), boot="b", uptime=1.0)
    prune_versions(str(folder), LAST_2, DAY, clock)
    assert events(folder, 5) == ["pruning"]
    assert events(folder, 6) == ["trashed", "swept"]
