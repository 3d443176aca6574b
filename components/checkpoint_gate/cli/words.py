"""What the subcommands share: their options, and how they print."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from checkpoint_gate.store import Store

store_argument = click.argument("store")  # a folder's path, or a URL
run_option = click.option("--run", "key", metavar="KEY", help="Only this run.  [default: every run of the store]")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def one_run(store: Store, key: str | None) -> str:
    """The run that a command is about: `key`, or the only one there is.

    Raises:
      RunMissing: no key is given, and the store has not exactly one run.
    """
    from checkpoint_gate.errors import RunMissing

    if key is not None:
        return key
    keys = store.keys()
    if len(keys) != 1:
        raise RunMissing(f"Name the run with --run. The store {store.root} has: {', '.join(keys) or 'none'}.")
    return keys[0]


def some(numbers: Iterable[int]) -> str:
    """A few of many numbers for a sentence: "3, 7, 14", or "3, 7, 14, … 120 (41 in all)"."""
    ordered = sorted(set(numbers))
    if len(ordered) <= 12:
        return ", ".join(map(str, ordered)) or "none"
    return f"{', '.join(map(str, ordered[:10]))}, … {ordered[-1]} ({len(ordered)} in all)"


_ORDERS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}


def shown(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would take for an order."""
    return text.translate(_ORDERS)


def show(text: str) -> None:
    """Lines for a person, on standard output."""
    click.echo("\n".join(map(shown, text.split("\n"))))


def epoch_words(epoch: int | None) -> str:
    """The epoch as the training log counts, from 1; "?" where it is not known."""
    return "?" if epoch is None else str(epoch + 1)


def metric_words(metrics: Mapping[str, float | str]) -> str:
    """Metrics for a reader: "loss 0.4, val_loss 0.61"."""
    words = (f"{name} {v if isinstance(v, str) else format(v, '.6g')}" for name, v in sorted(metrics.items()))
    return ", ".join(map(shown, words))


def say(text: str) -> None:
    """Words for a person, on standard error."""
    click.echo("\n".join(map(shown, text.split("\n"))), err=True)


@contextlib.contextmanager
def verifying(total: Callable[[], int]) -> Iterator[Callable[[int], None]]:
    """Shows how much is verified, on standard error where that is a terminal; gives what is to be told of more bytes.

    Args:
      total: how many bytes there will be; asked only where it is shown.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("verified"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    # Lines for the same terminal go above the bar; what is piped goes its own way.
    lines = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=lines) as bar:
        task = bar.add_task("verified", total=total())
        yield lambda more: bar.advance(task, more)


def print_json(value: Any) -> None:
    """One JSON value."""
    from checkpoint_gate.rules.records import dump_json

    click.echo(dump_json(value, indent=1))


def print_lines(objects: Iterable[Any]) -> None:
    """JSON lines: one object a line."""
    from checkpoint_gate.rules.records import dump_json

    out = sys.stdout
    for value in objects:
        out.write(dump_json(value) + "\n")
    out.flush()


def print_array(objects: Iterable[Any]) -> None:
    """A JSON array, one object a line, written as they come."""
    from checkpoint_gate.rules.records import dump_json

    out = sys.stdout
    before = "["
    for value in objects:
        out.write(f"{before}\n {dump_json(value)}")
        before = ","
    out.write("[]\n" if before == "[" else "\n]\n")
    out.flush()


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table: fitted to a terminal with the last column folded, or plain columns where the output is no terminal.

    Args:
      titles: of the columns; the last one takes the room that is left.
      rows: as many cells each.
      right: the titles of the columns that stand to the right.
    """
    rows = [[shown(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(titles, rows, right)
        return
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles) - 1)]
    out = sys.stdout
    for row in (titles, *rows):
        cells = [
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, titles, strict=False)
        ]
        out.write("  ".join((*cells, row[-1])).rstrip() + "\n")
    out.flush()


def _print_fitted(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        folds = title in (titles[-1], "run")
        table.add_column(
            title,
            justify="right" if title in right else "left",
            no_wrap=not folds,
            overflow="fold" if folds else "crop",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: a "[" in a reason is no markup
    Console(file=sys.stdout, highlight=False).print(table)
