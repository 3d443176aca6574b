"""What each rule says, as tables: the semantics that training, filtering and replaying share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from checkpoint_gate.errors import RuleError, UnknownMetricError
from checkpoint_gate.rules.averages import CentredAverage, ExponentialAverage, MovingAverage
from checkpoint_gate.rules.conditions import All, Any, Every, Improves, Not, Threshold
from checkpoint_gate.rules.gate import Gate, MetricWatch
from checkpoint_gate.rules.judgement import Judgement
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.schedules import Schedule

NAN, INF = math.nan, math.inf
GONE = None  # an epoch that did not log the metric


def epochs(*values, metric="loss", **others):
    """One record an epoch with these values of `metric`; five steps an epoch, ten seconds an epoch."""
    return [
        Record(5 * (i + 1), i, ({} if value is GONE else {metric: value}) | others, time=1000.0 + 10.0 * i)
        for i, value in enumerate(values)
    ]


def pattern(gate, records):
    """S for each record that is saved, a point for each that is refused."""
    return "".join("S" if decision.save else "." for decision in gate.replay(records))


def last(rule, records):
    """What the rule says of the last record."""
    judge = rule.start()
    return [judge.judge(record) for record in records][-1]


BELOW_HALF = Threshold("x", at_most=0.5)
ABOVE_HALF = Threshold("x", at_least=0.5)


@pytest.mark.parametrize(
    ("rule", "value", "truth", "reason"),
    [
        pytest.param(BELOW_HALF, 0.4, "holds", "x 0.4 is at most 0.5", id="below at_most holds"),
        pytest.param(BELOW_HALF, 0.5, "holds", "x 0.5 is at most 0.5", id="equality passes at_most"),
        pytest.param(BELOW_HALF, 0.6, "fails", "x 0.6 is not at most 0.5 (by 0.1)", id="above at_most fails"),
        pytest.param(
            BELOW_HALF,
            math.nextafter(0.5, 1),
            "fails",
            "x 0.5 is not at most 0.5 (by 1.11e-16)",
            id="no tolerance above",
        ),
        pytest.param(ABOVE_HALF, 0.6, "holds", "x 0.6 is at least 0.5", id="above at_least holds"),
        pytest.param(ABOVE_HALF, 0.5, "holds", "x 0.5 is at least 0.5", id="equality passes at_least"),
        pytest.param(ABOVE_HALF, 0.4, "fails", "x 0.4 is not at least 0.5 (by 0.1)", id="below at_least fails"),
        pytest.param(
            ABOVE_HALF,
            math.nextafter(0.5, 0),
            "fails",
            "x 0.5 is not at least 0.5 (by 5.55e-17)",
            id="no tolerance below",
        ),
        pytest.param(BELOW_HALF, NAN, "unknown", "x is nan", id="NaN cannot be judged by at_most"),
        pytest.param(ABOVE_HALF, NAN, "unknown", "x is nan", id="NaN cannot be judged by at_least"),
        pytest.param(BELOW_HALF, -INF, "unknown", "x is -inf", id="minus infinity is not at most anything"),
        pytest.param(ABOVE_HALF, INF, "unknown", "x is inf", id="infinity is not at least anything"),
        pytest.param(BELOW_HALF, GONE, "unknown", "x was not logged", id="an absent metric cannot be judged"),
        pytest.param(Threshold("x", at_most=0.0), -0.0, "holds", "x -0 is at most 0", id="minus zero is zero"),
        pytest.param(Threshold("x", at_most=-2), -2.5, "holds", "x -2.5 is at most -2", id="limits may be negative"),
    ],
)
def test_a_threshold(rule, value, truth, reason):
    judgement = last(rule, epochs(value, metric="x"))
    assert (judgement.truth, judgement.reason) == (truth, reason)


@pytest.mark.parametrize(
    ("rule", "value", "shortfall"),
    [
        pytest.param(BELOW_HALF, 0.75, 0.5, id="relative to the limit"),
        pytest.param(Threshold("x", at_most=-2.0), -1.0, 0.5, id="relative to the size of a negative limit"),
        pytest.param(Threshold("x", at_most=0.0), 0.25, 0.25, id="absolute where the limit is zero"),
        pytest.param(ABOVE_HALF, 0.25, 0.5, id="below at_least too"),
        pytest.param(BELOW_HALF, 0.5, 0.0, id="nothing when it holds"),
        pytest.param(BELOW_HALF, NAN, INF, id="infinite when it cannot be said"),
    ],
)
def test_how_far_a_threshold_is_from_holding(rule, value, shortfall):
    assert last(rule, epochs(value, metric="x")).shortfall == shortfall


TRUTHS = {"holds": 0.0, "fails": 1.0, "unknown": NAN}


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        pytest.param("holds", "holds", "holds", "holds", id="yes and yes"),
        pytest.param("holds", "fails", "fails", "holds", id="yes and no"),
        pytest.param("holds", "unknown", "unknown", "holds", id="yes and unknown"),
        pytest.param("fails", "fails", "fails", "fails", id="no and no"),
        pytest.param("fails", "unknown", "fails", "unknown", id="no and unknown"),
        pytest.param("unknown", "unknown", "unknown", "unknown", id="unknown and unknown"),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["in this order", "in the other order"])
def test_all_and_any_combine_as_in_kleenes_logic(left, right, both, either, turned):
    names = ("b", "a") if turned else ("a", "b")
    rules = tuple(Threshold(name, at_most=0.5) for name in names)
    record = [Record(1, 0, {"a": TRUTHS[left], "b": TRUTHS[right]})]
    assert last(All(rules), record).truth == both
    assert last(Any(rules), record).truth == either
    assert pattern(Gate(All(rules)), record) == ("S" if both == "holds" else ".")
    assert pattern(Gate(Any(rules)), record) == ("S" if either == "holds" else ".")


@pytest.mark.parametrize(
    ("value", "truth", "reason"),
    [
        pytest.param(0.4, "fails", "not (x 0.4 is at most 0.5)", id="not turns yes into no"),
        pytest.param(0.6, "holds", "not (x 0.6 is not at most 0.5 (by 0.1))", id="not turns no into yes"),
        pytest.param(NAN, "unknown", "x is nan", id="not of what cannot be judged does not save"),
        pytest.param(GONE, "unknown", "x was not logged", id="not of an absent metric does not save"),
    ],
)
def test_not(value, truth, reason):
    judgement = last(Not(BELOW_HALF), epochs(value, metric="x"))
    assert (judgement.truth, judgement.reason) == (truth, reason)
    assert pattern(Gate(Not(BELOW_HALF)), epochs(value, metric="x")) == ("S" if truth == "holds" else ".")
    assert (
        last(Not(Not(BELOW_HALF)), epochs(value, metric="x")).truth == last(BELOW_HALF, epochs(value, metric="x")).truth
    )


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        pytest.param(
            All((BELOW_HALF, Threshold("y", at_least=2), Threshold("z", at_most=1))),
            "x 0.75 is not at most 0.5 (by 0.25); z was not logged",
            id="all names everything that stands in the way",
        ),
        pytest.param(
            Any((BELOW_HALF, Threshold("y", at_least=2))), "y 3 is at least 2", id="any names only what let it through"
        ),
        pytest.param(
            Any((BELOW_HALF, Threshold("y", at_least=4))),
            "x 0.75 is not at most 0.5 (by 0.25) and y 3 is not at least 4 (by 1)",
            id="a refused any names every branch",
        ),
    ],
)
def test_reasons_name_what_decided(rule, reason):
    assert Gate(rule).decide([Record(1, 0, {"x": 0.75, "y": 3.0})]).reason == reason


def test_clauses_do_not_change_with_the_numbers():
    gate = Gate(All((BELOW_HALF, Threshold("y", at_least=2))))
    first, second = gate.replay([Record(1, 0, {"x": 0.7, "y": 1.0}), Record(2, 1, {"x": 0.8, "y": 1.5})])
    assert first.reason != second.reason
    assert first.clauses == second.clauses == ("x at most 0.5", "y at least 2")


def averaged(average, values, at="epoch"):
    """What the average reads at each record, None where it cannot be judged."""
    records = [Record(i, i, {} if value is GONE else {"x": value}, at=at) for i, value in enumerate(values)]
    series = [value for value in values if value is not GONE]
    meter = average.start(series if isinstance(average, CentredAverage) else None)
    return [meter.read(record.metrics["x"]).value if "x" in record.metrics else None for record in records]


@pytest.mark.parametrize(
    ("average", "values", "expected"),
    [
        pytest.param(MovingAverage(3), [1, 2, 3, 5], [None, None, 2, 10 / 3], id="the current value is in the window"),
        pytest.param(MovingAverage(1), [1, 2], [1, 2], id="a window of one is the value itself"),
        pytest.param(MovingAverage(3), [1, 2], [None, None], id="fewer values than the window cannot be judged"),
        pytest.param(
            MovingAverage(2), [1, NAN, 2, 4], [None, None, None, 3], id="a NaN blocks as long as it is in the window"
        ),
        pytest.param(MovingAverage(2), [1, INF, 2, 4], [None, None, None, 3], id="an infinity blocks just as long"),
        pytest.param(MovingAverage(2), [1, GONE, 3], [None, None, 2], id="records without the metric do not count"),
        pytest.param(
            MovingAverage(2), [1.7e308, 1.7e308, 0], [None, None, 0.85e308], id="an overflowing sum is no number"
        ),
        pytest.param(
            ExponentialAverage(3), [1, 2, 3, 4], [None, None, 2, 3], id="seeded with the mean, then alpha 2/(n+1)"
        ),
        pytest.param(ExponentialAverage(1), [1e16, 1, 3], [1e16, 1, 3], id="a span of one is exactly the value"),
        pytest.param(ExponentialAverage(4), [0.1] * 7, [None] * 3 + [0.1] * 4, id="equal values stay exactly equal"),
        pytest.param(ExponentialAverage(2), [2, 4, NAN, 1, 3], [None, 3, None, None, 2], id="starts again after a NaN"),
        pytest.param(
            ExponentialAverage(2), [2, INF, 1, 3], [None, None, None, 2], id="starts again even within the seed"
        ),
        pytest.param(ExponentialAverage(2), [2, GONE, 4], [None, None, 3], id="a gap is no value and no restart"),
        pytest.param(
            ExponentialAverage(2), [1.7e308, 1.7e308, 2, 4], [None, None, None, 3], id="starts again after an overflow"
        ),
        pytest.param(
            ExponentialAverage(3),
            [1e308, -1e308, 1.7e308],
            [None, None, 1.7e308 / 3],
            id="extremes that cancel are judged",
        ),
        pytest.param(CentredAverage(3), [1, 2, 6, 1], [1.5, 3, 3, 3.5], id="neighbours on both sides"),
        pytest.param(CentredAverage(5), [1, 2, 6], [3, 3, 3], id="near the ends the neighbours that exist"),
        pytest.param(CentredAverage(5), [1, 2], [None, None], id="at least (n+1)/2 of them"),
        pytest.param(CentredAverage(1), [1, NAN], [1, None], id="a window of one looks at nothing else"),
        pytest.param(CentredAverage(3), [1, 2, NAN, 4], [1.5, None, None, None], id="a NaN blocks its neighbours"),
    ],
)
def test_an_average(average, values, expected):
    assert averaged(average, values) == expected


@pytest.mark.parametrize(
    ("average", "values", "words"),
    [
        pytest.param(MovingAverage(3), [1], "x has 1 of the 3 values its mean needs", id="too few for a mean"),
        pytest.param(
            MovingAverage(2), [1, NAN], "x is not finite within the last 2 values", id="not finite in the window"
        ),
        pytest.param(
            MovingAverage(2), [1e308, 1e308], "x has a mean of the last 2 beyond the largest number", id="an overflow"
        ),
        pytest.param(
            ExponentialAverage(3), [1], "x has 1 of the 3 values its exponential average needs", id="too few for a seed"
        ),
        pytest.param(
            ExponentialAverage(3), [1, 2, 3, NAN], "x is nan, its exponential average starts again", id="a restart"
        ),
        pytest.param(
            MovingAverage(2), [1, 3], "x's mean of the last 2 2 is not at most 0.5 (by 1.5)", id="the average is named"
        ),
    ],
)
def test_an_average_says_why(average, values, words):
    assert last(Threshold("x", at_most=0.5, average=average), epochs(*values, metric="x")).reason == words


@pytest.mark.parametrize(
    ("average", "words"),
    [
        pytest.param(lambda: MovingAverage(0), "moving_average must be a whole number of at least 1", id="no window"),
        pytest.param(lambda: MovingAverage(True), "moving_average must be a whole number", id="yes is no number"),
        pytest.param(lambda: ExponentialAverage(2.5), "exponential_average must be a whole number", id="half a span"),
        pytest.param(
            lambda: CentredAverage(4), "centred_average must be odd. Received: centred_average=4.", id="no centre"
        ),
    ],
)
def test_an_impossible_average_is_refused(average, words):
    with pytest.raises(RuleError, match=words):
        average()


def test_a_centred_average_says_how_many_values_it_had():
    rule = Threshold("x", at_most=2.0, average=CentredAverage(5))
    history = epochs(1, 2, 3, 4, 5, metric="x")
    judge = rule.start(history)
    reasons = [judge.judge(record).reason for record in history]
    assert reasons[0] == "x's centred mean of 3 2 is at most 2"
    assert reasons[2] == "x's centred mean of 5 3 is not at most 2 (by 1)"
    assert reasons[4] == "x's centred mean of 3 4 is not at most 2 (by 2)"


def test_a_centred_average_cannot_gate():
    with pytest.raises(RuleError, match="centred_average looks ahead, so it can filter but not gate"):
        Gate(Threshold("x", at_most=1, average=CentredAverage(3))).start().decide(Record(1, 0, {"x": 1.0}))


@pytest.mark.parametrize("average", [MovingAverage(2), ExponentialAverage(2), CentredAverage(3)], ids=lambda a: a.words)
def test_windows_never_mix_epochs_and_steps(average):
    rule = Threshold("x", at_most=10.0, average=average)
    epoch_values, step_values = [1.0, 2.0, 3.0], [100.0, 200.0, 300.0]
    mixed = []
    for i in range(3):
        mixed.append(Record(10 * i + 5, i, {"x": step_values[i]}, at="step"))
        mixed.append(Record(10 * i + 9, i, {"x": epoch_values[i]}, at="epoch"))
    apart = [record for record in mixed if record.at == "epoch"]
    future = isinstance(average, CentredAverage)
    both, one = rule.start(mixed if future else None), rule.start(apart if future else None)
    together = [both.judge(record) for record in mixed]
    assert together[1::2] == [one.judge(record) for record in apart]
    assert together[-1].truth == "holds"
    assert together[-2].truth == "fails"


ONE_TO_HALF = {"start": 1.0, "end": 0.5}


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        pytest.param(
            Schedule(**ONE_TO_HALF, over=10),
            {0: 1.0, 1: 0.95, 5: 0.75, 9: 0.55, 10: 0.5, 11: 0.5, 1000: 0.5},
            id="linear: from at epoch 0, to at its end and after",
        ),
        pytest.param(Schedule(0.0, 1.0, 4), {0: 0.0, 2: 0.5, 4: 1.0, 5: 1.0}, id="linear may rise"),
        pytest.param(Schedule(2.0, 2.0, 3), {0: 2.0, 1: 2.0, 9: 2.0}, id="linear may stand still"),
        pytest.param(Schedule(1.0, 0.0, 1), {0: 1.0, 1: 0.0}, id="over one epoch"),
        pytest.param(
            Schedule(**ONE_TO_HALF, over=10, shape="cosine"),
            {0: 1.0, 5: 0.75, 10: 0.5, 20: 0.5, 1: 1 - 0.5 * (1 - math.cos(math.pi / 10)) / 2},
            id="cosine: half a period",
        ),
        pytest.param(
            Schedule(1.0, 0.01, 10, shape="exponential"),
            {0: 1.0, 5: 0.1, 10: 0.01, 11: 0.01, 1: 0.01**0.1},
            id="exponential: a constant ratio",
        ),
        pytest.param(
            Schedule(-1.0, -4.0, 2, shape="exponential"), {0: -1.0, 1: -2.0, 2: -4.0}, id="exponential below zero"
        ),
        pytest.param(
            Schedule(1.0, 0.0, 10, shape="steps", stairs=2),
            {0: 1.0, 4: 1.0, 5: 0.5, 9: 0.5, 10: 0.0, 11: 0.0},
            id="steps: equal stairs",
        ),
        pytest.param(
            Schedule(1.0, 0.0, 3, shape="steps", stairs=3),
            {0: 1.0, 1: 2 / 3, 2: 1 / 3, 3: 0.0},
            id="one stair an epoch",
        ),
    ],
)
def test_a_schedule(schedule, values):
    for epoch, value in values.items():
        assert schedule.value(Record(7 * epoch, epoch)) == pytest.approx(value, rel=1e-12, abs=0), epoch


def test_a_schedule_may_count_steps():
    schedule = Schedule(1.0, 0.0, 100, unit="steps")
    assert [schedule.value(Record(step, 7)) for step in (0, 50, 100, 101)] == [1.0, 0.5, 0.0, 0.0]


def test_a_schedule_ends_exactly_at_its_end():
    for shape, stairs in (("linear", None), ("cosine", None), ("exponential", None), ("steps", 7)):
        schedule = Schedule(0.3, 0.1, 7, shape=shape, stairs=stairs)
        assert (schedule.value(Record(0, 0)), schedule.value(Record(0, 7))) == (0.3, 0.1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param({"start": NAN, "end": 1, "over": 3}, "`from` must be a finite number", id="NaN is no end"),
        pytest.param({"start": 1, "end": "0", "over": 3}, "`to` must be a finite number", id="text is no end"),
        pytest.param(
            {"start": 1, "end": 0, "over": 0}, "a whole number of epochs, at least 1", id="takes at least one epoch"
        ),
        pytest.param({"start": 1, "end": 0, "over": 2.5}, "a whole number of epochs", id="takes no half epochs"),
        pytest.param({"start": 1, "end": 0, "over": 3, "unit": "hours"}, "counts epochs or steps", id="a known unit"),
        pytest.param(
            {"start": 1, "end": 0, "over": 3, "shape": "wavy"}, "shape must be one of linear, cosine", id="known shapes"
        ),
        pytest.param(
            {"start": 1, "end": 0, "over": 3, "shape": "exponential"}, "both ends above zero", id="no ratio to zero"
        ),
        pytest.param(
            {"start": -1, "end": 1, "over": 3, "shape": "exponential"},
            "both ends above zero",
            id="no ratio across zero",
        ),
        pytest.param(
            {"start": 1e-300, "end": 1e300, "over": 3, "shape": "exponential"},
            "a ratio that is a number",
            id="a ratio that overflows",
        ),
        pytest.param({"start": -1.7e308, "end": 1.7e308, "over": 3}, "too far apart", id="a distance that overflows"),
        pytest.param(
            {"start": 1, "end": 0, "over": 3, "shape": "steps"}, "shape: steps needs stairs", id="steps without stairs"
        ),
        pytest.param(
            {"start": 1, "end": 0, "over": 3, "stairs": 2}, "stairs goes with shape: steps", id="stairs without steps"
        ),
        pytest.param(
            {"start": 1, "end": 0, "over": 3, "shape": "steps", "stairs": 0},
            "stairs must be a whole number",
            id="no stair",
        ),
        pytest.param(
            {"start": 1, "end": 0, "over": 3, "shape": "steps", "stairs": 1.5}, "stairs must be", id="no half stair"
        ),
    ],
)
def test_an_impossible_schedule_is_refused(wrong, words):
    with pytest.raises(RuleError, match=words):
        Schedule(**wrong)


def test_tiny_ends_are_of_one_sign_too():
    assert Schedule(1e-200, 1e-220, 2, shape="exponential").value(Record(0, 1)) == pytest.approx(1e-210)


def test_a_threshold_follows_its_schedule():
    gate = Gate(Threshold("loss", at_most=Schedule(1.0, 0.5, 2)))
    assert pattern(gate, epochs(0.8, 0.8, 0.6, 0.5, 0.4)) == "S..SS"
    assert gate.replay(epochs(0.8, 0.8))[1].reason == "loss 0.8 is not at most 0.75 (by 0.05)"


LOWER, HIGHER = Improves("loss", "min"), Improves("loss", "max")


@pytest.mark.parametrize(
    ("rule", "losses", "expected"),
    [
        pytest.param(LOWER, [0.5, 0.4, 0.3], "SSS", id="the first finite value holds, then each that is lower"),
        pytest.param(LOWER, [0.3, 0.5, 0.4], "S..", id="compared with the best, not the last"),
        pytest.param(LOWER, [0.3, 0.3], "S.", id="equality is no improvement"),
        pytest.param(HIGHER, [0.3, 0.5, 0.4, 0.6], "SS.S", id="max looks for higher values"),
        pytest.param(Improves("loss", "min", 0.25), [1.0, 0.75, 0.5, 0.25], "S.S.", id="strictly more than min_delta"),
        pytest.param(
            Improves("loss", "min", 0.5),
            [2.0, 1.75, 1.25, 1.0],
            "S.S.",
            id="min_delta counts from the saved, not the seen",
        ),
        pytest.param(LOWER, [NAN, 0.5, 0.6, 0.4], ".S.S", id="a first NaN does not poison what follows"),
        pytest.param(LOWER, [0.5, NAN, 0.6, -INF, 0.4], "S...S", id="what is not finite never becomes the best"),
        pytest.param(LOWER, [GONE, 0.5, GONE, 0.4], ".S.S", id="an absent metric cannot be judged"),
        pytest.param(LOWER, [5e-324, 0.0, -5e-324], "SSS", id="the smallest numbers differ"),
        pytest.param(LOWER, [1.7e308, -1.7e308], "SS", id="a gain beyond the largest number is a gain"),
        pytest.param(
            Not(LOWER), [0.5, 0.6, 0.7], "...", id="not: while nothing is saved there is nothing to compare with"
        ),
    ],
)
def test_improves(rule, losses, expected):
    assert pattern(Gate(rule), epochs(*losses)) == expected


def test_improves_compares_with_what_was_saved_not_with_what_was_refused():
    gate = Gate(All((Improves("val", "min"), Threshold("loss", at_most=1.0))))
    history = [Record(1, 0, {"loss": 2.0, "val": 0.1}), Record(2, 1, {"loss": 0.5, "val": 0.9})]
    assert pattern(gate, history) == ".S"


def test_a_metric_that_is_not_finite_but_saved_by_another_branch_never_becomes_the_best():
    gate = Gate(Any((Improves("val", "min"), Every(2))))
    values = [NAN, NAN, 0.5, 0.6, -INF, -INF, 0.4]
    history = [Record(i + 1, i, {"loss": 0.1, "val": value}) for i, value in enumerate(values)]
    assert pattern(gate, history) == ".SSS.SS"
    assert gate.replay(history)[-1].reason == "val 0.4 improves on 0.5"


def test_a_worse_value_saved_by_another_branch_does_not_lower_the_best():
    gate = Gate(Any((Improves("loss", "min"), Every(2))))
    assert gate.replay(epochs(0.5, 0.9, 0.7))[-1].reason == (
        "loss 0.7 does not improve on 0.5 and every 2 epochs is not due"
    )


@pytest.mark.parametrize("rule", [LOWER, Improves("loss", "min", 0.1), All((LOWER, Threshold("loss", at_most=9.0)))])
def test_resuming_does_not_forget_the_best(rule):
    gate = Gate(rule)
    history = epochs(0.5, 0.3, NAN, 0.6, 0.4, 0.1, 0.2)
    whole = gate.replay(history)
    for cut in range(len(history) + 1):
        decided = [(record, decision.save) for record, decision in zip(history[:cut], whole, strict=False)]
        running = gate.start(decided)
        assert [running.decide(record) for record in history[cut:]] == whole[cut:]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(lambda: Improves("x", "lower"), "improves must be min or max", id="direction is never guessed"),
        pytest.param(lambda: Improves("x", "min", -0.1), "min_delta must be at least 0. Received: -0.1", id="negative"),
        pytest.param(lambda: Improves("x", "min", NAN), "min_delta must be a finite number. Received: nan", id="NaN"),
        pytest.param(lambda: Improves("x", "min", "1"), "min_delta must be a finite number. Received: '1'", id="text"),
        pytest.param(
            lambda: Improves("", "min"), "metric must be a name. Received: metric=''", id="no name to improve"
        ),
        pytest.param(lambda: Threshold(3, 1), "metric must be a name. Received: metric=3", id="a number as a name"),
        pytest.param(lambda: Threshold("x"), "'x' needs exactly one of at_most and at_least", id="no limit"),
        pytest.param(lambda: Threshold("x", 1, 1), "'x' needs exactly one of at_most and at_least", id="two limits"),
        pytest.param(
            lambda: Threshold("x", at_most=INF), "The limit of 'x' must be a finite number", id="an infinite limit"
        ),
        pytest.param(lambda: Threshold("x", "0.5"), "The limit of 'x' must be a finite number", id="text as a limit"),
        pytest.param(lambda: Threshold("x", True), "The limit of 'x' must be a finite number", id="yes as a limit"),
        pytest.param(lambda: Threshold("x", 10**400), "The limit of 'x' must be a finite number", id="400 digits"),
        pytest.param(lambda: Every(0), "every must be a whole number of at least 1, or a time", id="every nothing"),
        pytest.param(lambda: Every(2.5), "every must be a whole number of at least 1, or a time", id="half an epoch"),
        pytest.param(lambda: Every(True), "every must be a whole number of at least 1, or a time", id="every yes"),
        pytest.param(lambda: Every(INF, "seconds"), "every must be a finite number", id="every eternity"),
        pytest.param(
            lambda: Every(1e-9, "seconds"), "every must be a whole number", id="every less than a microsecond"
        ),
        pytest.param(lambda: Every(3, "hours"), "every counts epochs, steps or seconds", id="every hour"),
        pytest.param(lambda: All(()), "all needs at least one rule", id="all of nothing"),
        pytest.param(lambda: Any(()), "any needs at least one rule", id="any of nothing"),
        pytest.param(
            lambda: All(Every(1)), "all needs a list of rules. Received: Every", id="all of one, without a list"
        ),
        pytest.param(
            lambda: Any([{"every": 1}]), "any needs rules, which have .* Received: {'every': 1}", id="any of text"
        ),
        pytest.param(lambda: All([Every]), "all needs rules, which have .* Received: <class", id="all of a class"),
        pytest.param(lambda: Not([Every(1)]), r"not needs rules, which have .* Received: \[Every", id="not of a list"),
        pytest.param(
            lambda: Gate(LOWER, -1), "after must be a whole number of epochs, at least 0", id="negative warm-up"
        ),
        pytest.param(lambda: Gate(LOWER, True), "after must be a whole number of epochs", id="a warm-up of yes"),
    ],
)
def test_an_impossible_rule_is_refused_when_it_is_built(rule, words):
    with pytest.raises(RuleError, match=words):
        rule()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(Every(3), "..S..S..", id="every 3: (epoch + 1) is a multiple"),
        pytest.param(Every(1), "SSSSSSSS", id="every 1: always"),
        pytest.param(Every(10, "steps"), ".S.S.S.S", id="every 10 steps, at five steps an epoch"),
        pytest.param(Every(7, "steps"), ".SS.SSS.", id="every 7 steps: whenever a multiple was passed"),
        pytest.param(Every(2, "steps"), "SSSSSSSS", id="several multiples at once are one"),
        pytest.param(Every(100, "steps"), "........", id="every 100 steps: not yet"),
        pytest.param(
            Every(20.0, "seconds"), "..S.S.S.", id="every 20 s since the first record, then since it last held"
        ),
        pytest.param(Every(25.0, "seconds"), "...S..S.", id="every 25 s, at ten seconds an epoch"),
    ],
)
def test_every(rule, expected):
    assert pattern(Gate(rule), epochs(*[0.5] * 8)) == expected


def test_every_time_cannot_be_judged_without_a_time():
    decision = Gate(Every(20.0, "seconds")).decide([Record(1, 0, {"loss": 0.5})])
    assert (decision.save, decision.reason) == (False, "the record has no time")


def test_every_time_waits_while_the_clock_goes_back():
    history = [Record(i + 1, i, {"loss": 0.5}, time=t) for i, t in enumerate([100.0, 50.0, 119.0, 120.0])]
    assert pattern(Gate(Every(20.0, "seconds")), history) == "...S"


@pytest.mark.parametrize("time", [NAN, INF, -INF])
def test_a_time_that_is_no_time_is_refused(time):
    with pytest.raises(ValueError, match="time must be finite seconds since 1970"):
        Record(1, 0, time=time)


def test_every_epochs_is_for_epochs_ends_only():
    history = [Record(5, 0, {"loss": 0.5}, at="step"), Record(9, 0, {"loss": 0.5})]
    assert pattern(Gate(Every(1)), history) == ".S"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(0, "SSSSS", id="no warm-up"),
        pytest.param(3, "...SS", id="after 3 refuses epochs 0, 1 and 2"),
        pytest.param(9, ".....", id="a warm-up longer than training"),
    ],
)
def test_after(after, expected):
    assert pattern(Gate(Threshold("loss", at_most=1.0), after), epochs(*[0.5] * 5)) == expected


def test_the_warm_up_is_told_and_its_values_count_in_averages():
    gate = Gate(Threshold("loss", at_most=1.0, average=MovingAverage(3)), after=2)
    assert pattern(gate, epochs(0.5, 0.5, 0.5)) == "..S"
    assert gate.replay(epochs(0.5))[0].reason == "warm-up: epoch 1 of the first 2"


def test_what_the_warm_up_refused_is_no_best():
    assert pattern(Gate(LOWER, after=2), epochs(0.1, 0.2, 0.5, 0.4)) == "..SS"


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
@pytest.mark.parametrize("rule", [Every(1), Any((Every(1), BELOW_HALF)), Not(Threshold("x", at_most=-1.0))])
def test_a_loss_that_is_not_finite_is_always_refused(rule, loss):
    decision = Gate(rule).decide([Record(1, 0, {"loss": loss, "x": 0.1}, time=1.0)])
    assert (decision.save, decision.reason) == (False, f"loss is {loss}")


def test_a_run_without_a_loss_is_judged_by_the_rules_alone():
    assert pattern(Gate(BELOW_HALF), epochs(0.4, metric="x")) == "S"


@dataclass(frozen=True)
class EvenEpochs:
    """A rule as a user would write it."""

    def metrics(self):
        return frozenset({"x"})

    def start(self, future=None):
        return self

    def judge(self, record):
        return Judgement("holds" if record.epoch % 2 == 0 else "fails", f"epoch {record.epoch}")

    def learn(self, record, saved):
        pass


def test_a_rule_of_ones_own_goes_with_the_others():
    assert pattern(Gate(Any((EvenEpochs(), Every(3)))), epochs(*[0.5] * 6)) == "S.S.SS"


def seen(metrics, *names, at="epoch"):
    watch = MetricWatch(metrics)
    for i, logged in enumerate(names):
        watch.see(Record(i, i, dict.fromkeys(logged, 0.5), at=at))
    return watch


def test_an_unknown_metric_is_named_at_the_end_of_the_first_epoch():
    with pytest.raises(UnknownMetricError) as error:
        seen({"accurracy", "loss"}, ["loss", "accuracy"])
    assert str(error.value) == (
        "The rules name 'accurracy', which training never logged. Logged were: accuracy, loss. "
        "Name one of these in the rules (did you mean accuracy?)."
    )


@pytest.mark.parametrize(
    ("named", "logged", "end"),
    [
        pytest.param(["val_los"], ["loss", "val_loss"], " (did you mean val_loss?).", id="validation that was logged"),
        pytest.param(["val_loss"], ["loss"], ", or give fit validation_data.", id="loss is no misspelt val_loss"),
        pytest.param(["los"], ["loss", "val_loss"], " (did you mean loss?).", id="nor is val_loss a misspelt loss"),
        pytest.param(["f1"], ["loss"], ".", id="nothing near"),
        pytest.param(
            ["los", "val_los"], ["loss", "val_loss"], " (did you mean loss, val_loss?).", id="several of them"
        ),
    ],
)
def test_what_may_have_been_meant_by_a_name_that_is_never_logged(named, logged, end):
    with pytest.raises(UnknownMetricError) as error:
        seen(set(named), logged).end()
    assert str(error.value) == (
        f"The rules name {', '.join(map(repr, named))}, which training never logged. "
        f"Logged were: {', '.join(logged)}. Name one of these in the rules{end}"
    )


def test_an_unknown_validation_metric_is_named_at_the_first_epoch_that_validated():
    seen({"val_los"}, ["loss"], ["loss"])
    with pytest.raises(UnknownMetricError, match=r"name 'val_los', which .* Logged were: loss, val_loss"):
        seen({"val_los"}, ["loss"], ["loss", "val_loss"])


def test_an_unknown_validation_metric_is_named_at_the_end_where_nothing_validated():
    watch = seen({"val_loss"}, ["loss"])
    with pytest.raises(UnknownMetricError, match="'val_loss'"):
        watch.end()


def test_records_between_epochs_are_not_yet_complete():
    watch = seen({"accuracy"}, ["loss"], at="step")
    with pytest.raises(UnknownMetricError, match="'accuracy'"):
        watch.end()


def test_a_metric_that_was_logged_once_is_known():
    seen({"lr"}, ["loss", "lr"], ["loss"]).end()


def test_a_training_that_logged_nothing_names_nothing():
    seen({"val_loss"}).end()
