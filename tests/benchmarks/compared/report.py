"""The lines of a whole run as a table in Markdown and as plots of what has a curve."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared.goals import GOALS, Goal

_PACKAGES = ("tensorflow", "tfx", "tensorflow-model-analysis", "keras")
_BEGIN, _END = "<!-- measured -->\n", "<!-- end -->"
_COLOURS = {"ours": "#1f6fb2", "peer": "#9a9a9a"}


def machine() -> dict[str, Any]:
    """What the run ran on, and when."""
    return {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """One row a line, but for those that are curves; a goal that was missed is in bold."""
    rows = ["| | unit | ours | peer | ratio (each round) | goal |", "|---|---|--:|--:|--:|--:|"]
    for line in lines:
        if "curve" in line["detail"]:
            continue
        goal = GOALS.get(line["name"], Goal(line["name"].replace("_", " "), "the peer"))
        wanted = f"**missed: {goal.wanted(line['unit'])}**" if goal.missed(line) else goal.wanted(line["unit"])
        numbers = f"{line['ours']:.3g} | {line['peer']:.3g} | {line['ratio']:g} ({line['min']:g}–{line['max']:g})"
        rows.append(f"| `{line['name']}`: {goal.words}; peer: {goal.peer} | {line['unit']} | {numbers} | {wanted} |")
    return "\n".join(rows)


def machine_words(about: Mapping[str, Any]) -> str:
    """One sentence about the machine."""
    packages = ", ".join(f"{name} {about[name]}" for name in _PACKAGES)
    return (
        f"Measured on {about['date']}: {about['cores']} cores of {about['processor']}, {about['memory_gib']} GiB, "
        f"Python {about['python']}, {packages}."
    )


def curves(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draws every curve on logarithmic axes, where a straight line of slope 1 is linear cost; the files."""
    return [_draw(line, folder / f"{line['name']}.svg") for line in lines if "curve" in line["detail"]]


def renew(page: Path, words: str) -> None:
    """Puts `words` between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{words}\n{_END}{after}", encoding="utf-8")


def _draw(line: Mapping[str, Any], path: Path) -> Path:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    curve = line["detail"]["curve"]
    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9.5}):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axis = figure.subplots()
        for side, colour in _COLOURS.items():
            points = [(x, y) for x, y in curve.get(side, ()) if y > 0]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=side)
        axis.set(xscale="log", yscale="log", xlabel=curve["over"], ylabel=line["unit"], title=line["name"])
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
        figure.savefig(path, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return path


def _processor() -> str:
    for row in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if row.startswith("model name"):
            return row.partition(":")[2].strip()
    return platform.machine()
