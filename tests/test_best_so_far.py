"""The best champion so far: which version it is, that it stays, and that a champion held against it cannot drift."""

from __future__ import annotations

import itertools
import logging

import pytest
from faults.papers import papers_of, pushed_papers, write_version
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2  # noqa: F401  (TFMA's protos need it first)
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2
from tfx.types import standard_artifacts

from checkpoint_gate.champion.executor import Executor
from checkpoint_gate.cli.provenance import chain_of
from checkpoint_gate.evaluator.against_best import Best, hold_against
from checkpoint_gate.evaluator.deciding import standing, verdict_of
from checkpoint_gate.evaluator.eval_config import Threshold
from checkpoint_gate.evaluator.measurements import ALL_EXAMPLES, Measurements, metric_of
from checkpoint_gate.pushed.best_so_far import BestSoFar, best_after, best_so_far, handed_on, place_for
from checkpoint_gate.pushed.papers import read_papers, write_papers
from checkpoint_gate.pushed.push_folder import live_versions, version_path
from checkpoint_gate.pushed.push_log import add_to_log
from checkpoint_gate.pusher.pruning import prune_versions
from checkpoint_gate.pusher.rollback import plan_rollback, plan_undo, roll_back, undo_rollback
from checkpoint_gate.rules.records import load_json
from checkpoint_gate.rules.retention import Keep


def push(folder, version, best, weights=None):
    """A version whose papers name the best as of its push; None where that was not measured."""
    weights = weights or f"w{version}"
    papers = pushed_papers(version, weights)
    papers = papers.model_copy(update={"push": papers.push.model_copy(update={"best": best})})
    return write_version(folder, version, weights, papers)


def withdraw(folder, version, by):
    add_to_log(str(folder), "withdrawn", version, weights=f"w{version}", by=by, reason="wrong", time=1.0)


@pytest.mark.parametrize(
    ("versions", "best"),
    [
        pytest.param({}, None, id="no version: none"),
        pytest.param({1: None, 2: None}, 2, id="nobody tells: the champion"),
        pytest.param({1: 1, 2: 1, 3: 1}, 1, id="an earlier one, as the champion tells"),
        pytest.param({1: 1, 2: 1, 3: 3}, 3, id="the champion itself"),
        pytest.param({1: 1, 2: 2, 3: None}, 2, id="the champion does not tell: as the one before it does"),
        pytest.param({2: 1, 3: 1}, 3, id="the one that they name is gone: the champion"),
        pytest.param({2: 2, 4: 3}, 2, id="the one that the champion names is gone: what the one before it tells"),
    ],
)
def test_which_version_is_the_best_so_far(tmp_path, versions, best):
    for version, told in versions.items():
        push(tmp_path, version, told)
    found = best_so_far(str(tmp_path))
    assert (found.version if found else None) == best


def test_a_version_that_is_gone_is_told(tmp_path):
    push(tmp_path, 3, 1)
    assert best_so_far(str(tmp_path)) == BestSoFar(3, ("version 1, the best so far, is gone",))


def test_a_withdrawn_version_is_not_the_best(tmp_path):
    for version, best in ((1, 1), (2, 2), (3, 2)):
        push(tmp_path, version, best)
    withdraw(tmp_path, 2, by=3)
    found = best_so_far(str(tmp_path))
    assert found.version == 1
    assert found.passed_over[0].startswith("version 2, the best so far, was withdrawn on ")


def test_papers_that_cannot_be_read_tell_nothing(tmp_path):
    push(tmp_path, 1, 1)
    (push(tmp_path, 2, 2) / "assets.extra" / "checkpoint_gate.json").write_text("{")
    write_version(tmp_path, 3, "w3", None)
    assert best_so_far(str(tmp_path)) == BestSoFar(1)


@pytest.mark.parametrize(("told", "copy"), [(2, "itself"), (1, 1), (None, None)])
def test_a_version_that_is_gone_back_to_is_as_good_as_it_was(tmp_path, told, copy):
    for version, best in ((1, 1), (2, told), (3, 3)):
        push(tmp_path, version, best)
    path = roll_back(plan_rollback(str(tmp_path), None, 10), "wrong", 10.0, lambda model: None)
    assert read_papers(path).push.best == (10 if copy == "itself" else copy)
    assert best_so_far(str(tmp_path)).version == {2: 10, 1: 1, None: 1}[told]
    undone = undo_rollback(plan_undo(str(tmp_path), 11), "right after all", 11.0, lambda model: None)
    assert read_papers(undone).push.best == 11


def test_the_best_so_far_is_not_pruned(tmp_path):
    for version, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        push(tmp_path, version, best)
    prune_versions(str(tmp_path), Keep(last=1), 0.0)
    assert live_versions(str(tmp_path)) == (2, 4, 5)


@pytest.mark.parametrize(
    ("blessing", "best"),
    [
        pytest.param(None, None, id="pushed without a verdict"),
        pytest.param({"outcome": "blessed"}, None, id="an earlier release's verdict"),
        pytest.param({"improves_on_best": None, "best": None}, None, id="not measured"),
        pytest.param({"improves_on_best": True, "best": "gs://b/serving/7"}, 9, id="at least as good"),
        pytest.param({"improves_on_best": True, "best": None}, 9, id="the first"),
        pytest.param({"improves_on_best": False, "best": "gs://b/serving/7"}, 7, id="worse, within what is tolerated"),
        pytest.param({"improves_on_best": False, "best": "/elsewhere"}, None, id="worse than one without a number"),
    ],
)
def test_what_a_pushed_version_says_of_the_best(blessing, best):
    assert best_after(blessing, 9) == best


@pytest.mark.parametrize(("best", "words"), [(17, "the best so far"), (9, "the best so far stays version 9")])
def test_why_tells_the_best_so_far_and_its_metrics(best, words):
    push = pushed_papers(17, "w").push
    blessing = {**push.blessing, "candidate_metrics": {"loss": 0.5}, "best_metrics": {"loss": 0.4}}
    papers = papers_of(push=push.model_copy(update={"best": best, "blessing": blessing}))
    lines = [line.strip() for line in chain_of(papers)]
    assert words in lines
    assert any(line.startswith("best so far: loss 0.4") for line in lines)


# Champion brings it along.


def brought(tmp_path, caplog):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "artifact")
    with caplog.at_level(logging.INFO):
        Executor().Do({}, {"model": [model]}, {"push_destination": str(tmp_path / "push"), "push_state": ""})
    return model.uri


def test_champion_brings_the_best_so_far_along(tmp_path, caplog):
    for version in (1, 2):
        push(tmp_path / "push", version, 1)
    uri = brought(tmp_path, caplog)
    assert handed_on(uri) == version_path(str(tmp_path / "push"), 1)
    index = "Format-Serving/variables/variables.index"
    for place, weights in ((uri, b"w2"), (place_for(uri), b"w1")):
        with open(f"{place}/{index}", "rb") as file:
            assert file.read() == b"index of " + weights


def test_champion_brings_nothing_more_where_it_is_the_best_itself(tmp_path, caplog):
    push(tmp_path / "push", 1, 1)
    uri = brought(tmp_path, caplog)
    assert handed_on(uri) is None
    assert not (tmp_path / "artifact" / "best").exists()


def test_champion_says_when_the_best_so_far_is_gone(tmp_path, caplog):
    push(tmp_path / "push", 2, 1)
    assert handed_on(brought(tmp_path, caplog)) is None
    assert "version 1, the best so far, is gone: version 2 counts as the best so far instead" in caplog.text


# The verdict.

NAMES = {"LOWER_IS_BETTER": "loss", "HIGHER_IS_BETTER": "accuracy"}


def measured(metric, candidate, champion=None):
    """What TFMA says of a candidate, beside a champion or alone."""
    message = metrics_for_slice_pb2.MetricsForSlice()
    alone = champion is None
    for name, value in (("" if alone else "candidate", candidate), ("baseline", champion)):
        if value is not None:
            pair = message.metric_keys_and_values.add()
            pair.key.name, pair.key.model_name = metric, name
            pair.value.double_value.value = value
    if not alone:
        difference = message.metric_keys_and_values.add()
        difference.key.name, difference.key.model_name, difference.key.is_diff = metric, "candidate", True
        difference.value.double_value.value = candidate - champion
    return Measurements.of([message])


def threshold(direction, tolerance):
    bound = config_pb2.MetricThreshold()
    change = bound.change_threshold
    change.direction = getattr(config_pb2.MetricDirection, direction)
    change.absolute.value = tolerance if direction == "LOWER_IS_BETTER" else -tolerance
    key = (
        metrics_for_slice_pb2.MetricKey(name=NAMES[direction]) if hasattr(metrics_for_slice_pb2, "MetricKey") else None
    )
    if key is None:
        message = metrics_for_slice_pb2.MetricsForSlice()
        key = message.metric_keys_and_values.add().key
        key.name = NAMES[direction]
    return Threshold(key, config_pb2.SlicingSpec(), bound)


class Result:
    """TFMA's ValidationResult, as far as a verdict reads it."""

    metric_validations_per_slice = missing_slices = missing_cross_slices = ()

    def __init__(self, ok):
        self.validation_ok = ok


def verdict(direction, tolerance, candidate, champion, best):
    """A verdict against champion and best; `best` None where that is the champion."""
    metric = NAMES[direction]
    stands = standing("/push/2", "refuse", False, None, "best")
    held = Best("/push/2") if best is None else Best("/push/1", measured(metric, best))
    lower = direction == "LOWER_IS_BETTER"
    ok = candidate <= champion + tolerance if lower else candidate >= champion - tolerance
    return verdict_of(
        stands, measured(metric, candidate, champion), [threshold(direction, tolerance)], Result(ok), held
    )


@pytest.mark.parametrize(
    ("direction", "candidate", "champion", "best", "blessed", "improves"),
    [
        pytest.param("LOWER_IS_BETTER", 0.50, 0.48, 0.45, True, False, id="within both, but worse than the best"),
        pytest.param("LOWER_IS_BETTER", 0.52, 0.48, 0.45, False, False, id="within the last, beyond the best"),
        pytest.param("LOWER_IS_BETTER", 0.45, 0.48, 0.45, True, True, id="as good as the best"),
        pytest.param("LOWER_IS_BETTER", 0.60, 0.48, 0.45, False, False, id="beyond both"),
        pytest.param("LOWER_IS_BETTER", 0.50, 0.48, None, True, False, id="the champion is the best: worse than it"),
        pytest.param("LOWER_IS_BETTER", 0.40, 0.48, None, True, True, id="the champion is the best: better than it"),
        pytest.param("HIGHER_IS_BETTER", 0.86, 0.88, 0.90, True, False, id="higher: within both"),
        pytest.param("HIGHER_IS_BETTER", 0.84, 0.88, 0.90, False, False, id="higher: within the last, beyond the best"),
        pytest.param("HIGHER_IS_BETTER", 0.95, 0.88, 0.90, True, True, id="higher: better than the best"),
    ],
)
def test_a_candidate_is_held_against_both(direction, candidate, champion, best, blessed, improves):
    said = verdict(direction, 0.05, candidate, champion, best)
    assert (said.blessed, said.improves_on_best) == (blessed, improves)
    assert said.best == ("/push/2" if best is None else "/push/1")
    assert said.best_metrics == ({} if best is None else {NAMES[direction]: best})


def test_a_refusal_names_the_best_so_far_and_the_row_shows_both():
    said = verdict("LOWER_IS_BETTER", 0.05, 0.52, 0.48, 0.45)
    assert said.reason == (
        "loss is 0.52 against 0.45 of the best champion so far, version 1, on all examples, a change of +0.07, "
        "required is at most +0.05"
    )
    (row,) = [row for row in said.comparison if row.best is not None]
    assert (row.candidate, row.champion, row.best, row.holds) == (0.52, 0.48, 0.45, False)
    assert row.required == "a change of at most +0.05 against the best so far, version 1"
    assert said.comparison[0] == row
    again = type(row).from_json(load_json(said.to_json())["comparison"][0])
    assert again == row


def test_a_metric_that_is_missing_or_nan_is_not_held_to_be_as_good():
    lower = threshold("LOWER_IS_BETTER", 0.05)
    beside = measured("loss", 0.5, 0.5)
    for best in (measured("other", 0.5), measured("loss", float("nan"))):
        held = hold_against(Best("/push/1", best), [lower], beside)
        assert (held.improves, [row.holds for row in held.rows], len(held.failures)) == (False, [False], 1)
    assert metric_of(lower.key).name == "loss"
    assert beside.challenger(ALL_EXAMPLES, metric_of(lower.key)) == 0.5


@pytest.mark.parametrize(
    ("rebaseline", "champion", "improves"),
    [(False, None, True), (True, "/push/2", True)],
    ids=["the first champion", "a champion that was set aside"],
)
def test_where_there_is_none_to_be_held_against_the_candidate_is_the_best(rebaseline, champion, improves):
    stands = standing(champion, "bless_on_value_thresholds", rebaseline, None, "best")
    assert verdict_of(stands, measured("loss", 0.5), [], Result(True)).improves_on_best is improves
    last = standing(champion, "bless_on_value_thresholds", rebaseline, None)
    refused = standing(champion, "refuse", False, "damaged", "best")
    for other in (last, refused):
        assert verdict_of(other, measured("loss", 0.5), [], Result(True)).improves_on_best is None


# Many challengers in a row, on real push folders.

TOLERANCE = 0.05


def year(folder, losses, against):
    """Pushes each challenger that is blessed; the champion's loss on a fixed set after each."""
    of, champions = {}, []
    for version, loss in enumerate(losses, 1):
        live = live_versions(str(folder))
        name = version_path(str(folder), live[-1]) if live else None
        best = best_so_far(str(folder)) if live and against == "best" else None
        beside = measured("loss", loss, of[live[-1]] if live else None)
        stands = standing(name, "bless_on_value_thresholds", False, None, against)
        ok = not live or loss <= of[live[-1]] + TOLERANCE
        held = None
        if best is not None:
            there = version_path(str(folder), best.version)
            held = Best(there, None if there == name else measured("loss", of[best.version]))
        said = verdict_of(stands, beside, [threshold("LOWER_IS_BETTER", TOLERANCE)], Result(ok), held)
        if said.blessed:
            push(folder, version, best_after(load_json(said.to_json()), version))
            prune_versions(str(folder), Keep(last=1), 0.0)
            of[version] = loss
        champions.append(of[live_versions(str(folder))[-1]])
    return champions


# Each a little worse than the one before, mostly by so little that it is tolerated, or better again.
losses_of_a_year = st.lists(st.floats(-0.06, 0.06), min_size=6, max_size=14).map(
    lambda steps: [round(1.0 + part, 4) for part in itertools.accumulate(steps)]
)


@settings(max_examples=60, deadline=None)
@given(losses_of_a_year)
@example([1.0 + 0.04 * month for month in range(12)])
def test_against_the_best_a_champion_never_gets_worse_than_the_best_and_what_is_tolerated(tmp_path_factory, losses):
    champions = year(tmp_path_factory.mktemp("push"), losses, "best")
    for place, loss in enumerate(champions):
        assert loss <= min(champions[: place + 1]) + TOLERANCE + 1e-9


def test_against_the_last_it_may_drift(tmp_path):
    losses = [0.3 + 0.04 * month for month in range(12)]
    assert year(tmp_path / "last", losses, "last")[-1] == pytest.approx(0.74)
    assert year(tmp_path / "best", losses, "best")[-1] == pytest.approx(0.34)


def test_what_is_better_than_the_best_is_the_next_best(tmp_path):
    assert year(tmp_path / "push", [0.5, 0.54, 0.3, 0.34, 0.38, 0.34], "best") == [0.5, 0.54, 0.3, 0.34, 0.34, 0.34]
    assert best_so_far(str(tmp_path / "push")).version == 3


def test_papers_of_a_release_that_knows_no_best_are_read(tmp_path):
    papers = pushed_papers(3, "w")
    write_papers(tmp_path, papers)
    assert read_papers(tmp_path).push.best is None
