"""The filter: verdicts with hindsight, top over the verified, and what came closest."""

from __future__ import annotations

import math

import pytest

from checkpoint_gate.errors import RuleError, UnknownMetricError
from checkpoint_gate.reviewing.judging import judge_runs, why_none
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.conditions import Threshold
from checkpoint_gate.rules.filtering import Filter, PrunePolicy, Saved, closest_misses
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.retention import Best
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune

NAN, INF = math.nan, math.inf


def history(*losses):
    return [Record(i + 1, i, {} if mae is None else {"mae": mae}) for i, mae in enumerate(losses)]


def rules(text):
    return parse_rules(f"filter: {text}").filter


def judge(text, losses, saved=None, damaged=()):
    """Outcomes by step: K kept, r rejected, q quarantined."""
    records = history(*losses)
    checkpoints = [
        Saved("run", r, "its bytes differ" if r.step in damaged else None)
        for r in records
        if saved is None or r.step in saved
    ]
    return rules(text).judge({"run": records}, checkpoints)


def letters(verdicts):
    return "".join({"keep": "K", "reject": "r", "quarantine": "q"}[verdict.outcome] for verdict in verdicts)


TOP_TWO = "{top: {metric: mae, mode: min, n: 2}}"
HALF_AND_TOP = "{metric: mae, at_most: 0.5, top: {metric: mae, mode: min, n: 2}}"


@pytest.mark.parametrize(
    ("text", "losses", "outcome"),
    [
        pytest.param("{metric: mae, at_most: 0.5}", [0.6, 0.5, 0.4], "rKK", id="a limit"),
        pytest.param("{metric: mae, at_most: 0.5}", [NAN, None, -INF], "rrr", id="what cannot be judged is rejected"),
        pytest.param("{not: {metric: mae, at_most: 0.5}}", [NAN, 0.4, 0.6], "rrK", id="not of NaN is rejected"),
        pytest.param("{metric: mae, moving_average: 2, at_most: 0.5}", [0.1, 0.9, 0.1, 0.1], "rKKK", id="an average"),
        pytest.param(
            "{metric: mae, centred_average: 3, at_most: 0.5}", [0.9, 0.2, 0.1, 0.9], "rKKK", id="with hindsight"
        ),
        pytest.param(TOP_TWO, [0.3, 0.1, 0.2, 0.4], "rKKr", id="top alone"),
        pytest.param(TOP_TWO, [0.1, 0.1, 0.1], "rKK", id="ties of top go to the later step"),
        pytest.param(TOP_TWO, [NAN, 0.5, None, INF], "rKrr", id="what is not finite is never at the top"),
        pytest.param(HALF_AND_TOP, [0.6, 0.5, 0.4, 0.3], "rrKK", id="top applies after the rules"),
        pytest.param(HALF_AND_TOP, [0.6, 0.5, 0.7], "rKr", id="top takes no more than the rules let through"),
        pytest.param("{top: {metric: mae, mode: max, n: 1}}", [0.1, 0.3, 0.2], "rKr", id="the highest with max"),
    ],
)
def test_verdicts(text, losses, outcome):
    assert letters(judge(text, losses)) == outcome


def test_records_that_were_never_saved_count_in_averages():
    verdicts = judge("{metric: mae, moving_average: 2, at_most: 0.5}", [0.9, 0.2, 0.1], saved=[2, 3])
    assert [(v.step, v.outcome) for v in verdicts] == [(2, "reject"), (3, "keep")]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        pytest.param("{metric: mae, at_most: 0.5}", "Kqr", id="a damaged one is quarantined, whatever the rules say"),
        pytest.param("{metric: mae, at_most: 0.1}", "rqr", id="even where the rules reject it"),
        pytest.param("{top: {metric: mae, mode: min, n: 1}}", "Kqr", id="the next one takes its place at the top"),
    ],
)
def test_a_damaged_checkpoint(text, outcome):
    verdicts = judge(text, [0.3, 0.2, 0.6], damaged=[2])
    assert letters(verdicts) == outcome
    assert (verdicts[1].reason, verdicts[1].shortfall) == ("its bytes differ", INF)


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
@pytest.mark.parametrize(
    "text", ["{every: 1}", "{top: {metric: mae, mode: min, n: 1}}", "{not: {metric: mae, at_most: 0}}"]
)
def test_a_training_loss_that_is_not_finite_is_rejected_whatever_the_rules_say(text, loss):
    record = Record(1, 0, {"loss": loss, "mae": 0.1})
    (verdict,) = rules(text).judge({"run": [record]}, [Saved("run", record)])
    assert (verdict.outcome, verdict.reason) == ("reject", f"loss is {loss}")


def test_reasons():
    first, second, third, fourth = judge(HALF_AND_TOP, [0.6, 0.5, 0.4, 0.3])
    assert first.reason == "mae 0.6 is not at most 0.5 (by 0.1)"
    assert second.reason == "number 3 of 3 by mae, 0.5; the top 2 end at 0.4"
    assert third.reason == "mae 0.4 is at most 0.5; number 2 of 3 by mae, 0.4"
    assert fourth.reason == "mae 0.3 is at most 0.5; number 1 of 3 by mae, 0.3"
    unranked = judge(TOP_TWO, [NAN, None])
    assert [v.reason for v in unranked] == [
        "mae is nan, so it cannot be ranked",
        "mae was not logged, so it cannot be ranked",
    ]


def test_a_checkpoint_without_a_record_is_rejected():
    stray = Saved("run", Record(9, 8, {"mae": 0.1}))
    (verdict,) = rules("{metric: mae, at_most: 0.5}").judge({"run": history(0.1)}, [stray])
    assert (verdict.outcome, verdict.reason) == ("reject", "the ledger has no record of it, so it cannot be judged")


def test_several_runs_are_judged_each_by_its_own_history_and_ranked_together():
    histories = {"a": history(0.9, 0.4, 0.3), "b": history(0.1, 0.2, 0.35)}
    saved = [Saved(run, record) for run, records in histories.items() for record in records]
    verdicts = rules("{metric: mae, moving_average: 2, at_most: 0.4, top: {metric: mae, mode: min, n: 2}}").judge(
        histories, saved
    )
    assert [(v.run, v.step) for v in verdicts if v.outcome == "keep"] == [("a", 3), ("b", 2)]
    assert [(v.run, v.step) for v in verdicts] == [(s.run, s.record.step) for s in saved]


def test_equal_values_of_several_runs_rank_by_the_later_step():
    histories = {"a": history(0.1, 0.9), "b": history(0.9, 0.1)}
    saved = [Saved(run, record) for run, records in histories.items() for record in records]
    verdicts = rules("{top: {metric: mae, mode: min, n: 1}}").judge(histories, saved)
    assert [(v.run, v.step) for v in verdicts if v.outcome == "keep"] == [("b", 2)]


def test_the_closest_misses_come_nearest_first():
    verdicts = judge("{metric: mae, at_most: 0.5}", [0.9, NAN, 0.6, 0.55, 0.4, 0.6])
    assert [(v.step, round(v.shortfall, 9)) for v in closest_misses(verdicts, 9)] == [
        (4, 0.1),
        (6, 0.2),
        (3, 0.2),
        (1, 0.8),
        (2, INF),
    ]
    assert [v.step for v in closest_misses(verdicts)] == [4, 6, 3]


def test_what_the_top_left_out_is_a_miss_too():
    verdicts = judge("{top: {metric: mae, mode: min, n: 1}}", [0.4, 0.2, 0.3])
    assert [(v.step, round(v.shortfall, 9)) for v in closest_misses(verdicts)] == [(3, 0.5), (1, 1.0)]


def test_a_replay_judges_every_record_as_if_it_had_a_checkpoint():
    verdicts = rules(HALF_AND_TOP).replay(history(0.6, 0.5, 0.4, 0.3))
    assert [(v.run, v.step) for v in verdicts] == [("history", step) for step in (1, 2, 3, 4)]
    assert letters(verdicts) == "rrKK"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(lambda: Filter(), "filter needs rules or top", id="a filter of nothing"),
        pytest.param(lambda: PrunePolicy(grace=-1.0), "grace must be a time of at least 0s", id="a negative grace"),
        pytest.param(lambda: PrunePolicy(grace=NAN), "grace must be a time of at least 0s", id="a grace of NaN"),
        pytest.param(
            lambda: PrunePolicy(keep_last=0), "keep_last must be a whole number of at least 1", id="not the last"
        ),
        pytest.param(lambda: PrunePolicy(keep_last=True), "keep_last must be a whole number", id="keep the last: yes"),
        pytest.param(
            lambda: PrunePolicy(max_fraction=0.0), "max_fraction must be above 0 and at most 1", id="nothing may go"
        ),
        pytest.param(lambda: PrunePolicy(max_fraction=NAN), "max_fraction must be above 0", id="a fraction of NaN"),
    ],
)
def test_impossible_settings_are_refused(wrong, words):
    with pytest.raises(RuleError, match=words):
        wrong()


# On a store.


def spoil(run, step, name="ckpt.index"):
    path = run.files.local(f"{run.gated.path(step)}/{name}")
    path.write_bytes(b"x" + path.read_bytes()[1:])


def outcomes(judged):
    return {(v.run, v.step): v.outcome for v in judged.verdicts}


def test_every_byte_is_looked_at(crowd):
    run = crowd.run([0.3, 0.1, 0.2, 0.4])
    spoil(run, 2, "ckpt.data-00000-of-00001")
    spoil(run, 4, "manifest.json")
    judged = judge_runs([run], rules("{top: {metric: val_loss, mode: min, n: 1}}"))
    assert list(outcomes(judged).values()) == ["reject", "quarantine", "keep", "quarantine"]
    reasons = judged.of_run("run", "quarantine")
    assert reasons[2].endswith("step-000000002/ckpt.data-00000-of-00001 does not match its checksum")
    assert reasons[4].startswith("The manifest ")
    assert [v.step for v in judged.survivors] == [3]


def test_judging_changes_nothing(crowd, tree):
    run = crowd.run([0.3, 0.1])
    spoil(run, 1)
    before = tree(crowd.root)
    judge_runs([run], rules("{metric: val_loss, at_most: 0.5}"))
    assert tree(crowd.root) == before


def test_several_runs_of_a_store(crowd):
    runs = [crowd.run([0.3, 0.1], "a"), crowd.run([0.2, 0.4], "b", saved=[1])]
    judged = judge_runs(runs, rules("{top: {metric: val_loss, mode: min, n: 2}}"))
    assert outcomes(judged) == {("a", 1): "reject", ("a", 2): "keep", ("b", 1): "keep"}


def test_a_name_that_was_never_logged_is_told(crowd):
    run = crowd.run([0.3])
    with pytest.raises(UnknownMetricError) as error:
        judge_runs([run], rules("{metric: val_los, at_most: 1, top: {metric: auc, mode: max, n: 1}}"))
    assert str(error.value) == (
        "filter names 'auc', 'val_los', which training never logged. Logged were: loss, val_loss. "
        "Name one of these in the rules (did you mean val_loss?)."
    )


def prune(run, rejected, survivors):
    with run.lease("pruning") as lease:
        execute_prune(run, plan_prune(run, rejected, survivors, PrunePolicy(grace=0.0), "f" * 64), lease)


def test_what_loosened_rules_would_keep_but_was_pruned_is_told(crowd):
    run = crowd.run([0.9, 0.6, 0.3])
    prune(run, {1: "too high", 2: "val_loss 0.6 is not at most 0.5"}, [3])
    assert judge_runs([run], rules("{metric: val_loss, at_most: 0.5}")).missed == ()
    (mark,) = judge_runs([run], rules("{metric: val_loss, at_most: 0.7}")).missed
    assert (mark["run"], mark["step"], mark["reason"]) == ("run", 2, "val_loss 0.6 is not at most 0.5")


@pytest.mark.parametrize(
    ("losses", "damaged", "sentence"),
    [
        pytest.param(
            [0.9, 0.6, 0.7],
            [],
            "The filter rejected all 3 checkpoints. Closest: run epoch 2: val_loss 0.6 is not at most 0.5 (by 0.1); "
            "run epoch 3: val_loss 0.7 is not at most 0.5 (by 0.2); run epoch 1: val_loss 0.9 is not at most 0.5 "
            "(by 0.4). Loosen `filter`, or train on.",
            id="the closest misses and by how much",
        ),
        pytest.param(
            [0.6, 0.3],
            [2],
            "The filter rejected all 1 checkpoints, and 1 more are damaged. Closest: run epoch 1: val_loss 0.6 is not "
            "at most 0.5 (by 0.1). Loosen `filter`, or train on.",
            id="some are damaged",
        ),
    ],
)
def test_why_there_is_no_survivor(crowd, losses, damaged, sentence):
    run = crowd.run(losses)
    for step in damaged:
        spoil(run, step)
    judged = judge_runs([run], rules("{metric: val_loss, at_most: 0.5}"))
    assert why_none([run], judged) == sentence


def test_why_there_is_no_survivor_where_all_are_damaged(crowd):
    run = crowd.run([0.3])
    spoil(run, 1)
    judged = judge_runs([run], rules("{metric: val_loss, at_most: 0.5}"))
    assert why_none([run], judged).startswith("All 1 checkpoints are damaged: ")
    assert why_none([run], judged).endswith("ckpt.index does not match its checksum. Run again with --retrain.")


def test_why_there_is_no_survivor_where_the_gate_refused_everything(crowd):
    run = crowd.run([1.5, 1.2], saved=[])
    judged = judge_runs([run], rules("{metric: val_loss, at_most: 0.5}"))
    assert why_none([run], judged) == (
        "The gate refused all 2 epochs, so there is no checkpoint to filter. Closest: epoch 2: val_loss 1.2 is not at "
        "most 1 (by 0.2); epoch 1: val_loss 1.5 is not at most 1 (by 0.5). Loosen `save`, or train on."
    )


def test_a_filter_built_in_python_is_the_same():
    assert rules(HALF_AND_TOP) == Filter(Threshold("mae", 0.5), Best("mae", "min", 2))
