"""`checkpoint-gate list`."""

from __future__ import annotations

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


@click.command("list", short_help="List the checkpoints, the pruned ones too.")
@store_argument
@run_option
@json_option
def list_checkpoints(store: str, key: str | None, as_json: bool) -> None:
    """List the checkpoints of STORE, the pruned ones too.

    States: kept; trashed (can be brought back until it is swept); pruned (its bytes are gone, the record stays);
    quarantined (damaged); lost (others removed it, and a repair has taken note of it).

    --json prints an array with one object a checkpoint: run, step, epoch (from 0), metrics, state, pinned, bytes, path
    (null once pruned or lost) and reason. Metrics that are not finite are the strings "nan", "inf" and "-inf".
    """
    from checkpoint_gate.quantities import format_size
    from checkpoint_gate.reviewing.catalog import catalog, chosen_runs
    from checkpoint_gate.store import Store

    runs = chosen_runs(Store.open(store), key)
    rows = list(catalog(runs))
    if as_json:
        print_array(row.to_json() for row in rows)
        return
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
