"""A year of monthly retraining on all flights that left New York in 2013.

One JSON object a month on standard output, a table at the end and words on standard error. Bytes are those on the
disk after the run; those of the store stand beside what checkpoints of every epoch of every run so far would take, each
as large as this run's own are.

    python tests/benchmarks/year/flights.py [--root DIR] [--rows N]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from checkpoint_gate.quantities import format_size
from checkpoint_gate.rules.records import dump_json
from checkpoint_gate.store import Store
from gated_pipelines.flights import write_flights
from gated_pipelines.history.history import Ended, History
from gated_pipelines.running.local import run_local

MONTHS = range(1, 13)
METRIC = "root_mean_squared_error"


def main() -> None:
    """Runs the year; what it makes is left in the root."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", type=Path, default=None, help="a new folder  [default: a temporary one]")
    options.add_argument("--rows", type=int, default=None, help="at most so many flights a month  [default: all]")
    given = options.parse_args()
    folder = given.root or Path(tempfile.mkdtemp(prefix="year-"))
    whole, project, root = folder / "whole", folder / "project", folder / "runs"
    for words in write_flights(whole):
        print(words, file=sys.stderr)
    project.mkdir()
    shutil.copy(whole / "schema.pbtxt", project)
    settings = YAML().load(whole / "pipeline.yaml")
    settings["push"]["grace"] = "0s"  # hardly any time passes between these months, so that no other would ever be over
    YAML().dump(settings, project / "pipeline.yaml")
    rows = []
    every_epoch = 0
    for month in MONTHS:
        _arrive(whole, project, f"flights-2013{month:02d}.csv", given.rows)
        moment = datetime(2013 + month // 12, month % 12 + 1, 1, 3, tzinfo=timezone.utc)
        summary = run_local(project / "pipeline.yaml", root, scheduled=True, clock=moment.timestamp)
        end = History(root).read().past[-1].ended
        assert end is not None
        every_epoch += summary.epochs * _checkpoint_bytes(root / "store", summary.run)
        rows.append(_row(month, end, summary.measured, sum(summary.seconds.values()), every_epoch))
        print(dump_json(rows[-1]), flush=True)
    Console(stderr=True, width=120).print(_table(rows))
    print(f"All that was made is in {folder}.", file=sys.stderr)


def _arrive(whole: Path, project: Path, name: str, most: int | None) -> None:
    table = pd.read_csv(whole / name, dtype=str, keep_default_na=False)
    if most is not None and len(table) > most:
        table = table.sample(most, random_state=2013).sort_index()
    table.to_csv(project / name, index=False)


def _checkpoint_bytes(store: Path, run: str | None) -> int:
    """Bytes of one checkpoint of a run."""
    if run is None:
        return 0
    state = Store.open(store).run(run).resume_state()
    return state.manifest.size if state is not None and state.manifest is not None else 0


def _row(month: int, end: Ended, measured: dict, seconds: float, every_epoch: int) -> dict:
    return {
        "month": f"2013-{month:02d}",
        "rows": end.rows,
        "outcome": end.outcome,
        "reason": end.reason,
        "saved": end.saved,
        "refused": end.refused,
        "challenger": measured.get("challenger", {}).get(METRIC),
        "champion_before": measured.get("champion", {}).get(METRIC),
        "seconds": round(seconds, 1),
        "bytes_store": end.disk.get("store", 0),
        "bytes_every_epoch": every_epoch,
        "bytes_pushed": end.disk.get("pushed", 0),
        "bytes_all": sum(end.disk.values()),
    }


def _table(rows: list[dict]) -> Table:
    table = Table(caption="RMSE in minutes, on the test split of the month's window", caption_justify="left")
    columns = (
        "month",
        "rows",
        "outcome",
        "challenger",
        "champion before",
        "s",
        "store",
        "every epoch",
        "pushed",
        "all",
    )
    for column in columns:
        table.add_column(column, justify="left" if column in ("month", "outcome") else "right")
    for row in rows:
        values = [row["challenger"], row["champion_before"]]
        table.add_row(
            row["month"],
            f"{row['rows'] or 0:,}",
            row["outcome"],
            *("" if value is None else f"{value:.3f}" for value in values),
            f"{row['seconds']:.0f}",
            *(format_size(row[key]) for key in ("bytes_store", "bytes_every_epoch", "bytes_pushed", "bytes_all")),
        )
    return table


if __name__ == "__main__":
    main()
