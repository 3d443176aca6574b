"""The grammar, read: each function turns one part of a rule text into frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any as Anything
from typing import cast

from checkpoint_gate.quantities import parse_duration, parse_size
from checkpoint_gate.rule_text.nodes import Node
from checkpoint_gate.rules.averages import Average, CentredAverage, ExponentialAverage, MovingAverage
from checkpoint_gate.rules.conditions import All, Any, Every, Improves, Not, Rule, Threshold
from checkpoint_gate.rules.filtering import Filter, PrunePolicy
from checkpoint_gate.rules.gate import Gate
from checkpoint_gate.rules.retention import Best, Keep
from checkpoint_gate.rules.schedules import SHAPES, ChampionLimit, Limit, Schedule
from checkpoint_gate.rules.user_rules import PLAIN, as_rule, find, is_plain, make

AVERAGES: dict[str, type[MovingAverage] | type[ExponentialAverage] | type[CentredAverage]] = {
    "moving_average": MovingAverage,
    "exponential_average": ExponentialAverage,
    "centred_average": CentredAverage,
}
_KINDS = ("all", "any", "not", "metric", "every", "rule")
_METRIC_KEYS = {"metric", "at_most", "at_least", "improves", "min_delta", *AVERAGES}


def read_gate(node: Node) -> Gate:
    rest, extra = _split(node, {"after"})
    rule = _read_rule(rest)
    return cast(Gate, node.build(Gate, rule, extra["after"].whole(0) if "after" in extra else 0))


def read_filter(node: Node) -> Filter:
    rest, extra = _split(node, {"top"})
    rule = _read_rule(rest) if rest.value or "top" not in extra else None
    return cast(Filter, node.build(Filter, rule, _read_best(extra["top"]) if "top" in extra else None))


def _split(node: Node, keys: set[str]) -> tuple[Node, dict[str, Node]]:
    if not isinstance(node.value, Mapping):
        raise node.error(f"must be a rule: a mapping with one of {', '.join(_KINDS)}")
    rest = {key: value for key, value in node.value.items() if key not in keys}
    return Node(rest, node.path, node.located), {key: node.child(key) for key in keys if key in node.value}


def _read_rule(node: Node) -> Rule:
    if not isinstance(node.value, Mapping):
        raise node.error(f"must be a rule: a mapping with one of {', '.join(_KINDS)}")
    kinds = [kind for kind in _KINDS if kind in node.value]
    if not kinds and (strange := [key for key in node.value if key not in _METRIC_KEYS]):
        raise node.unknown(strange[0], _KINDS)
    if len(kinds) != 1:
        raise node.error(f"must have exactly one of {', '.join(_KINDS)}")
    if kinds[0] in ("all", "any"):
        parts = node.mapping({kinds[0]})[kinds[0]]
        rules = tuple(_read_rule(item) for item in parts.items())
        return All(rules) if kinds[0] == "all" else Any(rules)
    if kinds[0] == "not":
        return Not(_read_rule(node.mapping({"not"})["not"]))
    read = {"every": _read_every, "metric": _read_metric, "rule": _read_own}
    return read[kinds[0]](node)


def _read_own(node: Node) -> Rule:
    parts = node.mapping({"rule", "with"}, {"rule"})
    values = _read_values(parts["with"]) if "with" in parts else {}
    maker = parts["rule"].read(find, parts["rule"].value)
    made = parts["with" if values else "rule"].read(make, maker, values)
    return cast(Rule, parts["rule"].read(as_rule, made))


def _read_values(node: Node) -> Mapping[str, Anything]:
    if not isinstance(node.value, Mapping) or not all(isinstance(name, str) for name in node.value):
        raise node.error("must be a mapping of names to values")
    for name, value in node.value.items():
        if not is_plain(value):
            raise node.child(name).error(f"must be {PLAIN}")
    return node.value


def _read_every(node: Node) -> Rule:
    every = node.mapping({"every"})["every"]
    if not isinstance(every.value, Mapping):
        return Every(every.whole())
    units = every.mapping({"epochs", "steps", "time"})
    if len(units) != 1:
        raise every.error("must have exactly one of epochs, steps, time")
    unit, period = next(iter(units.items()))
    if unit == "time":
        return cast(Rule, every.build(Every, period.measured(parse_duration), "seconds"))
    return cast(Rule, every.build(Every, period.whole(), unit))


def _read_metric(node: Node) -> Rule:
    parts = node.mapping(_METRIC_KEYS, {"metric"})
    tests = [key for key in ("at_most", "at_least", "improves") if key in parts]
    if len(tests) != 1:
        raise node.error("must have exactly one of at_most, at_least, improves")
    averages = [key for key in AVERAGES if key in parts]
    if "improves" in parts and "filter" in node.path:
        raise parts["improves"].error("must not stand in filter, since it compares with what was saved: use top")
    if "centred_average" in parts and "save" in node.path:
        raise parts["centred_average"].error("must not stand in save, since it needs hindsight: move it to filter")
    metric = parts["metric"].text()
    if tests[0] == "improves":
        if averages:
            raise node.error("must not average: averages gate against limits, the raw metric ranks")
        delta = parts["min_delta"].number() if "min_delta" in parts else 0.0
        return cast(Rule, node.build(Improves, metric, parts["improves"].choice("min", "max"), delta))
    if "min_delta" in parts:
        raise parts["min_delta"].error("goes with improves only")
    if len(averages) > 1:
        raise node.error(f"must have at most one of {', '.join(AVERAGES)}")
    average: Average | None = None
    if averages:
        average = parts[averages[0]].build(AVERAGES[averages[0]], parts[averages[0]].whole())
    return cast(Rule, node.build(Threshold, metric, **{tests[0]: _read_limit(parts[tests[0]])}, average=average))


def _read_limit(node: Node) -> Limit:
    if not isinstance(node.value, Mapping):
        return node.number()
    if "champion" in node.value:
        return _read_champion(node)
    parts = node.mapping({"from", "to", "epochs", "steps", "shape", "stairs"}, {"from", "to"})
    units = [unit for unit in ("epochs", "steps") if unit in parts]
    if len(units) != 1:
        raise node.error("must have exactly one of epochs, steps")
    schedule = node.build(
        Schedule,
        start=parts["from"].number(),
        end=parts["to"].number(),
        over=parts[units[0]].whole(),
        unit=units[0],
        shape=parts["shape"].choice(*SHAPES) if "shape" in parts else "linear",
        stairs=parts["stairs"].whole() if "stairs" in parts else None,
    )
    return cast(Schedule, schedule)


def _read_champion(node: Node) -> ChampionLimit:
    parts = node.mapping({"champion", "times", "plus", "is"})
    numbers = {key: parts[key].number() for key in ("times", "plus") if key in parts}
    metric = parts["champion"].text()
    if "is" not in parts:
        return cast(ChampionLimit, node.build(ChampionLimit, metric, **numbers))
    number = parts["is"].number() if parts["is"].value is not None else None
    return cast(ChampionLimit, node.build(ChampionLimit, metric, **numbers, champion=number))


def _read_best(node: Node) -> Best:
    parts = node.mapping({"metric", "mode", "n"}, {"metric", "mode", "n"})
    best = node.build(Best, parts["metric"].text(), parts["mode"].choice("min", "max"), parts["n"].whole())
    return cast(Best, best)


def read_keep(node: Node) -> Keep:
    parts = node.mapping({"best", "last", "milestone", "within", "budget"})
    keep = node.build(
        Keep,
        best=_read_best(parts["best"]) if "best" in parts else None,
        last=parts["last"].whole() if "last" in parts else None,
        milestone=parts["milestone"].whole() if "milestone" in parts else None,
        within=parts["within"].measured(parse_duration) if "within" in parts else None,
        budget=parts["budget"].measured(parse_size) if "budget" in parts else None,
    )
    return cast(Keep, keep)


def read_prune(node: Node) -> PrunePolicy:
    parts = node.mapping({"grace", "keep_last", "max_fraction", "within", "budget"})
    values: dict[str, Anything] = {}
    if "grace" in parts:
        values["grace"] = parts["grace"].measured(parse_duration)
    if "keep_last" in parts:
        values["keep_last"] = parts["keep_last"].whole()
    if "max_fraction" in parts:
        parts["max_fraction"].number()
        values["max_fraction"] = parts["max_fraction"].value  # an error shows it as it is written
    if "within" in parts:
        values["within"] = parts["within"].measured(parse_duration)
    if "budget" in parts:
        values["budget"] = parts["budget"].measured(parse_size)
    return cast(PrunePolicy, node.build(PrunePolicy, **values))
