"""A year of monthly retraining on the New York flights, with all that goes wrong in a year. Real TFX, one process.

Each month a table arrives and the schedule strikes; nothing sleeps, the clock is told.
"""

from __future__ import annotations

import json
import math
import re
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
from checkpoint_gate.pusher.publish import publish
from checkpoint_gate.training.gated_training import GatedTraining
from gated_pipelines.flights import write_flights
from gated_pipelines.history.history import History
from gated_pipelines.running.local import run_local
from gated_pipelines.tabular import serving

pytestmark = pytest.mark.timeout(2700)  # some fifteen pipeline runs before the first test

DATA = Path(__file__).parents[1] / "data" / "flights"
ALLOWED = 2.0  # minutes by which a champion may be worse than the best so far, on the rows of its three months
# Minutes more that this may come to on rows of the whole year, of which a champion of June has seen no winter: 0.44 in
# August, on one machine.
SEASON = 0.75
FREED = {3: "more was allowed for once", 9: "the whole push folder had been deleted, and the best so far with it"}
MONTHS = 12
MORE_RUNS = (
    "January's Pusher crashed",
    "February's Trainer crashed",
    "March's Pusher was killed",
    "April's data were blocked",
    "August's second schedule left",
)
TINY = {
    "model": {"hidden": [8], "learning_rate": 0.01},
    "train": {"epochs": 4, "batch_size": 64, "seed": 7},
    "disk": {"keep_runs": 2, "keep_logs": 4},
    "push": {"folder": "serving", "keep": {"last": 2}, "grace": "0s"},
}
MEBIBYTE = 1 << 20


class Crash(Exception):
    """A fault that nobody foresaw."""


class Killed(BaseException):
    """The end of the process: nobody writes down any more how the run ended."""


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

    def versions(self):
        return live_versions(str(self.root / "serving"))

    def keep_champion(self, month):
        """Copies the champion, for the end of the year: it may be pruned or deleted until then."""
        version = str(self.versions()[-1])
        shutil.copytree(self.root / "serving" / version, self.project.parent / "champions" / str(month) / version)

    def champions(self):
        """Month -> the copy of its last champion."""
        folders = self.project.parent / "champions"
        return {month: next((folders / str(month)).iterdir()) for month in range(1, MONTHS + 1)}

    def database(self):
        return metadata_store.MetadataStore(sqlite_metadata_connection_config(str(self.root / "metadata.sqlite")))


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    return Year(tmp_path_factory.mktemp("year"))


@pytest.fixture(scope="module")
def runs(year):
    """Month -> what came of its run, or runs."""
    happens = {
        "January": lambda: pusher_crashes(year),
        "February": lambda: trainer_crashes(year),
        "March": lambda: pusher_is_killed(year),
        "April": lambda: corrupted(year),
        "May": lambda: no_table_comes(year),
        "June": lambda: champion_alone_deleted(year),
        "July": lambda: worse(year),
        "August": lambda: two_at_once(year),
        "September": lambda: all_versions_deleted(year),
        "October": lambda: year.month(10),
        "November": lambda: year.month(11),
        "December": lambda: year.month(12),
    }
    done = {}
    for month, name in enumerate(happens, 1):
        done[name] = happens[name]()
        year.keep_champion(month)
    return done


def pusher_crashes(year):
    """Once the version is visible, and before anybody has written down that it was pushed."""
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("checkpoint_gate.pusher.executor.publish", lambda *args: crashing(publish(*args)))
        with pytest.raises(Crash):
            year.month(1)
    visible = year.versions()
    return visible, year.strike(1, hour=4)


def crashing(*args):
    raise Crash("out of luck")


def trainer_crashes(year):
    """At the end of the third epoch."""
    judged = []
    observe = GatedTraining.observe

    def watched(training, record):
        judged.append(record.epoch)
        if judged == [0, 1, 2]:
            crashing()
        return observe(training, record)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(GatedTraining, "observe", watched)
        with pytest.raises(Crash):
            year.month(2)
        return judged, year.strike(2, hour=4)


def pusher_is_killed(year):
    """Before the version is visible."""
    before = year.versions()

    def killed(*args):
        raise Killed

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("checkpoint_gate.pusher.executor.publish", killed)
        year.change(worse_by_at_most=2000.0)  # so that it comes to a push
        with pytest.raises(Killed):
            year.month(3)
    assert year.versions() == before
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


def no_table_comes(year):
    executions = len(year.database().get_executions())
    skipped = year.strike(5)
    return skipped, len(year.database().get_executions()) - executions


def champion_alone_deleted(year):
    """May's table comes late, with June's."""
    *_, older, newest = year.versions()
    shutil.rmtree(year.root / "serving" / str(newest))
    year.arrive(5)
    return older, newest, year.month(6)


def worse(year):
    """Somebody made the steps too small."""
    year.change({"model": TINY["model"] | {"learning_rate": 1e-7}})
    refused = year.month(7)
    year.change({"model": TINY["model"]})
    return refused


def two_at_once(year):
    met = []
    export = serving.export

    def meanwhile(*args, **kwargs):
        met.append(year.strike(8, hour=4))
        return export(*args, **kwargs)

    with pytest.MonkeyPatch.context() as both:
        both.setattr(serving, "export", meanwhile)
        done = year.month(8)
    return done, met


def all_versions_deleted(year):
    shutil.rmtree(year.root / "serving")
    return year.month(9)


@pytest.fixture(scope="module")
def history(year, runs):
    return History(year.root).read().past


def began_in(history, month):
    """The runs of a month of the calendar: those of January's table began in February."""
    return [past for past in history if datetime.fromtimestamp(past.began, timezone.utc).month == month]


def test_what_a_crashed_pusher_had_pushed_stands_and_is_not_pushed_again(runs, history):
    (version,), repaired = runs["January"]
    crashed, end = (past.ended for past in began_in(history, 2))
    assert (crashed.outcome, crashed.reason, crashed.champion) == ("failed", "Crash: out of luck", version)
    assert end.why.endswith("ended with: failed")
    assert (repaired.outcome, repaired.reason) == ("skipped", "already champion")
    assert (end.champion_before, end.champion, end.pushed) == (version, version, None)


def test_after_a_crash_in_the_trainer_no_completed_epoch_is_repeated(runs, history):
    judged, repaired = runs["February"]
    assert judged == [0, 1, 2, 2, 3]
    crashed, end = (past.ended for past in began_in(history, 3))
    assert (crashed.outcome, crashed.reason) == ("failed", "Crash: out of luck")
    assert end.why.endswith("ended with: failed")
    assert repaired.outcome in ("pushed", "not_blessed")
    assert repaired.green
    assert repaired.epochs == TINY["train"]["epochs"]


def test_what_a_killed_pusher_did_not_push_is_pushed_by_the_next_run(runs, history):
    killed, repaired = began_in(history, 4)
    assert killed.ended is None
    assert repaired.ended.why.startswith("the run of 2013-04-01 03:00 UTC died")
    assert runs["March"].outcome == "pushed"
    assert "Trainer" not in runs["March"].executed


def test_corrupted_data_is_blocked_and_the_champion_stays(runs, history):
    blocked, after = runs["April"]
    assert blocked.outcome == "failed"
    assert "distance" in blocked.reason
    assert "Trainer" not in blocked.executed
    assert [row["feature"] for row in blocked.anomalies] == ["distance"]
    assert after.outcome in ("pushed", "not_blessed")
    first, second = began_in(history, 5)[:2]
    assert first.ended.champion == first.ended.champion_before
    assert "ended with: failed" in second.ended.why


def test_a_month_without_data_is_skipped_and_no_component_is_executed(runs, history):
    skipped, executions = runs["May"]
    assert (skipped.outcome, skipped.executed, skipped.seconds, executions) == ("skipped", [], {}, 0)
    assert skipped.reason.startswith("nothing is new since the run of 2013-05-01 04:00 UTC")
    (past,) = began_in(history, 6)
    assert past.ended.skipped


def test_the_champion_alone_deleted_by_hand_is_said_and_an_older_version_is_challenged(runs, history):
    older, deleted, after = runs["June"]
    (past,) = began_in(history, 7)
    assert f"the champion, version {deleted}, is gone from the push folder" in past.ended.why.split("; ")
    assert "the data is new" in past.ended.why.split("; ")
    assert past.ended.champion_before == older
    assert after.outcome in ("pushed", "not_blessed")
    assert past.ended.champion == (past.ended.pushed or older)


def test_a_worse_challenger_is_refused_and_both_are_told(runs, history):
    refused = runs["July"]
    assert refused.outcome == "not_blessed"
    end = began_in(history, 8)[0].ended
    assert end.metric.challenger > end.metric.champion + ALLOWED
    assert end.champion == end.champion_before


def test_of_two_schedules_one_leaves(runs, history):
    done, (left,) = runs["August"]
    assert done.outcome in ("pushed", "not_blessed")
    assert (left.outcome, left.green) == ("skipped", True)
    assert left.reason.startswith("another run is at work: ")
    assert sorted(past.ended.skipped for past in began_in(history, 9)) == [False, True]


def test_a_push_folder_deleted_by_hand_is_said_and_a_champion_established_again(runs, history):
    end = began_in(history, 10)[0].ended
    before = began_in(history, 9)[0].ended.champion  # as the run left it; the schedule that left saw the one before
    assert end.why == f"the data is new; the champion, version {before}, is gone from the push folder"
    assert (end.champion_before, runs["September"].outcome) == (None, "pushed")


def test_every_month_that_had_something_new_ended_with_a_decision(runs):
    for name in ("October", "November", "December"):
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


def test_on_the_rows_of_its_own_window_no_champion_was_worse_than_allowed(history):
    ended = [past.ended for past in history if past.ended is not None]
    pushed = [end for end in ended if end.outcome == "pushed" and end.metric.champion is not None]
    assert len(pushed) >= 3
    for end in pushed:
        allowed = ALLOWED if end.spans[-1] - 201300 not in FREED else math.inf
        best = end.metric.best if end.metric.best is not None else end.metric.champion
        assert end.metric.challenger <= min(end.metric.champion, best) + allowed


def test_on_fixed_rows_the_champion_never_gets_worse_than_allowed(year, runs, tmp_path):
    rows = fixed_rows(tmp_path)
    measured = {month: root_mean_squared_error(model, rows) for month, model in year.champions().items()}
    best = math.inf
    for month, value in measured.items():
        if month in FREED:
            best = value
        assert value <= best + ALLOWED + SEASON, measured
        best = min(best, value)


def test_every_pushed_version_is_explained(year, runs, history):
    explained = set()
    for model in year.champions().values():
        done = CliRunner().invoke(checkpoint_gate, ["why", "--model", str(model)])
        assert done.exit_code == 0, done.output
        assert model.name in done.output
        assert str(read_papers(model).step) in done.output
        explained.add(int(model.name))
    assert {past.ended.champion for past in history if past.ended and past.ended.champion} <= explained


def test_the_disk_stays_bounded(history):
    held = [sum(end.disk.values()) - end.disk["metadata"] for past in history if (end := past.ended) and end.disk]
    assert max(held) < 40 * MEBIBYTE
    assert max(held[-4:]) < 1.25 * max(held[2:6])


def test_nothing_is_orphaned_in_the_store(year, runs):
    store = str(year.root / "store")
    checked = CliRunner().invoke(checkpoint_gate, ["check", store])
    assert checked.exit_code == 0, checked.output
    listed = CliRunner().invoke(checkpoint_gate, ["list", store, "--json"])
    assert {row["state"] for row in json.loads(listed.stdout)} <= {"kept", "pruned"}  # the grace is 0: nothing in trash


def test_nothing_is_orphaned_among_the_artifacts(year, runs):
    artifacts, database = year.root / "artifacts", year.database()
    live = {Path(a.uri) for a in database.get_artifacts() if a.state == mlmd.Artifact.LIVE and a.uri}
    found = {path for path in artifacts.glob("*/*/*") if path.parent.name != ".system"}
    assert found <= live
    assert all(path.exists() for path in live if artifacts in path.parents)
    assert [path for path in artifacts.glob("*/.system/**/*") if path.is_file()] == []
    states = {execution.last_known_state for execution in database.get_executions()}
    assert states <= {mlmd.Execution.COMPLETE, mlmd.Execution.CACHED, mlmd.Execution.FAILED, mlmd.Execution.CANCELED}


def test_nothing_is_orphaned_among_tables_logs_and_pushed_models(year, runs):
    tables = {path.name for path in (year.root / "data").iterdir()}
    assert [name for name in tables if not re.fullmatch("[0-9a-f]{16}", name)] == []
    said = "\n".join(str(execution) for execution in year.database().get_executions())
    assert [name for name in tables if name not in said] == []
    assert len(tables) <= 3 * (TINY["disk"]["keep_runs"] + TINY["push"]["keep"]["last"])  # the window, and two spans
    assert len(list((year.root / "logs").glob("*.log"))) <= TINY["disk"]["keep_logs"]
    assert {path.name for path in (year.root / "serving").iterdir() if not path.name.isdecimal()} <= {
        ".checkpoint-gate"
    }


def test_the_history_lists_every_run(history):
    assert len(history) == MONTHS + len(MORE_RUNS)
    assert [past.began for past in history] == sorted(past.began for past in history)
    assert [past.told.pipeline for past in history] == ["flights"] * len(history)
    assert json.loads(json.dumps([past.ended.model_dump() for past in history if past.ended]))
