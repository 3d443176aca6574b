"""The code behind a rule text: the modules of the rules of one's own that it names."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from checkpoint_gate.rule_text.rule_set import RuleSet, write_rules


def own_code(rules: RuleSet) -> str | None:
    """sha256, in hex, of the files that rules of one's own are defined in; None where the rules have none.

    It changes with any edit of them, so a cache that looks at it does not take what the rules decided before the edit.
    What those files import is not looked at, nor is what a notebook defines.
    """
    digest = hashlib.sha256()
    modules = sorted(_named(write_rules(rules)))
    for name in modules:
        file = getattr(sys.modules[name], "__file__", None)
        digest.update(f"{name}\0".encode() + (Path(file).read_bytes() if file else b"") + b"\0")
    return digest.hexdigest() if modules else None


def _named(text: object) -> set[str]:
    """The modules in every `rule: module:name`."""
    if isinstance(text, dict):
        named = text.get("rule")
        own = {named.partition(":")[0]} if isinstance(named, str) else set()
        return own.union(*map(_named, text.values()))
    return set().union(*map(_named, text)) if isinstance(text, (list, tuple)) else set()
