"""The choice of the best survivor, with its reason."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_gate.artifact_files.selection_file import read_selection, write_no_winner, write_selection
from checkpoint_gate.errors import NoCandidate, RuleError
from checkpoint_gate.rules.selection import Candidate, Failure, Selector, rank_key

NAN, INF = math.nan, math.inf


def candidates(*losses):
    return [Candidate(f"s{i + 1}", "run", i + 1, {"loss": loss, "auc": -loss}) for i, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("mode", "losses", "winner", "reason"),
    [
        pytest.param("min", [0.3, 0.1, 0.2], "s2", "lowest loss of 3: 0.1, next is s3 with 0.2", id="the lowest"),
        pytest.param("max", [0.3, 0.1, 0.2], "s1", "highest loss of 3: 0.3, next is s3 with 0.2", id="the highest"),
        pytest.param(
            "min", [0.1, 0.1, 0.2], "s2", "lowest loss of 3: 0.1, the same as s1; the later step wins", id="a tie"
        ),
        pytest.param(
            "max", [0.1, 0.1], "s2", "highest loss of 2: 0.1, the same as s1; the later step wins", id="a tie with max"
        ),
        pytest.param("min", [0.5], "s1", "the only survivor in the ranking, loss 0.5", id="the only one"),
        pytest.param(
            "min", [NAN, 0.5, -INF], "s2", "the only survivor in the ranking, loss 0.5", id="not finite is out"
        ),
        pytest.param("max", [INF, 0.5, 0.4], "s2", "highest loss of 2: 0.5, next is s3 with 0.4", id="infinity is out"),
        pytest.param(
            "min", [0.0, -0.0], "s2", "lowest loss of 2: -0, the same as s1; the later step wins", id="two zeros"
        ),
    ],
)
def test_the_best_is_chosen_with_its_reason(mode, losses, winner, reason):
    selection = Selector("loss", mode).choose(candidates(*losses))
    assert (selection.winner.name, selection.reason) == (winner, reason)


def test_the_order_of_the_candidates_does_not_matter():
    for order in itertools.permutations(candidates(0.2, 0.1, NAN, 0.1)):
        assert Selector("loss", "min").choose(order).winner.name == "s4"


def test_what_is_out_is_named_with_its_reason():
    given = [*candidates(NAN, 0.5), Candidate("s3", "run", 3, {"auc": 1.0}), Candidate("s4", "run", 4, {})]
    selection = Selector("loss", "min").choose(given)
    assert selection.candidates == tuple(given)
    assert dict(selection.excluded) == {
        "s1": "loss is nan",
        "s3": "loss is missing; it has auc",
        "s4": "loss is missing; it has no metrics",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(
            candidates(NAN, INF),
            "No survivor can be chosen by loss: s1: loss is nan; s2: loss is inf.",
            id="none finite",
        ),
        pytest.param([], "No survivor can be chosen by loss: there is none.", id="none at all"),
    ],
)
def test_without_a_candidate_the_reasons_are_told(given, words):
    with pytest.raises(NoCandidate) as error:
        Selector("loss", "min").choose(given)
    assert str(error.value) == words


def measured(name, step, loss, low=None, high=None, **more):
    """A candidate whose loss has the confidence bounds `low` and `high`, if they are given."""
    intervals = {} if low is None else {"loss": (low, high)}
    return Candidate(name, "run", step, {"loss": loss}, intervals=intervals, **more)


def on_slices(name, step, loss, **slices):
    return Candidate(name, "run", step, {"loss": loss}, {s: {"loss": value} for s, value in slices.items()})


@pytest.mark.parametrize(
    ("ties", "given", "winner", "words"),
    [
        pytest.param("latest", [("a", 1), ("b", 2)], "b", "the same as a; the later step wins", id="the latest"),
        pytest.param("earliest", [("a", 1), ("b", 2)], "a", "the same as b; the earlier step wins", id="the earliest"),
        pytest.param(
            "latest",
            [("b", 1), ("a", 1)],
            "a",
            "the same as b; of equal steps the first by name wins",
            id="equal steps",
        ),
    ],
)
def test_equal_candidates_rank_by_rule(ties, given, winner, words):
    for order in itertools.permutations(given):
        selection = Selector("loss", "min", ties).choose([measured(name, step, 0.5) for name, step in order])
        assert selection.winner.name == winner
        assert selection.reason.endswith(words)


@pytest.mark.parametrize("ties", ["latest", "earliest"])
@pytest.mark.parametrize("step", [0, 9])
def test_a_checkpoint_goes_before_an_average_that_is_equal(ties, step):
    given = [measured("average", step, 0.5, averaged=(("run", 4),)), measured("s4", 4, 0.5)]
    selection = Selector("loss", "min", ties).choose(given)
    assert selection.winner.name == "s4"
    assert selection.reason.endswith("the same as average; a checkpoint goes before an average")


def test_an_average_that_is_better_wins():
    given = [measured("average", 4, 0.4, averaged=(("run", 4), ("run", 3))), measured("s4", 4, 0.5)]
    assert Selector("loss", "min").choose(given).winner.name == "average"


@pytest.mark.parametrize(
    ("given", "winner", "reason"),
    [
        pytest.param(
            [
                measured("s1", 1, 0.12, 0.09, 0.15),
                measured("s2", 2, 0.11, 0.08, 0.14),
                measured("s3", 3, 0.5, 0.4, 0.6),
            ],
            "s1",
            "loss 0.12 (0.09 to 0.15), within noise of the lowest loss of 3, s2 with 0.11 (0.08 to 0.14); "
            "of the 2 whose intervals overlap it is the earliest",
            id="of two within noise the earlier one",
        ),
        pytest.param(
            [measured("s1", 1, 0.11, 0.08, 0.14), measured("s2", 2, 0.12, 0.09, 0.15)],
            "s1",
            "lowest loss of 2: 0.11 (0.08 to 0.14), next is s2 with 0.12 (0.09 to 0.15); "
            "of the 2 whose intervals overlap it is the earliest",
            id="the best is the earliest",
        ),
        pytest.param(
            [measured("s1", 1, 0.5, 0.4, 0.6), measured("s2", 2, 0.1, 0.05, 0.15)],
            "s2",
            "lowest loss of 2: 0.1 (0.05 to 0.15), beyond noise; next is s1 with 0.5 (0.4 to 0.6)",
            id="a difference beyond noise",
        ),
        pytest.param(
            [measured("s1", 1, 0.5, 0.25, 0.75), measured("s2", 2, 0.125, 0.0, 0.25)],
            "s1",
            "loss 0.5 (0.25 to 0.75), within noise of the lowest loss of 2, s2 with 0.125 (0 to 0.25); "
            "of the 2 whose intervals overlap it is the earliest",
            id="intervals that touch overlap",
        ),
        pytest.param(
            [measured("s1", 1, 0.2), measured("s2", 2, 0.1)],
            "s2",
            "lowest loss of 2: 0.1 (no interval), beyond noise; next is s1 with 0.2 (no interval)",
            id="without an interval a value stands for itself",
        ),
        pytest.param(
            [measured("s1", 1, 0.12), measured("s2", 2, 0.1, 0.08, 0.14)],
            "s1",
            "loss 0.12 (no interval), within noise of the lowest loss of 2, s2 with 0.1 (0.08 to 0.14); "
            "of the 2 whose intervals overlap it is the earliest",
            id="a value within the best one's interval",
        ),
        pytest.param(
            [measured("s1", 1, NAN, 0.0, 1.0), measured("s2", 2, 0.1, 0.08, 0.14), measured("s3", 3, 0.1, 0.08, 0.14)],
            "s2",
            "loss 0.1 (0.08 to 0.14), within noise of the lowest loss of 2, s3 with 0.1 (0.08 to 0.14); "
            "of the 2 whose intervals overlap it is the earliest",
            id="who is out is no earlier one",
        ),
        pytest.param(
            [measured("average", 1, 0.12, 0.09, 0.15, averaged=(("run", 5),)), measured("s5", 5, 0.13, 0.1, 0.16)],
            "s5",
            "loss 0.13 (0.1 to 0.16), within noise of the lowest loss of 2, average with 0.12 (0.09 to 0.15); "
            "of the 2 whose intervals overlap it is the earliest",
            id="an average counts as later than every checkpoint",
        ),
        pytest.param(
            [measured("s1", 1, 0.12, 0.09, 0.15)],
            "s1",
            "the only survivor in the ranking, loss 0.12",
            id="the only one",
        ),
    ],
)
def test_within_noise_the_earliest_is_taken(given, winner, reason):
    for order in itertools.permutations(given):
        selection = Selector("loss", "min", within_noise=True).choose(order)
        assert (selection.winner.name, selection.reason) == (winner, reason)
        assert selection.ranking[0] == Selector("loss", "min").choose(order).winner.name


@pytest.mark.parametrize(
    ("mode", "given", "winner", "reason"),
    [
        pytest.param(
            "min",
            [on_slices("s1", 1, 0.1, **{"g:a": 0.1, "g:b": 0.9}), on_slices("s2", 2, 0.3, **{"g:a": 0.3, "g:b": 0.3})],
            "s2",
            "lowest loss on the worst slice of 2: 0.3 on g:a, next is s1 with 0.9 on g:b",
            id="the best on the whole is not the best on its worst slice",
        ),
        pytest.param(
            "max",
            [on_slices("s1", 1, 0.9, **{"g:a": 0.9, "g:b": 0.2}), on_slices("s2", 2, 0.5, **{"g:a": 0.4, "g:b": 0.8})],
            "s2",
            "highest loss on the worst slice of 2: 0.4 on g:a, next is s1 with 0.2 on g:b",
            id="the worst of what is to be high is the lowest",
        ),
        pytest.param(
            "min",
            [on_slices("s1", 1, 0.1, **{"g:a": 0.1}), on_slices("s2", 2, 0.3, **{"g:a": 0.3, "g:b": 0.3})],
            "s2",
            "the only survivor in the ranking, loss on the worst slice 0.3 on g:a",
            id="a slice that is missing",
        ),
        pytest.param(
            "min",
            [on_slices("s1", 1, 0.1, **{"g:a": NAN}), on_slices("s2", 2, 0.3, **{"g:a": 0.3})],
            "s2",
            "the only survivor in the ranking, loss on the worst slice 0.3 on g:a",
            id="a slice that is not finite",
        ),
    ],
)
def test_ranked_by_the_worst_slice(mode, given, winner, reason):
    selection = Selector("loss", mode, worst_slice=True).choose(given)
    assert (selection.winner.name, selection.reason) == (winner, reason)


def test_noise_is_that_of_the_worst_slice():
    def candidate(name, step, loss, low, high):
        return Candidate(
            name, "run", step, {"loss": 0.1}, {"g:a": {"loss": loss}, "g:b": {"loss": 0.0}},
            intervals={"loss": (0.0, 1.0)}, slice_intervals={"g:a": {"loss": (low, high)}},
        )  # fmt: skip

    given = [candidate("s1", 1, 0.5, 0.4, 0.6), candidate("s2", 2, 0.3, 0.2, 0.45), candidate("s3", 3, 0.2, 0.1, 0.3)]
    selection = Selector("loss", "min", within_noise=True, worst_slice=True).choose(given)
    assert selection.winner.name == "s2"
    assert "loss on the worst slice 0.3 on g:a (0.2 to 0.45), within noise of" in selection.reason


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        pytest.param(
            on_slices("s1", 1, 0.1, **{"g:a": 0.1}),
            "loss is missing on slice g:b; it has no metrics",
            id="a slice that others have",
        ),
        pytest.param(
            on_slices("s1", 1, 0.1, **{"g:a": 0.1, "g:b": INF}), "loss is inf on slice g:b", id="not finite on a slice"
        ),
        pytest.param(
            on_slices("s1", 1, NAN, **{"g:a": 0.1, "g:b": 0.1}), "loss is nan", id="not finite on all examples"
        ),
    ],
)
def test_who_is_out_for_a_slice_is_told_which(candidate, reason):
    other = on_slices("s2", 2, 0.2, **{"g:a": 0.2, "g:b": 0.2})
    assert Selector("loss", "min", worst_slice=True).choose([candidate, other]).excluded == {"s1": reason}
    assert not Selector("loss", "min").choose([replace(candidate, metrics={"loss": 1.0}), other]).excluded


def test_without_slices_there_is_no_worst_one():
    with pytest.raises(NoCandidate, match="s1: no slice was measured, so that none is the worst"):
        Selector("loss", "min", worst_slice=True).choose([on_slices("s1", 1, 0.1)])


def test_a_candidate_with_a_fault_is_out_whatever_its_metrics():
    given = [measured("s1", 1, 0.1, fault="3 of its predictions are not finite"), measured("s2", 2, 0.2)]
    selection = Selector("loss", "min").choose(given)
    assert selection.winner.name == "s2"
    assert selection.excluded == {"s1": "3 of its predictions are not finite"}


DREAM = Failure("accuracy is 0.6 on slice island:Dream, required is at least 0.8", 0.2, 0.25)
WHOLE = Failure("accuracy is 0.79 on all examples, required is at least 0.8", 0.01, 0.0125)
LOST = Failure("no accuracy was computed on all examples, for which there is a threshold", INF, INF)


def test_the_best_that_fails_a_threshold_on_a_slice_is_not_chosen():
    selection = Selector("loss", "min").choose([measured("s1", 1, 0.1, failures=(DREAM,)), measured("s2", 2, 0.2)])
    assert selection.winner.name == "s2"
    assert selection.excluded == {"s1": f"{DREAM.reason}, missed by 0.2"}


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        pytest.param(
            (WHOLE, DREAM), f"{DREAM.reason}, missed by 0.2; {WHOLE.reason}, missed by 0.01", id="the farthest"
        ),
        pytest.param((WHOLE, LOST), f"{LOST.reason}; {WHOLE.reason}, missed by 0.01", id="what has no number"),
        pytest.param(
            (DREAM,) * 5,
            "; ".join([f"{DREAM.reason}, missed by 0.2"] * 3) + "; and 2 more thresholds failed",
            id="of many three are told",
        ),
    ],
)
def test_of_failed_thresholds_the_farthest_comes_first(failures, words):
    assert Selector("loss", "min").excluded([measured("s1", 1, 0.1, failures=failures)]) == {"s1": words}


def test_when_all_are_out_the_closest_miss_comes_first():
    given = [
        measured("s1", 1, NAN),
        measured("s2", 2, 0.1, failures=(DREAM,)),
        measured("s3", 3, 0.2, failures=(WHOLE,)),
        measured("s4", 4, 0.2, failures=(WHOLE, DREAM)),
    ]
    with pytest.raises(NoCandidate) as error:
        Selector("loss", "min").choose(given)
    assert str(error.value) == (
        "No survivor can be chosen by loss: "
        f"s3: {WHOLE.reason}, missed by 0.01; s2: {DREAM.reason}, missed by 0.2; "
        f"s4: {DREAM.reason}, missed by 0.2; {WHOLE.reason}, missed by 0.01; s1: loss is nan."
    )


def test_of_many_that_are_out_five_are_named():
    with pytest.raises(NoCandidate, match=r"s1: .*; s5: loss is nan; and 2 more, which the log names\.$"):
        Selector("loss", "min").choose(candidates(*[NAN] * 7))


# Against an oracle that shares no code with the selector: a duel of every pair instead of a sort.

values = st.sampled_from([-1.0, 0.0, 0.25, 0.5, NAN, INF])


@st.composite
def tables(draw):
    """Candidates with few values, so that ties are common, and intervals that often touch."""
    table = []
    for number in range(draw(st.integers(1, 6))):
        metrics = draw(st.one_of(st.just({}), values.map(lambda v: {"loss": v})))
        slices = {name: {"loss": draw(values)} for name in draw(st.sets(st.sampled_from(["g:a", "g:b"])))}
        half = draw(st.sampled_from([None, 0.0, 0.125, 0.25]))
        wide = (
            {} if half is None else {name: {"loss": (m["loss"] - half, m["loss"] + half)} for name, m in slices.items()}
        )
        whole = {k: (v - half, v + half) for k, v in metrics.items()} if half is not None else {}
        failures = draw(st.sampled_from([(), (), (), (DREAM,)]))
        averaged = draw(st.sampled_from([(), (), (("r", 1),)]))
        run = draw(st.sampled_from(["a", "b"]))
        step = draw(st.integers(1, 4))
        table.append(Candidate(f"s{number}", run, step, metrics, slices, whole, wide, failures, averaged))
    return table


selectors = st.builds(
    Selector,
    st.just("loss"),
    st.sampled_from(["min", "max"]),
    st.sampled_from(["latest", "earliest"]),
    st.booleans(),
    st.booleans(),
)


def oracle_value(selector, candidate, table):
    """The value and the interval that the candidate is ranked by; None when it is out."""
    if candidate.failures or not math.isfinite(candidate.metrics.get("loss", NAN)):
        return None
    if not selector.worst_slice:
        value = candidate.metrics["loss"]
        return value, candidate.intervals.get("loss", (value, value))
    wanted = set().union(*(c.slices for c in table))
    if not wanted or any(not math.isfinite(candidate.slices.get(name, {}).get("loss", NAN)) for name in wanted):
        return None
    worst = (max if selector.mode == "min" else min)(candidate.slices[name]["loss"] for name in wanted)
    name = next(name for name in sorted(wanted) if candidate.slices[name]["loss"] == worst)
    return worst, candidate.slice_intervals.get(name, {}).get("loss", (worst, worst))


def oracle_beats(selector, one, other, found):
    value, than = found[one.name][0], found[other.name][0]
    if value != than:
        return value < than if selector.mode == "min" else value > than
    if bool(one.averaged) != bool(other.averaged):
        return not one.averaged
    if one.step != other.step:
        return one.step > other.step if selector.ties == "latest" else one.step < other.step
    return (one.run, one.name) < (other.run, other.name)


@settings(max_examples=500, deadline=None)
@given(selectors, tables(), st.randoms())
def test_against_the_oracle(selector, table, random):
    found = {c.name: seen for c in table if (seen := oracle_value(selector, c, table)) is not None}
    ranked = [c for c in table if c.name in found]
    if not ranked:
        with pytest.raises(NoCandidate):
            selector.choose(table)
        return
    selection = selector.choose(table)
    best = next(c for c in ranked if all(oracle_beats(selector, c, o, found) for o in ranked if o is not c))
    assert selection.ranking[0] == best.name
    assert set(selection.excluded) == {c.name for c in table} - set(found)
    assert all(selection.excluded.values())
    low, high = found[best.name][1]
    near = [c for c in ranked if not (found[c.name][1][1] < low or found[c.name][1][0] > high)]
    if selector.within_noise:
        assert selection.winner in near
        for other in near:
            earlier = (bool(other.averaged), other.step) < (bool(selection.winner.averaged), selection.winner.step)
            assert not earlier, "none of those within noise is earlier than the winner"
    else:
        assert selection.winner is best
    assert f"{found[selection.winner.name][0]:.6g}" in selection.reason
    if len(ranked) > 1:
        runner_up = selection.ranking[1] if selection.winner is best else best.name
        assert f"{runner_up}" in selection.reason
    shuffled = list(table)
    random.shuffle(shuffled)
    again = selector.choose(shuffled)
    assert (again.winner, again.reason, again.ranking) == (selection.winner, selection.reason, selection.ranking)


def test_a_direction_is_never_guessed():
    with pytest.raises(RuleError, match=r"mode must be min or max\. Received: mode='lowest'\."):
        Selector("loss", "lowest")
    with pytest.raises(RuleError, match=r"ties must be latest or earliest\. Received: ties='first'\."):
        Selector("loss", "min", "first")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_only_finite_values_rank(value):
    with pytest.raises(ValueError, match="only finite values rank"):
        rank_key(value, 1, "min")


def test_the_selection_is_kept_with_everybodys_metrics(tmp_path):
    assert read_selection(tmp_path) is None
    selector = Selector("loss", "min")
    write_selection(tmp_path, selector, selector.choose(candidates(NAN, 0.5)))
    assert read_selection(tmp_path) == {
        "format": 1,
        "metric": "loss",
        "mode": "min",
        "within_noise": False,
        "worst_slice": False,
        "winner": "s2",
        "reason": "the only survivor in the ranking, loss 0.5",
        "ranking": ["s2"],
        "excluded": {"s1": "loss is nan"},
        "candidates": [
            {
                "name": "s1",
                "run": "run",
                "step": 1,
                "metrics": {"loss": "nan", "auc": "nan"},
                "averaged": [],
                "score": None,
            },
            {
                "name": "s2",
                "run": "run",
                "step": 2,
                "metrics": {"loss": 0.5, "auc": -0.5},
                "averaged": [],
                "score": {"value": 0.5, "interval": None, "slice": None},
            },
        ],
    }


def test_what_the_winner_was_ranked_by_is_kept_too(tmp_path):
    selector = Selector("loss", "min", within_noise=True, worst_slice=True)
    best = Candidate(
        "average", "run", 7, {"loss": 0.1}, {"g:a": {"loss": 0.3}, "g:b": {"loss": 0.2}},
        slice_intervals={"g:a": {"loss": (0.25, 0.35)}}, averaged=(("run", 3), ("run", 7)),
    )  # fmt: skip
    write_selection(tmp_path, selector, selector.choose([best]))
    kept = read_selection(tmp_path)
    assert (kept["within_noise"], kept["worst_slice"]) == (True, True)
    assert kept["candidates"][0]["score"] == {"value": 0.3, "interval": [0.25, 0.35], "slice": "g:a"}
    assert kept["candidates"][0]["averaged"] == [["run", 3], ["run", 7]]


def test_that_nobody_won_is_kept_with_the_reasons(tmp_path):
    selector = Selector("loss", "min")
    write_no_winner(tmp_path / "new", selector, candidates(NAN), "none is left")
    kept = read_selection(tmp_path / "new")
    assert (kept["winner"], kept["reason"], kept["ranking"]) == (None, "none is left", [])
    assert kept["excluded"] == {"s1": "loss is nan"}
    assert [c["name"] for c in kept["candidates"]] == ["s1"]
