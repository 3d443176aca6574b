"""Whether a scheduled run would find anything new, and why."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from past_runs import WORK, ended

from checkpoint_gate.rule_text.own_code import own_code
from gated_pipelines.history.history import Begun, Past, Runs, Work
from gated_pipelines.history.novelty import left_by, nothing_new, why_new, work_of
from gated_pipelines.pipeline import create_pipeline
from gated_pipelines.running.job import prepare
from gated_pipelines.tabular.run_key import run_key
from gated_pipelines.trainer import TrainSettings

PENGUINS = Path(__file__).parent.parent / "data" / "penguins"
CHAMPION = 12


def past(line=1, **changes):
    return Past(None, ended(**changes), line)


def begun(**asked):
    line = Begun(id="x", began=1.0, trigger="schedule", why="w", host="h", pid=1, born="2", **asked)
    return Past(line, None, 2)


AFTER = {"run": "s", "began": 1_790_000_500.0, "line": 2}
LEFT = past(**AFTER, skipped=True, outcome="skipped", work=None, champion=7)
SKIPPED = past(**AFTER, skipped=True, outcome="skipped", work=WORK.model_copy(update={"pushed": "pruned"}))
BY_HAND = past(**AFTER, trigger="by hand", outcome="failed", green=False, work=None)
SCHEDULED = past(**AFTER, outcome="failed", green=False, work=None, champion=None)
OLD_SPAN = past(**AFTER, trigger="by hand", asked_span=201303, work=WORK.model_copy(update={"data": "old"}))
GONE = "the champion, version 12, is gone from the push folder"
FAILED = "the run of 2026-09-21 14:13 UTC ended with: failed"
LATE = "the run of 2026-09-21 14:21 UTC ended with: failed"


@pytest.mark.parametrize(
    ("history", "work", "champion", "why"),
    [
        pytest.param([], {}, None, "it is the first run", id="no run before"),
        pytest.param([LEFT], {}, None, "it is the first run", id="only skipped ones before"),
        pytest.param([OLD_SPAN], {}, CHAMPION, "it is the first run", id="only one of an old span before"),
        pytest.param([past()], {}, CHAMPION, None, id="nothing is new"),
        pytest.param([past(), LEFT], {}, CHAMPION, None, id="nothing is new since the one before the skipped"),
        pytest.param([past()], {"data": "x"}, CHAMPION, "the data is new", id="new data"),
        pytest.param([past()], {"code": "x"}, CHAMPION, "the code has changed", id="new code"),
        pytest.param([past()], {"libraries": "x"}, CHAMPION, "the libraries have changed", id="new libraries"),
        pytest.param([past()], {"curated": "x"}, CHAMPION, "the curated schema has changed", id="another schema"),
        pytest.param([past()], {"settings": "x"}, CHAMPION, "the settings have changed", id="new settings"),
        pytest.param([past()], {"store": 1}, CHAMPION, "the store was changed by hand", id="a pin"),
        pytest.param([past()], {"pushed": "x"}, CHAMPION, "the push folder has changed", id="a rollback"),
        pytest.param(
            [past()], {"rules": "x", "data": "x"}, CHAMPION, "the data is new; the rules have changed", id="two things"
        ),
        pytest.param([past()], {"pushed": "x"}, None, GONE, id="no champion"),
        pytest.param([past()], {"pushed": "x"}, 11, GONE, id="the champion is gone and an older version stands"),
        pytest.param([past()], {"pushed": "x"}, 13, "the push folder has changed", id="a newer version took its place"),
        pytest.param(
            [past(), SCHEDULED], {"pushed": "x"}, None, f"{LATE}; {GONE}", id="all is gone after one that failed"
        ),
        pytest.param(
            [past(outcome="not_blessed", champion=None)], {}, None, None, id="none was established, as is known"
        ),
        pytest.param([past(), SKIPPED], {"pushed": "pruned"}, CHAMPION, None, id="a skipped run has pruned"),
        pytest.param([past(), begun()], {}, CHAMPION, "the run of 1970-01-01 00:00 UTC died", id="a run that died"),
        pytest.param([past(outcome="failed", green=False)], {}, CHAMPION, FAILED, id="a run that failed"),
        pytest.param(
            [past(work=None)], {}, CHAMPION,
            "the run of 2026-09-21 14:13 UTC ended with: pushed", id="one that tells little",
        ),
        pytest.param([past(outcome="not_blessed")], {}, CHAMPION, None, id="a challenger that was refused"),
        pytest.param([past(), SCHEDULED], {}, CHAMPION, LATE, id="a scheduled run that could not begin"),
        pytest.param([past(), BY_HAND], {}, CHAMPION, None, id="a run by hand that could not begin"),
        pytest.param([past(), OLD_SPAN], {}, CHAMPION, None, id="a run by hand of an old span"),
        pytest.param([past(), begun(asked_span=201303)], {}, CHAMPION, None, id="one of an old span that died"),
        pytest.param(
            [past(), OLD_SPAN], {"pushed": "x"}, 13, "the push folder has changed", id="one of an old span pushed"
        ),
    ],
)  # fmt: skip
def test_why_there_is_work(history, work, champion, why):
    assert why_new(WORK.model_copy(update=work), champion, Runs(tuple(history))) == why


@pytest.mark.parametrize(
    ("history", "unreadable", "why"),
    [
        pytest.param([], (1,), "1 line of the history cannot be read", id="no other line"),
        pytest.param([past()], (2, 3), "2 lines of the history cannot be read", id="after the last run that can be"),
        pytest.param([past(line=3)], (1, 2), None, id="before the last run that can be"),
    ],
)
def test_what_cannot_be_read_is_work_where_it_may_tell_of_the_last_run(history, unreadable, why):
    assert why_new(WORK, CHAMPION, Runs(tuple(history), unreadable)) == why


def test_why_there_is_none():
    words = "nothing is new since the run of 2026-09-21 14:13 UTC: the same data, rules, settings and code"
    assert nothing_new(Runs((past(), LEFT, BY_HAND, OLD_SPAN))) == words


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("penguins.csv", "pipeline.yaml"):
        (tmp_path / name).write_bytes((PENGUINS / name).read_bytes())
    kinds = {"species": "BYTES", "island": "BYTES", "sex": "BYTES"}
    numbers = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
    features = (kinds | dict.fromkeys(numbers, "FLOAT")).items()
    schema = "".join(
        f'feature {{ name: "{name}" type: {kind} presence {{ min_count: 1 }} }}\n' for name, kind in features
    )
    (tmp_path / "schema.pbtxt").write_text(schema)
    (tmp_path / "gap_rules.py").write_text(RULE)
    text = (tmp_path / "pipeline.yaml").read_text()
    text = text.replace("csv: penguins.csv\n", "csv: penguins.csv\n  schema: schema.pbtxt\n")
    text = text.replace("  save:\n    all:\n", '  save:\n    all:\n      - {rule: "gap_rules:Gap"}\n')
    (tmp_path / "pipeline.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("gap_rules", None)


RULE = """
from dataclasses import dataclass
from checkpoint_gate.rules.judgement import Judgement


@dataclass(frozen=True)
class Gap:
    def metrics(self):
        return frozenset({"val_loss"})

    def start(self, future=None):
        return self

    def judge(self, record):
        return Judgement("holds", "always")

    def learn(self, record, saved):
        pass
"""


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
        pytest.param(
            replaced("schema.pbtxt", "min_count: 1", "min_count: 2"),
            {"curated"},
            id="another line of the schema",
        ),
        pytest.param(replaced("gap_rules.py", '"always"', '"at all times"'), {"code"}, id="an own rule, edited"),
    ],
)
def test_only_what_matters_is_new(project, change, parts):
    assert changed(project, change) == parts


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        pytest.param(lambda job: job, set(), id="nothing"),
        pytest.param(lambda job: replace(job, state=replace(job.state, last_push="13")), {"pushed"}, id="a push"),
    ],
)
def test_a_run_leaves_its_own_part_and_what_it_was_begun_with(project, monkeypatch, change, parts):
    job = prepare(project / "pipeline.yaml", project / "root")
    work = work_of(job)
    replaced("gap_rules.py", "always", "never")(project)  # while it runs; the next run finds it new
    monkeypatch.setattr(metadata, "version", lambda name: "99")
    left = left_by(work, change(job))
    assert {part for part in Work.model_fields if getattr(work, part) != getattr(left, part)} == parts


def test_an_edit_of_an_own_rule_is_another_training(project):
    """Neither TFX's cache nor an earlier run of the store is taken for it."""
    seen = []
    for change in (lambda _: None, replaced("gap_rules.py", '"always"', '"never"')):
        change(project)
        job = prepare(project / "pipeline.yaml", project / "root")
        (trainer,) = (each for each in create_pipeline(job).components if each.id == "Trainer")
        given = json.loads(trainer.exec_properties["custom_config"])
        rest = {"rules": job.rules.to_json(), "store": "s", "push_folder": "p", "epochs": 1}
        settings = TrainSettings(**given, **rest, own_rules=own_code(job.rules.cut("save")))
        seen.append((trainer.exec_properties["own_rules"], run_key({}, settings.determines(), 0)))
    assert [len(set(each)) for each in zip(*seen, strict=True)] == [2, 2]


def test_training_without_own_rules_is_told_by_nothing_of_them(project):
    replaced("pipeline.yaml", '      - {rule: "gap_rules:Gap"}\n', "")(project)
    job = prepare(project / "pipeline.yaml", project / "root")
    (trainer,) = (each for each in create_pipeline(job).components if each.id == "Trainer")
    assert "own_rules" not in trainer.exec_properties
    rest = {"rules": job.rules.to_json(), "store": "s", "push_folder": "p", "epochs": 1}
    settings = TrainSettings(**json.loads(trainer.exec_properties["custom_config"]), **rest)
    assert "own_rules" not in settings.determines()


def test_other_libraries_are_new(project, monkeypatch):
    version = metadata.version
    update = lambda _: monkeypatch.setattr(metadata, "version", lambda name: f"{version(name)}.1")  # noqa: E731
    assert changed(project, update) == {"libraries"}


def test_a_champion_that_is_gone_is_noticed(project):
    version = project / "root" / "serving" / "12"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"x")
    assert changed(project, lambda _: (version / "saved_model.pb").unlink()) == {"pushed"}
