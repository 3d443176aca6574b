"""The command `gated-pipeline lint`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gated_pipelines.kubeflow.lint.linting import Finding
    from gated_pipelines.kubeflow.lint.view import View


@click.command()
@click.argument("compiled", type=click.Path(path_type=Path))
@click.option("--no-import", is_flag=True, help="Do not try the names that containers import; that takes 10-60 s.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of findings.")
def lint(compiled: Path, no_import: bool, as_json: bool) -> None:
    """Say why a backend would refuse or break COMPILED, a compiled pipeline.

    The backends are open-source Kubeflow Pipelines v2 (API server, compiler to Argo, driver, launcher) and Vertex AI.
    Classes, functions and artifact types that the file names are imported from what is installed here.

    An error breaks a backend, a warning costs something there. Exit code 1 if there is an error; warnings alone give 0.

    --json prints an array of: rule, severity (error or warning), where (the path in the file), line (from 1), message,
    breaks (which backend, and how), fix. The words go to standard error then.
    """
    from checkpoint_gate.rules.records import dump_json
    from gated_pipelines.kubeflow.lint.linting import lint_file

    findings = lint_file(compiled, None if no_import else _import_with_progress)
    for finding in findings:
        click.echo(_words(compiled, finding), err=as_json)
    for rule, breaks in {finding.rule: finding.breaks for finding in findings}.items():
        click.echo(f"  [{rule}] {breaks}", err=as_json)
    click.echo(_sum(compiled, findings, no_import), err=as_json)
    if as_json:
        click.echo(dump_json([finding.to_json() for finding in findings]))
    sys.exit(1 if any(finding.severity == "error" for finding in findings) else 0)


def _import_with_progress(view: View) -> dict[tuple[str, str], str]:
    from rich.console import Console

    from gated_pipelines.kubeflow.lint.imports import tried, wanted

    names = {(each.kind, each.name) for each in wanted(view)}
    console = Console(stderr=True, highlight=False)
    words = f"Importing the {len(names)} names that its containers import; loading TFX takes 10-60 s."
    if not console.is_terminal:
        console.print(words, soft_wrap=True)
    with console.status(words):
        return tried(view)


def _words(path: Path, finding: Finding) -> str:
    line = f":{finding.line}" if finding.line else ""
    where = f" ({finding.where})" if finding.where else ""
    return f"{path}{line}: {finding.severity}: {finding.message}{where} {finding.fix} [{finding.rule}]"


def _sum(path: Path, findings: list[Finding], no_import: bool) -> str:
    counts = [sum(finding.severity == severity for finding in findings) for severity in ("error", "warning")]
    shown = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}" for count, word in zip(counts, ("error", "warning"), strict=True)
    )
    left_out = " Imports were left out (--no-import)." if no_import else ""
    return f"{path}: {shown}.{left_out}"
