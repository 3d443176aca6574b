"""Retention: a union of what protects, the budget, ties, and metrics that are not finite."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rules.retention import Best, Held, Keep

NOW = 10_000.0
NAN, INF = math.nan, math.inf


def held(losses, size=10):
    """A checkpoint an epoch, ten seconds apart, the newest just saved."""
    return [
        Held(i + 1, i, {} if loss is None else {"loss": loss}, NOW - 10 * (len(losses) - 1 - i), size)
        for i, loss in enumerate(losses)
    ]


def stays(keep, checkpoints):
    surplus = keep.surplus(checkpoints, NOW)
    return [h.step for h in checkpoints if h.step not in surplus]


LOSSES = [0.5, 0.1, 0.4, 0.2, 0.3, 0.6]
BEST = {"best": Best("loss", "min", 1)}  # protects step 2
LAST = {"last": 1}  # step 6
MILESTONE = {"milestone": 3}  # steps 3 and 6
WITHIN = {"within": 15.0}  # steps 5 and 6
PROTECTS = [(BEST, {2}), (LAST, {6}), (MILESTONE, {3, 6}), (WITHIN, {5, 6})]


@pytest.mark.parametrize("chosen", [c for c in itertools.product([False, True], repeat=4) if any(c)], ids=str)
def test_each_part_protects_and_the_union_stays(chosen):
    parts = [part for part, wanted in zip(PROTECTS, chosen, strict=True) if wanted]
    keep = Keep(**{name: value for part, _ in parts for name, value in part.items()})
    assert stays(keep, held(LOSSES)) == sorted(set().union(*(steps for _, steps in parts)))


@pytest.mark.parametrize(
    ("keep", "losses", "steps"),
    [
        pytest.param(Keep(best=Best("loss", "max", 2)), LOSSES, [1, 6], id="the highest with max"),
        pytest.param(Keep(best=Best("loss", "min", 9)), LOSSES, [1, 2, 3, 4, 5, 6], id="fewer than n: all"),
        pytest.param(Keep(best=Best("loss", "min", 1)), [0.2, 0.1, 0.1, 0.1, 0.3], [4], id="ties go to the later step"),
        pytest.param(
            Keep(best=Best("loss", "max", 2)), [0.5, 0.5, 0.5], [2, 3], id="ties go to the later step with max"
        ),
        pytest.param(
            Keep(best=Best("loss", "min", 2)), [NAN, 0.5, -INF, None, 0.9], [2, 5], id="not finite is never best"
        ),
        pytest.param(Keep(best=Best("loss", "max", 2)), [NAN, 0.5, INF, None], [2], id="infinity is not the highest"),
        pytest.param(Keep(best=Best("loss", "min", 1)), [NAN, None, NAN], [3], id="the newest, where none has a value"),
        pytest.param(Keep(milestone=50), LOSSES, [6], id="the newest, before the first milestone"),
        pytest.param(Keep(last=3), [0.1], [1], id="fewer than last: all"),
        pytest.param(Keep(within=10.0), LOSSES, [6], id="exactly as old as within is too old"),
        pytest.param(Keep(last=1), [], [], id="nothing of nothing"),
    ],
)
def test_what_stays(keep, losses, steps):
    assert stays(keep, held(losses)) == steps


@pytest.mark.parametrize(
    ("keep", "steps"),
    [
        pytest.param(Keep(budget=60), [1, 2, 3, 4, 5, 6], id="exactly the budget: all"),
        pytest.param(Keep(budget=59), [2, 3, 4, 5, 6], id="a byte over: the oldest goes"),
        pytest.param(Keep(budget=35), [4, 5, 6], id="the oldest go until it fits"),
        pytest.param(Keep(budget=1), [6], id="the newest stays over any budget"),
        pytest.param(Keep(budget=35, **BEST), [2, 5, 6], id="what is protected stays, the oldest others go"),
        pytest.param(Keep(budget=5, last=4), [3, 4, 5, 6], id="the protected stay over the budget"),
    ],
)
def test_the_budget(keep, steps):
    assert stays(keep, held(LOSSES)) == steps


def documented():
    """The rows of the table in the docs: what holds for a checkpoint, and whether it stays."""
    page = (Path(__file__).parents[1] / "components" / "docs" / "rules.md").read_text(encoding="utf-8")
    table = page.partition("| among the best |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {tuple(row[:-1]): row[-1] for row in rows}


YES_NO = ("no", "yes")
BUDGETS = {"none given": None, "not exceeded": 10**6, "exceeded": 1}


def one_of_many(best, last, milestone, within, budget, pinned):
    """Whether a checkpoint of which this holds stays among four others that all are protected by one part."""
    keep = Keep(Best("loss", "min", 2), last=2, milestone=10, within=100.0, budget=BUDGETS[budget])
    others = [
        Held(1, 0, {"loss": 0.2}, NOW - 5000, 10),
        Held(2, 1, {"loss": 0.3}, NOW - 4000, 10),
        Held(8, 7, {"loss": 0.8}, NOW - 3000, 10),
        Held(9, 8, {"loss": 0.9}, NOW - 2000, 10),
    ]
    asked = Held(
        step=10 if last == "yes" else 5,
        epoch=19 if milestone == "yes" else 18,
        metrics={"loss": 0.1 if best == "yes" else 1.0},
        time=NOW - (50 if within == "yes" else 2500),
        size=10,
    )
    gone = keep.surplus([*others, asked], NOW, {asked.step} if pinned == "yes" else ())
    return "goes" if asked.step in gone else "stays"


@pytest.mark.parametrize(
    "case", [*itertools.product(*[YES_NO] * 4, BUDGETS, YES_NO)], ids=lambda case: " ".join(case).replace(" ", "-")
)
def test_the_table_in_the_docs_holds(case):
    said = {
        outcome
        for row, outcome in documented().items()
        if all(cell in ("any", value) for cell, value in zip(row, case, strict=True))
    }
    assert said == {one_of_many(*case)}


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        pytest.param("epoch", [2, 4, 5], id="saved at an epoch's end it is a milestone"),
        pytest.param("step", [5], id="saved within an epoch it is none"),
    ],
)
def test_a_milestone(at, steps):
    checkpoints = [Held(i + 1, i, {}, NOW, 10, at) for i in range(5)]
    assert stays(Keep(milestone=2, last=1), checkpoints) == steps


def test_the_other_parts_protect_what_was_saved_within_an_epoch_too():
    checkpoints = [Held(i + 1, 0, {"loss": loss}, NOW - 10 * (4 - i), 10, "step") for i, loss in enumerate(LOSSES[:5])]
    assert stays(Keep(best=Best("loss", "min", 1)), checkpoints) == [2]
    assert stays(Keep(last=2), checkpoints) == [4, 5]
    assert stays(Keep(within=15.0), checkpoints) == [4, 5]


def test_the_reasons():
    keep = Keep(**BEST, **LAST, **MILESTONE, **WITHIN)
    assert keep.protected(held(LOSSES), NOW) == {
        2: "among the best 1 by loss",
        3: "a milestone of every 3 epochs",
        5: "younger than the time to keep",
        6: "among the last 1",
    }
    assert keep.surplus(held(LOSSES), NOW) == dict.fromkeys([1, 4], "no part of `keep` protects it")
    assert Keep(budget=55).surplus(held(LOSSES), NOW) == {1: "the budget is exceeded and no part of `keep` protects it"}
    assert Keep(milestone=9).protected(held([0.5]), NOW) == {1: "the newest, and nothing else would stay"}


def test_the_order_of_the_checkpoints_does_not_matter():
    keep = Keep(best=Best("loss", "min", 2), last=1, budget=25)
    expected = keep.surplus(held(LOSSES), NOW)
    for order in itertools.islice(itertools.permutations(held(LOSSES)), 0, 720, 37):
        assert keep.surplus(order, NOW) == expected


def test_a_clock_that_went_back_protects():
    future = [Held(1, 0, {}, NOW + 500, 1), Held(2, 1, {}, NOW, 1)]
    assert stays(Keep(within=15.0), future) == [1, 2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(lambda: Keep(), "keep needs at least one of best, last, milestone, within, budget", id="nothing"),
        pytest.param(lambda: Keep(last=0), "last must be a whole number of at least 1. Received: last=0", id="last 0"),
        pytest.param(
            lambda: Keep(milestone=True), "milestone must be a whole number of at least 1", id="milestone yes"
        ),
        pytest.param(lambda: Keep(budget=-5), "budget must be a whole number of at least 1", id="a negative budget"),
        pytest.param(lambda: Keep(within=0.0), "within must be a time above 0s", id="within no time"),
        pytest.param(lambda: Keep(within=NAN), "within must be a finite number", id="within NaN"),
        pytest.param(
            lambda: Best("loss", "low", 1), "mode must be min or max. Received: mode='low'", id="no direction"
        ),
        pytest.param(lambda: Best(" ", "min", 1), "metric must be a name. Received: metric=' '", id="no name"),
        pytest.param(lambda: Keep(within="2d"), "within must be a finite number. Received: '2d'", id="within a text"),
        pytest.param(lambda: Best("loss", "min", 0), "n must be a whole number of at least 1", id="the best none"),
    ],
)
def test_an_impossible_keep_is_refused(wrong, words):
    with pytest.raises(RuleError, match=words):
        wrong()
