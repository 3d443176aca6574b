"""What the rules look at, as curves over a training run. Pure: a history and rules in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.rules.averages import Average
from checkpoint_gate.rules.conditions import All, Any, Improves, Not, Rule, Threshold
from checkpoint_gate.rules.records import At, Record
from checkpoint_gate.rules.schedules import limit_text, limit_value
from checkpoint_gate.store.ledger import Entry

Kind = Literal["value", "within epochs", "average", "gate", "filter", "to beat"]
Fate = Literal["saved", "refused by this metric", "refused for another reason"]

LARGEST = 1e100  # beyond it a plot's arithmetic overflows; such a value is as good as infinite
_DEFAULT = ("loss", "val_loss")


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a panel: its points, where nan is a gap, and words for the legend."""

    kind: Kind
    words: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A record in a panel: where it stands, and what the gate made of it."""

    x: float
    y: float
    step: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class Panel:
    """One metric.

    Attributes:
      metric: its name as logged.
      curves: its values, the averages that the rules take of it, and their limits.
      points: the records with a finite value.
      gaps: where a value was logged that is not finite.
    """

    metric: str
    curves: tuple[Curve, ...]
    points: tuple[Point, ...]
    gaps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A rule about one metric within a tree of rules; `words` tell its place there."""

    rule: Threshold | Improves
    kind: Literal["gate", "filter"]
    words: str


def by_steps(entries: Sequence[Entry]) -> bool:
    """Whether the curves run over optimizer steps; over epochs, counted from 1, unless a record was made within one."""
    return any(entry.record.at == "step" for entry in entries)


def panels(entries: Sequence[Entry], rules: RuleSet) -> list[Panel]:
    """A panel for each logged metric that `save` and `filter` look at; for loss and val_loss if they look at none."""
    leaves = [*_leaves(rules.save.rule, "gate")] if rules.save else []
    filter_rule = rules.filter.rule if rules.filter else None
    leaves += [*_leaves(filter_rule, "filter")] if filter_rule else []
    logged = dict.fromkeys(name for entry in entries for name in entry.record.metrics)
    wanted = dict.fromkeys(leaf.rule.metric for leaf in leaves)
    for rule in (rules.save.rule if rules.save else None, filter_rule):  # rules written in Python, too
        wanted |= dict.fromkeys(sorted(rule.metrics()) if rule else ())
    if rules.filter and rules.filter.top:
        wanted |= {rules.filter.top.metric: None}
    names = [name for name in wanted or _DEFAULT if name in logged]
    return [_panel(name, entries, [leaf for leaf in leaves if leaf.rule.metric == name]) for name in names]


def _leaves(rule: Rule, kind: Literal["gate", "filter"], words: str = "") -> Iterator[_Leaf]:
    if isinstance(rule, (All, Any)):
        choice = "one of several: " if isinstance(rule, Any) and len(rule.rules) > 1 else ""
        for part in rule.rules:
            yield from _leaves(part, kind, words + choice)
    elif isinstance(rule, Not):
        yield from _leaves(rule.rule, kind, f"{words}not: ")
    elif isinstance(rule, (Threshold, Improves)):
        yield _Leaf(rule, kind, words)


def _panel(metric: str, entries: Sequence[Entry], leaves: Sequence[_Leaf]) -> Panel:
    stepwise = by_steps(entries)
    logged = [entry for entry in entries if metric in entry.record.metrics]
    clauses = {str(leaf.rule) for leaf in leaves if leaf.kind == "gate"}
    curves = [*_values(metric, logged, stepwise)]
    averages = dict.fromkeys(leaf.rule.average for leaf in leaves if isinstance(leaf.rule, Threshold))
    for average in averages:
        curves += [] if average is None else [*_averaged(average, metric, logged, stepwise)]
    curves += [
        _limit(leaf, entries, stepwise) if isinstance(leaf.rule, Threshold) else _to_beat(leaf, entries, stepwise)
        for leaf in leaves
    ]
    points = []
    for entry in logged:
        value = _drawable(entry.record.metrics[metric])
        if not math.isnan(value):
            points.append(Point(_x(entry.record, stepwise), value, entry.record.step, _fate(entry, clauses)))
    gaps = [_x(e.record, stepwise) for e in logged if math.isnan(_drawable(e.record.metrics[metric]))]
    seen = [curve for curve in dict.fromkeys(curves) if any(map(math.isfinite, curve.ys))]
    return Panel(metric, tuple(seen), tuple(points), tuple(gaps))


def _x(record: Record, stepwise: bool) -> int:
    return record.step if stepwise else record.epoch + 1


def _drawable(value: float) -> float:
    return value if abs(value) <= LARGEST else math.nan


def _of_kind(entries: Sequence[Entry]) -> Iterator[tuple[At, list[Entry], str]]:
    """Epochs and steps apart: their values never mix."""
    kinds: tuple[tuple[At, str], ...] = (("epoch", ""), ("step", " within epochs"))
    for at, words in kinds:
        alike = [entry for entry in entries if entry.record.at == at]
        if alike:
            yield at, alike, words


def _values(metric: str, logged: Sequence[Entry], stepwise: bool) -> Iterator[Curve]:
    for at, alike, words in _of_kind(logged):
        xs = tuple(_x(e.record, stepwise) for e in alike)
        ys = tuple(_drawable(e.record.metrics[metric]) for e in alike)
        yield Curve("value" if at == "epoch" else "within epochs", f"value{words or ' at each epoch'}", xs, ys)


def _averaged(average: Average, metric: str, logged: Sequence[Entry], stepwise: bool) -> Iterator[Curve]:
    for _, alike, words in _of_kind(logged):
        series = [e.record.metrics[metric] for e in alike]
        meter = average.start(series)
        readings = [meter.read(value).value for value in series]
        ys = tuple(math.nan if value is None else _drawable(value) for value in readings)
        yield Curve("average", average.words + words, tuple(_x(e.record, stepwise) for e in alike), ys)


def _limit(leaf: _Leaf, entries: Sequence[Entry], stepwise: bool) -> Curve:
    rule = leaf.rule
    assert isinstance(rule, Threshold)
    bound = "at most" if rule.at_most is not None else "at least"
    of = f" ({rule.average.words})" if rule.average else ""
    xs = tuple(_x(e.record, stepwise) for e in entries)
    words = limit_text(rule.limit).replace("->", " → ")
    limits = [limit_value(rule.limit, e.record) for e in entries]
    ys = tuple(math.nan if limit is None else limit for limit in limits)
    return Curve(leaf.kind, f"{leaf.kind}: {leaf.words}{bound} {words}{of}", xs, ys)


def _to_beat(leaf: _Leaf, entries: Sequence[Entry], stepwise: bool) -> Curve:
    """What each record had to be better than: the best saved before it, and the margin."""
    rule = leaf.rule
    assert isinstance(rule, Improves)
    better, margin = (min, -rule.min_delta) if rule.mode == "min" else (max, rule.min_delta)
    best = math.nan
    bars = []
    for entry in entries:
        bars.append(best + margin)
        value = entry.record.finite(rule.metric)
        if entry.decision.save and value is not None:
            best = value if math.isnan(best) else better(best, value)
    words = f"gate: {leaf.words}{'below' if rule.mode == 'min' else 'above'} the best saved"
    if rule.min_delta:
        words += f" by more than {rule.min_delta:g}"
    xs = tuple(_x(e.record, stepwise) for e in entries)
    return Curve("to beat", words, xs, tuple(map(_drawable, bars)))


def _fate(entry: Entry, clauses: set[str]) -> Fate:
    if entry.decision.save:
        return "saved"
    here = any(_bare(clause) in clauses for clause in entry.decision.clauses)
    return "refused by this metric" if here else "refused for another reason"


def _bare(clause: str) -> str:
    while clause.startswith("not (") and clause.endswith(")"):
        clause = clause[5:-1]
    return clause
