"""The gate and the filter against an oracle: the same semantics written once more, in plain numpy, without state.

The oracle looks at a whole history for every decision, and shares no code with the rules. Rules and histories are read
from random bytes, as a fuzzer does it: that is several times faster than a strategy for every number, and zeros still
stand for the simplest case, to which hypothesis shrinks.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import UnknownMetricError
from checkpoint_gate.reviewing.replaying import replay
from checkpoint_gate.rule_text.rule_set import parse_rules, rules_from_mapping
from checkpoint_gate.rules import averages
from checkpoint_gate.rules.filtering import Saved
from checkpoint_gate.rules.records import Record, dump_json, numbered_objects, read_lines, record_to_json
from checkpoint_gate.store.ledger import parse_ledger

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
    gain = np.min(before) - value if rule["improves"] == "min" else value - np.max(before)
    return YES if gain > rule.get("min_delta", 0) else NO


def oracle_every(every, history: list[Record]) -> float:
    now = history[-1]
    if not isinstance(every, dict):
        every = {"epochs": every}
    if "epochs" in every:
        return YES if now.at == "epoch" and (now.epoch + 1) % every["epochs"] == 0 else NO
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


def sound(record: Record) -> bool:
    return math.isfinite(record.metrics.get("loss", 0))


def oracle_decisions(save: dict, history: list[Record]) -> tuple[list[bool], list[float]]:
    """What is saved, and what the rules alone say of each record."""
    saved: list[bool] = []
    truths: list[float] = []
    with np.errstate(all="ignore"):
        for at, record in enumerate(history):
            truths.append(oracle_truth(save, history, saved, at, whole=False))
            saved.append(truths[-1] == YES and record.epoch >= save.get("after", 0) and sound(record))
    return saved, truths


def oracle_survivors(section: dict, checkpoints: list[Checkpoint]) -> list[bool]:
    """Which of the checkpoints the filter keeps."""
    judged = "top" not in section or len(section) > 1
    with np.errstate(all="ignore"):
        kept = [
            not c.damaged
            and sound(c.record)
            and (not judged or oracle_truth(section, c.history, [], c.place, whole=True) == YES)
            for c in checkpoints
        ]
    if "top" in section:
        sign = 1 if section["top"]["mode"] == "min" else -1
        values = [sign * c.record.metrics.get(section["top"]["metric"], math.nan) for c in checkpoints]
        values = np.where(kept, values, np.nan)
        order = np.lexsort([[-c.record.step for c in checkpoints], values])
        best = set(order[np.isfinite(values[order])][: section["top"]["n"]])
        kept = [place in best for place in range(len(checkpoints))]
    return kept


@dataclass(frozen=True)
class Checkpoint:
    """Record number `place` of a run was saved; `damaged`: its bytes do not verify."""

    run: str
    history: list[Record]
    place: int
    damaged: bool

    @property
    def record(self) -> Record:
        return self.history[self.place]


class Tape:
    """Choices read from bytes; where these have ended it gives zeros, and the first option is the simplest."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken.ljust(count, b"\0")

    def number(self, below: int) -> int:
        return self.take(1)[0] % below

    def pick(self, *options):
        return options[self.number(len(options))]

    def fraction(self) -> float:
        return (int.from_bytes(self.take(2), "big") - 2**15) / 1000


GRID = [0.0, 0.1, 0.2, 0.3, 0.5, 1.0, -1.0]
WILD = [math.nan, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2e-308, 1e308, 1.7e308, -1.7e308, 0.1 + 0.2]
WILD_LIMITS = [5e-324, -5e-324, 2.2e-308, 1e300, -1e300, 0.1 + 0.2]
METRICS = ["loss", "val_loss", "x"]


def limits_of(rule, metric: str) -> list[float | dict]:
    """The limits against which the metric itself, not an average of it, is held anywhere in a rule."""
    if isinstance(rule, list):
        return [limit for part in rule for limit in limits_of(part, metric)]
    if not isinstance(rule, dict):
        return []
    own = rule.get("metric") == metric and not any(key.endswith("_average") for key in rule)
    found = [rule[key] for key in ("at_most", "at_least") if own and key in rule]
    return found + [limit for part in rule.values() for limit in limits_of(part, metric)]


def near_limits(rule: dict, metric: str, record: Record) -> list[float]:
    """Values with which a threshold stands or falls: a fixed limit itself, and both sides of a moving one."""
    found = [(limit, float(oracle_limit(limit, record))) for limit in limits_of(rule, metric)]
    sides = [[value * (1 - 1e-9), value * (1 + 1e-9)] if isinstance(limit, dict) else [value] for limit, value in found]
    return [value for side in sides for value in side]


KINDS = [*["grid"] * 10, *["limit"] * 4, *["wild"] * 3, "gap", "gap", "same", "same", "near", "bits"]


def read_value(tape: Tape, last: float | None, limits: list[float]) -> float | None:
    """A metric's value, or None where it was not logged; `last` is the one before."""
    kind = tape.pick(*KINDS)
    if kind == "gap" or (last is None and kind in ("near", "same")):
        return None
    if kind == "same":
        return last
    if kind == "near":
        return math.nextafter(last, tape.pick(-math.inf, math.inf))
    if kind == "bits":
        return struct.unpack("<d", tape.take(8))[0]
    return tape.pick(*(WILD if kind == "wild" else limits if kind == "limit" and limits else GRID))


def read_history(lines: list[bytes], rule: dict) -> list[Record]:
    """One record for each of `lines`; steps and epochs never go back, the clock sometimes does."""
    history, step, epoch, time, last = [], 0, 0, 1000.0, dict.fromkeys(METRICS)
    for tape in map(Tape, lines):
        at = tape.pick("epoch", "epoch", "epoch", "step")
        stride = tape.pick(3, 1, 1, 2, 7, 0)  # at an epoch's end there may be a record of the step as well
        step += stride or any((r.step, r.at) == (step, at) for r in history)
        pause = tape.pick(0.0, 1.0, 5.0, 30.0, -7.0, None)
        time += pause or 0.0
        record = Record(step, epoch, {}, at, None if pause is None else time)
        metrics = {name: read_value(tape, last[name], near_limits(rule, name, record)) for name in METRICS}
        logged = {name: value for name, value in metrics.items() if value is not None}
        last |= logged
        history.append(replace(record, metrics=logged))
        epoch += tape.pick(*[1] * 7, 4) if at == "epoch" else 0
    return history


def read_number(tape: Tape) -> float:
    kind = tape.pick(*["grid"] * 6, "fraction", "wild")
    return tape.fraction() if kind == "fraction" else tape.pick(*(GRID if kind == "grid" else WILD_LIMITS))


def read_limit(tape: Tape) -> float | dict:
    if tape.number(3) < 2:
        return read_number(tape)
    shape = tape.pick("linear", "cosine", "exponential", "steps")
    ends = [read_number(tape), read_number(tape)]
    if shape == "exponential":
        sign = tape.pick(1, -1)
        ends = [sign * (abs(tape.fraction()) + 1e-3) for _ in ends]
    over = {tape.pick("epochs", "steps"): 1 + tape.number(tape.pick(4, 9, 20))}
    stairs = {"stairs": 1 + tape.number(6)} if shape == "steps" else {}
    return {"from": ends[0], "to": ends[1], "shape": shape} | over | stairs


def read_leaf(tape: Tape, gate: bool) -> dict:
    kind = tape.pick(*["threshold"] * 5, "every", "every", "improves", "improves", "improves")
    if kind == "every":
        n = 1 + tape.number(4)
        return {"every": tape.pick(n, {"epochs": n}, {"steps": 2 * n + 1}, {"time": tape.pick("1s", "6s", "40s")})}
    metric = {"metric": tape.pick(*METRICS)}
    if kind == "improves" and gate:
        delta = tape.pick({}, {}, {"min_delta": tape.pick(0.1, 0.2, 0.5, 5e-324)})
        return metric | {"improves": tape.pick("min", "max")} | delta
    average = tape.pick({}, {}, {"moving_average": 1 + tape.number(5)}, {"exponential_average": 1 + tape.number(5)})
    if not gate and tape.number(3) == 2:
        average = {"centred_average": tape.pick(1, 3, 5)}
    return metric | average | {tape.pick("at_most", "at_least"): read_limit(tape)}


def read_rule(tape: Tape, gate: bool, depth: int = 0) -> dict:
    if depth == 3 or tape.number(8) < (3, 5, 6)[depth]:
        return read_leaf(tape, gate)
    kind = tape.pick("any", "all", "not")
    if kind == "not":
        return {"not": read_rule(tape, gate, depth + 1)}
    return {kind: [read_rule(tape, gate, depth + 1) for _ in range(1 + tape.number(3))]}


@dataclass(frozen=True)
class Gated:
    """Rules under `save`, a history, and where it was interrupted once: what came after was trained again."""

    save: dict
    history: list[Record]
    interrupted: int


@dataclass(frozen=True)
class Filtered:
    """Rules under `filter`, and the checkpoints of one run or two."""

    section: dict
    runs: dict[str, list[Record]]
    checkpoints: list[Checkpoint]


rule_bytes = st.binary(min_size=48, max_size=48)
history_lines = st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=16)


@st.composite
def gated(draw) -> Gated:
    tape = Tape(draw(rule_bytes))
    after, interrupted = tape.pick(0, 0, 0, 1, 2, 3), tape.number(17)
    save = read_rule(tape, gate=True) | ({"after": after} if after else {})
    history = read_history(draw(history_lines), save)
    return Gated(save, history, min(interrupted, len(history)))


@st.composite
def filtered(draw) -> Filtered:
    tape, lines = Tape(draw(rule_bytes)), draw(history_lines)
    cut = tape.pick(len(lines), tape.number(len(lines) + 1))
    top = {"top": {"metric": tape.pick(*METRICS), "mode": tape.pick("min", "max"), "n": 1 + tape.number(4)}}
    kind = tape.pick("rule", "rule", "both", "top")
    section = ({} if kind == "top" else read_rule(tape, gate=False)) | ({} if kind == "rule" else top)
    runs = {"a": read_history(lines[:cut], section), "b": read_history(lines[cut:], section)}
    states = Tape(draw(st.binary(min_size=16, max_size=16)))
    checkpoints = [
        Checkpoint(run, history, place, state == "damaged")
        for run, history in runs.items()
        for place in range(len(history))
        if (state := states.pick(*["saved"] * 7, "refused", "damaged")) != "refused"
    ]
    return Filtered(section, runs, checkpoints)


def ledger_text(history: list[Record], decisions: list[bool], interrupted: int) -> str:
    """A ledger as training leaves it, interrupted once: what it had gone on to before stands there, superseded."""
    step = history[interrupted - 1].step if interrupted else -1
    lost = [replace(r, metrics=dict.fromkeys(METRICS, -9.0)) for r in history[interrupted:] if r.step > step]
    lines = [record_to_json(r) | {"save": s, "reason": ""} for r, s in zip(history, decisions, strict=True)]
    lines[interrupted:interrupted] = [
        *(record_to_json(r) | {"save": True, "reason": ""} for r in lost),
        {"event": "resumed", "after_step": step, "time": 0.0},
    ]
    return "".join(dump_json(line) + "\n" for line in lines)


def replayed(rules, section: str, text: str) -> list[bool] | None:
    """What a replay of the ledger says; None when it names a metric that no record has."""
    lines, _ = read_lines(numbered_objects(text, "ledger"), "ledger")
    try:
        return [line.holds for line in replay(rules, section, [line for line in lines if line.superseded is None])]
    except UnknownMetricError:
        return None


def names(rule) -> set[str]:
    """The metrics that a rule, or anything within it, reads."""
    if isinstance(rule, dict):
        own = {rule["metric"]} if "metric" in rule else set()
        return own.union(*map(names, rule.values()))
    return set().union(*map(names, rule)) if isinstance(rule, list) else set()


def replayable(rule: dict, history: list[Record]) -> bool:
    logged = {name for record in history for name in record.metrics}
    return not logged or names(rule) <= logged


thorough = settings(
    max_examples=20_000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@thorough
@given(gated())
def test_live_replayed_and_resumed_anywhere_the_gate_decides_as_the_oracle_does(case):
    expected, _ = oracle_decisions(case.save, case.history)
    rules = rules_from_mapping({"save": case.save})
    read_back = parse_rules(rules.to_json())
    assert read_back == rules

    live = read_back.save.start()
    decisions = [live.decide(record) for record in case.history]
    assert [decision.save for decision in decisions] == expected
    assert rules.save.replay(case.history) == decisions

    text = ledger_text(case.history, expected, case.interrupted)
    assert replayed(read_back, "save", text) == (expected if replayable(case.save, case.history) else None)

    entries = parse_ledger(text, "ledger").entries
    for cut in range(len(entries) + 1):
        resumed = rules.save.start((entry.record, entry.decision.save) for entry in entries[:cut])
        assert [resumed.decide(entry.record) for entry in entries[cut:]] == decisions[cut:]


@settings(thorough, max_examples=10_000)
@given(filtered())
def test_the_filter_keeps_as_the_oracle_does(case):
    rules = rules_from_mapping({"filter": case.section})
    read_back = parse_rules(rules.to_json())
    assert read_back == rules

    saved = [Saved(c.run, c.record, "damaged" if c.damaged else None) for c in case.checkpoints]
    verdicts = read_back.filter.judge(case.runs, saved)
    assert [verdict.outcome == "keep" for verdict in verdicts] == oracle_survivors(case.section, case.checkpoints)

    history = case.runs["a"]
    text = ledger_text(history, [True] * len(history), len(history) // 2)
    expected = oracle_survivors(case.section, [Checkpoint("a", history, i, False) for i in range(len(history))])
    assert replayed(read_back, "filter", text) == (expected if replayable(case.section, history) else None)


brief = settings(thorough, max_examples=1000)


def keys(rule) -> set[str]:
    """Every key and every word of a rule, and of what is within it."""
    if isinstance(rule, dict):
        return set(rule).union(*map(keys, rule.values()))
    return set().union(*map(keys, rule)) if isinstance(rule, list) else {rule} if isinstance(rule, str) else set()


def traits(save: dict, history: list[Record]) -> set[str]:
    """What a case exercises, in words."""
    decisions, truths = oracle_decisions(save, history)
    values = [value for record in history for value in record.metrics.values()]
    pairs = list(pairwise(history))
    found = {
        "a yes and a no": len(set(decisions)) == 2,
        "rules that cannot be judged": UNKNOWN in truths,
        "rules that hold, fail and cannot be judged": len(set(truths)) == 3,
        "rules that hold where the loss or the warm-up refuses": any(
            truth == YES and not saved for truth, saved in zip(truths, decisions, strict=True)
        ),
        "a NaN": any(map(math.isnan, values)),
        "an infinity": any(map(math.isinf, values)),
        "a subnormal number": any(0 < abs(value) < 2.3e-308 for value in values),
        "a huge number": any(1e300 < abs(value) < math.inf for value in values),
        "a gap": any(len(record.metrics) < len(METRICS) for record in history),
        "a tie with the record before": any(set(a.metrics.items()) & set(b.metrics.items()) for a, b in pairs),
        "records of epochs and of steps": len({record.at for record in history}) == 2,
        "a step and an epoch's end that coincide": any(a.step == b.step for a, b in pairs),
        "a record without a time": any(record.time is None for record in history),
        "a clock that goes back": any((a.time or 0) > (b.time or math.inf) for a, b in pairs),
        "more than eight records": len(history) > 8,
    }
    return {trait for trait, there in found.items() if there} | {f"the word {word}" for word in keys(save)}


def filter_traits(section: dict, checkpoints: list[Checkpoint]) -> set[str]:
    kept = oracle_survivors(section, checkpoints)
    endless = section | ({"top": section["top"] | {"n": 99}} if "top" in section else {})
    found = {
        "a checkpoint that is kept and one that is not": len(set(kept)) == 2,
        "a top that leaves some out": kept != oracle_survivors(endless, checkpoints),
        "a damaged one that would be kept": kept
        != oracle_survivors(section, [replace(checkpoint, damaged=False) for checkpoint in checkpoints]),
        "two runs": len({checkpoint.run for checkpoint in checkpoints}) == 2,
        "a record whose checkpoint was never saved": len(checkpoints)
        < sum(map(len, {c.run: c.history for c in checkpoints}.values())),
    }
    return {trait for trait, there in found.items() if there} | {f"the word {word}" for word in keys(section)}


def shares_of(cases, traits_of):
    """Trait -> the part of the first thousand `cases` that has it; "distinct": the part that differs."""
    counts, seen = Counter(), []

    @brief
    @given(cases)
    def look(case):
        counts.update(traits_of(case))
        seen.append(repr(case))

    look()
    return {trait: count / len(seen) for trait, count in counts.items()} | {"distinct": len(set(seen)) / len(seen)}


@pytest.fixture(scope="module")
def shares():
    return {
        "gate": shares_of(gated(), lambda case: traits(case.save, case.history)),
        "filter": shares_of(filtered(), lambda case: filter_traits(case.section, case.checkpoints)),
    }


WORDS = [
    *["at_most", "at_least", "moving_average", "exponential_average", "improves", "min_delta", "min", "max"],
    *["every", "epochs", "steps", "time", "all", "any", "not", "after"],
    *["linear", "cosine", "exponential", "stairs"],
]


TRAITS = [
    ("gate", "distinct", 0.99),
    ("gate", "a yes and a no", 0.4),
    ("gate", "rules that cannot be judged", 0.4),
    ("gate", "rules that hold, fail and cannot be judged", 0.15),
    ("gate", "rules that hold where the loss or the warm-up refuses", 0.15),
    ("gate", "a NaN", 0.2),
    ("gate", "an infinity", 0.2),
    ("gate", "a subnormal number", 0.2),
    ("gate", "a huge number", 0.2),
    ("gate", "a gap", 0.5),
    ("gate", "a tie with the record before", 0.5),
    ("gate", "records of epochs and of steps", 0.4),
    ("gate", "a step and an epoch's end that coincide", 0.1),
    ("gate", "a record without a time", 0.3),
    ("gate", "a clock that goes back", 0.1),
    ("gate", "more than eight records", 0.15),
    *(("gate", f"the word {word}", 0.01) for word in WORDS),
    ("filter", "distinct", 0.9),
    ("filter", "a checkpoint that is kept and one that is not", 0.3),
    ("filter", "a top that leaves some out", 0.1),
    ("filter", "a damaged one that would be kept", 0.1),
    ("filter", "two runs", 0.2),
    ("filter", "a record whose checkpoint was never saved", 0.3),
    ("filter", "the word centred_average", 0.1),
]


@pytest.mark.parametrize(
    ("section", "trait", "least"),
    [pytest.param(*each, id=f"{each[0]}: {each[1]} in at least {each[2]:.0%} of the cases") for each in TRAITS],
)
def test_the_cases_are_not_trivial(shares, section, trait, least):
    assert shares[section].get(trait, 0) >= least


def bits(value: float) -> bytes:
    return np.float64(value).tobytes()


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300, 5e-324], ids=lambda scale: f"values about {scale:g}")
def test_the_mean_is_numpys_to_the_last_bit(scale):
    random = np.random.default_rng(7)
    for length in range(1, 701):
        window = random.normal(size=length) * scale * 10.0 ** random.integers(-3, 4, size=length)
        assert bits(averages.mean(window.tolist())) == bits(np.mean(window)), length


@settings(thorough, max_examples=400)
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
