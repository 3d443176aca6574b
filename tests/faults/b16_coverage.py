"""Branches of the code that saves, prunes and recovers, and whether the tests go through all of them."""

from __future__ import annotations

from typing import Any

from faults.covering import QUICK, cover
from faults.figure import Measured

FIGURE = "B16"
WHAT = "branches of the store, retention and the push folder, and lines beside them, that its tests go through"

_CODE = ("store/*", "reviewing/joint_pruning.py", "rules/retention.py", "pushed/push_folder.py")


def measure(long: bool) -> Measured:
    """Runs the store's tests and asks which branches and lines none of them went through."""
    covered = cover(_CODE, *([] if long else QUICK))
    totals = covered.report["totals"]
    measured = Measured(n=totals["num_branches"], detail=f"{totals['num_statements']:,} lines")
    if covered.failure is not None:
        measured.violations.append(f"A test failed: {covered.failure}")
    for name, file in sorted(covered.report["files"].items()):
        measured.violations += _missing(name, file)
    return measured


def _missing(name: str, file: dict[str, Any]) -> list[str]:
    lines = set(file["missing_lines"])
    branches = [(start, end) for start, end in file["missing_branches"] if start not in lines and end not in lines]
    never = [f"{name}:{line} is gone through by no test" for line in sorted(lines)]
    return never + [f"{name}:{start}: no test goes on to {_where(end)}" for start, end in branches]


def _where(line: int) -> str:
    return f"line {line}" if line > 0 else "the end of the function"
