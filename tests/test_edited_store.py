"""A store that somebody edited by hand, copied from elsewhere or named oddly: served, or refused in one sentence."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from checkpoint_gate.cli import cli
from checkpoint_gate.errors import StoreError
from checkpoint_gate.reviewing.catalog import rows
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.records import Record, dump_json
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.manifest import _to_bytes
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.repairing import repair_store
from checkpoint_gate.store.sweeping import sweep_store
from checkpoint_gate.store.trash import body_digest, journals, read_journal, tombstones

DAY = 86400.0
HUGE = 10**400


@pytest.fixture
def run(crowd):
    return crowd.run([0.9, 0.8, 0.3])


def prune(run, grace: float = DAY) -> None:
    with run.lease("pruning") as lease:
        recover(run, lease)
        execute_prune(run, plan_prune(run, {1: "too high"}, [3], PrunePolicy(grace), "f" * 64), lease)


def restate(run, step: int, **fields: object) -> None:
    """Changes a manifest, whose checksum holds afterwards."""
    path = run.files.local(f"{run.gated.path(step)}/manifest.json")
    value = {key: each for key, each in json.loads(path.read_text()).items() if key != "self"}
    path.write_bytes(_to_bytes(value | fields))


def call(*args: object):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def states(run) -> list[tuple[int, str]]:
    return [(row.step, row.state) for row in rows(run)]


def test_damage_that_takes_many_words_is_told_in_few(run, crowd):
    path = run.files.local(f"{run.gated.path(1)}/manifest.json")
    path.write_text(json.dumps({"format": "x" * 70_000}))
    list(repair_store(crowd.store))
    (reason,) = run.files.local("run/quarantine").glob("*.reason")
    assert 100 < reason.stat().st_size < 5_000
    assert call("list", crowd.root).exit_code == 0
    assert states(run) == [(1, "quarantined"), (2, "kept"), (3, "kept")]


def test_a_reason_that_an_earlier_version_told_in_too_many_words_is_no_obstacle(run, crowd):
    prune(run)
    run.quarantine(run.live()[0], "damaged")
    (reason,) = run.files.local("run/quarantine").glob("*.reason")
    reason.write_text("x" * 70_000)
    assert (2, "quarantined") in states(run)
    assert call("check", crowd.root).exit_code == 0


def test_what_was_damaged_in_the_trash_is_listed_once_it_is_set_aside(run, crowd):
    prune(run)
    (folder,) = run.files.local("run/trash").iterdir()
    (folder / "ckpt.index").write_bytes(b"damaged")
    list(repair_store(crowd.store))
    assert states(run) == [(1, "quarantined"), (2, "kept"), (3, "kept")]


@pytest.mark.parametrize("folder", ["checkpoints/step-000000001", "trash"])
def test_a_list_of_unfinished_files_is_a_stranger_on_a_disk(run, crowd, clock, tree, caplog, folder):
    prune(run) if folder == "trash" else None
    place = run.files.local(f"run/{folder}")
    place = place if folder != "trash" else next(place.iterdir())
    (place / "unfinished.json").write_text('{"files": [], "format": 1}')
    (warning,) = (f for f in check_store(crowd.store) if f.severity != "note")
    assert (warning.place, warning.what) == (
        f"{place}/unfinished.json",
        "is not listed by its manifest, and left alone",
    )
    prune(run)
    clock.now += 2 * DAY
    before = {path: data for path, data in tree(crowd.root).items() if "/step-000000001" in path}
    with run.lease("sweeping") as lease:
        done = sweep(run, lease)
    assert (done.swept, [why for why in done.left if "holds files that its manifest does not list" in why]) == (
        0,
        list(done.left),
    )
    assert len(done.left) == 1
    assert {path: data for path, data in tree(crowd.root).items() if "/step-000000001" in path} == before
    assert sweep_store(Store(crowd.root, clock)) == 0
    assert "holds files that its manifest does not list; 750 B stay on the disk; it was left alone" in caplog.text
    (row,) = (row for row in rows(run) if row.step == 1)
    assert row.state == "trashed"


def test_after_a_clearing_of_leases_by_hand_a_pruning_under_way_goes_on(run, clock):
    for _ in range(3):
        with run.lease("something"):
            pass
    prune(run)
    (token,) = (read_journal(run, digest)["token"] for digest in journals(run))
    for path in run.files.local("run").glob("lease.*"):
        path.unlink()
    clock.now += 2 * DAY
    with run.lease("sweeping") as lease:
        assert lease.token == token + 1
        assert sweep(run, lease).left == ()


def test_damaged_journals_say_nothing_of_leases(run):
    prune(run)
    for path in [*run.files.local("run").glob("lease.*"), *run.files.local("run/journal").iterdir()]:
        path.unlink() if path.name.startswith("lease") else path.write_text("{")
    with run.lease("anything") as lease:
        assert lease.token == 1


@pytest.mark.parametrize(
    "step", ["1" * 5000, "\u0663", "-1", "1.0"], ids=["too long", "Arabic", "negative", "no whole number"]
)
def test_pins_of_what_is_no_step_are_damaged(run, crowd, step):
    run.files.local("run/pins.json").write_text(json.dumps({"format": 1, "pins": {step: "cited"}}))
    result = call("list", crowd.root)
    assert result.exit_code == 1
    assert "pins.json is damaged: pins must be an object of steps and notes" in result.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", "one"),
        ("epoch", None),
        ("bytes", "many"),
        ("bytes", None),
        ("bytes", HUGE),
        ("bytes", -1),
        ("bytes", True),
    ],
    ids=str,
)
def test_a_tombstone_with_odd_numbers_is_damaged(run, crowd, key, value):
    prune(run)
    path = run.files.local("run/tombstones.jsonl")
    line = {k: v for k, v in json.loads(path.read_text()).items() if k != "crc"}
    path.write_text(json.dumps(line | {key: value}) + "\n")
    with pytest.raises(StoreError, match=r"tombstones\.jsonl is damaged: "):
        tombstones(run)
    for command in (["list"], ["check"], ["why"]):
        result = call(*command, crowd.root)
        assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)


def test_a_manifest_of_more_bytes_than_there_are_is_damaged(run, crowd):
    restate(run, 1, files=[{"path": "ckpt.index", "bytes": HUGE, "checksum": "xxh3-128:" + "0" * 32}])
    assert [stored.manifest is None for stored in run.live()] == [True, False, False]
    assert call("check", crowd.root).exit_code == 1


def test_a_journal_of_more_bytes_than_there_are_is_damaged(run, crowd):
    item = {"step": 1, "epoch": 0, "metrics": {}, "bytes": HUGE, "reason": "", "manifest": "", "returned": 0}
    body = {"run": "run", "rules": "", "grace": 0.0, "by": "", "going": [item]}
    digest = body_digest(body)
    run.files.make_folder("run/journal")
    value = {"format": 1, "plan": digest, "created": 0.0, "token": 0, **body}
    run.files.local(f"run/journal/{digest}.json").write_text(dump_json(value))
    with pytest.raises(StoreError, match="it holds no plan of run"):
        read_journal(run, digest)


@pytest.mark.parametrize(
    "command", [["list"], ["check"], ["prune", "--rules", "rules.yaml"], ["report"]], ids=lambda c: c[0]
)
def test_an_unset_variable_is_not_the_current_folder(run, crowd, monkeypatch, tmp_path, command):
    (crowd.root / "rules.yaml").write_text("filter: {metric: val_loss, at_most: 0.5}\n")
    monkeypatch.chdir(crowd.root)
    result = call(command[0], "", *command[1:])
    assert result.exit_code == 1
    assert result.stderr == "Error: A store's place must not be empty. Received: ''.\n"
    assert call(command[0], ".", *command[1:]).exit_code == 0


@pytest.mark.parametrize("command", [["list"], ["why"], ["prune", "--rules", "RULES"], ["check"]], ids=lambda c: c[0])
def test_nothing_in_a_store_gives_orders_to_a_terminal(crowd, tmp_path, command):
    run = crowd.run([0.9, 0.3])
    crowd.publish(run, Record(3, 2, {"val_loss": 0.2, "a\x1b]0;evil\x07\nb": 1.0, "c\u009b2J": 2.0}))
    run.pin(1, "cited\x1b[2J\rby many")
    rules = tmp_path / "rules.yaml"
    rules.write_text("filter: {metric: val_loss, at_most: 0.5}\n")
    result = call(command[0], crowd.root, *(str(rules) if word == "RULES" else word for word in command[1:]))
    assert isinstance(result.exception, (SystemExit, type(None)))
    odd = [c for c in result.output if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    assert odd == []
    if command[0] == "list":
        assert "a\\x1b]0;evil\\x07\\nb 1" in result.output


def test_names_that_differ_in_their_case_only_are_refused_as_files_and_as_runs(crowd):
    run = crowd.run([0.9], "demo")
    staged, place = run.stage()
    for name in ("ckpt.index", "ckpt.Index"):
        (place / name).write_bytes(b"x")
    with pytest.raises(StoreError, match=r"differ in more than their case.*'ckpt\.Index', 'ckpt\.index'"):
        run.publish(staged, Record(2, 1, {}), "as told", "0" * 64)
    with pytest.raises(StoreError, match=r"differ in more than their case.*'Demo', beside 'demo'"):
        crowd.store.start("Demo")
    assert (crowd.store.keys(), crowd.store.start("demo").key) == (["demo"], "demo")


def test_what_a_killed_writer_had_made_is_made_to_last_by_the_next(run, crowd, clock, monkeypatch):
    """A folder or file whose maker was killed before its name was synced."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    again = Store(crowd.root, clock).start("run")
    assert {str(crowd.root.parent), str(crowd.root)} <= set(synced)
    synced.clear()
    with again.lease("training") as lease:
        recover(again, lease)
    assert {f"{crowd.root}/run", f"{crowd.root}/run/checkpoints"} <= set(synced)
