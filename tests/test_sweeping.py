"""Sweeping a whole store: each run's trash beyond its grace goes, and no run keeps the others from it."""

from __future__ import annotations

import pytest

from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store import sweeping
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune
from checkpoint_gate.store.sweeping import sweep_store
from checkpoint_gate.store.trash import tombstones

HOUR = 3600.0


@pytest.fixture
def runs(crowd):
    """Three runs, each with one checkpoint of two in the trash for an hour."""
    runs = [crowd.run([0.9, 0.4], key=key) for key in ("a", "b", "c")]
    for run in runs:
        with run.lease("pruning") as lease:
            execute_prune(run, plan_prune(run, {1: "worse"}, [2], PrunePolicy(grace=HOUR), "0" * 64, "test"), lease)
    return runs


def events(runs):
    return [mark["event"] for run in runs for mark in tombstones(run).values()]


def test_the_trash_of_every_run_is_freed_beyond_its_grace(crowd, runs, clock):
    size = sum(mark["bytes"] for run in runs for mark in tombstones(run).values())
    assert sweep_store(crowd.store) == 0
    assert events(runs) == ["trashed"] * 3
    clock.now += HOUR
    assert sweep_store(crowd.store) == size > 0
    assert events(runs) == ["pruned"] * 3


def test_a_busy_and_a_damaged_run_are_passed_over_with_a_warning(crowd, runs, clock, caplog):
    clock.now += HOUR
    (journal,) = crowd.root.glob("c/journal/*")
    journal.write_bytes(b"{")
    with runs[0].lease("training"):
        sweep_store(crowd.store)
    assert events(runs) == ["trashed", "pruned", "trashed"]
    busy, damaged = caplog.messages
    assert busy.startswith("nothing was swept from a: ")
    assert "(training)" in busy
    assert damaged.startswith("nothing was swept from c: ")


def test_a_disk_that_fails_in_one_run_is_told_and_leaves_the_others(crowd, runs, clock, caplog, monkeypatch):
    sweep = sweeping.sweep

    def failing(run, lease):
        if run.key == "a":
            raise OSError(5, "Input/output error")
        return sweep(run, lease)

    monkeypatch.setattr(sweeping, "sweep", failing)
    clock.now += HOUR
    sweep_store(crowd.store)
    assert events(runs) == ["trashed", "pruned", "pruned"]
    assert caplog.messages == ["not all was swept from a: Input/output error"]


def test_no_lease_is_taken_where_the_trash_is_empty(crowd, clock):
    run = crowd.run([0.4])
    sweep_store(crowd.store)
    assert not list(crowd.root.glob("run/lease.*"))
    assert run.lease("sweeping").holder() is None
