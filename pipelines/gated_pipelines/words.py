"""A summary as a page of words."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from checkpoint_gate.quantities import format_size
from gated_pipelines.summary import Summary, commonest

_HEADLINES = {
    "pushed": "pushed",
    "not_blessed": "not blessed: the champion stays",
    "no_survivors": "no survivors: the champion stays",
    "skipped": "skipped: nothing to push",
    "failed": "failed",
}


def tell(summary: Summary, console: Console) -> None:
    """Prints a summary for a person."""
    console.print()
    if summary.epochs:
        why = "; ".join(commonest(summary.refusals))
        console.print(f"epochs     {summary.epochs}: {summary.saved} saved, {summary.refused} refused")
        if why:
            console.print(f"           refused most often by: {why}")
    if summary.pruned_earlier:
        steps = ", ".join(f"epoch {mark['epoch'] + 1}" for mark in summary.pruned_earlier)
        console.print(f"pruned     these rules would keep {steps}, but an earlier run had pruned them")
    if summary.survivors:
        console.print(_table(summary))
    if summary.winner is not None:
        console.print(f"winner     step {summary.winner['step']}: {summary.winner['reason']}")
    if summary.epochs:
        freed, held = format_size(summary.pruned_bytes), format_size(summary.trashed_bytes)
        console.print(f"pruning    {freed} freed, {held} in the trash until their grace is over")
    if summary.prune_refused:
        console.print(f"           {summary.prune_refused}")
    if summary.seconds:
        taken = [f"{name} {seconds:.1f} s" for name, seconds in summary.seconds.items() if name in summary.executed]
        cached = [name for name in summary.seconds if name not in summary.executed]
        console.print(f"time       {', '.join(taken) or 'nothing was executed'}")
        if cached:
            console.print(f"           from the cache: {', '.join(cached)}")
    console.print(f"outcome    {_HEADLINES[summary.outcome]}")
    console.print(f"           {summary.reason}")
    for word, place in (
        ("model", summary.pushed or summary.champion),
        ("store", summary.store),
        ("report", summary.report),
    ):
        if place:
            console.print(f"{word:<10} {place}", soft_wrap=True)


def _table(summary: Summary) -> Table:
    table = Table(title="survivors by TFMA on the eval split", title_justify="left")
    metrics = sorted({name for survivor in summary.survivors for name in survivor["metrics"]})
    for column in ("step", *metrics):
        table.add_column(column, justify="right")
    won = summary.winner["step"] if summary.winner else None
    for survivor in summary.survivors:
        values = [survivor["metrics"].get(name, "") for name in metrics]
        cells = [f"{value:.6g}" if isinstance(value, (int, float)) else value for value in values]
        table.add_row(f"{survivor['step']}", *cells, style="bold" if survivor["step"] == won else "")
    return table
