"""`checkpoint-gate suggest`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from checkpoint_gate.cli.words import epoch_words, json_option, print_json, say, some

if TYPE_CHECKING:
    from checkpoint_gate.rules.conditions import Mode
    from checkpoint_gate.suggesting.suggest import Kept, Suggestion

_PATIENCE = 2.0  # seconds before the search tells how far it is


@click.command(short_help="Propose rules from earlier ledgers.")
@click.argument("ledgers", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="LEDGER...")
@click.option(
    "--keep", type=click.IntRange(min=1), default=5, show_default=True, help="About so many checkpoints of each run."
)
@click.option("--metric", help="What ranks the records.  [default: val_loss where every ledger has it, else loss]")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Which way it is better; needed for any but val_loss and loss."
)
@json_option
def suggest(ledgers: tuple[Path, ...], keep: int, metric: str | None, mode: str | None, as_json: bool) -> None:
    """Propose rules that would have saved about --keep checkpoints of each LEDGER, its best record among them.

    A LEDGER is the ledger.jsonl of a run, or JSON lines of records as for `replay`; a folder stands for the ledgers of
    its runs. One without records is passed over when another has some. The best record is the one with the
    best finite --metric, the later one of equals, among those with a finite training loss.

    The rules are written to standard output as YAML, ready for a rules file and for `replay --rules`; what they would
    have saved of each ledger is told on standard error.

    --json prints one object: rules, keep, metric, mode, and ledgers, an array with one object a ledger: history,
    records, saved, refused, steps (those saved) and best (step, epoch from 0, value, saved).
    """
    from checkpoint_gate.reviewing.replaying import history_files, read_ledger_file
    from checkpoint_gate.suggesting.suggest import PastRun
    from checkpoint_gate.suggesting.suggest import suggest as suggested

    runs = []
    for path in (file for given in ledgers for file in history_files(given)):
        lines, torn = read_ledger_file(path)
        if torn:
            say(f"The last line of {path} was torn by a crash and is passed over.")
        runs.append(PastRun(str(path), tuple(line.record for line in lines)))
    recorded = [run for run in runs if run.records] or runs  # where none has any, that is the error
    for run in runs:
        if run not in recorded:
            say(f"{run.name} has no records and is passed over.")
    with _progress(sum(len(run.records) for run in recorded)) as tell:
        suggestion = suggested(recorded, keep, metric, cast("Mode | None", mode), tell)
    if as_json:
        print_json(suggestion.to_json())
    else:
        click.echo(suggestion.text, nl=False)
    _tell(suggestion)


@contextlib.contextmanager
def _progress(records: int) -> Iterator[Callable[[int], None]]:
    """Tells on standard error how far the search is, once it has taken a while."""
    since = time.monotonic()
    with contextlib.ExitStack() as stack:
        show: Callable[[str], object] | None = None

        def tell(tried: int) -> None:
            nonlocal show
            if time.monotonic() - since < _PATIENCE:
                return
            words = f"Trying rules on {records} records: {tried} sets so far"
            if show is None and sys.stderr.isatty():
                from rich.console import Console

                show = stack.enter_context(Console(stderr=True).status(words)).update
            elif show is None:
                say(words)
                show = str  # once is enough where nothing can be overwritten
            show(words)

        yield tell


def _tell(suggestion: Suggestion) -> None:
    for kept in suggestion.runs:
        best = kept.best
        say(
            f"{kept.run.name}: {len(kept.saved)} of {len(kept.run.records)} records saved ({_where(kept)}), "
            f"{'with' if kept.best_saved else 'without'} the best: {suggestion.metric} "
            f"{best.metrics[suggestion.metric]:.6g} at epoch {epoch_words(best.epoch)}, step {best.step}"
        )
    mean = f"{suggestion.mean:.3g} saved a run on average, about {suggestion.keep} asked for"
    if suggestion.reached:
        say(mean)
    else:
        say(f"{mean}: of {suggestion.tried} sets of rules that save the best of each, none comes nearer")


def _where(kept: Kept) -> str:
    if all(record.at == "epoch" for record in kept.saved):
        return f"epochs {some(record.epoch + 1 for record in kept.saved)}"
    return f"steps {some(record.step for record in kept.saved)}"
