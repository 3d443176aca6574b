"""CheckpointFilter's executor on real stores: judges, publishes, and only then prunes."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from pathlib import Path

import pytest
from faults.crowd import Crowd
from faults.powers import without_powers
from tfx.types import channel, standard_artifacts

from checkpoint_gate.artifact_files.checkpoint_set import read_about, read_set
from checkpoint_gate.artifact_files.markers import empty_reason
from checkpoint_gate.artifact_files.pointer import RunPointer
from checkpoint_gate.artifacts import CheckpointSet
from checkpoint_gate.checkpoint_filter import CheckpointFilter
from checkpoint_gate.checkpoint_filter.executor import Executor
from checkpoint_gate.errors import NoSurvivors, RuleError, RunMissing, UnknownMetricError
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store.trash import tombstones
from checkpoint_gate.store.undeleting import undelete

HALF = "{metric: val_loss, at_most: 0.5}"


class Filtering:
    """Runs the executor on runs of a store, each time into a new artifact."""

    def __init__(self, root):
        self.root = root
        self.count = 0

    def __call__(self, runs, rules=HALF, prune="{grace: 0s}", **properties):
        self.count += 1
        output = CheckpointSet()
        output.uri = str(self.root / "artifacts" / str(self.count))
        text = f"filter: {rules}\n" + (f"prune: {prune}\n" if prune else "")
        Executor().Do(
            {"model_run": [self.pointer(run) for run in runs]},
            {"survivors": [output]},
            {"rules": text, "on_no_survivors": "fail"} | properties,
        )
        return output

    def pointer(self, run):
        model_run = standard_artifacts.ModelRun()
        model_run.uri = str(self.root / "pointers" / run.key)
        folder = self.root / "pointers" / run.key
        folder.mkdir(parents=True, exist_ok=True)
        RunPointer(str(self.root / "store"), run.key).write(folder)
        return model_run


@pytest.fixture
def filtering(memory_path):
    return Filtering(memory_path)


def folder_of(output):
    return Path(output.uri)


def steps(output):
    return [(survivor.manifest.run, survivor.manifest.step) for survivor in read_set(folder_of(output))]


def verdicts(output):
    return [json.loads(line) for line in (folder_of(output) / "verdicts.jsonl").read_text().splitlines()]


def live(run):
    return [stored.step for stored in run.live()]


def spoil(run, step):
    path = run.files.local(f"{run.gated.path(step)}/ckpt.index")
    path.write_bytes(b"x" + path.read_bytes()[1:])


def test_survivors_are_published_and_the_rejected_pruned(crowd, filtering):
    run = crowd.run([0.9, 0.4, 0.6, 0.3])
    output = filtering([run])
    assert steps(output) == [("run", 2), ("run", 4)]
    assert live(run) == [2, 4]
    size = sum(mark["bytes"] for mark in tombstones(run).values())
    expected = {"kept": 2, "rejected": 2, "quarantined": 0, "pruned": 2, "pruned_bytes": size, "trashed_bytes": 0}
    about = read_about(folder_of(output))
    assert {key: about[key] for key in expected} == expected
    assert size > 0
    assert about["prune_refused"] == ""


def test_the_lineage_says_under_which_rules_what_was_done(crowd, filtering):
    output = filtering([crowd.run([0.9, 0.4])], prune="{grace: 1h}")
    about = read_about(folder_of(output))
    names = ("rules_digest", "kept", "rejected", "quarantined", "pruned", "trashed_bytes", "pruned_bytes")
    assert {name: output.get_json_value_custom_property(name) for name in names} == {
        name: about[name] for name in names
    }
    assert about["trashed_bytes"] > 0
    assert about["pruned_bytes"] == 0
    assert len(about["rules_digest"]) == 64


def test_each_verdict_says_why_and_how_far_from_the_limit(crowd, filtering):
    output = filtering([crowd.run([0.75, 0.4, float("nan")])])
    assert [(v["step"], v["outcome"], v["reason"], v["shortfall"]) for v in verdicts(output)] == [
        (1, "reject", "val_loss 0.75 is not at most 0.5 (by 0.25)", 0.5),
        (2, "keep", "val_loss 0.4 is at most 0.5", 0.0),
        (3, "reject", "val_loss is nan", "inf"),
    ]


@pytest.mark.parametrize(
    ("rules", "losses", "saved", "kept"),
    [
        pytest.param(
            "{metric: val_loss, moving_average: 3, at_most: 0.5}",
            [0.4, 0.9, 0.4, 0.4, 0.4],
            [1, 3, 4, 5],
            [5],
            id="refused epochs count in a trailing average",
        ),
        pytest.param(
            "{all: [{metric: val_loss, at_most: 0.5}, {metric: val_loss, centred_average: 3, at_most: 0.5}]}",
            [0.9, 0.3, 0.9, 0.45, 0.4, 0.45],
            [2, 4, 5, 6],
            [5, 6],
            id="a lone dip between two bad neighbours is a spike, not a model",
        ),
        pytest.param(
            "{metric: val_loss, at_most: 0.5, top: {metric: val_loss, mode: min, n: 2}}",
            [0.4, 0.2, 0.3, 0.6],
            [1, 2, 3, 4],
            [2, 3],
            id="the top of those that hold",
        ),
    ],
)
def test_the_whole_ledger_is_judged(crowd, filtering, rules, losses, saved, kept):
    run = crowd.run(losses, saved=saved)
    assert [step for _, step in steps(filtering([run], rules, prune=None))] == kept


def test_the_next_best_takes_the_place_of_a_damaged_one_which_is_set_aside(crowd, filtering):
    run = crowd.run([0.4, 0.2, 0.3, 0.1])
    spoil(run, 4)
    output = filtering([run], "{top: {metric: val_loss, mode: min, n: 2}}")
    assert steps(output) == [("run", 2), ("run", 3)]
    assert read_about(folder_of(output))["quarantined"] == 1
    assert live(run) == [1, 2, 3]  # nothing is pruned from a damaged run
    assert read_about(folder_of(output))["prune_refused"] == (
        "Nothing was pruned from run: 1 of its checkpoints were damaged."
    )
    assert {name[:14] for name in run.files.names("run/quarantine")} == {"step-000000004"}
    again = filtering([run], "{top: {metric: val_loss, mode: min, n: 2}}")
    assert read_about(folder_of(again))["pruned"] == 1
    assert live(run) == [2, 3]


def test_a_checkpoint_that_may_not_be_read_is_passed_over_and_stays_where_it_is(crowd, filtering):
    run = crowd.run([0.4, 0.2, 0.3, 0.1])
    place = run.files.local(f"{run.gated.path(4)}/ckpt.index")
    place.chmod(0)
    with without_powers():
        output = filtering([run], "{top: {metric: val_loss, mode: min, n: 2}}")
    assert steps(output) == [("run", 2), ("run", 3)]
    assert read_about(folder_of(output))["prune_refused"] == (
        f"Nothing was pruned from run: {place} cannot be read: Permission denied."
    )
    assert (live(run), run.files.names("run/quarantine")) == ([1, 2, 3, 4], [])


def of_another_run(crowd, run):
    other = crowd.run([0.4, 0.3, 0.1], "other")
    place = run.files.local(run.gated.path(2))
    shutil.rmtree(place)
    shutil.copytree(other.files.local(other.gated.path(2)), place)


def of_a_newer_format(crowd, run):
    path = run.files.local(f"{run.gated.path(2)}/manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "self": "blake3:00"}))


def a_link(crowd, run):
    other = crowd.run([0.4, 0.3, 0.1], "other")
    place = run.files.local(run.gated.path(2))
    shutil.rmtree(place)
    place.symlink_to(other.files.local(other.gated.path(2)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(of_another_run, "belongs to the run other, not to run", id="another run's"),
        pytest.param(of_a_newer_format, "its format is 2; this version reads format 1", id="of a newer format"),
        pytest.param(a_link, "is not this run's to move", id="a link"),
    ],
)
def test_what_is_not_the_runs_is_left_where_it_is(crowd, filtering, tree, change, words):
    run = crowd.run([0.4, 0.2, 0.3, 0.1])
    change(crowd, run)
    before = tree(crowd.root)
    output = filtering([run], "{top: {metric: val_loss, mode: min, n: 2}}")
    assert steps(output) == [("run", 3), ("run", 4)]
    refused = read_about(folder_of(output))["prune_refused"]
    assert words in refused
    assert refused.startswith("Nothing was pruned from run: ")
    assert tree(crowd.root) == before


def test_several_runs_are_filtered_together(crowd, filtering):
    a, b = crowd.run([0.4, 0.2, 0.6], "a"), crowd.run([0.3, 0.5, 0.9], "b")
    output = filtering([a, b], "{top: {metric: val_loss, mode: min, n: 2}}")
    assert steps(output) == [("a", 2), ("b", 1)]
    assert (live(a), live(b)) == ([2, 3], [1, 3])  # keep_last 1 of each
    assert read_about(folder_of(output))["runs"] == ["a", "b"]


def test_a_run_without_survivors_beside_one_with_them_is_left_whole(crowd, filtering):
    a, b = crowd.run([0.4, 0.2], "a"), crowd.run([0.9, 0.8], "b")
    output = filtering([a, b])
    assert live(b) == [1, 2]
    assert read_about(folder_of(output))["prune_refused"] == "Nothing was pruned from b: no survivor would be left."


def test_a_run_that_is_given_twice_counts_once(crowd, filtering):
    run = crowd.run([0.4, 0.2])
    assert steps(filtering([run, run])) == [("run", 1), ("run", 2)]


def test_what_was_pruned_comes_back_for_looser_rules_once_it_is_undeleted(crowd, filtering):
    run = crowd.run([0.6, 0.4, 0.3])
    assert steps(filtering([run], prune="{grace: 1h}")) == [("run", 2), ("run", 3)]
    looser = filtering([run], "{metric: val_loss, at_most: 0.7}", prune=None)
    assert steps(looser) == [("run", 2), ("run", 3)]
    assert [mark["step"] for mark in read_about(folder_of(looser))["pruned_earlier"]] == [1]
    with run.lease("undeleting") as lease:
        undelete(run, 1, lease)
    again = filtering([run], "{metric: val_loss, at_most: 0.7}", prune=None)
    assert steps(again) == [("run", 1), ("run", 2), ("run", 3)]
    assert read_about(folder_of(again))["pruned_earlier"] == []


def test_executed_again_after_a_kill_anywhere_in_its_pruning_it_tells_the_same(memory_path, clock, killable, killed):
    def scene(place):
        run = Crowd(place / "store", clock).run([0.9, 0.4, 0.8, 0.3, 0.7, 0.35])
        return run, Filtering(place)

    run, filtering = scene(memory_path / "calm")
    killable.arm(None)
    calm = told(filtering([run]), run)
    count = killable.done
    assert count > 30
    outcomes = []
    for point in range(count):
        place = memory_path / f"kill-{point}"
        killable.arm(None)
        run, filtering = scene(place)
        killable.arm(point)
        with pytest.raises(killed):
            filtering([run])
        killable.arm(None)
        outcomes.append(told(filtering([run]), run) == calm)
        shutil.rmtree(place)
    assert outcomes == [True] * count


def told(output, run):
    kept = [(v["step"], v["reason"]) for v in verdicts(output) if v["outcome"] == "keep"]
    return steps(output), kept, read_about(folder_of(output)), live(run)


def test_what_is_past_its_grace_is_freed_by_the_next_execution(crowd, filtering):
    run = crowd.run([0.9, 0.4])
    filtering([run], prune="{grace: 1s}")
    assert [mark["event"] for mark in tombstones(run).values()] == ["trashed"]
    time.sleep(1.1)
    filtering([run], prune="{grace: 1s}")
    assert [mark["event"] for mark in tombstones(run).values()] == ["pruned"]


@pytest.mark.parametrize(
    ("prune", "event"),
    [
        pytest.param("{grace: 24h}", "pruned", id="is freed by the filter of a later one"),
        pytest.param(None, "trashed", id="stays where the later one's rules remove nothing"),
    ],
)
def test_an_earlier_runs_trash_beyond_its_grace(crowd, filtering, caplog, prune, event):
    earlier = crowd.run([0.9, 0.4], key="earlier")
    filtering([earlier], prune="{grace: 1s}")
    time.sleep(1.1)
    caplog.set_level(logging.INFO)
    filtering([crowd.run([0.4], key="later")], prune=prune)
    assert [mark["event"] for mark in tombstones(earlier).values()] == [event]
    assert ("of earlier trash in the store" in caplog.text) == (event == "pruned")


def test_an_earlier_runs_trash_within_its_grace_stays(crowd, filtering):
    earlier = crowd.run([0.9, 0.4], key="earlier")
    filtering([earlier], prune="{grace: 1h}")
    filtering([crowd.run([0.4], key="later")], prune="{grace: 0s}")
    assert [mark["event"] for mark in tombstones(earlier).values()] == ["trashed"]


def test_a_store_that_cannot_be_listed_keeps_no_survivors_from_going_on(crowd, filtering, monkeypatch, caplog):
    def unreachable(store):
        raise OSError(110, "Connection timed out")

    run = crowd.run([0.4])
    monkeypatch.setattr("checkpoint_gate.store.store.Store.keys", unreachable)
    assert steps(filtering([run])) == [("run", 1)]
    assert "nothing was swept from the store" in caplog.text


def test_rules_without_prune_take_the_default_and_are_told_with_it(crowd, filtering):
    default = RuleSet(prune=PrunePolicy(grace=0.0)).to_json()
    run = crowd.run([0.9, 0.4])
    about = read_about(folder_of(filtering([run], prune=None, default_prune=default)))
    assert live(run) == [2]
    assert (about["pruned"], about["prune_refused"]) == (1, "")
    assert parse_rules(about["rules"]).prune == PrunePolicy(grace=0.0)


def test_rules_with_prune_leave_the_default_alone(crowd, filtering):
    default = RuleSet(prune=PrunePolicy(grace=0.0)).to_json()
    about = read_about(folder_of(filtering([crowd.run([0.9, 0.4])], prune="{grace: 1h}", default_prune=default)))
    assert parse_rules(about["rules"]).prune == PrunePolicy(grace=3600.0)


def test_the_component_hands_the_default_on_as_text():
    run = channel.Channel(type=standard_artifacts.ModelRun)
    without = CheckpointFilter(model_run=run, rules="filter: {every: 1}")
    assert without.exec_properties.get("default_prune") is None
    given = CheckpointFilter(model_run=run, rules="filter: {every: 1}", default_prune=PrunePolicy(keep_last=3))
    assert parse_rules(given.exec_properties["default_prune"]) == RuleSet(prune=PrunePolicy(keep_last=3))


def test_a_busy_run_is_published_from_and_not_pruned(crowd, filtering, caplog):
    run = crowd.run([0.9, 0.4])
    with run.lease("training"), caplog.at_level(logging.WARNING):
        output = filtering([run])
    assert steps(output) == [("run", 2)]
    assert live(run) == [1, 2]
    assert read_about(folder_of(output))["prune_refused"].startswith("Nothing was pruned from run: ")
    assert "Nothing was pruned from run" in caplog.text


def test_without_survivors_it_fails_with_the_closest_misses_and_prunes_nothing(crowd, filtering, tree):
    run = crowd.run([0.9, 0.6])
    before = tree(crowd.root)
    with pytest.raises(NoSurvivors, match=r"rejected all 2 checkpoints. Closest: run epoch 2: val_loss 0.6 is not at"):
        filtering([run])
    assert tree(crowd.root) == before


def test_without_survivors_the_set_may_be_marked_empty(crowd, filtering):
    run = crowd.run([0.9, 0.6])
    output = filtering([run], on_no_survivors="keep_champion")
    assert empty_reason(output.uri).startswith("The filter rejected all 2 checkpoints.")
    assert read_about(folder_of(output))["kept"] == 0
    assert live(run) == [1, 2]


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(HALF, id="with its survivors, and others"),
        pytest.param("{top: {metric: val_loss, mode: min, n: 1}}", id="other survivors"),
        pytest.param("{metric: val_loss, at_most: 0.1}", id="marked empty"),
    ],
)
def test_an_earlier_set_in_its_folder_gives_way(crowd, filtering, rules):
    run = crowd.run([0.9, 0.4, 0.3])
    filtering([run], rules, prune=None, on_no_survivors="keep_champion")
    filtering.count = 0  # numbers begin anew when ML Metadata's database is lost
    output = filtering([run], "{all: [{metric: val_loss, at_most: 0.5}, {metric: val_loss, at_least: 0.35}]}")
    assert steps(output) == [("run", 2)]
    assert empty_reason(output.uri) is None
    assert live(run) == [2, 3]  # keep_last 1


def test_the_store_may_have_moved(crowd, filtering, memory_path):
    run = crowd.run([0.4])
    filtering.pointer(run)
    crowd.root.rename(memory_path / "elsewhere")
    with pytest.raises(RunMissing, match="Run again with --retrain to train anew"):
        filtering([run])
    assert steps(filtering([run], store=str(memory_path / "elsewhere"), prune=None)) == [("run", 1)]


def test_a_metric_that_was_never_logged_prunes_nothing(crowd, filtering, tree):
    run = crowd.run([0.9, 0.4])
    before = tree(crowd.root)
    with pytest.raises(UnknownMetricError, match="filter names 'val_los'"):
        filtering([run], "{metric: val_los, at_most: 0.5}")
    assert tree(crowd.root) == before


# The component.


def model_runs():
    return channel.Channel(type=standard_artifacts.ModelRun)


@pytest.mark.filterwarnings("ignore:.*union.*deprecated")  # tfx.dsl.union is this, but imports all of TFX
def test_several_trainers_can_be_united():
    both = channel.union([model_runs(), model_runs()])
    component = CheckpointFilter(model_run=both, rules=f"filter: {HALF}")
    assert component.outputs["survivors"].type is CheckpointSet


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"rules": "save: {metric: loss, at_most: 1}"}, "needs rules with the section `f", id="no filter"),
        pytest.param({"rules": "filter: {}"}, "filter", id="empty rules"),
        pytest.param(
            {"rules": f"filter: {HALF}", "on_no_survivors": "shrug"},
            "on_no_survivors must be fail or keep_champion. Received: 'shrug'",
            id="another setting",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_when_the_pipeline_is_built(arguments, words):
    with pytest.raises(RuleError, match=words):
        CheckpointFilter(model_run=model_runs(), **arguments)


def test_only_its_own_sections_are_part_of_the_cache_key():
    text = f"save: {{metric: loss, at_most: 1}}\nfilter: {HALF}\n"
    components = [CheckpointFilter(model_run=model_runs(), rules=t) for t in (text, text.replace(": 1}", ": 2}"))]
    first, second = (component.spec.exec_properties["rules"] for component in components)
    assert first == second


def test_the_code_of_rules_of_ones_own_is_part_of_the_cache_key(tmp_path, monkeypatch):
    source = tmp_path / "own_limit.py"
    source.write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    text = "filter: {rule: 'own_limit:Limit'}"
    keys = [CheckpointFilter(model_run=model_runs(), rules=text).exec_properties["own_rules"]]
    source.write_text(OWN.replace("0.5", "0.4"))
    keys.append(CheckpointFilter(model_run=model_runs(), rules=text).exec_properties["own_rules"])
    sys.modules.pop("own_limit")
    assert keys[0] != keys[1]
    assert CheckpointFilter(model_run=model_runs(), rules=f"filter: {HALF}").exec_properties.get("own_rules") is None


OWN = """
from dataclasses import dataclass
from checkpoint_gate.rules.conditions import Threshold


@dataclass(frozen=True)
class Limit(Threshold):
    metric: str = "val_loss"
    at_most: float = 0.5
"""


def test_the_page_on_filtering_shows_a_verdict_as_it_is(crowd, filtering):
    page = (Path(__file__).parents[1] / "components" / "docs" / "filtering.md").read_text(encoding="utf-8")
    shown = json.loads(page.partition("```json\n")[2].partition("\n```")[0])
    (verdict,) = verdicts(filtering([crowd.run([0.61])], on_no_survivors="keep_champion"))
    assert {key: shown[key] for key in ("outcome", "reason", "shortfall")} == {
        "outcome": verdict["outcome"],
        "reason": verdict["reason"],
        "shortfall": pytest.approx(verdict["shortfall"]),
    }
    assert list(shown) == list(verdict)
