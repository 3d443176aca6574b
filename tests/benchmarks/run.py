"""Runs every benchmark beside this file, each as a process of its own; options are handed on to all of them.

On standard output one JSON object a line, words on standard error:

    name    the benchmark
    ours    median of what this project takes, in `unit`
    peer    median of what the peer takes, in `unit`
    ratio   ours / peer, of the medians
    n       how often each side was measured
    min     the smallest ratio of a pair of runs
    max     the largest one
    detail  whatever else is worth knowing; every single measurement among it
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

KEYS = {"name", "ours", "peer", "ratio", "unit", "n", "min", "max", "detail"}


def main() -> int:
    """Exit code 0 when every benchmark gave its lines."""
    failed = []
    for script in sorted(Path(__file__).parent.glob("*.py")):
        if script.samefile(__file__):
            continue
        print(f"{script.stem} …", file=sys.stderr)
        done = subprocess.run([sys.executable, str(script), *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
        lines = done.stdout.splitlines()
        if done.returncode or not lines or not all(map(well_formed, lines)):
            failed.append(script.stem)
            continue
        print(*lines, sep="\n", flush=True)
    if failed:
        print(f"These benchmarks failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def well_formed(line: str) -> bool:
    """Whether a benchmark's line is as this module says."""
    try:
        value = json.loads(line)
    except ValueError:
        value = line
    good = isinstance(value, dict) and set(value) == KEYS
    if not good:
        print(f"not a benchmark's line: {line[:200]}", file=sys.stderr)
    return good


if __name__ == "__main__":
    sys.exit(main())
