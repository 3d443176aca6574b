"""The checkpoint in production is protected like a pinned one, until another takes its place."""

from __future__ import annotations

import pytest

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store.champion import ChampionNote, note_champion, read_champion, read_pushed
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune


def prune_all_but(run, survivor):
    rejected = {stored.step: "rejected" for stored in run.live() if stored.step != survivor}
    with run.lease("pruning") as lease:
        plan = plan_prune(run, rejected, [survivor], PrunePolicy(grace=0.0, max_fraction=1.0), "f" * 64)
        execute_prune(run, plan, lease)
    return plan, [stored.step for stored in run.live()]


def test_before_the_first_push_there_is_none(crowd):
    run = crowd.run([0.9, 0.5])
    assert read_champion(run.files) is None
    assert run.protected() == {}


def test_the_champion_s_checkpoint_is_never_pruned(crowd):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    note_champion(run.files, ChampionNote("run", 2, "1790000000"))
    plan, live = prune_all_but(run, 3)
    assert plan.staying[2] == "the champion, pushed as version 1790000000"
    assert live == [2, 3, 4]


def test_one_that_is_champion_no_more_may_go(crowd):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    note_champion(run.files, ChampionNote("run", 2, "1790000000"))
    note_champion(run.files, ChampionNote("run", 3, "1790000001"))
    assert prune_all_but(run, 3)[1] == [3, 4]


def test_the_checkpoints_of_versions_that_one_can_go_back_to_stay_too(crowd):
    run = crowd.run([0.9, 0.5, 0.4, 0.3, 0.2])
    notes = [ChampionNote("run", step, version) for step, version in ((2, "30"), (4, "30"), (1, "20"), (2, "10"))]
    note_champion(run.files, notes[0], notes[1:])
    assert read_champion(run.files) == notes[0]
    assert read_pushed(run.files) == tuple(notes)
    plan, live = prune_all_but(run, 3)
    assert plan.staying[1] == "one can go back to it, pushed as version 20"
    assert plan.staying[2] == plan.staying[4] == "the champion, pushed as version 30"
    assert live == [1, 2, 3, 4, 5]


def test_a_note_of_one_checkpoint_only_is_read(crowd):
    crowd.store.create()
    crowd.store.files.replace("champion.json", b'{"format": 1, "run": "run", "step": 2, "version": "17"}')
    assert read_pushed(crowd.store.files) == (ChampionNote("run", 2, "17"),)


def test_another_run_s_champion_protects_nothing_here(crowd):
    run = crowd.run([0.9, 0.5, 0.4, 0.3])
    note_champion(run.files, ChampionNote("other", 2, "1790000000"))
    assert prune_all_but(run, 3)[1] == [3, 4]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"{", id="torn"),
        pytest.param(b'{"format": 1, "run": "run", "version": "1"}', id="without the step"),
        pytest.param(b'{"format": 1, "run": "run", "step": "x", "version": "1"}', id="with a step that is no number"),
        pytest.param(
            b'{"format": 1, "run": "run", "step": 1, "version": "1", "others": [{"step": 2}]}', id="with half another"
        ),
        pytest.param(b'{"format": 1, "run": "run", "step": 1, "version": "1", "others": 3}', id="with no list"),
    ],
)
def test_a_damaged_note_stops_pruning(text, crowd):
    run = crowd.run([0.9, 0.5, 0.4])
    run.files.replace("champion.json", text)
    with pytest.raises(StoreError, match=r"champion\.json is damaged"):
        prune_all_but(run, 3)
    assert len(run.live()) == 3


def test_the_same_champion_is_not_written_again(crowd):
    crowd.run([0.5])
    note = ChampionNote("run", 1, "17")
    note_champion(crowd.store.files, note)
    path = crowd.root / "champion.json"
    before = path.stat().st_ino
    note_champion(crowd.store.files, note)
    assert path.stat().st_ino == before
