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
        {rule: "my_package.my_rules:Plateau", with: {patience: 3}}    a rule of one's own: runs that module's code
LIMIT:  0.5  or  {from: 1.0, to: 0.45, epochs: 10, shape: linear}    (steps: instead of epochs:)
        or  {champion: NAME, times: 1.05, plus: 0.0}; resolved, `is: 0.45` tells the champion's number, or null for none
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import RuleError
from checkpoint_gate.rule_text.located_yaml import Located, YamlError, read_located
from checkpoint_gate.rule_text.nodes import Node
from checkpoint_gate.rule_text.reading import read_filter, read_gate, read_keep, read_prune
from checkpoint_gate.rule_text.writing import write_best, write_keep, write_prune, write_rule
from checkpoint_gate.rules.filtering import Filter, PrunePolicy
from checkpoint_gate.rules.gate import Gate
from checkpoint_gate.rules.judgement import Rule
from checkpoint_gate.rules.records import dump_json
from checkpoint_gate.rules.resolving import champion_metrics, resolve
from checkpoint_gate.rules.retention import Keep

_NOT_IN_YAML = re.compile("[\x7f-\x9f\ufffe\uffff]")  # characters that JSON allows as they are


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

    @property
    def unresolved(self) -> tuple[str, ...]:
        """The metrics of the champion that `save` and `filter` name and that are not looked up yet, sorted."""
        return champion_metrics(*self._rules())

    def resolved(self, champion: Mapping[str, float] | None) -> RuleSet:
        """The same, with the champion's numbers in the limits that are relative to it.

        Limits that have theirs already stay as they are: what was judged once is judged the same again.

        Args:
          champion: its metrics as its training logged them; None where there is no champion, and these limits let any
            finite value through.

        Raises:
          RuleError: the rules name a metric that the champion does not have; says what it has.
        """
        gate, kept = self.save, self.filter
        return replace(
            self,
            save=replace(gate, rule=resolve(gate.rule, champion)) if gate is not None else None,
            filter=replace(kept, rule=resolve(kept.rule, champion)) if kept is not None and kept.rule else kept,
        )

    def _rules(self) -> list[Rule]:
        sections = (self.save, self.filter)
        return [section.rule for section in sections if section is not None and section.rule is not None]

    def to_json(self) -> str:
        """Canonical JSON text, which is YAML too; equal rules give equal text.

        Raises:
          RuleError: a rule of one's own has no text; says what to do.
        """
        text = dump_json(write_rules(self))
        return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)  # they stand within strings only

    def digest(self) -> str:
        """sha256 of the canonical text, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def load_rules(path: str | Path) -> RuleSet:
    """Reads a rules file, or the section `rules` of a pipeline.yaml.

    Raises:
      RuleError: the file can't be read, or its rules are wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"The rules file {path} cannot be read: {error}.") from error
    located = _located(text, str(path))
    data = located.data
    of_pipeline = isinstance(data, Mapping) and {"name", "rules"} <= data.keys()
    return read_rules(located, ("rules",) if of_pipeline else ())


def parse_rules(text: str, name: str = "rules") -> RuleSet:
    """Reads YAML or JSON text; `name` stands in errors.

    Raises:
      RuleError: names the line and the key.
    """
    return read_rules(_located(text, name))


def _located(text: str, name: str) -> Located:
    try:
        return read_located(text, name)
    except YamlError as error:
        raise RuleError(str(error)) from error


def rules_from_mapping(value: Mapping[str, Any], name: str = "rules") -> RuleSet:
    """Reads rules from plain Python data; the same errors, without lines."""
    return read_rules(Located(data=value, lines={}, name=name))


def read_rules(located: Located, path: tuple[str | int, ...] = ()) -> RuleSet:
    """Reads the rules that stand at `path` of a text already parsed."""
    node = Node(located.data, (), located)
    for key in path:
        node = node.child(key)
    parts = node.mapping({"save", "keep", "filter", "prune"})
    if not parts:
        raise node.error("needs at least one of save, keep, filter, prune")
    return RuleSet(
        save=read_gate(parts["save"]) if "save" in parts else None,
        keep=read_keep(parts["keep"]) if "keep" in parts else None,
        filter=read_filter(parts["filter"]) if "filter" in parts else None,
        prune=read_prune(parts["prune"]) if "prune" in parts else None,
    )


def write_rules(rules: RuleSet) -> dict[str, Any]:
    """Plain data that `read_rules` reads back to equal rules.

    Raises:
      RuleError: a rule of one's own has no text; says what to do.
    """
    text: dict[str, Any] = {}
    if rules.save is not None:
        text["save"] = write_rule(rules.save.rule) | ({"after": rules.save.after} if rules.save.after else {})
    if rules.keep is not None:
        text["keep"] = write_keep(rules.keep)
    if rules.filter is not None:
        text["filter"] = write_rule(rules.filter.rule) if rules.filter.rule else {}
        text["filter"] |= {"top": write_best(rules.filter.top)} if rules.filter.top else {}
    if rules.prune is not None:
        text["prune"] = write_prune(rules.prune)
    return text
