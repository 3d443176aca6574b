"""Rules as text: one grammar, read from YAML or JSON, written back without loss.

save:   {all: [RULE, ...], after: 3}        or any: / not: / a single RULE
keep:   {best: {metric: val_loss, mode: min, n: 5}, last: 1, milestone: 50, within: 2d, budget: 10GiB}
filter: {all: [RULE, ...], top: {metric: val_loss, mode: min, n: 10}}
prune:  {grace: 24h, keep_last: 1, max_fraction: 0.95}

RULE:   {metric: NAME, AVERAGE, at_most: LIMIT}      AVERAGE: moving_average: n, exponential_average: n,
        {metric: NAME, AVERAGE, at_least: LIMIT}              centred_average: n (filter only), or nothing
        {metric: NAME, improves: min, min_delta: x}  (save only)
        {every: 10}  {every: {steps: 500}}  {every: {time: 30m}}
        {all: [...]}  {any: [...]}  {not: RULE}
LIMIT:  0.5  or  {from: 1.0, to: 0.45, epochs: 10, shape: linear}    (steps: instead of epochs:)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any as Anything
from typing import cast

from checkpoint_gate.averages import Average, CentredAverage, ExponentialAverage, MovingAverage
from checkpoint_gate.errors import RuleError
from checkpoint_gate.filtering import Filter, PrunePolicy
from checkpoint_gate.gate import Gate
from checkpoint_gate.located_yaml import Located, YamlError, read_located
from checkpoint_gate.quantities import exact_size, format_duration, parse_duration, parse_size
from checkpoint_gate.records import dump_json
from checkpoint_gate.retention import Best, Keep
from checkpoint_gate.rules import All, Any, Every, Improves, Not, Rule, Threshold
from checkpoint_gate.schedules import SHAPES, Limit, Schedule

_AVERAGES: dict[str, type[MovingAverage] | type[ExponentialAverage] | type[CentredAverage]] = {
    "moving_average": MovingAverage,
    "exponential_average": ExponentialAverage,
    "centred_average": CentredAverage,
}
_KINDS = ("all", "any", "not", "metric", "every")
_MOST = 10**15  # of epochs, steps or checkpoints; exact as a double


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The four sections; those that the text does not have are None."""

    save: Gate | None = None
    keep: Keep | None = None
    filter: Filter | None = None
    prune: PrunePolicy | None = None

    def cut(self, *sections: str) -> RuleSet:
        """Only the named sections: each reader gets what concerns it, since the text is part of cache keys."""
        return RuleSet(**{name: getattr(self, name) for name in sections})

    def to_json(self) -> str:
        """Canonical JSON text; equal rules give equal text."""
        return dump_json(write_rules(self))

    def digest(self) -> str:
        """sha256 of the canonical text, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def load_rules(path: str | Path) -> RuleSet:
    """Reads a rules file.

    Raises:
      RuleError: the file can't be read, or its rules are wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"The rules file {path} cannot be read: {error}.") from error
    return parse_rules(text, str(path))


def parse_rules(text: str, name: str = "rules") -> RuleSet:
    """Reads YAML or JSON text; `name` stands in errors.

    Raises:
      RuleError: names the line and the key.
    """
    try:
        located = read_located(text, name)
    except YamlError as error:
        raise RuleError(str(error)) from error
    return read_rules(located)


def rules_from_mapping(value: Mapping[str, Anything], name: str = "rules") -> RuleSet:
    """Reads rules from plain Python data; the same errors, without lines."""
    return read_rules(Located(data=value, lines={}, name=name))


def read_rules(located: Located, path: tuple[str | int, ...] = ()) -> RuleSet:
    """Reads the rules that stand at `path` of a text already parsed."""
    node = _Node(located.data, (), located)
    for key in path:
        node = node.child(key)
    parts = node.mapping({"save", "keep", "filter", "prune"})
    if not parts:
        raise node.error("needs at least one of save, keep, filter, prune")
    return RuleSet(
        save=_read_gate(parts["save"]) if "save" in parts else None,
        keep=_read_keep(parts["keep"]) if "keep" in parts else None,
        filter=_read_filter(parts["filter"]) if "filter" in parts else None,
        prune=_read_prune(parts["prune"]) if "prune" in parts else None,
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """A value of the text that knows where it stands."""

    value: Anything
    path: tuple[str | int, ...]
    located: Located

    def error(self, must: str) -> RuleError:
        where = self.located.where(self.path)
        key = ".".join(map(str, self.path)) or "the rules"
        return RuleError(f"{where}: {key} {must}. Received: {_short(self.value)}.")

    def child(self, key: str | int) -> _Node:
        return _Node(self.value[key], (*self.path, key), self.located)

    def mapping(self, allowed: set[str], required: set[str] | None = None) -> dict[str, _Node]:
        if not isinstance(self.value, Mapping):
            raise self.error(f"must be a mapping with keys from {', '.join(sorted(allowed))}")
        for key in self.value:
            if key not in allowed:
                raise self.child(key).error(f"is not a known key here; known are {', '.join(sorted(allowed))}")
        for key in sorted((required or set()) - set(self.value)):
            raise self.error(f"needs the key {key!r}")
        return {key: self.child(key) for key in self.value}

    def items(self) -> list[_Node]:
        if not isinstance(self.value, (list, tuple)) or not self.value:
            raise self.error("must be a list of at least one rule")
        return [_Node(item, (*self.path, index), self.located) for index, item in enumerate(self.value)]

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.error("must be a finite number")
        try:
            value = float(self.value)
        except OverflowError:  # a whole number beyond the largest double
            value = math.inf
        if not math.isfinite(value):
            raise self.error("must be a finite number")
        return value

    def whole(self, least: int = 1) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < least:
            raise self.error(f"must be a whole number of at least {least}")
        if self.value > _MOST:
            raise self.error(f"must be at most {_MOST}")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error("must be a name")
        return self.value

    def choice(self, *allowed: str) -> Anything:
        if self.value not in allowed:
            raise self.error(f"must be one of {', '.join(allowed)}")
        return self.value

    def measured(self, parse: Anything) -> Anything:
        if not isinstance(self.value, str):
            raise self.error('must be written with its unit, such as "24h" or "10GiB"')
        try:
            return parse(self.value)
        except ValueError as error:
            raise self.error(str(error).split(". Received")[0]) from error

    def build(self, make: Anything, *args: Anything, **kwargs: Anything) -> Anything:
        """Builds a frozen value; what it refuses is told with the line."""
        try:
            return make(*args, **kwargs)
        except RuleError as error:
            raise RuleError(f"{self.located.where(self.path)}: {error}") from error


def _short(value: Anything) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _read_gate(node: _Node) -> Gate:
    rest, extra = _split(node, {"after"})
    rule = _read_rule(rest)
    return cast(Gate, node.build(Gate, rule, extra["after"].whole(0) if "after" in extra else 0))


def _read_filter(node: _Node) -> Filter:
    rest, extra = _split(node, {"top"})
    rule = _read_rule(rest) if rest.value or "top" not in extra else None
    return cast(Filter, node.build(Filter, rule, _read_best(extra["top"]) if "top" in extra else None))


def _split(node: _Node, keys: set[str]) -> tuple[_Node, dict[str, _Node]]:
    if not isinstance(node.value, Mapping):
        raise node.error(f"must be a rule: a mapping with one of {', '.join(_KINDS)}")
    rest = {key: value for key, value in node.value.items() if key not in keys}
    return _Node(rest, node.path, node.located), {key: node.child(key) for key in keys if key in node.value}


def _read_rule(node: _Node) -> Rule:
    if not isinstance(node.value, Mapping):
        raise node.error(f"must be a rule: a mapping with one of {', '.join(_KINDS)}")
    kinds = [kind for kind in _KINDS if kind in node.value]
    if len(kinds) != 1:
        raise node.error(f"must have exactly one of {', '.join(_KINDS)}")
    if kinds[0] in ("all", "any"):
        parts = node.mapping({kinds[0]})[kinds[0]]
        rules = tuple(_read_rule(item) for item in parts.items())
        return All(rules) if kinds[0] == "all" else Any(rules)
    if kinds[0] == "not":
        return Not(_read_rule(node.mapping({"not"})["not"]))
    return _read_every(node) if kinds[0] == "every" else _read_metric(node)


def _read_every(node: _Node) -> Rule:
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


def _read_metric(node: _Node) -> Rule:
    parts = node.mapping({"metric", "at_most", "at_least", "improves", "min_delta", *_AVERAGES}, {"metric"})
    tests = [key for key in ("at_most", "at_least", "improves") if key in parts]
    if len(tests) != 1:
        raise node.error("must have exactly one of at_most, at_least, improves")
    averages = [key for key in _AVERAGES if key in parts]
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
        raise node.error(f"must have at most one of {', '.join(_AVERAGES)}")
    average: Average | None = None
    if averages:
        average = parts[averages[0]].build(_AVERAGES[averages[0]], parts[averages[0]].whole())
    return cast(Rule, node.build(Threshold, metric, **{tests[0]: _read_limit(parts[tests[0]])}, average=average))


def _read_limit(node: _Node) -> Limit:
    if not isinstance(node.value, Mapping):
        return node.number()
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


def _read_best(node: _Node) -> Best:
    parts = node.mapping({"metric", "mode", "n"}, {"metric", "mode", "n"})
    best = node.build(Best, parts["metric"].text(), parts["mode"].choice("min", "max"), parts["n"].whole())
    return cast(Best, best)


def _read_keep(node: _Node) -> Keep:
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


def _read_prune(node: _Node) -> PrunePolicy:
    parts = node.mapping({"grace", "keep_last", "max_fraction"})
    values: dict[str, Anything] = {}
    if "grace" in parts:
        values["grace"] = parts["grace"].measured(parse_duration)
    if "keep_last" in parts:
        values["keep_last"] = parts["keep_last"].whole()
    if "max_fraction" in parts:
        values["max_fraction"] = parts["max_fraction"].number()
    return cast(PrunePolicy, node.build(PrunePolicy, **values))


def write_rules(rules: RuleSet) -> dict[str, Anything]:
    """Plain data that `read_rules` reads back to equal rules.

    Raises:
      RuleError: a rule was written in Python and has no text form.
    """
    text: dict[str, Anything] = {}
    if rules.save is not None:
        text["save"] = _write_rule(rules.save.rule) | ({"after": rules.save.after} if rules.save.after else {})
    if rules.keep is not None:
        text["keep"] = _write_keep(rules.keep)
    if rules.filter is not None:
        text["filter"] = _write_rule(rules.filter.rule) if rules.filter.rule else {}
        text["filter"] |= {"top": _write_best(rules.filter.top)} if rules.filter.top else {}
    if rules.prune is not None:
        grace = format_duration(rules.prune.grace)
        text["prune"] = {
            "grace": grace,
            "keep_last": rules.prune.keep_last,
            "max_fraction": float(rules.prune.max_fraction),
        }
    return text


def _write_rule(rule: Rule) -> dict[str, Anything]:
    if isinstance(rule, All):
        return {"all": [_write_rule(part) for part in rule.rules]}
    if isinstance(rule, Any):
        return {"any": [_write_rule(part) for part in rule.rules]}
    if isinstance(rule, Not):
        return {"not": _write_rule(rule.rule)}
    if isinstance(rule, Every):
        if rule.unit == "seconds":
            return {"every": {"time": format_duration(rule.period)}}
        return {"every": rule.period if rule.unit == "epochs" else {rule.unit: rule.period}}
    if isinstance(rule, Improves):
        delta = {"min_delta": float(rule.min_delta)} if rule.min_delta else {}
        return {"metric": rule.metric, "improves": rule.mode} | delta
    if isinstance(rule, Threshold):
        key = "at_most" if rule.at_most is not None else "at_least"
        return {"metric": rule.metric} | _write_average(rule.average) | {key: _write_limit(rule.limit)}
    raise RuleError(f"A rule written in Python has no text form. Received: {rule!r}.")


def _write_average(average: Average | None) -> dict[str, Anything]:
    for key, kind in _AVERAGES.items():
        if isinstance(average, kind):
            return {key: average.span if isinstance(average, ExponentialAverage) else average.window}
    return {}


def _write_limit(limit: Limit) -> Anything:
    if not isinstance(limit, Schedule):
        return float(limit) + 0.0  # equal limits give equal text: 1 and 1.0, -0.0 and 0.0
    text = {
        "from": float(limit.start) + 0.0,
        "to": float(limit.end) + 0.0,
        limit.unit: limit.over,
        "shape": limit.shape,
    }
    return text | ({"stairs": limit.stairs} if limit.stairs is not None else {})


def _write_best(best: Best) -> dict[str, Anything]:
    return {"metric": best.metric, "mode": best.mode, "n": best.n}


def _write_keep(keep: Keep) -> dict[str, Anything]:
    text: dict[str, Anything] = {"best": _write_best(keep.best)} if keep.best else {}
    text |= {name: value for name in ("last", "milestone") if (value := getattr(keep, name)) is not None}
    if keep.within is not None:
        text["within"] = format_duration(keep.within)
    return text | ({"budget": exact_size(keep.budget)} if keep.budget is not None else {})
