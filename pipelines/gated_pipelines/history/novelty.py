"""Whether a run would do anything new, told by content: never by dates or names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import checkpoint_gate
import gated_pipelines
from checkpoint_gate.quantities import format_time
from checkpoint_gate.rules.records import dump_json
from gated_pipelines.history.history import Past, Work
from gated_pipelines.running.job import Job

_BESIDE = ("rules", "disk", "kubeflow")  # keys of a pipeline.yaml that are told by themselves, or decide nothing
_CHANGED = {
    "data": "the data is new",
    "rules": "the rules have changed",
    "settings": "the settings have changed",
    "code": "the code has changed",
    "pushed": "the push folder has changed",
    "store": "the store was changed by hand",
}


def work_of(job: Job) -> Work:
    """What decides about a run of `job`, as things stand now."""
    data: dict[str, object] = job.config.located.data  # type: ignore[assignment]
    settings = {key: value for key, value in data.items() if key not in _BESIDE}
    return Work(
        data=job.table.digest,
        rules=job.rules.digest(),
        settings=_digest(settings),
        code=_code_digest(),
        pushed=_digest([job.push_state, job.state.generation]),
        store=job.store_revision,
    )


def why_new(work: Work, champion: str | None, history: Sequence[Past]) -> str | None:
    """Why there is work to do, in words; None when a run would find nothing new.

    Args:
      work: of the run that is asked for.
      champion: the newest live version's folder.
      history: the earlier runs, oldest first.
    """
    ran = [past for past in history if past.ended is None or not past.ended.skipped]
    if not ran:
        return "it is the first run"
    last = ran[-1].ended
    if last is None:
        return f"the run of {format_time(ran[-1].began)} died"
    if last.champion is not None and champion is None:
        return f"the champion, version {last.champion}, is gone from the push folder"
    if not last.settled or last.work is None:
        return f"the run of {format_time(last.began)} ended with: {last.outcome}"
    return "; ".join(_changes(last.work, work)) or None


def nothing_new(history: Sequence[Past]) -> str:
    """Why a run is skipped."""
    last = next(past for past in reversed(history) if past.ended is not None and not past.ended.skipped)
    return f"nothing is new since the run of {format_time(last.began)}: the same data, rules, settings and code"


def _changes(before: Work, now: Work) -> Iterator[str]:
    for part, words in _CHANGED.items():
        if getattr(before, part) != getattr(now, part):
            yield words


def _digest(value: object) -> str:
    return hashlib.sha256(dump_json(value).encode()).hexdigest()


def _code_digest() -> str:
    """sha256 of every module of both packages."""
    digest = hashlib.sha256()
    for package in (checkpoint_gate, gated_pipelines):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
