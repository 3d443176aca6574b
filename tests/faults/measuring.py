"""Measures figures, two at a time, each in a process of its own."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import multiprocessing
import pkgutil
import re
import time
import traceback
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import faults
from faults.figure import Measured, NotPossible

WORKERS = 2
_LONGEST = ("b14", "b10", "b03", "b08", "b11")  # begun first, so that the workers end together
_FIGURE = re.compile(r"b\d\d_")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A figure's line in the table.

    Attributes:
      error: the traceback of one that could not be measured.
      skipped: why this machine does not let it be measured.
      missing: what parts of it this machine does not let be measured, and why.
    """

    figure: str
    what: str
    n: int
    violations: list[str]
    detail: str
    seconds: float
    error: str | None = None
    skipped: str | None = None
    missing: list[str] = dataclasses.field(default_factory=list)


def figures() -> list[str]:
    """The figures' modules, by number."""
    return sorted(module.name for module in pkgutil.iter_modules(faults.__path__) if _FIGURE.match(module.name))


def measure(name: str, long: bool) -> Row:
    """Measures one figure, in this process."""
    logging.getLogger("checkpoint_gate").addHandler(logging.NullHandler())  # its warnings are expected by the thousand
    begun = time.monotonic()
    figure, what = f"B{int(name[1:3])}", name
    measured, error, skipped = Measured(), None, None
    try:
        module = importlib.import_module(f"faults.{name}")
        figure, what = module.FIGURE, module.WHAT
        measured = module.measure(long)
    except NotPossible as reason:
        skipped = str(reason)
    except Exception:
        error = traceback.format_exc()
    if not measured.n and error is None and skipped is None:
        error = "There was no case."
    seconds = time.monotonic() - begun
    counted = (measured.n, measured.violations, measured.detail)
    return Row(figure, what, *counted, seconds, error, skipped, measured.missing)


def measure_all(names: list[str], long: bool, console: Console, told: Callable[[Row], object]) -> list[Row]:
    """Measures the figures, tells each as soon as it is known, and shows how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows = []
    task = functools.partial(measure, long=long)
    pool = multiprocessing.get_context("spawn").Pool(WORKERS, maxtasksperchild=1)
    with pool, Progress(*columns, console=console) as progress:
        bar = progress.add_task("figures", total=len(names))
        for row in pool.imap_unordered(task, sorted(names, key=_place_in_line)):
            rows.append(row)
            told(row)
            progress.advance(bar)
            if not console.is_terminal:
                broken = f"{len(row.violations):,} violations" if row.error is None else "not measured"
                console.print(f"{row.figure}: {row.n:,} cases, {broken}, {row.seconds:.0f} s")
    return sorted(rows, key=lambda row: int(row.figure[1:]))


def _place_in_line(name: str) -> int:
    number = name.split("_")[0]
    return _LONGEST.index(number) if number in _LONGEST else len(_LONGEST)
