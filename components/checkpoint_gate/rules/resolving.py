"""Limits that are relative to the champion get its numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from checkpoint_gate.rules.conditions import All, Any, Not, Threshold
from checkpoint_gate.rules.judgement import Rule
from checkpoint_gate.rules.schedules import ChampionLimit


def resolve(rule: Rule, champion: Mapping[str, float] | None) -> Rule:
    """`rule` with the champion's numbers in its limits; rules of one's own are left alone.

    Raises:
      RuleError: it names a metric that the champion does not have.
    """
    if isinstance(rule, (All, Any)):
        return replace(rule, rules=tuple(resolve(part, champion) for part in rule.rules))
    if isinstance(rule, Not):
        return replace(rule, rule=resolve(rule.rule, champion))
    if isinstance(rule, Threshold) and isinstance(rule.limit, ChampionLimit):
        limit = rule.limit.resolved(champion)
        return replace(rule, at_most=limit) if rule.at_most is not None else replace(rule, at_least=limit)
    return rule


def champion_metrics(*rules: Rule) -> tuple[str, ...]:
    """The metrics of the champion whose numbers `rules` still lack, sorted."""
    limits = {limit.metric for rule in rules for limit in _limits(rule) if limit.champion == "unresolved"}
    return tuple(sorted(limits))


def _limits(rule: Rule) -> Iterator[ChampionLimit]:
    if isinstance(rule, (All, Any)):
        for part in rule.rules:
            yield from _limits(part)
    elif isinstance(rule, Not):
        yield from _limits(rule.rule)
    elif isinstance(rule, Threshold) and isinstance(rule.limit, ChampionLimit):
        yield rule.limit
