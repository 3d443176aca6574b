"""Runs tests of the store, and tells which lines and branches of the product they go through."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ROOT / "components" / "checkpoint_gate"
STORE_TESTS = (
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
_MORE_TESTS = ("no_room", "read_only_store", "retiring", "saving")
# They say little of branches, and much time goes into them: other figures kill at every operation.
QUICK = ("-k", "not (killed or failing_disk or an_error_loses or framework or progress or no_thread)")
_TEST = re.compile(r"tests\.(test_\w+)\.(test_\w+)")


@dataclass(frozen=True)
class Covered:
    """What tests went through.

    Attributes:
      failure: the last line of what pytest said where a test failed.
      report: as `coverage json` writes it.
    """

    failure: str | None
    report: dict[str, Any]


def cover(code: Sequence[str], *chosen: str) -> Covered:
    """Runs the store's tests.

    Args:
      code: the files that count, below the package's folder; patterns are allowed.
      chosen: arguments for pytest that choose among the tests.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"{folder}/data", f"{folder}/report.json"
        run = _run_tests(code, STORE_TESTS, chosen, "--branch", f"--data-file={data}")
        _coverage("json", f"--data-file={data}", "-o", report)
        return Covered(_failure(run), json.loads(Path(report).read_text()))


def tests_by_line(code: Sequence[str], *chosen: str) -> dict[str, dict[int, list[str]]]:
    """For each line of each file, as `code` names it: pytest's names of the tests that have gone through it.

    The tests are the store's, and those of training that say little of branches.

    Raises:
      RuntimeError: if a test fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings, data = Path(folder, "coveragerc"), CoverageData(f"{folder}/data")
        settings.write_text("[run]\ndynamic_context = test_function\n")
        options = f"--rcfile={settings}", f"--data-file={data.data_filename()}"
        run = _run_tests(code, (*STORE_TESTS, *_MORE_TESTS), chosen, *options)
        if run.returncode:
            raise RuntimeError(f"A test failed: {_failure(run)}")
        data.read()
        return {name: _named(data.contexts_by_lineno(str(PRODUCT / name))) for name in code}


def _named(contexts: dict[int, list[str]]) -> dict[int, list[str]]:
    """Line -> names of tests, from line -> "tests.test_module.test_function"; what a fixture does belongs to none."""
    found = {line: [_TEST.fullmatch(name) for name in names] for line, names in contexts.items()}
    return {line: [f"tests/{each[1]}.py::{each[2]}" for each in names if each] for line, names in found.items()}


def _run_tests(
    code: Sequence[str], names: Sequence[str], chosen: Sequence[str], *options: str
) -> subprocess.CompletedProcess[str]:
    tests = [str(ROOT / "tests" / f"test_{name}.py") for name in names]
    include = ",".join(str(PRODUCT / name) for name in code)
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, *tests]
    return _coverage("run", *options, f"--include={include}", *pytest)


def _failure(run: subprocess.CompletedProcess[str]) -> str | None:
    return run.stdout.strip().splitlines()[-1] if run.returncode else None


def _coverage(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
