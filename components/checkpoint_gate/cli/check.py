"""`checkpoint-gate check`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from checkpoint_gate.cli.words import json_option, print_json, say, show, store_argument, verifying

if TYPE_CHECKING:
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.checkpoints import Progress
    from checkpoint_gate.store.findings import Finding


@click.command(short_help="Verify every live checkpoint, to the byte, and repair.")
@store_argument
@click.option("--repair", is_flag=True, help="Finish what was interrupted, set aside what is damaged.")
@json_option
def check(store: str, repair: bool, as_json: bool) -> None:
    """Verify every byte of every live checkpoint of STORE, and look for what does not belong.

    Without --repair nothing is changed. With it, what was interrupted is finished or taken back (a sweep of what is
    past its grace, too), what killed writers left is cleared away, damaged checkpoints are moved to the quarantine,
    where their bytes stay, and those that others removed are taken for lost, so that pruning goes on. A run in which
    another writer is at work is left alone, and told. Where a repair can do nothing, a finding says what you can do.

    Exit code 1 when there is a fault (after --repair: when one is left): damage, a checkpoint that is gone without a
    tombstone, a run that has lost its run.json or its ledger, or what may not be read. Warnings (files of others, an
    interrupted pruning) and notes do not count.

    --json prints one object: ok, faults (their number), findings, repaired; a finding has run, place, severity, what,
    remedy (what --repair does, or did) and advice (what a person can do).
    """
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.checking import bytes_to_check

    findings: list[Finding] = []
    mended: list[Finding] = []
    home = Store.open(store)
    with verifying(partial(bytes_to_check, home)) as progress:
        for done, finding in _findings(home, repair, progress):
            (mended if done else findings).append(finding)
            if not as_json:
                show(f"{'mended' if done else finding.severity:<7}  {finding.place}: {_words(finding, done)}")
    faults = sum(finding.severity == "fault" for finding in findings)
    if as_json:
        value = {"findings": _json(findings), "repaired": _json(mended)}
        print_json({"ok": faults == 0, "faults": faults, **value})
    warnings = sum(finding.severity == "warning" for finding in findings)
    mendable = sum(finding.remedy is not None for finding in findings)
    words = f"{'Every live checkpoint verifies' if not faults else f'Faults: {faults}'}; warnings: {warnings}"
    if repair:
        words += f"; mended: {len(mended)}"
    elif mendable:
        words += f"; --repair would see to {mendable} of these findings"
    say(words)
    sys.exit(1 if faults else 0)


def _findings(store: Store, repair: bool, progress: Progress) -> Iterator[tuple[bool, Finding]]:
    """Each finding, and whether it was mended."""
    from checkpoint_gate.store.checking import check_store
    from checkpoint_gate.store.repairing import repair_store

    if not repair:
        yield from ((False, finding) for finding in check_store(store, progress))
        return
    for part in repair_store(store, progress):
        yield from ((True, finding) for finding in part.mended)
        yield from ((False, finding) for finding in part.findings)


def _words(finding: Finding, done: bool) -> str:
    then = finding.remedy if done else finding.advice
    return finding.what if then is None else f"{finding.what}; {then}"


def _json(findings: list[Finding]) -> list[dict[str, str | None]]:
    return [dataclasses.asdict(finding) for finding in findings]
