"""How the candidates ranked: the rows for people, and the terminal's words for them."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from gated_pipelines.reporting.ranking import ranked_by, rows
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.reporting.words import tell


def survivor(name, step, loss, score=None, averaged=()):
    return {"name": name, "run": "r", "step": step, "metrics": {"loss": loss}, "averaged": averaged, "score": score}


def score(value, interval=None, where=None):
    return {"value": value, "interval": interval, "slice": where}


def summary(survivors, ranking, winner=None, **selection):
    by = {"metric": "loss", "mode": "min", "within_noise": False, "worst_slice": False, "excluded": {}}
    won = next(({**one, "reason": "lowest loss"} for one in survivors if one["name"] == winner), None)
    return Summary(survivors=survivors, winner=won, selection={**by, "ranking": ranking, **selection})


@pytest.fixture
def told():
    """What the terminal shows of a summary, in lines of 100 signs."""

    def told(found):
        page = io.StringIO()
        tell(found, Console(file=page, width=100))
        return page.getvalue()

    return told


THREE = [
    survivor("s1", 1, 0.2, score(0.2)),
    survivor("s2", 2, "nan"),
    survivor("average", 3, 0.1, score(0.1), [["r", 1], ["r", 2]]),
]


def test_the_best_comes_first_and_who_is_out_last():
    found = rows(summary(THREE, ["average", "s1"], "average", excluded={"s2": "loss is nan"}))
    assert [(row.name, row.place, row.out, row.won) for row in found] == [
        ("average", 1, "", True),
        ("1", 2, "", False),
        ("2", None, "loss is nan", False),
    ]


def test_the_winner_need_not_be_the_first():
    found = rows(summary(THREE, ["average", "s1"], "s1"))
    assert [row.name for row in found if row.won] == ["1"]


def test_two_of_equal_step_are_told_apart_by_name():
    both = [survivor("a--s1", 1, 0.2, score(0.2)), survivor("b--s1", 1, 0.1, score(0.1))]
    assert [row.won for row in rows(summary(both, ["b--s1", "a--s1"], "b--s1"))] == [True, False]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(score(0.25), "", id="the table of metrics says it"),
        pytest.param(score(0.25, [0.125, 0.5]), "0.25 (0.125 to 0.5)", id="an interval"),
        pytest.param(score(0.25, None, "g:a"), "0.25 on g:a", id="a slice"),
        pytest.param(score(0.25, [0.125, 0.5], "g:a"), "0.25 (0.125 to 0.5) on g:a", id="both"),
        pytest.param(None, "", id="out"),
    ],
)
def test_what_a_candidate_was_ranked_by(given, words):
    (row,) = rows(summary([survivor("s1", 1, 0.25, given)], ["s1"] if given else []))
    assert row.score == words


def test_before_the_choice_there_is_nothing_to_show(told):
    assert rows(Summary()) == []
    assert ranked_by(Summary()) == ""
    assert "survivors" not in told(Summary())


def test_the_terminal_shows_the_ranking_and_who_is_out_and_why(told):
    given = [
        survivor("s1", 1, 0.2, score(0.3, [0.2, 0.4], "g:a")),
        survivor("s2", 2, 0.1, score(0.25, None, "g:b")),
        survivor("s3", 3, "nan"),
        survivor("s4", 4, 0.5, score(0.5)),
    ]
    page = told(summary(given, ["s2", "s1", "s4"], "s1", worst_slice=True, excluded={"s3": "loss is nan on slice g:a"}))
    words = (r"0\.25 on g:b", r"0\.3 \(0\.2 to 0\.4\) on g:a", r"0\.5 │ +0\.5 │", r"nan │ +out │", "3 is out: ")
    places = [re.search(one, page).start() for one in words]
    assert places == sorted(places)
    assert "3 is out: loss is nan on slice g:a" in page
    assert "step 1: lowest loss" in page
    assert "lowest loss on the worst slice first" in " ".join(page.split())


def test_without_intervals_and_slices_no_column_is_added(told):
    page = told(summary(THREE, ["average", "s1"], "average", excluded={"s2": "loss is nan"}))
    assert "ranked by" not in page
    assert "the average of the steps 1, 2: lowest loss" in page


def test_of_many_that_are_out_five_are_told(told):
    many = [survivor(f"s{n}", n, "nan") for n in range(1, 9)]
    page = told(summary(many, [], excluded={one["name"]: "loss is nan" for one in many}))
    assert page.count("is out: loss is nan") == 5
    assert "3 more are out; the report says why" in page


def test_the_terminal_marks_the_metric_that_decides(told):
    words = " ".join(told(summary(THREE, ["average", "s1"], "s1", excluded={"s2": "loss is nan"})).split())
    assert "loss ▾" in words
    assert "▾ decides: lowest loss first" in words
