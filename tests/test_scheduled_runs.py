"""What one run leaves for the next, by whoever asked for it. In place of TFX stands a run that trains nothing."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.pushed.papers import FILE as PAPERS
from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.store.elapsed import SystemClock
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease
from gated_pipelines.history.history import History
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.running import local
from gated_pipelines.running.local import run_local
from gated_pipelines.running.places import Places
from gated_pipelines.running.state import State, read_state, write_state

DATA = Path(__file__).parents[1] / "data"
DAY = 86400


class Crash(Exception):
    """A fault that nobody foresaw."""


class World:
    """Pipelines that share a root, and their schedules."""

    def __init__(self, folder):
        self.folder, self.root = folder, folder / "root"
        self.crash = False
        self.pushes: int | None = None

    def pipeline(self, name, *changes, data="penguins"):
        project = self.folder / name
        shutil.copytree(DATA / data, project)
        self.edit(project, (f"name: {data}", f"name: {name}"), *changes)
        return project / "pipeline.yaml"

    def edit(self, project, *changes, file="pipeline.yaml"):
        text = (project / file).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (project / file).write_text(text)

    def train(self, job):
        """In place of TFX: pushes what it is told to, or crashes."""
        if self.pushes is not None:
            self.push(self.pushes, Path(job.push_folder))
        if self.crash:
            raise Crash("out of\nluck")
        left = local._catch_up(job)
        versions = live_versions(job.push_folder)
        champion = f"{job.push_folder}/{versions[-1]}" if versions else None
        pushed = champion if self.pushes is not None else None
        return Summary(outcome="pushed", green=True, reason="trained", champion=champion, pushed=pushed), left

    def push(self, version, folder=None):
        path = (folder or self.root / "serving") / str(version)
        path.mkdir(parents=True, exist_ok=True)
        (path / "saved_model.pb").write_bytes(str(version).encode())
        (path / PAPERS).parent.mkdir(exist_ok=True)
        (path / PAPERS).write_text("{}")

    def strike(self, file, now=time.time, **asked):
        run_local(file, self.root, **{"scheduled": True} | asked, clock=now)
        return self.last()

    def last(self):
        return max(History(self.root).read().past, key=lambda past: past.line).ended


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World(tmp_path)
    monkeypatch.setattr(local, "_run", lambda job, log_file: world.train(job))
    return world


@pytest.fixture
def penguins(world):
    """A pipeline that has run once, with the version 12 as its champion."""
    file = world.pipeline("mine")
    world.pushes = 12
    assert world.strike(file).why == "it is the first run"
    world.pushes = None
    return file


def test_two_pipelines_in_one_root_settle(world, penguins):
    other = world.pipeline("other", ("at_most: 0.40}", "at_most: 0.39}"), ("folder: serving", "folder: elsewhere"))
    world.pushes = 30
    assert world.strike(other).why == "it is the first run"
    world.pushes = None
    told = [(end.pipeline, end.skipped) for file in (penguins, other, penguins) if (end := world.strike(file))]
    assert told == [("mine", True), ("other", True), ("mine", True)]


def test_own_pruning_of_old_versions_is_no_news(world, tmp_path):
    file = world.pipeline("mine", ("folder: serving}", "folder: serving, keep: {last: 1, within: 30d}, grace: 0s}"))
    now = int(time.time())
    first = now - 29 * DAY
    for version in (first - 1, first, now - 1, now):
        world.push(version)
    assert world.strike(file).why == "it is the first run"
    kept = live_versions(str(world.root / "serving"))
    assert first in kept
    with pytest.MonkeyPatch.context() as later:  # the next day but one
        later.setattr(SystemClock, "__call__", lambda self: now + 2.0 * DAY)
        skipped = world.strike(file)
        assert first not in live_versions(str(world.root / "serving"))
        assert skipped.skipped
        assert world.strike(file).skipped


def test_a_run_by_hand_while_another_is_at_work_is_no_news(world, penguins):
    with Lease(LocalFiles(world.root), "run.lease", "running a pipeline", time.time, again=False):
        by_hand = world.strike(penguins, scheduled=False)
        left = world.strike(penguins)
    assert (by_hand.outcome, by_hand.champion_before, by_hand.champion) == ("failed", 12, 12)
    assert (left.outcome, left.skipped, left.champion) == ("skipped", True, 12)
    assert world.strike(penguins).skipped


def test_a_scheduled_run_that_could_not_begin_is_made_up_for_and_shows_the_champion(world, penguins):
    table = penguins.with_name("penguins.csv")
    table.rename(penguins.with_name("away.csv"))
    failed = world.strike(penguins)
    assert (failed.outcome, failed.champion_before, failed.champion, failed.work) == ("failed", 12, 12, None)
    penguins.with_name("away.csv").rename(table)
    assert world.strike(penguins).why.endswith(" ended with: failed")


def test_a_run_by_hand_of_an_earlier_span_is_no_news(world):
    file = world.pipeline("flights", data="flights")
    assert world.strike(file).spans[-1] == 201312
    by_hand = world.strike(file, scheduled=False, span=201303)
    assert (by_hand.spans[-1], by_hand.asked_span, by_hand.why) == (201303, 201303, "the data is new")
    assert world.strike(file).skipped


def test_a_crash_ends_the_run_with_its_words_and_what_it_left(world, penguins):
    world.crash, world.pushes = True, 13
    world.edit(penguins.parent, ("at_most: 0.40}", "at_most: 0.39}"))
    with pytest.raises(Crash):
        world.strike(penguins)
    end = world.last()
    assert (end.outcome, end.green, end.reason) == ("failed", False, "Crash: out of luck")
    assert (end.why, end.champion_before, end.champion) == ("the rules have changed", 12, 13)
    assert end.disk["pushed"] > 0
    world.crash, world.pushes = False, None
    assert world.strike(penguins).why.endswith(" ended with: failed")


def test_a_damaged_line_of_an_old_run_does_not_make_the_next_one_the_first(world, penguins):
    world.strike(penguins, scheduled=False)
    path = world.root / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(["{\n", *lines[1:]]))
    assert world.strike(penguins).skipped
    path.write_text("".join([*lines, "{\n"]))
    assert world.strike(penguins).why == "1 line of the history cannot be read"


def test_the_champion_alone_deleted_by_hand_is_said_while_an_older_version_stands(world, penguins):
    world.push(11)
    assert world.strike(penguins).why == "the push folder has changed"
    shutil.rmtree(world.root / "serving" / "12")
    end = world.strike(penguins)
    assert (end.why, end.champion) == ("the champion, version 12, is gone from the push folder", 11)
    assert world.strike(penguins).skipped


OLD = {"generation": 3, "last_push": "12", "filter_digest": "f", "filter_changes": 2}
NEW = {"generation": 4, "last_push": "13", "filter_digest": "g", "filter_changes": 0}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(None, {"mine": State(), "other": State()}, id="no file"),
        pytest.param(OLD, {"mine": State(**OLD), "other": State(**OLD)}, id="of a root that held one pipeline"),
        pytest.param(
            {"pipelines": {"mine": NEW}}, {"mine": State(**NEW), "other": State()}, id="of one that held another, too"
        ),
        pytest.param(
            OLD | {"pipelines": {"mine": NEW}},
            {"mine": State(**NEW), "other": State(**OLD)},
            id="of one, and then of two",
        ),
    ],
)
def test_each_pipeline_has_its_own_state(tmp_path, document, expected):
    places = Places(tmp_path)
    if document is not None:
        places.state.write_text(json.dumps(document))
    assert {name: read_state(places, name) for name in expected} == expected
    write_state(places, "mine", State(generation=9))
    assert {name: read_state(places, name) for name in expected} == expected | {"mine": State(generation=9)}


@pytest.mark.parametrize("text", ["[]", "{", '{"generation": 1}', '{"pipelines": {"mine": {}, "other": 3}}'])
def test_a_damaged_state_is_one_sentence(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ConfigError, match=r"state\.json is damaged \(.*\)\. Remove it to start from generation 0\."):
        read_state(Places(tmp_path), "other")
