"""Runs every benchmark beside this file, each as a process of its own, and writes a table and plots of them.

On standard output one JSON object a line, words on standard error:

    name    the benchmark
    ours    median of what this project takes, in `unit`
    peer    median of what the peer takes, in `unit`
    ratio   ours / peer, of the medians
    n       how often each side was measured
    min     the smallest ratio of a round, in which the sides take turns
    max     the largest one
    detail  whatever else is worth knowing; every single measurement among it
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compared.goals import GOALS
from compared.report import curves, machine, machine_words, renew, table

KEYS = {"name", "ours", "peer", "ratio", "unit", "n", "min", "max", "detail"}
HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "components" / "docs" / "speed.md"


def main() -> int:
    """Exit code 0 when every benchmark gave its lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny and once: only whether they run")
    parser.add_argument("--n", type=int, help="how often each side is run  [default: as each benchmark says]")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these files, without .py; other files' lines stay")
    parser.add_argument("--output", type=Path, default=Path("dist", "bench"), help="folder  [default: %(default)s]")
    parser.add_argument("--docs", action="store_true", help=f"bring {PAGE.name} and the folder beside it up to date")
    given = parser.parse_args()
    scripts = [path for path in sorted(HERE.glob("*.py")) if not path.samefile(__file__)]
    scripts = [path for path in scripts if given.only is None or path.stem in given.only]
    options = [*(["--quick"] if given.quick else []), *(["--n", str(given.n)] if given.n else [])]
    lines: list[dict[str, Any]] = []
    failed = []
    for script in scripts:
        began = time.monotonic()
        print(f"{script.stem} …", file=sys.stderr)
        found = run(script, options)
        print(f"{script.stem}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if found is None:
            failed.append(script.stem)
        else:
            lines += found
    folder = PAGE.with_suffix("") if given.docs else given.output
    write(in_order([*(kept(folder, lines) if given.only else []), *lines]), folder)
    if given.docs:
        renew(PAGE, (PAGE.with_suffix("") / "table.md").read_text(encoding="utf-8"))
    if failed:
        print(f"These benchmarks failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def run(script: Path, options: Sequence[str]) -> list[dict[str, Any]] | None:
    """A benchmark's lines, printed too; None where it failed."""
    done = subprocess.run([sys.executable, str(script), *options], stdout=subprocess.PIPE, text=True)
    printed = done.stdout.splitlines()
    lines = [line for text in printed if (line := well_formed(text)) is not None]
    if done.returncode or not lines or len(lines) < len(printed):
        return None
    print(*printed, sep="\n", flush=True)
    return lines


def well_formed(text: str) -> dict[str, Any] | None:
    """A benchmark's line; None where it is not as this module says."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict) and set(value) == KEYS:
        return value
    print(f"not a benchmark's line: {text[:200]}", file=sys.stderr)
    return None


def kept(folder: Path, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an earlier run has written to `folder` of benchmarks that `lines` say nothing of."""
    try:
        earlier = (folder / "lines.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    names = {line["name"] for line in lines}
    return [line for line in map(json.loads, earlier) if line["name"] not in names]


def in_order(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines in the order of the goals; those without one last."""
    places = list(GOALS)
    return sorted(lines, key=lambda line: places.index(line["name"]) if line["name"] in places else len(places))


def write(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """Writes the lines, the machine, the table and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    about = machine()
    (folder / "machine.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    rows = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    (folder / "lines.jsonl").write_text(rows, encoding="utf-8")
    (folder / "table.md").write_text(f"{machine_words(about)}\n\n{table(lines)}\n", encoding="utf-8")
    curves(lines, folder)
    print(f"The table and the plots are in {folder}.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
