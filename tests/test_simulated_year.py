"""A year of monthly retraining on the New York flights, with all that goes wrong in a year. Real TFX, one process.

Each month a table arrives and the schedule strikes; nothing sleeps, the clock is told.
"""

from __future__ import annotations

import json
import math
import shutil
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from ruamel.yaml import YAML
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from checkpoint_gate.cli import cli as checkpoint_gate
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.pushed.push_folder import live_versions
from gated_pipelines.flights import write_flights
from gated_pipelines.history.history import History
from gated_pipelines.running.local import run_local
from gated_pipelines.tabular import serving

pytestmark = pytest.mark.timeout(2700)  # some fifteen pipeline runs before the first test

DATA = Path(__file__).parents[1] / "data" / "flights"
ALLOWED = 2.0  # minutes by which a champion may be worse than the best so far, on the rows of its three months
SEASON = 1.0  # minutes more that this may come to on rows of the whole year
TINY = {
    "model": {"hidden": [8], "learning_rate": 0.01},
    "train": {"epochs": 4, "batch_size": 64, "seed": 7},
    "disk": {"keep_runs": 2, "keep_logs": 4},
    "push": {"folder": "serving", "keep": {"last": 2}, "grace": "0s"},
}
MEBIBYTE = 1 << 20


class Crash(Exception):
    """A fault that nobody foresaw."""


class Year:
    """A pipeline to which a table comes every month, and its schedule."""

    def __init__(self, folder):
        self.project, self.root = folder / "project", folder / "root"
        self.project.mkdir()
        shutil.copy(DATA / "schema.pbtxt", self.project)
        self.file = self.project / "pipeline.yaml"
        self.settings = YAML().load((DATA / "pipeline.yaml").read_text())
        self.change(TINY, worse_by_at_most=ALLOWED, against="best")

    def change(self, settings=(), **champion):
        """Sets keys of the pipeline.yaml, and of its threshold against the champion."""
        self.settings.update(settings)
        self.settings["evaluate"]["champion"].update(champion)
        with open(self.file, "w") as file:
            YAML().dump(self.settings, file)

    def table(self, month):
        return self.project / f"flights-2013{month:02d}.csv"

    def arrive(self, month):
        shutil.copy(DATA / self.table(month).name, self.project)

    def strike(self, month, hour=3):
        """The schedule's time has come, at the beginning of the next month."""
        moment = datetime(2013 + month // 12, month % 12 + 1, 1, hour, tzinfo=timezone.utc)
        return run_local(self.file, self.root, scheduled=True, clock=moment.timestamp)

    def month(self, month):
        self.arrive(month)
        return self.strike(month)

    def champion(self):
        versions = live_versions(str(self.root / "serving"))
        return versions[-1] if versions else None

    def keep_champion(self, month):
        if (version := self.champion()) is not None:
            shutil.copytree(self.root / "serving" / str(version), self.project.parent / "champions" / str(month))


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    return Year(tmp_path_factory.mktemp("year"))


@pytest.fixture(scope="module")
def runs(year):
    """Month -> what came of its run, or runs."""
    done = {}
    with pytest.MonkeyPatch.context() as patch:
        done["January"] = year.month(1)
        year.keep_champion(1)
        done["February"] = trainer_crashes(year, patch)
        year.keep_champion(2)
        done["March"] = pusher_crashes(year, patch)
        year.keep_champion(3)
        done["April"] = corrupted(year)
        year.keep_champion(4)
        done["May"] = year.strike(5)  # no table came
        year.keep_champion(5)
        year.arrive(5)  # it comes late, and June's as well
        done["June"] = year.month(6)
        year.keep_champion(6)
        done["July"] = worse(year)
        year.keep_champion(7)
        done["August"] = two_at_once(year, patch)
        year.keep_champion(8)
        done["September"] = champion_deleted(year)
        year.keep_champion(9)
        for month, name in ((10, "October"), (11, "November"), (12, "December")):
            done[name] = year.month(month)
            year.keep_champion(month)
    return done


def crashing(*args, **kwargs):
    raise Crash


def trainer_crashes(year, patch):
    with patch.context() as broken:
        broken.setattr("gated_pipelines.tabular.serving.export", crashing)  # TFX loads the trainer anew
        with pytest.raises(Crash):
            year.month(2)
    return year.strike(2, hour=4)


def pusher_crashes(year, patch):
    before = year.champion()
    with patch.context() as broken:
        broken.setattr("checkpoint_gate.pusher.executor.publish", crashing)
        year.change(worse_by_at_most=2000.0)  # so that it comes to a push
        with pytest.raises(Crash):
            year.month(3)
    assert year.champion() == before
    return year.strike(3, hour=4)


def corrupted(year):
    """The distances come in kilometres."""
    year.change(worse_by_at_most=ALLOWED)
    year.arrive(4)
    table = pd.read_csv(year.table(4))
    table["distance"] *= 1.609344
    table.to_csv(year.table(4), index=False)
    blocked = year.strike(4)
    year.arrive(4)
    return blocked, year.strike(4, hour=4)


def worse(year):
    """Somebody made the steps too small."""
    year.change({"model": TINY["model"] | {"learning_rate": 1e-7}})
    refused = year.month(7)
    year.change({"model": TINY["model"]})
    return refused


def two_at_once(year, patch):
    met = []
    export = serving.export

    def meanwhile(*args, **kwargs):
        met.append(year.strike(8, hour=4))
        return export(*args, **kwargs)

    with patch.context() as both:
        both.setattr(serving, "export", meanwhile)
        done = year.month(8)
    return done, met


def champion_deleted(year):
    shutil.rmtree(year.root / "serving")
    return year.month(9)


@pytest.fixture(scope="module")
def history(year, runs):
    return History(year.root).read().past


def in_month(history, month, year=2013):
    return [past for past in history if datetime.fromtimestamp(past.began, timezone.utc).month == month]


def test_the_first_month_is_pushed(runs):
    assert runs["January"].outcome == "pushed"


@pytest.mark.parametrize(("name", "month"), [("February", 3), ("March", 4)], ids=["in the Trainer", "in the Pusher"])
def test_after_a_crash_the_next_run_repairs(runs, history, name, month):
    crashed, repaired = in_month(history, month)[:2]
    assert crashed.ended is None
    assert re_died(repaired.ended.why)
    assert runs[name].outcome in ("pushed", "not_blessed")
    assert repaired.ended.green


def re_died(why):
    return why.startswith("the run of 2013-") and why.endswith(" died")


def test_what_the_pusher_did_not_push_is_pushed_then(runs):
    assert runs["March"].outcome == "pushed"


def test_corrupted_data_is_blocked_and_the_champion_stays(runs, history):
    blocked, after = runs["April"]
    assert blocked.outcome == "failed"
    assert "distance" in blocked.reason
    assert "Trainer" not in blocked.executed
    assert [row["feature"] for row in blocked.anomalies] == ["distance"]
    assert after.outcome in ("pushed", "not_blessed")
    first, second = in_month(history, 5)[:2]
    assert first.ended.champion == first.ended.champion_before
    assert "ended with: failed" in second.ended.why


def test_a_month_without_data_is_skipped_within_seconds(runs, history):
    assert runs["May"].outcome == "skipped"
    assert runs["May"].reason.startswith("nothing is new since the run of 2013-05-01 04:00 UTC")
    assert runs["May"].executed == []
    (skipped,) = in_month(history, 6)
    assert skipped.ended.skipped


def test_a_worse_challenger_is_refused_and_both_are_told(runs, history):
    refused = runs["July"]
    assert refused.outcome == "not_blessed"
    end = in_month(history, 8)[0].ended
    assert end.metric.challenger > end.metric.champion + ALLOWED
    assert end.champion == end.champion_before


def test_of_two_schedules_one_leaves(runs, history):
    done, (left,) = runs["August"]
    assert done.outcome in ("pushed", "not_blessed")
    assert (left.outcome, left.green) == ("skipped", True)
    assert left.reason.startswith("another run is at work: ")
    assert sorted(past.ended.skipped for past in in_month(history, 9)) == [False, True]


def test_a_champion_deleted_by_hand_is_said_and_established_again(runs, history):
    end = in_month(history, 10)[0].ended
    assert end.why.startswith("the champion, version ")
    assert end.why.endswith(" is gone from the push folder")
    assert (end.champion_before, runs["September"].outcome) == (None, "pushed")


def test_every_month_that_had_something_new_ended_with_a_decision(runs):
    for name in ("June", "October", "November", "December"):
        assert runs[name].outcome in ("pushed", "not_blessed")
        assert runs[name].green


def fixed_rows(folder):
    """Flights of the whole year that no run has seen."""
    list(write_flights(folder))
    tables = []
    for path in sorted(folder.glob("flights-*.csv")):
        seen = pd.read_csv(DATA / path.name, dtype=str, keep_default_na=False)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        unseen = table.merge(seen.drop_duplicates(), how="left", indicator=True)
        tables.append(unseen[unseen["_merge"] == "left_only"].sample(250, random_state=7))
    return pd.concat(tables)


def root_mean_squared_error(model, table):
    serve = tf.saved_model.load(str(model)).signatures["serving_default"]
    numbers = ("dep_hour", "arr_hour", "distance", "temp", "humid", "wind_speed", "precip", "pressure", "visib")
    examples = []
    for row in table.to_dict("records"):
        feature = {}
        for name in (*numbers, "weekday", "carrier", "origin", "dest"):
            if row[name] == "":
                continue
            if name in numbers:
                feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[float(row[name])]))
            else:
                feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[row[name].encode()]))
        examples.append(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    predicted = serve(examples=tf.constant(examples))["prediction"].numpy()[:, 0]
    return math.sqrt(np.mean((predicted - table["arr_delay"].astype(float).to_numpy()) ** 2))


def test_on_fixed_rows_the_champion_never_gets_worse_than_allowed(year, runs, tmp_path):
    rows = fixed_rows(tmp_path)
    measured = [root_mean_squared_error(year.project.parent / "champions" / str(m), rows) for m in range(1, 13)]
    best = math.inf
    for month, value in enumerate(measured, 1):
        if month not in (3, 9):  # in March more was allowed for once, and in September there was no champion
            assert value <= best + ALLOWED + SEASON
        best = min(best, value) if month not in (3, 9) else value


def test_every_pushed_version_is_explained(year, runs):
    versions = live_versions(str(year.root / "serving"))
    assert versions
    for version in versions:
        model = year.root / "serving" / str(version)
        done = CliRunner().invoke(checkpoint_gate, ["why", "--model", str(model)])
        assert done.exit_code == 0, done.output
        assert str(version) in done.output
        assert str(read_papers(model).step) in done.output


def test_the_disk_stays_bounded(history):
    held = [sum(end.disk.values()) - end.disk["metadata"] for past in history if (end := past.ended) and end.disk]
    assert max(held) < 40 * MEBIBYTE
    assert max(held[-4:]) < 1.25 * max(held[2:6])


def test_nothing_is_orphaned(year, runs):
    store = CliRunner().invoke(checkpoint_gate, ["check", str(year.root / "store")])
    assert store.exit_code == 0, store.output
    database = metadata_store.MetadataStore(sqlite_metadata_connection_config(str(year.root / "metadata.sqlite")))
    live = {Path(a.uri) for a in database.get_artifacts() if a.state == mlmd.Artifact.LIVE and a.uri}
    found = {path for path in (year.root / "artifacts").glob("*/*/*") if path.parent.name != ".system"}
    assert found <= live
    assert all(path.exists() for path in live if (year.root / "artifacts") in path.parents)
    assert len(list((year.root / "logs").glob("*.log"))) <= 4
    assert {path.name for path in (year.root / "serving").iterdir() if not path.name.isdecimal()} <= {
        ".checkpoint-gate"
    }


def test_the_history_lists_every_run(history):
    assert len(history) == 12 + 4  # two crashes, a blocked run, and one that left
    assert [past.began for past in history] == sorted(past.began for past in history)
    assert json.loads(json.dumps([past.ended.model_dump() for past in history if past.ended]))
