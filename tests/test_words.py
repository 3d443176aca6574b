"""What a person reads on the terminal at the end of a run."""

import io

import pytest
from rich.console import Console

from gated_pipelines.reporting.summary import Summary
from gated_pipelines.reporting.words import tell

WORSE = {
    "metric": "sparse_categorical_crossentropy",
    "slice": "all examples",
    "candidate": 0.25,
    "champion": 0.125,
    "required": "a change of at most +0",
    "holds": False,
}
WELL = {**WORSE, "metric": "accuracy", "slice": "slice island:Dream", "required": "at least 0.85", "holds": True}


def told(**found) -> list[list[str]]:
    """The words of each line."""
    out = io.StringIO()
    tell(Summary(**found), Console(file=out, width=200, color_system=None))
    return [line.split() for line in out.getvalue().splitlines()]


def test_who_was_not_blessed_stands_beside_the_champion():
    lines = [
        " ".join(line)
        for line in told(outcome="not_blessed", reason="worse", comparison=[WORSE, WELL], champion="/s/1")
    ]
    assert any(
        "│ sparse categorical crossentropy │ all examples │ 0.25 │ 0.125 │ a change of at most +0: fails │" in line
        for line in lines
    )
    assert any("│ accuracy │ slice island:Dream │ 0.25 │ 0.125 │ at least 0.85 │" in line for line in lines)
    assert "outcome not blessed, the champion stays: worse" in lines


def test_the_best_so_far_stands_beside_the_champion_where_it_was_measured():
    row = {**WORSE, "best": 0.0625, "required": "a change of at most +0.1 against the best so far, version 7"}
    lines = [" ".join(line) for line in told(outcome="not_blessed", comparison=[row, {**WELL, "best": None}])]
    assert any("challenger" in line and "champion" in line and "best so far" in line for line in lines)
    assert any("│ 0.25 │ 0.125 │ 0.0625 │ a change of at most +0.1 against the best so far" in line for line in lines)


def test_what_was_not_computed_is_left_empty():
    lines = told(outcome="not_blessed", comparison=[{**WORSE, "candidate": "nan", "champion": None}])
    assert any(line[8:12] == ["nan", "│", "│", "a"] for line in lines)


def test_of_many_thresholds_ten_are_shown_and_the_rest_is_counted():
    rows = [{**WORSE, "slice": f"slice n:{number}"} for number in range(13)]
    lines = [" ".join(line) for line in told(outcome="not_blessed", comparison=rows)]
    assert sum("slice n:" in line for line in lines) == 10
    assert any("and 3 more" in line for line in lines)


@pytest.mark.parametrize("outcome", ["pushed", "skipped"])
def test_a_run_that_went_well_tells_no_thresholds(outcome):
    assert not any("crossentropy" in line for line in told(outcome=outcome, comparison=[WORSE]))


def test_without_a_champion_none_stays():
    assert ["outcome", "not", "blessed:", "worse"] in told(outcome="not_blessed", reason="worse")


@pytest.mark.parametrize(
    ("times", "words"), [pytest.param(1, "(1 time)", id="once"), pytest.param(2, "(2 times)", id="twice")]
)
def test_how_often_a_clause_refused_is_counted(times, words):
    lines = told(outcome="pushed", epochs=3, refusals={"loss at most 1": times})
    assert any(" ".join(line).endswith(f"loss at most 1 {words}") for line in lines)
