"""How this project is compared with a peer: the two take turns, and what they took becomes one line."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Taken = TypeVar("Taken")


def in_turn(n: int, sides: Mapping[str, Callable[[int], Taken]]) -> dict[str, list[Taken]]:
    """Runs every side n times, A B C A B C …, since a machine is not equally fast all the time.

    Args:
      n: how often.
      sides: name -> what runs it once, given the number of the round from 0 on, and says what that took.

    Returns:
      Name -> what each of its runs took.
    """
    taken: dict[str, list[Taken]] = {name: [] for name in sides}
    for number in range(n):
        for name, run in sides.items():
            taken[name].append(run(number))
            print(f"{name} {number + 1} of {n}: {taken[name][-1]}", file=sys.stderr, flush=True)
    return taken


def line(name: str, unit: str, ours: Sequence[float], peer: Sequence[float], **detail: Any) -> str:
    """A benchmark's line, see `run.py`.

    Args:
      name: of the benchmark.
      unit: what was measured.
      ours, peer: what each run took; the runs of one number belong to the same round.
      detail: whatever else is worth knowing. `curve`, where there is one, is {"over": words for what grows, "ours":
        [[x, y], …], "peer": [[x, y], …]} with y in `unit`; the line itself is then about the largest x.
    """
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    values = {
        "name": name,
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "ratio": rounded(statistics.median(ours) / statistics.median(peer)),
        "unit": unit,
        "n": len(ratios),
        "min": rounded(min(ratios)),
        "max": rounded(max(ratios)),
        "detail": {"runs": {"ours": list(ours), "peer": list(peer)}, **detail},
    }
    return json.dumps(values, sort_keys=True)


def rounded(ratio: float) -> float:
    """Three digits, however small it is."""
    return float(f"{ratio:.3g}")
