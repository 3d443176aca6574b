"""The gate and the filter against an oracle: the same semantics written once more, in plain numpy, without state.

The oracle looks at a whole history for every decision, and shares no code with the rules.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_gate import averages
from checkpoint_gate.filtering import Saved
from checkpoint_gate.records import Record
from checkpoint_gate.rule_text import rules_from_mapping

YES, UNKNOWN, NO = 1.0, 0.5, 0.0  # so that all is the minimum, any the maximum and not the rest to one


def oracle_truth(rule: dict, history: list[Record], saved: list[bool], at: int, whole: bool) -> float:
    """What `rule` says of record number `at`; `saved` are the decisions before it; `whole`: the future is known."""
    now = history[at]
    if "all" in rule:
        return min(oracle_truth(part, history, saved, at, whole) for part in rule["all"])
    if "any" in rule:
        return max(oracle_truth(part, history, saved, at, whole) for part in rule["any"])
    if "not" in rule:
        return YES - oracle_truth(rule["not"], history, saved, at, whole)
    if "every" in rule:
        return oracle_every(rule["every"], history[: at + 1])
    if rule["metric"] not in now.metrics:
        return UNKNOWN
    if "improves" in rule:
        return oracle_improves(rule, history, saved, at)
    value = oracle_value(rule, history if whole else history[: at + 1], at)
    if value is None or not np.isfinite(value):
        return UNKNOWN
    if "at_most" in rule:
        return YES if value <= oracle_limit(rule["at_most"], now) else NO
    return YES if value >= oracle_limit(rule["at_least"], now) else NO


def oracle_value(rule: dict, history: list[Record], at: int) -> float | None:
    kind = [r for r in history if r.at == history[at].at and rule["metric"] in r.metrics]
    values = np.array([r.metrics[rule["metric"]] for r in kind])
    place = next(i for i, r in enumerate(kind) if r is history[at])
    with np.errstate(all="ignore"):
        if "moving_average" in rule:
            window = values[max(0, place + 1 - rule["moving_average"]) : place + 1]
            return np.mean(window) if len(window) == rule["moving_average"] else None
        if "centred_average" in rule:
            half = rule["centred_average"] // 2
            window = values[max(0, place - half) : place + half + 1]
            return np.mean(window) if len(window) >= half + 1 else None
        if "exponential_average" in rule:
            return oracle_exponential(values[: place + 1], rule["exponential_average"])
    return values[place]


def oracle_exponential(values: np.ndarray, span: int) -> float | None:
    broken = np.flatnonzero(~np.isfinite(values))
    values = values[broken[-1] + 1 :] if len(broken) else values
    while len(values) >= span and not np.isfinite(np.mean(values[:span])):  # a seed that overflows is not finite
        values = values[span:]
    if len(values) < span:
        return None
    average = np.mean(values[:span])
    alpha = 2 / (span + 1)
    for value in values[span:]:
        average = average if value == average else alpha * value + (1 - alpha) * average
    return average


def oracle_limit(limit, record: Record) -> float:
    if not isinstance(limit, dict):
        return limit
    unit = "epochs" if "epochs" in limit else "steps"
    done = record.epoch if unit == "epochs" else record.step
    way = np.clip(done / limit[unit], 0, 1)
    if way in (0, 1):
        return limit["to"] if way else limit["from"]
    shape = limit.get("shape", "linear")
    if shape == "exponential":
        return limit["from"] * (limit["to"] / limit["from"]) ** float(way)
    if shape == "cosine":
        way = (1 - math.cos(math.pi * way)) / 2
    if shape == "steps":
        way = (done * limit["stairs"] // limit[unit]) / limit["stairs"]
    return limit["from"] + (limit["to"] - limit["from"]) * way


def oracle_improves(rule: dict, history: list[Record], saved: list[bool], at: int) -> float:
    value = history[at].metrics[rule["metric"]]
    if not np.isfinite(value):
        return UNKNOWN
    before = np.array([r.metrics.get(rule["metric"], np.nan) for r, s in zip(history, saved, strict=False) if s])
    before = before[np.isfinite(before)]
    if not len(before):
        return YES
    with np.errstate(all="ignore"):
        gain = np.min(before) - value if rule["improves"] == "min" else value - np.max(before)
    return YES if gain > rule.get("min_delta", 0) else NO


def oracle_every(every, history: list[Record]) -> float:
    now = history[-1]
    if not isinstance(every, dict):
        return YES if now.at == "epoch" and (now.epoch + 1) % every == 0 else NO
    if "steps" in every:
        before = max((r.step for r in history[:-1]), default=0)
        return YES if now.step // every["steps"] > before // every["steps"] else NO
    period, since, due = float(every["time"].removesuffix("s")), None, NO
    for record in history:
        due = UNKNOWN
        if record.time is not None:
            since = record.time if since is None else since
            due = YES if record.time - since >= period else NO
            since = record.time if due == YES else since
    return due


def oracle_decisions(save: dict, history: list[Record]) -> list[bool]:
    rule = {key: value for key, value in save.items() if key != "after"}
    saved: list[bool] = []
    for at, record in enumerate(history):
        truth = oracle_truth(rule, history, saved, at, whole=False)
        saved.append(
            truth == YES and record.epoch >= save.get("after", 0) and math.isfinite(record.metrics.get("loss", 0))
        )
    return saved


GRID = [0.0, 0.1, 0.2, 0.3, 0.5, 1.0, -1.0]
WILD = [math.nan, math.inf, -math.inf, 5e-324, -5e-324, 2.2e-308, 1e308, 1.7e308, -1.7e308, 0.1 + 0.2]
METRICS = ["loss", "val_loss", "x"]
values = st.sampled_from(GRID) | st.sampled_from(WILD) | st.floats(width=64)
limits = st.sampled_from(GRID) | st.floats(-1e300, 1e300)


@st.composite
def histories(draw):
    lines = draw(
        st.lists(
            st.tuples(
                st.lists(st.none() | values, min_size=3, max_size=3),
                st.sampled_from(["epoch", "epoch", "epoch", "step"]),
                st.sampled_from([0.0, 1.0, 5.0, 30.0, -7.0, None]),
            ),
            min_size=1,
            max_size=12,
        )
    )
    history, epoch, time = [], 0, 1000.0
    for number, (metrics, at, pause) in enumerate(lines):
        time += pause or 0.0
        logged = {name: value for name, value in zip(METRICS, metrics, strict=True) if value is not None}
        history.append(Record(3 * (number + 1), epoch, logged, at, None if pause is None else time))
        epoch += at == "epoch"
    return history


@st.composite
def schedules(draw):
    shape = draw(st.sampled_from(["linear", "cosine", "exponential", "steps"]))
    ends = st.floats(1e-3, 1e3) if shape == "exponential" else limits
    text = {"from": draw(ends), "to": draw(ends), draw(st.sampled_from(["epochs", "steps"])): draw(st.integers(1, 20))}
    return text | {"shape": shape} | ({"stairs": draw(st.integers(1, 6))} if shape == "steps" else {})


def leaves(gate: bool):
    windows = {"moving_average": st.integers(1, 5), "exponential_average": st.integers(1, 5)}
    if not gate:
        windows["centred_average"] = st.sampled_from([1, 3, 5])
    average = st.just({}) | st.sampled_from(sorted(windows)).flatmap(
        lambda key: windows[key].map(lambda window: {key: window})
    )
    bound = st.tuples(st.sampled_from(["at_most", "at_least"]), limits | schedules()).map(lambda pair: dict([pair]))
    metric = st.sampled_from(METRICS).map(lambda name: {"metric": name})
    threshold = st.builds(lambda *parts: parts[0] | parts[1] | parts[2], metric, average, bound)
    every = st.integers(1, 4) | st.builds(lambda n: {"steps": n}, st.integers(1, 9))
    every |= st.sampled_from(["1s", "6s", "40s"]).map(lambda text: {"time": text})
    rules = threshold | every.map(lambda period: {"every": period})
    if gate:
        delta = st.sampled_from([{}, {"min_delta": 0.1}, {"min_delta": 0.5}])
        direction = st.sampled_from(["min", "max"]).map(lambda mode: {"improves": mode})
        improves = st.builds(lambda *parts: parts[0] | parts[1] | parts[2], metric, direction, delta)
        # What another branch saves although it does not improve is where a wrong "best" would come from.
        rules |= improves | improves.map(lambda rule: {"any": [rule, {"every": 2}]})
    return rules


def rules(gate: bool):
    several = ["all", "any"]
    return st.recursive(
        leaves(gate),
        lambda inner: (
            st.builds(
                lambda key, parts: {key: parts}, st.sampled_from(several), st.lists(inner, min_size=1, max_size=3)
            )
            | inner.map(lambda rule: {"not": rule})
        ),
        max_leaves=5,
    )


thorough = settings(
    max_examples=2500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
brief = settings(thorough, max_examples=600)


@thorough
@given(rules(gate=True), st.sampled_from([0, 0, 0, 2]), histories())
def test_the_gate_decides_as_the_oracle_does(rule, after, history):
    save = rule | {"after": after}
    gate = rules_from_mapping({"save": save}).save
    assert [decision.save for decision in gate.replay(history)] == oracle_decisions(save, history)


@brief
@given(rules(gate=False), histories())
def test_the_filter_keeps_as_the_oracle_does(rule, history):
    verdicts = rules_from_mapping({"filter": rule}).filter.judge({"run": history}, [Saved("run", r) for r in history])
    truths = [oracle_truth(rule, history, [], at, whole=True) for at in range(len(history))]
    sound = [math.isfinite(record.metrics.get("loss", 0)) for record in history]
    expected = [truth == YES and fine for truth, fine in zip(truths, sound, strict=True)]
    assert [verdict.outcome == "keep" for verdict in verdicts] == expected


@brief
@given(rules(gate=True), histories())
def test_resuming_anywhere_decides_as_the_first_time(rule, history):
    gate = rules_from_mapping({"save": rule}).save
    whole = gate.replay(history)
    for cut in range(len(history) + 1):
        running = gate.start([(r, d.save) for r, d in zip(history[:cut], whole, strict=False)])
        assert [running.decide(record) for record in history[cut:]] == whole[cut:]
        assert cut == 0 or gate.decide(history[:cut]) == whole[cut - 1]


def bits(value: float) -> bytes:
    return np.float64(value).tobytes()


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300, 5e-324], ids=lambda scale: f"values about {scale:g}")
def test_the_mean_is_numpys_to_the_last_bit(scale):
    random = np.random.default_rng(7)
    for length in range(1, 701):
        window = random.normal(size=length) * scale * 10.0 ** random.integers(-3, 4, size=length)
        assert bits(averages.mean(window.tolist())) == bits(np.mean(window)), length


@settings(brief, max_examples=400)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_the_mean_of_any_numbers_is_numpys(window):
    with np.errstate(all="ignore"):
        expected = np.mean(np.array(window))
    mean = averages.mean(window)
    assert mean == expected or (math.isnan(mean) and math.isnan(expected))


@pytest.mark.parametrize("window", [2, 3, 5, 7, 8, 9, 17, 100, 129, 300])
def test_a_mean_on_the_limit_is_decided_as_numpy_says(window):
    random = np.random.default_rng(window)
    for _ in range(20):
        series = random.uniform(0.1, 0.9, window)
        mean = float(np.mean(series))
        history = [Record(i, i, {"loss": float(value)}) for i, value in enumerate(series)]
        for key, way in (("at_most", -math.inf), ("at_least", math.inf)):
            for limit, holds in ((mean, True), (math.nextafter(mean, way), False)):
                gate = rules_from_mapping({"save": {"metric": "loss", "moving_average": window, key: limit}}).save
                assert gate.decide(history).save is holds
