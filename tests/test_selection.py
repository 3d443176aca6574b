"""The choice of the best survivor, with its reason, and the papers that the winner carries."""

from __future__ import annotations

import itertools
import math

import pytest

from checkpoint_gate.errors import ModelError, NoCandidate, RuleError
from checkpoint_gate.papers import Papers, read_papers, write_papers
from checkpoint_gate.selection import Candidate, Selector, rank_key
from checkpoint_gate.selection_file import read_selection, write_selection

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


def test_a_direction_is_never_guessed():
    with pytest.raises(RuleError, match=r"mode must be min or max\. Received: mode='lowest'\."):
        Selector("loss", "lowest")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_only_finite_values_rank(value):
    with pytest.raises(ValueError, match="only finite values rank"):
        rank_key(value, 1, "min")


def test_the_papers_say_where_a_model_comes_from(tmp_path):
    assert read_papers(tmp_path) is None
    selection = Selector("loss", "min").choose(candidates(NAN, 0.5))
    write_papers(tmp_path, selection, "f" * 64)
    assert read_papers(tmp_path) == Papers("run", 2, selection.reason, {"loss": 0.5, "auc": -0.5}, "f" * 64)


@pytest.mark.parametrize(
    "content", ["{", '{"run": "r"}', "[]", '{"run": "r", "step": "x", "reason": "", "metrics": {}}']
)
def test_papers_that_cannot_be_read_are_named(tmp_path, content):
    write_papers(tmp_path, Selector("loss", "min").choose(candidates(0.5)), "f" * 64)
    path = tmp_path / "assets.extra" / "checkpoint_gate.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"The papers .*checkpoint_gate\.json cannot be read: "):
        read_papers(tmp_path)


def test_the_selection_is_kept_with_everybodys_metrics(tmp_path):
    assert read_selection(tmp_path) is None
    write_selection(tmp_path, Selector("loss", "min").choose(candidates(NAN, 0.5)))
    assert read_selection(tmp_path) == {
        "format": 1,
        "winner": "s2",
        "reason": "the only survivor in the ranking, loss 0.5",
        "excluded": {"s1": "loss is nan"},
        "candidates": [
            {"name": "s1", "run": "run", "step": 1, "metrics": {"loss": "nan", "auc": "nan"}},
            {"name": "s2", "run": "run", "step": 2, "metrics": {"loss": 0.5, "auc": -0.5}},
        ],
    }
