"""The choice among survivors as a file in the evaluation artifact's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.rules.records import dump_json, encode_metrics, load_json
from checkpoint_gate.rules.selection import Candidate, Score, Selection, Selector
from checkpoint_gate.store.layout import FORMAT

_FILE = "selection.json"


def write_selection(folder: Path, selector: Selector, selection: Selection) -> None:
    """Writes who won, why, the ranking, everybody's metrics, and why others were out."""
    _write(
        folder,
        selector,
        winner=selection.winner.name,
        reason=selection.reason,
        ranking=list(selection.ranking),
        excluded=dict(selection.excluded),
        candidates=[_candidate(c, selection.scores.get(c.name)) for c in selection.candidates],
    )


def write_no_winner(folder: Path, selector: Selector, candidates: Sequence[Candidate], reason: str) -> None:
    """Writes that nobody won, for `reason`, and why each was out."""
    _write(
        folder,
        selector,
        winner=None,
        reason=reason,
        ranking=[],
        excluded=selector.excluded(candidates),
        candidates=[_candidate(c, None) for c in candidates],
    )


def read_selection(folder: Path) -> dict[str, Any] | None:
    """What was written; None when the folder has none.

    Keys: `metric`, `mode`, `within_noise` and `worst_slice` of the selector; `winner`, a name or None; `reason`;
    `ranking`, names, best first; `excluded`, name -> why it is out; `candidates`, each with `name`, `run`, `step`,
    `metrics`, `averaged` (run and step of each checkpoint that it is the average of) and, where it is in the ranking,
    its `score`: `value`, `interval` (low and high, or None) and `slice` (the worst one, or None).
    """
    path = folder / _FILE
    value: dict[str, Any] | None = load_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    return value


def _write(folder: Path, selector: Selector, **content: Any) -> None:
    by: Mapping[str, Any] = {
        "metric": selector.metric,
        "mode": selector.mode,
        "within_noise": selector.within_noise,
        "worst_slice": selector.worst_slice,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(dump_json({"format": FORMAT, **by, **content}, indent=1) + "\n", encoding="utf-8")


def _candidate(candidate: Candidate, score: Score | None) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "run": candidate.run,
        "step": candidate.step,
        "metrics": encode_metrics(candidate.metrics),
        "averaged": [list(origin) for origin in candidate.averaged],
        "score": None if score is None else _score(score),
    }


def _score(score: Score) -> dict[str, Any]:
    interval = list(score.interval) if score.interval is not None else None
    return {"value": score.value, "interval": interval, "slice": score.where}
