"""The grammar, written: plain data that reads back to equal values."""

from __future__ import annotations

from typing import Any as Anything

from checkpoint_gate.errors import RuleError
from checkpoint_gate.quantities import exact_size, format_duration
from checkpoint_gate.rule_text.reading import AVERAGES
from checkpoint_gate.rules.averages import Average, ExponentialAverage
from checkpoint_gate.rules.conditions import All, Any, Every, Improves, Not, Rule, Threshold
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.retention import Best, Keep
from checkpoint_gate.rules.schedules import ChampionLimit, Limit, Schedule
from checkpoint_gate.rules.user_rules import write_own


def write_rule(rule: Rule) -> dict[str, Anything]:
    # Exactly these classes: one derived from them may judge otherwise, so it is a rule of one's own.
    if type(rule) is All:
        return {"all": [write_rule(part) for part in rule.rules]}
    if type(rule) is Any:
        return {"any": [write_rule(part) for part in rule.rules]}
    if type(rule) is Not:
        return {"not": write_rule(rule.rule)}
    if type(rule) is Every:
        if rule.unit == "seconds":
            return {"every": {"time": format_duration(rule.period)}}
        return {"every": rule.period if rule.unit == "epochs" else {rule.unit: rule.period}}
    if type(rule) is Improves:
        delta = {"min_delta": float(rule.min_delta)} if rule.min_delta else {}
        return {"metric": rule.metric, "improves": rule.mode} | delta
    if type(rule) is Threshold:
        key = "at_most" if rule.at_most is not None else "at_least"
        return {"metric": rule.metric} | _write_average(rule.average) | {key: _write_limit(rule.limit)}
    return write_own(rule)


def _write_average(average: Average | None) -> dict[str, Anything]:
    if average is None:
        return {}
    for key, kind in AVERAGES.items():
        if type(average) is kind:
            return {key: average.span if isinstance(average, ExponentialAverage) else average.window}
    raise RuleError(f"An average of one's own has no text: write a rule of one's own instead. Received: {average!r}.")


def _write_limit(limit: Limit) -> Anything:
    if type(limit) is ChampionLimit:
        return _write_champion(limit)
    if not isinstance(limit, (Schedule, ChampionLimit)):
        return float(limit) + 0.0  # equal limits give equal text: 1 and 1.0, -0.0 and 0.0
    if type(limit) is not Schedule:
        raise RuleError(f"A schedule of one's own has no text: write a rule of one's own instead. Received: {limit!r}.")
    text = {
        "from": float(limit.start) + 0.0,
        "to": float(limit.end) + 0.0,
        limit.unit: limit.over,
        "shape": limit.shape,
    }
    return text | ({"stairs": limit.stairs} if limit.stairs is not None else {})


def _write_champion(limit: ChampionLimit) -> dict[str, Anything]:
    text = {"champion": limit.metric, "times": float(limit.times) + 0.0, "plus": float(limit.plus) + 0.0}
    if limit.champion == "unresolved":
        return text
    return text | {"is": limit.champion if limit.champion is None else float(limit.champion) + 0.0}


def write_best(best: Best) -> dict[str, Anything]:
    return {"metric": best.metric, "mode": best.mode, "n": best.n}


def write_keep(keep: Keep) -> dict[str, Anything]:
    text: dict[str, Anything] = {"best": write_best(keep.best)} if keep.best else {}
    text |= {name: value for name in ("last", "milestone") if (value := getattr(keep, name)) is not None}
    return text | _write_bounds(keep)


def write_prune(prune: PrunePolicy) -> dict[str, Anything]:
    text = {"grace": format_duration(prune.grace), "keep_last": prune.keep_last}
    return text | {"max_fraction": float(prune.max_fraction)} | _write_bounds(prune)


def _write_bounds(part: Keep | PrunePolicy) -> dict[str, Anything]:
    text = {"within": format_duration(part.within)} if part.within is not None else {}
    return text | ({"budget": exact_size(part.budget)} if part.budget is not None else {})
