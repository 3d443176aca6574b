"""Whether a compiled pipeline would be refused or broken, by open-source Kubeflow Pipelines v2 or by Vertex AI.

The rules are those of the sources of both: of open source the API server (`template/v2_template.go`), the compiler to
Argo, Argo's own validation, the driver and the launcher; of Vertex AI its SDK and documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from checkpoint_gate.rule_text.located_yaml import Located
from gated_pipelines.kubeflow.lint import (
    containers,
    document,
    graph,
    images,
    imports,
    parameters,
    schema,
    task_options,
    tfx_names,
)
from gated_pipelines.kubeflow.lint import view as views
from gated_pipelines.kubeflow.lint.view import Fault, Rule, View

FILE_RULES = document.RULES
SPEC_RULES: tuple[Rule[View], ...] = (
    *schema.RULES,
    *graph.RULES,
    *task_options.RULES,
    *parameters.RULES,
    *containers.RULES,
    *images.RULES,
    *tfx_names.RULES,
)
IMPORT_RULES = imports.RULES
ALL_RULES: tuple[Rule[Any], ...] = (*FILE_RULES, *SPEC_RULES, *IMPORT_RULES)

_PLAIN_KEY = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to refuse a file, or to think twice.

    Attributes:
        rule: the name of the rule.
        severity: error or warning.
        where: the path in the file, for example `root.dag.tasks.Trainer`.
        line: from 1; 0 where the file has no lines.
        message: one sentence: what is wrong.
        breaks: which backend breaks, and how.
        fix: how to mend it.
    """

    rule: str
    severity: views.Severity
    where: str
    line: int
    message: str
    breaks: str
    fix: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def written(path: views.Path) -> str:
    """A path as text: `a.b[0]["c.d"]`."""
    text = ""
    for part in path:
        if isinstance(part, str) and _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part}]" if isinstance(part, int) else f'["{part}"]'
    return text


def _line(located: Located | None, path: views.Path) -> int:
    if located is None:
        return 0
    places = (located.lines.get(tuple(path[:end])) for end in range(len(path), -1, -1))
    return next((line for line in places if line is not None), 1)


def _finding(rule: Rule[Any], fault: Fault, located: Located | None) -> Finding:
    return Finding(
        rule.name,
        rule.severity,
        written(fault.path),
        _line(located, fault.path),
        fault.message,
        rule.breaks,
        fault.fix or rule.fix,
    )


def lint_data(data: Any, rules: tuple[Rule[View], ...] = SPEC_RULES) -> list[Finding]:
    """What is wrong with a pipeline spec that is already read; nothing is imported."""
    view = View(views.mapping(data))
    return [_finding(rule, fault, None) for rule in rules for fault in rule.check(view)]


def lint_file(path: Path, try_imports: Callable[[View], dict[tuple[str, str], str]] | None) -> list[Finding]:
    """What is wrong with a compiled pipeline, in the order of its lines.

    Args:
        path: the file.
        try_imports: tries the names that its containers import, as `imports.tried` does; None leaves it out.
    """
    read = document.read_document(path)
    found = [_finding(rule, fault, read.located) for rule in FILE_RULES for fault in rule.check(read)]
    view = document.view_of(read)
    if view is not None:
        view = replace(view, wrong=try_imports(view) if try_imports else {})
        for rule in (*SPEC_RULES, *IMPORT_RULES):
            found += [_finding(rule, fault, read.located) for fault in rule.check(view)]
    return sorted(found, key=lambda finding: (finding.line, finding.severity, finding.rule, finding.where))
