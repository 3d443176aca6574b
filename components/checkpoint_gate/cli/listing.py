"""`checkpoint-gate list`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from checkpoint_gate.cli.words import (
    epoch_words,
    json_option,
    metric_words,
    print_array,
    print_table,
    run_option,
    say,
    store_argument,
)

if TYPE_CHECKING:
    from checkpoint_gate.reviewing.catalog import Row
    from checkpoint_gate.store import Run


@click.command("list", short_help="List the checkpoints, the pruned ones too.")
@store_argument
@run_option
@json_option
def list_checkpoints(store: str, key: str | None, as_json: bool) -> None:
    """List the checkpoints of STORE, the pruned ones too.

    Of each step what is there, and else what went last; the state to resume from, and what a resumed training has set
    aside, are not listed. States: kept; trashed (can be brought back until it is swept); pruned (its bytes are gone,
    the record stays); quarantined (damaged); lost (others removed it, and a repair has taken note of it).

    --json prints an array with one object a checkpoint: run, step, epoch (from 0), metrics, state, pinned, bytes, path
    (null once pruned or lost) and reason. Metrics that are not finite are the strings "nan", "inf" and "-inf".

    Exit code 1 when a run cannot be read: standard error tells which, and the others are listed.
    """
    from checkpoint_gate.reviewing.catalog import catalog
    from checkpoint_gate.store import Store

    home = Store.open(store)
    runs, closed = home.runs() if key is None else ([home.run(key)], {})
    rows = list(catalog(runs))
    if as_json:
        print_array(row.to_json() for row in rows)
    else:
        _show(runs, rows)
    for why in closed.values():
        say(f"Error: {why}")
    sys.exit(1 if closed else 0)


def _show(runs: Sequence[Run], rows: Sequence[Row]) -> None:
    from checkpoint_gate.quantities import format_size

    several = len(runs) > 1
    cells = [
        (
            *([row.run] if several else []),
            epoch_words(row.epoch),
            str(row.step),
            row.state + (", pinned" if row.pinned else ""),
            format_size(row.bytes),
            metric_words(row.metrics) or row.reason,
        )
        for row in rows
    ]
    if cells:
        titles = (*(["run"] if several else []), "epoch", "step", "state", "size", "metrics")
        print_table(titles, cells, right=("epoch", "step", "size"))
    kept = sum(row.state == "kept" for row in rows)
    size = format_size(sum(row.bytes for row in rows if row.path is not None))
    whose = f"the run {runs[0].key}" if len(runs) == 1 else f"{len(runs)} runs"
    say(f"{kept} kept of {len(rows)} checkpoints of {whose}; {size} on disk, the state to resume from not counted")
