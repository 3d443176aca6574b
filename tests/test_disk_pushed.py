"""`push.keep` over many pushes: the push folder holds no more than it says, and serves at every moment."""

from __future__ import annotations

import os

import pytest
from faults.papers import pushed_papers, write_version

from checkpoint_gate.pushed.push_folder import champion_path, live_versions
from checkpoint_gate.pusher.pruning import prune_versions
from checkpoint_gate.rules.retention import Keep

DAY = 86_400.0


@pytest.mark.parametrize(
    ("keep", "grace", "live", "held"),
    [
        pytest.param(Keep(last=3), 0.0, 3, 3, id="the newest three, the rest is freed at once"),
        pytest.param(Keep(last=3), 2 * DAY, 3, 5, id="the rest lies in the trash for its grace"),
        pytest.param(Keep(last=1), 0.0, 2, 2, id="the champion and the one before it"),
        pytest.param(Keep(within=7 * DAY), DAY, 7, 8, id="those of a week"),
    ],
)
def test_two_months_of_daily_pushes(memory_path, clock, keep, grace, live, held):
    folder = memory_path / "push"
    for version in range(1, 61):
        clock.now += DAY
        write_version(folder, version, f"w{version}", pushed_papers(version, f"w{version}", clock.now))
        done = prune_versions(str(folder), keep, grace, clock)
        assert done.left == ()
        assert champion_path(str(folder)) == str(folder / str(version))
        trash = folder / ".checkpoint-gate" / "trash"
        in_trash = os.listdir(trash) if trash.is_dir() else []
        assert len(live_versions(str(folder))) <= live
        assert len(live_versions(str(folder))) + len(in_trash) <= held
    assert (len(live_versions(str(folder))), len(live_versions(str(folder))) + len(in_trash)) == (live, held)
