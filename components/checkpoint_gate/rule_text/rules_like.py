"""Rules as a caller may give them: text, a file, plain data, or values built in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rule_text.rule_set import RuleSet, load_rules, parse_rules, rules_from_mapping
from checkpoint_gate.rules.conditions import Rule
from checkpoint_gate.rules.gate import Gate

_TEXT = re.compile(r"[\n{]|:(\s|$)")

RulesLike = str | Path | Mapping[str, Any] | RuleSet | Gate | Rule


def as_rules(rules: RulesLike) -> RuleSet:
    """Rules from text, a path, a mapping, or a rule built in Python.

    A string with a line break, a brace or a colon that ends a key is rule text, any other string a path.

    Raises:
      RuleError: the rules are wrong or empty, or the file cannot be read.
    """
    if isinstance(rules, RuleSet):
        return rules
    if isinstance(rules, Gate):
        return RuleSet(save=rules)
    if isinstance(rules, Mapping):
        return rules_from_mapping(rules)
    if isinstance(rules, str):
        if not rules.strip():
            raise RuleError("The rules are empty.")  # as a path it would be the current folder
        return parse_rules(rules) if _TEXT.search(rules) else load_rules(rules)
    return load_rules(rules) if isinstance(rules, Path) else RuleSet(save=Gate(rules))
