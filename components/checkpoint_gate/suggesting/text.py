"""Proposed rules as YAML to paste, each line with a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from checkpoint_gate.rule_text.located_yaml import plain_scalar
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.rule_text.writing import write_keep, write_rule
from checkpoint_gate.rules.conditions import All, Every, Improves, Rule, Threshold
from checkpoint_gate.rules.retention import Keep
from checkpoint_gate.rules.schedules import Schedule

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")


def yaml_text(rules: RuleSet, head: Iterable[str]) -> str:
    """YAML that `parse_rules` reads back to equal rules.

    Args:
      rules: the sections `save`, with its rules under `all:`, and `keep`.
      head: comment lines above them.
    """
    return "".join(f"# {line}\n" for line in head) + _aligned(_save(rules)) + _aligned(_keep(rules.keep))


def scalar(value: object) -> str:
    """One YAML scalar that reads as `value`, without quotes where they are not needed."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    text = str(value)
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and isinstance(plain_scalar(text), str)):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    width = max((len(text) for text, _ in lines), default=0)
    return "".join(f"{text:<{width}}  # {comment}\n" if comment else f"{text}\n" for text, comment in lines)


def _save(rules: RuleSet) -> list[tuple[str, str]]:
    assert rules.save is not None
    assert isinstance(rules.save.rule, All)
    lines = [("save:", ""), ("  all:", "")]
    lines += [(f"    - {_flow(write_rule(rule))}", _why(rule)) for rule in rules.save.rule.rules]
    if rules.save.after:
        lines.append((f"  after: {rules.save.after}", "these first epochs are refused"))
    return lines


def _keep(keep: Keep | None) -> list[tuple[str, str]]:
    if keep is None:
        return []
    comments = {"best": "of the saved, these stay on the disk", "last": "and the newest"}
    return [("keep:", ""), *((f"  {key}: {_flow(value)}", comments[key]) for key, value in write_keep(keep).items())]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    return scalar(value)


def _why(rule: Rule) -> str:
    if isinstance(rule, Improves):
        return "better than all saved before" + (", by more than this" if rule.min_delta else "")
    if isinstance(rule, Every):
        return "only so often"
    assert isinstance(rule, Threshold)
    if rule.average is not None:
        return "one lucky epoch is not enough"
    if isinstance(rule.limit, Schedule):
        return "tightens as training goes on"
    return "training error" if rule.metric == "loss" else "good enough at all"
