"""How long a person waits for the command line: seconds of a whole process, the interpreter's start included.

    cli_help       checkpoint-gate --help
    cli_why_10k    checkpoint-gate why, of a run with 10,000 records

The peer is the floor: a process of the same Python that imports click, of which the command line is made, and ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from compared.sides import in_turn, line

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.memory import memory_folder

MAIN = "from checkpoint_gate.cli import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=9, help="how often each side is run")
    parser.add_argument("--quick", action="store_true", help="a short ledger, once: only to see that it runs")
    arguments = parser.parse_args()
    more = {"quick": True} if arguments.quick else {}
    records = 10 if arguments.quick else 10_000
    with memory_folder() as folder:  # where a sync for each of the records takes no time
        make_run(folder, records)
        for text in lines(str(folder), 1 if arguments.quick else arguments.n, more):
            print(text, flush=True)


def lines(store: str, n: int, more: dict[str, Any]) -> Iterator[str]:
    sides: dict[str, Callable[[int], float]] = {
        "help": partial(seconds, [MAIN, "--help"]),
        "why": partial(seconds, [MAIN, "why", store]),
        "json": partial(seconds, [MAIN, "why", store, "--json"]),
        "click": partial(seconds, ["import click"]),
        "python": partial(seconds, ["pass"]),
    }
    for side in sides.values():
        side(-1)  # reads what is imported from the disk
    taken = in_turn(n, sides)
    floor = {"beside": "python -c 'import click'", "bare_python": taken["python"], **more}
    yield line("cli_help", "s", taken["help"], taken["click"], **floor)
    yield line("cli_why_10k", "s", taken["why"], taken["click"], why_json=taken["json"], **floor)


def make_run(root: Path, records: int) -> None:
    """A run of so many epochs, all of them refused."""
    from checkpoint_gate.rules.judgement import Decision
    from checkpoint_gate.rules.records import Record
    from checkpoint_gate.store import Store

    run = Store(root).start("run", gate={"save": {"at_most": 0.5, "metric": "val_loss"}})
    no = Decision(False, "val_loss 0.61 is not at most 0.5 (by 0.11)", ("val_loss at most 0.5",), 0.22)
    for step in range(records):
        run.ledger.append(Record(step, step, {"loss": 0.5, "val_loss": 0.61}, time=1.79e9 + step), no)


def seconds(arguments: list[str], _: int) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], stdout=subprocess.DEVNULL, check=True)
    return round(time.perf_counter() - began, 4)


if __name__ == "__main__":
    main()
