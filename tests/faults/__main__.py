"""Runs the figures, two at a time, each in a process of its own, and prints them as a table.

    python -m faults [--long] [--json FILE] [FIGURE…]      in the folder `tests`; a figure by its name, as b01

Exit code 1 when a promise was broken, 2 when a figure could not be measured.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from faults.measuring import Row, figures, measure_all

SHOWN = 20  # violations of a figure
APART = ("b14",)  # whole pipeline runs take minutes: only by name, or in the long run


def show(rows: list[Row]) -> None:
    """Prints the table, and below it what was broken."""
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False, markup=False)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("what", ratio=1)
    table.add_column("N", justify="right", no_wrap=True)
    table.add_column("violations", justify="right", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    for row in rows:
        what = f"{row.what} ({row.detail})" if row.detail else row.what
        broken = "not measured" if row.error or row.skipped else f"{len(row.violations):,}"
        table.add_row(row.figure, what, f"{row.n:,}", broken, f"{row.seconds:.0f}")
    console.print(table)
    for row in rows:
        for violation in row.violations[:SHOWN]:
            print(f"{row.figure}: {violation}")
        if len(row.violations) > SHOWN:
            print(f"{row.figure}: … and {len(row.violations) - SHOWN:,} more")
        if row.skipped:
            print(f"{row.figure} was not measured on this machine: {row.skipped}")
        for part in row.missing:
            print(f"{row.figure} was measured without a part on this machine: {part}")
        if row.error:
            print(f"{row.figure} could not be measured:\n{row.error}")


def _number(name: str) -> str:
    return name.split("_")[0]


@click.command()
@click.argument("names", metavar="[FIGURE]...", nargs=-1)
@click.option("--long", is_flag=True, help="The large numbers, for a machine that has some hours.")
@click.option("--json", "place", type=click.Path(path_type=Path), help="Write each figure there, too, as it is known.")
def main(names: tuple[str, ...], long: bool, place: Path | None) -> None:
    """Count what the store promises under faults."""
    known = figures()
    wanted = names or [number for number in map(_number, known) if long or number not in APART]
    chosen = [name for name in known if _number(name) in wanted]
    if not chosen:
        raise click.UsageError(f"There are no such figures. Known are: {', '.join(map(_number, known))}.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if place is not None:
        place.write_text("")

    def note(row: Row) -> None:
        if place is not None:
            with place.open("a") as lines:
                lines.write(json.dumps(dataclasses.asdict(row)) + "\n")

    rows = measure_all(chosen, long, Console(stderr=True, highlight=False), note)
    show(rows)
    sys.exit(2 if any(row.error for row in rows) else int(any(row.violations for row in rows)))


if __name__ == "__main__":
    main()
