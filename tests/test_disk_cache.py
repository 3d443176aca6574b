"""TFX's own cache and an artifact that was pruned: it is executed anew, whatever of it is left on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_tfx import run_small

from gated_pipelines.disk.planning import Bounds, plan_disk
from gated_pipelines.disk.pruning import carry_out, metadata_of
from gated_pipelines.reporting.lineage import last_run
from gated_pipelines.running.places import Places

ONE = Bounds(keep_runs=1, keep_logs=None, grace=0.0, rules="0" * 64)


@pytest.fixture
def places(tmp_path):
    """A root after three runs, each of other words."""
    places = Places(tmp_path / "root")
    places.root.mkdir()
    for words in ("old", "middle", "new"):
        run_small(places, words)
    return places


def states(places: Places) -> dict[str, str]:
    return {name: step.state for name, step in last_run(places.metadata).items()}


def prune(places: Places) -> None:
    metadata = metadata_of(places)
    carry_out(places, plan_disk(places, str(places.root / "serving"), ONE, metadata), ONE, metadata)


def words_of(places: Places, component: str, key: str) -> str:
    return Path(last_run(places.metadata)[component].outputs[key], "words").read_text()


def test_without_a_pruning_the_cache_gives_what_is_old(places):
    run_small(places, "old")
    assert states(places) == {"Make": "cached", "Copy": "cached"}


def test_what_was_pruned_is_executed_anew_and_what_stays_is_taken_from_the_cache(places):
    prune(places)
    run_small(places, "new")
    assert states(places) == {"Make": "cached", "Copy": "cached"}
    run_small(places, "old")
    assert states(places) == {"Make": "complete", "Copy": "complete"}
    assert words_of(places, "Copy", "copied") == "old"


@pytest.mark.parametrize("at", [pytest.param(0, id="before the first byte"), pytest.param(1, id="after one file")])
def test_what_is_only_marked_is_executed_anew_although_its_bytes_are_there(places, killable, killed, at):
    killable.arm(at)
    with pytest.raises(killed):
        prune(places)
    killable.arm(None)
    run_small(places, "middle")
    assert states(places) == {"Make": "complete", "Copy": "complete"}
    prune(places)
    run_small(places, "middle")
    assert states(places) == {"Make": "cached", "Copy": "cached"}


def test_what_a_run_took_from_the_cache_stays(places):
    run_small(places, "old")
    prune(places)
    run_small(places, "old")
    assert states(places) == {"Make": "cached", "Copy": "cached"}
