"""Branches of the code that saves, prunes and recovers, and whether the tests go through all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.figure import Measured

FIGURE = "B16"
WHAT = "branches of the store, retention and the push folder, and lines beside them, that its tests go through"

_ROOT = Path(__file__).resolve().parents[2]
_CODE = ("store/*", "reviewing/joint_pruning.py", "rules/retention.py", "pushed/push_folder.py")
_TESTS = (
    "catalog",
    "champion_note",
    "checking",
    "checkpoint_set",
    "cli_checkpoint_gate",
    "edited_store",
    "ledger",
    "lease",
    "losses",
    "manifest",
    "object_store",
    "odd_files",
    "protection",
    "pruning",
    "push_folder",
    "repairing",
    "retention",
    "store_files",
    "sweeping",
    "training",
    "unreadable_store",
)
# They say little of branches, and much time goes into them: other figures kill at every operation.
_LEFT_OUT = "not (killed or failing_disk or an_error_loses or framework or progress or no_thread)"


def measure(long: bool) -> Measured:
    """Runs the store's tests and asks which branches and lines none of them went through."""
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"{folder}/data", f"{folder}/report.json"
        tests = [str(_ROOT / "tests" / f"test_{name}.py") for name in _TESTS]
        chosen = [] if long else ["-k", _LEFT_OUT]
        code = ",".join(str(_ROOT / "components" / "checkpoint_gate" / name) for name in _CODE)
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, *tests]
        run = _coverage("run", "--branch", f"--data-file={data}", f"--include={code}", *pytest)
        _coverage("json", f"--data-file={data}", "-o", report)
        told = json.loads(Path(report).read_text())
    measured = Measured(n=told["totals"]["num_branches"], detail=f"{told['totals']['num_statements']:,} lines")
    if run.returncode:
        measured.violations.append(f"A test failed: {run.stdout.strip().splitlines()[-1]}")
    for name, file in sorted(told["files"].items()):
        measured.violations += _missing(name, file)
    return measured


def _coverage(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=_ROOT, env=os.environ, capture_output=True, text=True)


def _missing(name: str, file: dict[str, list]) -> list[str]:
    lines = set(file["missing_lines"])
    branches = [(start, end) for start, end in file["missing_branches"] if start not in lines and end not in lines]
    never = [f"{name}:{line} is gone through by no test" for line in sorted(lines)]
    return never + [f"{name}:{start}: no test goes on to {_where(end)}" for start, end in branches]


def _where(line: int) -> str:
    return f"line {line}" if line > 0 else "the end of the function"
