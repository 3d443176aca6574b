"""Whether a scheduled run would find anything new, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from past_runs import WORK, ended

from gated_pipelines.history.history import Begun, Past, Work
from gated_pipelines.history.novelty import nothing_new, why_new, work_of
from gated_pipelines.running.job import prepare

PENGUINS = Path(__file__).parent.parent / "data" / "penguins"
CHAMPION = "/serving/12"


def past(**changes):
    return Past(None, ended(**changes))


BEGUN = Past(Begun(id="x", began=1.0, trigger="schedule", why="w", host="h", pid=1, born="2"), None)
SKIPPED = past(run="s", began=1_790_000_500.0, skipped=True, outcome="skipped", work=None, champion=7)


@pytest.mark.parametrize(
    ("history", "work", "champion", "why"),
    [
        pytest.param([], {}, None, "it is the first run", id="no run before"),
        pytest.param([SKIPPED], {}, None, "it is the first run", id="only skipped ones before"),
        pytest.param([past()], {}, CHAMPION, None, id="nothing is new"),
        pytest.param([past(), SKIPPED], {}, CHAMPION, None, id="nothing is new since the one before the skipped"),
        pytest.param([past()], {"data": "x"}, CHAMPION, "the data is new", id="new data"),
        pytest.param([past()], {"code": "x"}, CHAMPION, "the code has changed", id="new code"),
        pytest.param([past()], {"settings": "x"}, CHAMPION, "the settings have changed", id="new settings"),
        pytest.param([past()], {"store": 1}, CHAMPION, "the store was changed by hand", id="a pin"),
        pytest.param([past()], {"pushed": "x"}, CHAMPION, "the push folder has changed", id="a rollback"),
        pytest.param(
            [past()], {"rules": "x", "data": "x"}, CHAMPION, "the data is new; the rules have changed", id="two things"
        ),
        pytest.param(
            [past()], {"pushed": "x"}, None, "the champion, version 12, is gone from the push folder", id="no champion"
        ),
        pytest.param([past(), BEGUN], {}, CHAMPION, "the run of 1970-01-01 00:00 UTC died", id="a run that died"),
        pytest.param(
            [past(outcome="failed", green=False)], {}, CHAMPION,
            "the run of 2026-09-21 14:13 UTC ended with: failed", id="a run that failed",
        ),
        pytest.param(
            [past(work=None)], {}, CHAMPION,
            "the run of 2026-09-21 14:13 UTC ended with: pushed", id="one that tells little",
        ),
        pytest.param([past(outcome="not_blessed")], {}, CHAMPION, None, id="a challenger that was refused"),
    ],
)  # fmt: skip
def test_why_there_is_work(history, work, champion, why):
    assert why_new(WORK.model_copy(update=work), champion, history) == why


def test_why_there_is_none():
    words = "nothing is new since the run of 2026-09-21 14:13 UTC: the same data, rules, settings and code"
    assert nothing_new([past(), SKIPPED]) == words


@pytest.fixture
def project(tmp_path):
    for name in ("penguins.csv", "pipeline.yaml"):
        (tmp_path / name).write_bytes((PENGUINS / name).read_bytes())
    return tmp_path


def changed(project, change):
    before = work_of(prepare(project / "pipeline.yaml", project / "root"))
    change(project)
    after = work_of(prepare(project / "pipeline.yaml", project / "root"))
    return {part for part in Work.model_fields if getattr(before, part) != getattr(after, part)}


def replaced(name, old, new):
    def change(project):
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new, 1))

    return change


def touched(project):
    for name in ("penguins.csv", "pipeline.yaml"):
        data = (project / name).read_bytes()
        (project / name).unlink()
        (project / name).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        pytest.param(touched, set(), id="the same files, written anew"),
        pytest.param(replaced("pipeline.yaml", "# The whole", "# All of the"), set(), id="a comment"),
        pytest.param(replaced("pipeline.yaml", "at_most: 0.40}", "at_most: 0.4}"), set(), id="a limit spelt otherwise"),
        pytest.param(replaced("pipeline.yaml", "at_most: 0.40}", "at_most: 0.41}"), {"rules"}, id="another limit"),
        pytest.param(replaced("pipeline.yaml", "epochs: 40", "epochs: 41"), {"settings"}, id="more epochs"),
        pytest.param(replaced("penguins.csv", "39.1", "39.2"), {"data"}, id="another value"),
    ],
)
def test_only_what_matters_is_new(project, change, parts):
    assert changed(project, change) == parts


def test_a_champion_that_is_gone_is_noticed(project):
    version = project / "root" / "serving" / "12"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"x")
    assert changed(project, lambda _: (version / "saved_model.pb").unlink()) == {"pushed"}
