"""`checkpoint-gate check`."""

from __future__ import annotations

import dataclasses
import sys

import click

from checkpoint_gate.cli.words import json_option, print_json, say, store_argument


@click.command(short_help="Verify every live checkpoint, to the byte.")
@store_argument
@json_option
def check(store: str, as_json: bool) -> None:
    """Verify every byte of every live checkpoint of STORE, and look for what does not belong. Changes nothing.

    Exit code 1 when there is a fault: damage, or a checkpoint that is gone without a tombstone. Warnings (files of
    others, an interrupted pruning) and notes do not count.

    --json prints one object: ok, faults (their number), findings; a finding has run, place, severity and what.
    """
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.checking import check_store

    findings = []
    for finding in check_store(Store.open(store)):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.severity:<7}  {finding.place}: {finding.what}")
    faults = sum(finding.severity == "fault" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    if as_json:
        values = [dataclasses.asdict(finding) for finding in findings]
        print_json({"ok": faults == 0, "faults": faults, "findings": values})
    say(f"{'Every live checkpoint verifies' if not faults else f'Faults: {faults}'}; warnings: {warnings}")
    sys.exit(1 if faults else 0)
