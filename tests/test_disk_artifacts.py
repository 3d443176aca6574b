"""Old artifacts of pipeline runs: which stay and why, how the rest goes, and what a killed pruning leaves."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from faults.crowd import Crowd
from faults.papers import pushed_papers, write_version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_metadata.proto import metadata_store_pb2 as mlmd
from small_metadata import SmallRuns

from checkpoint_gate.artifact_files.pointer import RunPointer
from checkpoint_gate.errors import LeaseHeld, PruneRefused
from checkpoint_gate.pushed.papers import write_papers
from checkpoint_gate.quantities import format_size
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.retiring import is_retired
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.disk.planning import Bounds, plan_disk
from gated_pipelines.disk.pruning import carry_out, execute, metadata_of, prune_after_run
from gated_pipelines.disk.unfinished import fail_unfinished
from gated_pipelines.disk.words import plan_json, plan_lines
from gated_pipelines.running.places import Places
from gated_pipelines.tables.staging import stage_table

PENGUINS = Path(__file__).parents[1] / "data" / "penguins"
TWO = Bounds(keep_runs=2, keep_logs=None, grace=0.0, rules="0" * 64)


@pytest.fixture
def runs(tmp_path):
    return SmallRuns(tmp_path / "root")


def plan_of(runs: SmallRuns, bounds: Bounds = TWO):
    return plan_disk(runs.places, str(runs.places.root / "serving"), bounds, runs.store)


def prune(runs: SmallRuns, bounds: Bounds = TWO):
    return carry_out(runs.places, plan_of(runs, bounds), bounds, runs.store)


def going(plan) -> list[int]:
    return [each.artifact for each in plan.going if each.kind == "artifact"]


def reason(plan, artifact: int) -> str:
    return next(each.reason for each in plan.staying if each.artifact == artifact)


def test_what_only_old_runs_used_goes_and_the_database_says_so(runs):
    old, middle, new = (runs.step(runs.run()) for _ in range(3))
    done = prune(runs)
    assert runs.states() == {old: "DELETED", middle: "LIVE", new: "LIVE"}
    assert [runs.has_bytes(each) for each in (old, middle, new)] == [False, True, True]
    assert not (runs.places.artifacts / "Trainer" / "out" / "1").exists()
    assert (done.freed, done.left) == (100, ())


def test_planning_changes_nothing(runs, tree):
    for _ in range(4):
        runs.step(runs.run())
    before = tree(runs.places.artifacts)
    assert len(going(plan_of(runs))) == 2
    assert (tree(runs.places.artifacts), set(runs.states().values())) == (before, {"LIVE"})


def test_a_second_pruning_has_nothing_to_do(runs):
    for _ in range(4):
        runs.step(runs.run())
    prune(runs)
    assert plan_of(runs).is_empty


def _old(runs: SmallRuns) -> int:
    return runs.step(runs.run())


def _taken_from_the_cache(runs: SmallRuns) -> int:
    old = _old(runs)
    _two_new(runs)
    runs.execution(runs.run(), outputs=[old], state="CACHED")
    return old


def _read_by_a_recent_run(runs: SmallRuns) -> int:
    old = _old(runs)
    _two_new(runs)
    runs.execution(runs.run(), inputs=[old], state="FAILED")
    return old


def _at_work(state: str):
    def make(runs: SmallRuns) -> int:
        run, old = runs.run(), _old(runs)
        runs.execution(run, inputs=[old], state=state)
        _two_new(runs)
        return old

    return make


def _written_by_one_at_work(runs: SmallRuns) -> int:
    old = runs.artifact("Trainer/out/77", {"part": b"x"})
    runs.execution(runs.run(), outputs=[old], state="RUNNING")
    _two_new(runs)
    return old


def _imported(runs: SmallRuns) -> int:
    _two_new(runs)
    return runs.artifact("Importer/schema/1", {"schema.pbtxt": b"x"})


def _from_a_notebook(runs: SmallRuns) -> int:
    old = runs.artifact("Notebook/model/1", {"model": b"x"})
    runs.execution(None, outputs=[old])
    _two_new(runs)
    return old


def _of_two_pipelines(runs: SmallRuns) -> int:
    old = runs.step(runs.run("monthly"))
    for _ in range(3):
        runs.step(runs.run("daily"))
    return old


def _pending(runs: SmallRuns) -> int:
    old = runs.artifact("Trainer/out/77", {"part": b"x"}, state="PENDING")
    runs.execution(runs.run(), outputs=[old])
    _two_new(runs)
    return old


def _two_new(runs: SmallRuns) -> None:
    for _ in range(2):
        runs.step(runs.run())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_taken_from_the_cache, "newest 2 runs", id="what a recent run took from the cache"),
        pytest.param(_read_by_a_recent_run, "newest 2 runs", id="what a recent run read, although it failed"),
        pytest.param(_at_work("RUNNING"), "has not ended", id="what an execution at work reads"),
        pytest.param(_at_work("NEW"), "has not ended", id="what one reads that is about to begin"),
        pytest.param(_written_by_one_at_work, "has not ended", id="what an execution at work writes"),
        pytest.param(_imported, "no pipeline run made it", id="what nobody made"),
        pytest.param(_from_a_notebook, "no pipeline run made it", id="what was made outside of any pipeline run"),
        pytest.param(_of_two_pipelines, "newest 2 runs", id="what is recent for its own pipeline"),
        pytest.param(_pending, "its state is pending", id="what is not live yet"),
    ],
)
def test_stays(runs, make, words):
    kept = make(runs)
    plan = plan_of(runs)
    assert kept not in going(plan)
    assert words in reason(plan, kept)
    prune(runs)
    assert runs.has_bytes(kept)
    assert runs.states()[kept] in ("LIVE", "PENDING")


def push(runs: SmallRuns, model: int, version: int, folder: Path, weights: str = "w1") -> int:
    """What Pusher leaves; the execution belongs to a run of its own."""
    write_version(folder, version, weights, pushed_papers(version, weights, 1.0))
    notes = {"pushed": 1, "pushed_version": str(version), "pushed_destination": str(folder / str(version))}
    pushed = runs.artifact(f"Pusher/pushed_model/{version}", {"saved_model.pb": b"m"}, kind="PushedModel", **notes)
    runs.execution(runs.run(), "Pusher", [model], [pushed])
    return pushed


def test_all_that_a_live_version_was_made_of_stays_and_goes_with_it(runs):
    data = runs.step(runs.run(), "CsvExampleGen")
    model = runs.step(runs.run(), "Trainer", [data])
    pushed = push(runs, model, 7, runs.places.root / "serving")
    _two_new(runs)
    plan = plan_of(runs)
    assert going(plan) == []
    assert reason(plan, data) == "of the run that pushed version 7"
    (runs.places.root / "serving" / "7" / "saved_model.pb").unlink()
    assert going(plan_of(runs)) == [data, model, pushed]


def test_all_of_the_run_that_pushed_stays_not_only_what_leads_to_the_model(runs):
    run = runs.run()
    model, anomalies = runs.step(run, "Trainer"), runs.step(run, "ExampleValidator")
    folder = runs.places.root / "serving"
    write_version(folder, 7, "w1", pushed_papers(7, "w1", 1.0))
    notes = {"pushed": 1, "pushed_version": "7", "pushed_destination": str(folder / "7")}
    pushed = runs.artifact("Pusher/pushed_model/7", {"saved_model.pb": b"m"}, kind="PushedModel", **notes)
    runs.execution(run, "Pusher", [model], [pushed])
    _two_new(runs)
    assert "pushed version 7" in reason(plan_of(runs), anomalies)


def test_a_later_run_that_took_the_pushed_model_from_the_cache_did_not_push_it(runs):
    pushed = push(runs, runs.step(runs.run()), 7, runs.places.root / "serving")
    later = runs.run()
    runs.execution(later, "Pusher", outputs=[pushed], state="CACHED")
    other = runs.step(later, "ExampleValidator")
    _two_new(runs)
    assert going(plan_of(runs)) == [other]


def test_a_version_that_was_pushed_to_another_folder_counts(runs, tmp_path):
    model = runs.step(runs.run())
    push(runs, model, 7, tmp_path / "elsewhere")
    _two_new(runs)
    assert "pushed version 7" in reason(plan_of(runs), model)


def test_a_rollback_keeps_what_the_copied_version_was_made_of(runs):
    folder = runs.places.root / "serving"
    model = runs.step(runs.run())
    pushed = push(runs, model, 7, folder)
    write_papers(runs.store.get_artifacts_by_id([pushed])[0].uri, pushed_papers(7, "w1", 1.0))
    write_version(folder, 9, "w1", pushed_papers(9, "w1", 2.0))
    (folder / "7" / "saved_model.pb").unlink()
    _two_new(runs)
    assert "pushed version 7" in reason(plan_of(runs), model)


@pytest.fixture
def outside(tmp_path):
    """A folder beside the root with a file that nobody may touch."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "precious").write_bytes(b"precious")
    return place


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(lambda r, o: o, id="outside the root"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/../../outside", id="climbing out"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/Trainer/../../../outside", id="climbing out from inside"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/link", id="a link that leads out"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/link/precious", id="a path through a link"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/Trainer/./out", id="not plainly spelled"),
        pytest.param(lambda r, o: r.places.artifacts, id="the artifacts folder itself"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/", id="the artifacts folder with a slash"),
        pytest.param(lambda r, o: f"{r.places.artifacts}//", id="the artifacts folder with two"),
        pytest.param(lambda r, o: r.places.root, id="the root"),
        pytest.param(lambda r, o: r.places.store, id="the store"),
        pytest.param(lambda r, o: "/", id="the disk"),
        pytest.param(lambda r, o: f"file://{o}", id="a URL of a file outside"),
        pytest.param(lambda r, o: "gs://bucket/artifacts/Trainer/1", id="another disk"),
        pytest.param(lambda r, o: f"{r.places.artifacts}-more", id="a folder whose name begins as the artifacts'"),
        pytest.param(lambda r, o: f"{r.places.artifacts}/.system", id="a folder that TFX keeps for itself"),
    ],
)
def test_a_hostile_place_is_left_alone(runs, outside, tree, tmp_path, uri):
    _old(runs)
    (runs.places.artifacts / "link").symlink_to(outside)
    (runs.places.store / "run").mkdir(parents=True)
    (runs.places.store / "run" / "ledger.jsonl").write_bytes(b"{}")
    Path(f"{runs.places.artifacts}-more").mkdir()
    Path(f"{runs.places.artifacts}-more", "precious").write_bytes(b"x")
    (runs.places.artifacts / ".system").mkdir()
    (runs.places.artifacts / ".system" / "state").write_bytes(b"x")
    given = str(uri(runs, outside))
    hostile = runs.store.put_artifacts([_artifact(runs, given)])[0]
    runs.execution(runs.run(), outputs=[hostile])
    _two_new(runs)
    before = {k: v for k, v in tree(tmp_path).items() if "Trainer" not in k and "sqlite" not in k}
    plan = plan_of(runs)
    assert hostile not in going(plan)
    prune(runs)
    after = {k: v for k, v in tree(tmp_path).items() if "Trainer" not in k and "sqlite" not in k}
    assert after == before
    assert runs.states()[hostile] == "LIVE"


def _artifact(runs: SmallRuns, uri: str):
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    kind = runs.store.put_artifact_type(mlmd.ArtifactType(name="Model"))
    return mlmd.Artifact(type_id=kind, uri=uri, state=mlmd.Artifact.LIVE)


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        pytest.param("Trainer/out/5", "Trainer/out/5", id="the same folder"),
        pytest.param("Trainer/out", "Trainer/out/5", id="a folder above it"),
        pytest.param("Trainer/out/5/deeper", "Trainer/out/5", id="a folder in it"),
        pytest.param("Trainer/out/5", "link/5", id="the same folder by a link"),
    ],
)
def test_a_folder_shared_with_one_that_stays_stays(runs, old, kept):
    (runs.places.artifacts / "Trainer" / "out").mkdir(parents=True)
    (runs.places.artifacts / "link").symlink_to(runs.places.artifacts / "Trainer" / "out")
    first = runs.artifact(old, {"file": b"x"})
    runs.execution(runs.run(), outputs=[first])
    runs.step(runs.run(), "StatisticsGen")
    second = runs.artifact(kept, {"file": b"x"})
    runs.execution(runs.run(), outputs=[second])
    plan = plan_of(runs)
    assert reason(plan, first) == f"its folder is shared with artifact {second}, which stays"
    prune(runs)
    assert runs.has_bytes(first)


def test_sharing_is_passed_on(runs):
    """The outer one stays for the newest, and so the other one in it."""
    inner, other, outer = (runs.artifact(f"T/{place}", {"f": b"x"}) for place in ("a/inner", "a/other", "a"))
    runs.execution(runs.run(), outputs=[other, outer])
    runs.step(runs.run())
    runs.execution(runs.run(), outputs=[inner])
    assert going(plan_of(runs)) == []


def test_an_artifact_with_a_link_in_it_is_left_alone_and_told(runs, outside):
    old = _old(runs)
    place = Path(runs.store.get_artifacts_by_id([old])[0].uri)
    (place / "out").symlink_to(outside)
    _two_new(runs)
    plan = plan_of(runs)
    assert going(plan) == []
    assert "neither a file nor a folder" in plan.left[0]


def test_a_name_elsewhere_keeps_bytes_and_is_not_counted_as_freed(runs):
    old = _old(runs)
    place = Path(runs.store.get_artifacts_by_id([old])[0].uri)
    os.link(place / "a" / "one", runs.places.root / "survivor")
    _two_new(runs)
    assert prune(runs).freed == 1
    assert (runs.places.root / "survivor").stat().st_size == 99


def test_folders_that_the_database_does_not_know_are_told_and_left_alone(runs):
    _old(runs)
    _two_new(runs)
    orphan = runs.places.artifacts / "Trainer" / "out" / "99"
    orphan.mkdir()
    (orphan / "half").write_bytes(b"x" * 7)
    (runs.places.artifacts / "Trainer" / "empty" / "98").mkdir(parents=True)
    assert plan_of(runs).unknown == (("artifacts/Trainer/out/99", 7),)
    prune(runs)
    assert (orphan / "half").is_file()


def _half(runs, path: str) -> Path:
    """What an execution was writing when it was killed."""
    file = runs.places.artifacts / path / "half"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 7)
    return file


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("Trainer/model/{}", id="an output"),
        pytest.param("Trainer/.system/executor_execution/{}/.temp", id="what it had at hand"),
    ],
)
@pytest.mark.parametrize(
    ("state", "goes"),
    [
        pytest.param("FAILED", True, id="of one that failed"),
        pytest.param("CANCELED", True, id="of one that was canceled"),
        pytest.param("RUNNING", False, id="not of one at work"),
        pytest.param("COMPLETE", False, id="not of one that ended well"),
    ],
)
def test_what_a_killed_execution_left_goes(runs, place, state, goes):
    execution = runs.execution(runs.run(), state=state)
    half = _half(runs, place.format(execution))
    plan = plan_of(runs)
    assert [(each.kind, each.bytes) for each in plan.going] == [("remains", 7)] * goes
    assert (plan.unknown == ()) == (goes or ".system" in place)
    assert prune(runs).freed == 7 * goes
    assert half.parent.exists() != goes


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("Transform/model/{}", id="another component's"),
        pytest.param("Trainer/{}", id="not as deep as outputs lie"),
        pytest.param("Trainer/model/deep/{}", id="deeper"),
        pytest.param("Trainer/model/0{}", id="another spelling"),
    ],
)
def test_what_only_looks_like_it_stays(runs, place):
    execution = runs.execution(runs.run(), state="FAILED")
    half = _half(runs, place.format(execution))
    assert prune(runs).freed == 0
    assert half.is_file()


@pytest.mark.parametrize("uri", ["Trainer/model/{}", "Trainer/model/{}/inner", "Trainer/model", "Trainer"])
def test_what_is_shared_with_an_artifact_is_no_remains(runs, uri):
    execution = runs.execution(runs.run(), state="FAILED")
    half = _half(runs, f"Trainer/model/{execution}")
    runs.artifact(uri.format(execution))  # made by no run, so it stays
    assert prune(runs).freed == 0
    assert half.is_file()


def test_remains_that_are_a_link_or_hold_one_stay(runs, outside):
    one, two = (runs.execution(runs.run(), state="FAILED") for _ in range(2))
    (runs.places.artifacts / "Trainer" / "model").mkdir(parents=True)
    (runs.places.artifacts / "Trainer" / "model" / str(one)).symlink_to(outside)
    half = _half(runs, f"Trainer/model/{two}")
    (half.parent / "link").symlink_to(outside)
    assert prune(runs).freed == 0
    assert half.is_file()
    assert (outside / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("state", "goes"),
    [pytest.param("FAILED", True, id="of one that ended"), pytest.param("RUNNING", False, id="not of one at work")],
)
def test_empty_folders_that_tfx_leaves_go(runs, state, goes):
    execution = runs.execution(runs.run(), state=state)
    system = runs.places.artifacts / "Trainer" / ".system"
    empty, full = system / "executor_execution" / str(execution), system / "executor_execution" / "77"
    driver = system / "driver_execution" / "1795451058484341"
    for folder in (empty, full, driver):
        folder.mkdir(parents=True)
    (full / "executor_output.pb").write_bytes(b"x")
    runs.step(runs.run())
    prune(runs)
    assert (empty.exists(), driver.exists(), full.exists()) == (not goes, not goes, True)


def stage(runs: SmallRuns, name: str, age: float = 1e6) -> Path:
    """A staged table that is so many seconds old."""
    folder = runs.places.data / name
    folder.mkdir(parents=True)
    (folder / "table.csv").write_bytes(b"x" * 30)
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_staged_tables_go_with_the_runs_that_used_them(runs):
    old, kept, pushed = (stage(runs, digit * 16) for digit in "abc")
    runs.execution(runs.run(), "CsvExampleGen", input_base=str(old))
    run = runs.run()
    runs.execution(run, "CsvExampleGen", input_base=str(pushed))
    model = runs.step(run)
    folder = runs.places.root / "serving"
    write_version(folder, 7, "w1", pushed_papers(7, "w1", 1.0))
    notes = {"pushed": 1, "pushed_version": "7", "pushed_destination": str(folder / "7")}
    runs.execution(run, "Pusher", [model], [runs.artifact("Pusher/pushed_model/7", {"m": b"m"}, **notes)])
    runs.execution(runs.run(), "CsvExampleGen", input_base=str(kept), state="CACHED")
    runs.execution(runs.run(), "Validator", previous=f"{kept}/table.csv")
    assert [each.path for each in plan_of(runs).going] == ["data/aaaaaaaaaaaaaaaa"]
    assert prune(runs).freed == 30
    assert [each.exists() for each in (old, kept, pushed)] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "age", "goes"),
    [
        pytest.param("a" * 16, 1e6, True, id="one that no run used"),
        pytest.param("a" * 16, -60.0, False, id="not one that was staged since the oldest run that counts"),
        pytest.param("my-tables", 1e6, False, id="not a folder of somebody else"),
    ],
)
def test_a_table_that_nobody_names(runs, name, age, goes):
    _two_new(runs)
    stage(runs, name, age)
    assert [each.path for each in plan_of(runs).going] == [f"data/{name}"] * goes


@pytest.mark.parametrize(
    ("name", "age", "goes"),
    [
        pytest.param(f".{'a' * 16}.4711.tmp", 1e6, True, id="as large as a table, of who was killed"),
        pytest.param(f".{'a' * 16}.4711.tmp", -60.0, False, id="not one that may still be written"),
        pytest.param(".notes.4711.tmp", 1e6, False, id="not a file of somebody else"),
    ],
)
def test_what_a_killed_staging_has_left(runs, name, age, goes):
    _two_new(runs)
    runs.places.data.mkdir()
    left = runs.places.data / name
    left.write_bytes(b"x" * 30)
    os.utime(left, (time.time() - age,) * 2)
    assert [(each.kind, each.path, each.bytes) for each in plan_of(runs).going] == [
        ("remains", f"data/{name}", 30)
    ] * goes
    prune(runs)
    assert left.exists() != goes


def test_a_table_that_is_staged_again_for_a_run_that_waits_stays(runs, tmp_path):
    shutil.copytree(PENGUINS, tmp_path / "project")
    config = load_config(tmp_path / "project" / "pipeline.yaml")
    staged = stage_table(config, runs.places.data)
    written = (staged.folder / staged.file).stat().st_mtime
    os.utime(staged.folder, (1e9, 1e9))
    _two_new(runs)
    assert [each.kind for each in plan_of(runs).going] == ["table"]
    stage_table(config, runs.places.data)
    assert plan_of(runs).is_empty
    assert (staged.folder / staged.file).stat().st_mtime == written  # the examples are told by it


def test_the_newest_logs_stay_and_other_files_too(runs):
    names = [f"2026010{day}T000000Z.log" for day in range(1, 6)]
    ends = ["pushed", "pushed", "failed", "skipped"]
    reports = [f"2026010{day}T000000Z-{end}.html" for day, end in enumerate(ends, 1)]
    for name in (*names, *reports, "notes.txt", "old.log"):
        runs.places.logs.mkdir(exist_ok=True)
        (runs.places.logs / name).write_bytes(b"x" * 5)
    bounds = Bounds(keep_runs=None, keep_logs=2, grace=0.0, rules="0" * 64)
    assert prune(runs, bounds).freed == 25
    stay = [reports[1], reports[3], *names[3:], "notes.txt", "old.log"]  # the first is that of the last push
    assert sorted(os.listdir(runs.places.logs)) == sorted(stay)


def test_a_log_that_is_a_link_stays(runs, outside):
    runs.places.logs.mkdir()
    (runs.places.logs / "20260101T000000Z.log").symlink_to(outside / "precious")
    (runs.places.logs / "20260102T000000Z.log").write_bytes(b"x")
    assert plan_of(runs, Bounds(None, 1, 0.0, "0" * 64)).is_empty


def test_without_a_number_of_runs_all_stay(runs):
    for _ in range(30):
        runs.step(runs.run())
    assert plan_of(runs, Bounds(None, None, 0.0, "0" * 64)).is_empty


def test_what_leads_to_an_old_run_leaves_the_cache_before_the_run_is_retired(runs, clock, killable, killed):
    """A live version's Trainer stays for its lineage, but its run in the store goes: the cache must not lead there."""
    store = Crowd(runs.places.store, clock)
    clock.now = 1_000_000_000.0
    store.store.start("old", determined_by={})
    store.run([0.9, 0.5], key="old").ledger.append_event("finished", epochs=2)
    run = runs.run()
    model_run = runs.artifact("Trainer/model_run/1", {"log": b"x"}, kind="ModelRun")
    RunPointer(str(runs.places.store), "old").write(runs.places.artifacts / "Trainer" / "model_run" / "1")
    folder = runs.places.root / "serving"
    write_version(folder, 7, "w1", pushed_papers(7, "w1", 1.0))
    notes = {"pushed": 1, "pushed_version": "7", "pushed_destination": str(folder / "7")}
    pushed = runs.artifact("Pusher/pushed_model/7", {"m": b"m"}, **notes)
    runs.execution(run, "Trainer", [], [model_run])
    runs.execution(run, "Pusher", [model_run], [pushed])
    runs.step(runs.run())
    assert plan_of(runs).is_empty  # while the run is among the newest two, all of it stays
    runs.step(runs.run())
    plan = plan_of(runs)
    assert ([each.run for each in plan.retiring], plan.uncached, going(plan)) == (["old"], (model_run,), [])
    old = Store.open(runs.places.store).run("old")
    killable.arm(0)
    with pytest.raises(killed):
        carry_out(runs.places, plan, TWO, runs.store)
    killable.arm(None)
    assert (runs.states()[model_run], is_retired(old.ledger.read())) == ("MARKED_FOR_DELETION", False)
    prune(runs)
    assert is_retired(old.ledger.read())
    assert runs.has_bytes(model_run)
    assert plan_of(runs).is_empty


def test_a_run_at_work_in_the_store_is_left_for_the_next_time(runs, clock):
    clock.now = 1_000_000_000.0
    crowd = Crowd(runs.places.store, clock)
    crowd.store.start("old", determined_by={})
    crowd.run([0.9, 0.5], key="old")
    _two_new(runs)
    with crowd.store.run("old").lease("training"):
        done = prune(runs)
    assert "(training)" in done.left[0]
    assert len(crowd.store.run("old").live()) == 2
    assert prune(runs).left == ()
    assert crowd.store.run("old").live() == []


def test_a_plan_in_words_and_for_programs(runs, clock):
    clock.now = 1_000_000_000.0
    crowd = Crowd(runs.places.store, clock)
    crowd.store.start("old", determined_by={})
    run = crowd.run([0.9, 0.5], key="old")
    run.pin(1, "a paper cites it")
    run.publish_resumable(Record(2, 1, {}), "0" * 64)
    for _ in range(3):
        runs.step(runs.run(), size=2048)
    (runs.places.artifacts / "orphan").write_bytes(b"x" * 7)
    plan = plan_of(runs)
    [retirement] = plan.retiring
    checkpoint, state = (format_size(size) for size in (retirement.plan.bytes, plan.at_once))
    lines = list(plan_lines(plan, executed=False))
    assert lines[0] == "artifacts: 1, 2.0 KiB would go"
    assert re.fullmatch(r" +2.0 KiB  artifacts/Trainer/out/1, Model, last used 20.* UTC", lines[1])
    assert lines[2:] == [
        f"run old: 1 checkpoints, {checkpoint} would go to the trash: no recent pipeline run used it",
        f"  what it would resume from or had set aside, {state}, would go at once",
        "  step 1 stays: pinned: a paper cites it",
        "stays: 2 artifacts, 4.0 KiB",
        f"     2.0 KiB  {runs.places.artifacts}/Trainer/out/2: one of the newest 2 runs used it",
        f"     2.0 KiB  {runs.places.artifacts}/Trainer/out/3: one of the newest 2 runs used it",
        "unknown to ML Metadata, left alone: artifacts/orphan, 7 B",
        f"frees {format_size(2048 + plan.at_once)} at once; {checkpoint} of checkpoints follow after their grace",
        f"digest {plan.digest}",
    ]
    said = plan_json(plan, None)
    assert (said["executed"], said["bytes"], said["to_trash_bytes"]) == (False, 2048 + plan.at_once, plan.to_trash)
    assert said["runs"][0]["staying"] == {"1": "pinned: a paper cites it"}
    assert said["unknown"] == [{"path": "artifacts/orphan", "bytes": 7}]


def test_a_plan_is_carried_out_as_shown_or_not_at_all(runs):
    for _ in range(3):
        runs.step(runs.run())
    digest = plan_of(runs).digest
    runs.step(runs.run())
    with pytest.raises(PruneRefused, match="not the plan any more"):
        execute(runs.places, str(runs.places.root / "serving"), TWO, digest)
    assert set(runs.states().values()) == {"LIVE"}
    plan, done = execute(runs.places, str(runs.places.root / "serving"), TWO, plan_of(runs).digest)
    assert (len(going(plan)), done.freed) == (2, 200)


class Dying:
    """ML Metadata that goes away at an operation; as `killable` for files, with the same fuse."""

    def __init__(self, store, fuse) -> None:
        self._store, self._fuse = store, fuse

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_artifacts(self, artifacts):
        self._fuse.blow()
        return self._store.put_artifacts(artifacts)


def test_killed_anywhere_the_next_pruning_finishes(tmp_path, killable, killed):
    operations = 0
    for at in range(10_000):
        runs = SmallRuns(tmp_path / f"root{at}")
        old = [runs.step(runs.run()) for _ in range(3)]
        new = [runs.step(runs.run()) for _ in range(2)]
        store, plan = Dying(runs.store, killable.fuse), plan_of(runs)
        killable.arm(at)
        try:
            carry_out(runs.places, plan, TWO, store)
        except killed:
            operations += 1
        else:
            break
        finally:
            killable.arm(None)
        states = runs.states()
        assert all(runs.has_bytes(each) for each in new)
        whole = {each: _files_of(runs, each) == 2 for each in old}
        assert all(whole[each] or states[each] != "LIVE" for each in old), "the cache would give what is not whole"
        assert not any(states[each] == "DELETED" and runs.has_bytes(each) for each in old)
        prune(runs)
        assert [runs.states()[each] for each in (*old, *new)] == ["DELETED"] * 3 + ["LIVE"] * 2
        assert not any(runs.has_bytes(each) for each in old)
    assert operations > 15


def _files_of(runs: SmallRuns, artifact: int) -> int:
    place = Path(runs.store.get_artifacts_by_id([artifact])[0].uri)
    return sum(path.is_file() for path in place.rglob("*"))


STATES = st.sampled_from(["COMPLETE"] * 5 + ["CACHED", "FAILED", "RUNNING", "NEW"])


@st.composite
def graphs(draw):
    """Executions in order: (run, state, the artifacts that it reads, how many it makes or which it takes)."""
    count = draw(st.integers(1, 12))
    executions, made, run = [], 0, 0
    for _ in range(count):
        run += draw(st.integers(0, 1))
        state = draw(STATES)
        inputs = draw(st.sets(st.integers(0, made - 1), max_size=2)) if made else set()
        if state == "CACHED":
            outputs = draw(st.sets(st.integers(0, made - 1), min_size=1, max_size=2)) if made else set()
        else:
            outputs = set(range(made, made := made + draw(st.integers(0, 2))))
        executions.append((run, state, inputs, outputs))
    pushed = draw(st.sets(st.integers(0, made - 1), max_size=2)) if made else set()
    return executions, made, pushed, draw(st.integers(1, 4))


def must_stay(executions, pushed, keep_runs) -> set[int]:
    """The oracle: by reachability over plain tuples, one artifact at a time."""
    runs = sorted({run for run, *_ in executions})[-keep_runs:]
    stay = {a for run, _, i, o in executions if run in runs for a in i | o}
    stay |= {a for _, state, i, o in executions if state in ("RUNNING", "NEW") for a in i | o}
    for model in pushed:
        home = {run for run, state, _, o in executions if model in o and state != "CACHED"}
        todo = [model, *(a for run, _, i, o in executions if run in home for a in i | o)]
        seen = set()
        while todo:
            artifact = todo.pop()
            if artifact not in seen:
                seen.add(artifact)
                todo += [a for _, _, i, o in executions if artifact in o for a in i]
        stay |= seen
    return stay


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
def test_of_any_history_exactly_what_is_needed_stays(tmp_path_factory, graph):
    executions, made, pushed, keep_runs = graph
    runs = SmallRuns(tmp_path_factory.mktemp("history") / "root")
    serving = runs.places.root / "serving"
    ids = []
    for number in range(made):
        notes = {}
        if number in pushed:
            notes = {"pushed": 1, "pushed_version": str(number + 1), "pushed_destination": str(serving / "none")}
            write_version(serving, number + 1, f"w{number}", pushed_papers(number + 1, f"w{number}", 1.0))
        ids.append(runs.artifact(f"C/out/{number}", {"f": b"x"}, **notes))
    contexts: dict[int, int] = {}
    for run, state, inputs, outputs in executions:
        contexts.setdefault(run, 0) or contexts.update({run: runs.run()})
        reads, makes = ([ids[a] for a in sorted(each)] for each in (inputs, outputs))
        runs.execution(contexts[run], "C", reads, makes, state)
    bounds = Bounds(keep_runs, None, 0.0, "0" * 64)
    prune(runs, bounds)
    stay = must_stay(executions, pushed, keep_runs)
    assert {a for a in range(made) if runs.has_bytes(ids[a])} == stay
    assert {a for a in range(made) if runs.states()[ids[a]] == "LIVE"} == stay
    assert plan_of(runs, bounds).is_empty


def test_without_a_database_only_logs_are_looked_at(tmp_path):
    runs = SmallRuns(tmp_path / "root")
    runs.places.metadata.unlink()
    assert metadata_of(runs.places) is None
    assert plan_disk(runs.places, str(tmp_path / "serving"), TWO, None).is_empty


def test_at_the_end_of_a_run_what_is_old_goes_and_is_told(runs, caplog):
    caplog.set_level("INFO", "gated_pipelines")
    old = _old(runs)
    _two_new(runs)
    (runs.places.artifacts / "orphan").write_bytes(b"x" * 7)
    prune_after_run(runs.places, str(runs.places.root / "serving"), TWO)
    assert runs.states()[old] == "DELETED"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("gated")] == [
        "of old runs, 100 B were freed and 0 B moved to the store's trash",
        "left alone: 7 B that ML Metadata does not know, such as artifacts/orphan",
    ]


def test_what_goes_wrong_at_the_end_of_a_run_is_only_told(runs, caplog):
    runs.places.metadata.write_bytes(b"no database" * 100)
    prune_after_run(runs.places, str(runs.places.root / "serving"), TWO)
    assert caplog.messages[0].startswith("old runs were not pruned: CheckpointGateError: ML Metadata's database")


def test_who_prunes_by_hand_waits_for_no_run(runs):
    at_work = Lease(LocalFiles(runs.places.root), "run.lease", "running a pipeline", time.time)
    with at_work, pytest.raises(LeaseHeld, match=r"\(running a pipeline\)"):
        execute(runs.places, str(runs.places.root / "serving"), TWO, "0" * 64)


def test_what_a_killed_run_was_at_work_on_goes_once_the_next_run_has_said_so(runs):
    old = runs.step(runs.run())
    killed = runs.execution(runs.run(), inputs=[old], state="RUNNING")
    for _ in range(2):
        runs.step(runs.run())
    assert going(plan_of(runs)) == []
    assert fail_unfinished(runs.places) == 1
    (execution,) = runs.store.get_executions_by_id([killed])
    assert execution.last_known_state == mlmd.Execution.FAILED
    assert going(plan_of(runs)) == [old]
    assert fail_unfinished(runs.places) == 0


def test_before_the_first_run_nobody_is_at_work(tmp_path):
    assert fail_unfinished(Places(tmp_path)) == 0
