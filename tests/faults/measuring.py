"""Measures figures, two at a time, each in a process of its own."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import multiprocessing
import pkgutil
import time
import traceback

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import faults
from faults.figure import Measured

WORKERS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A figure's line in the table; `error` is the traceback of one that could not be measured."""

    figure: str
    what: str
    n: int
    violations: list[str]
    detail: str
    seconds: float
    error: str | None = None


def figures() -> list[str]:
    """The figures' modules, by number."""
    return sorted(module.name for module in pkgutil.iter_modules(faults.__path__) if module.name.startswith("b"))


def measure(name: str, long: bool) -> Row:
    """Measures one figure, in this process."""
    begun = time.monotonic()
    module = importlib.import_module(f"faults.{name}")
    try:
        measured: Measured = module.measure(long)
    except Exception:
        seconds = time.monotonic() - begun
        return Row(module.FIGURE, module.WHAT, 0, [], "", seconds, traceback.format_exc())
    seconds = time.monotonic() - begun
    if not measured.n:
        return Row(module.FIGURE, module.WHAT, 0, [], "", seconds, "There was no case.")
    return Row(module.FIGURE, module.WHAT, measured.n, measured.violations, measured.detail, seconds)


def measure_all(names: list[str], long: bool, console: Console) -> list[Row]:
    """Measures the figures and shows how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows = []
    task = functools.partial(measure, long=long)
    pool = multiprocessing.get_context("spawn").Pool(WORKERS, maxtasksperchild=1)
    with pool, Progress(*columns, console=console) as progress:
        bar = progress.add_task("figures", total=len(names))
        for row in pool.imap_unordered(task, names):
            rows.append(row)
            progress.advance(bar)
            if not console.is_terminal:
                console.print(f"{row.figure} took {row.seconds:.0f} s")
    return sorted(rows, key=lambda row: int(row.figure[1:]))
