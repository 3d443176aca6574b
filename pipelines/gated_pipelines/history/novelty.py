"""Whether a run would do anything new, told by content: never by dates or names."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import checkpoint_gate
import gated_pipelines
from checkpoint_gate.quantities import format_time
from checkpoint_gate.rule_text.own_code import own_code
from checkpoint_gate.rules.records import dump_json
from gated_pipelines.history.history import Ended, Past, Runs, Work, unreadable_in_words
from gated_pipelines.running.job import Job

_BESIDE = ("rules", "disk", "kubeflow")  # keys of a pipeline.yaml that are told by themselves, or decide nothing
_LIBRARIES = (
    *("tensorflow", "keras", "tensorflow-transform", "tensorflow-model-analysis", "tensorflow-data-validation"),
    *("tfx", "apache-beam", "numpy"),
)
_CHANGED = {
    "data": "the data is new",
    "curated": "the curated schema has changed",
    "rules": "the rules have changed",
    "settings": "the settings have changed",
    "code": "the code has changed",
    "libraries": "the libraries have changed",
    "pushed": "the push folder has changed",
    "store": "the store was changed by hand",
}


def work_of(job: Job) -> Work:
    """What decides about a run of `job`, as things stand now: to be taken before it runs, by the code that runs."""
    data: dict[str, object] = job.config.located.data  # type: ignore[assignment]
    settings = {key: value for key, value in data.items() if key not in _BESIDE}
    return Work(
        data=job.table.digest,
        curated=_digest(job.schema) if job.schema is not None else "",
        rules=job.rules.digest(),
        settings=_digest(settings),
        code=_code_digest(own_code(job.rules)),
        libraries=_digest([platform.python_version(), *(f"{name}={metadata.version(name)}" for name in _LIBRARIES)]),
        pushed=_pushed(job),
        store=job.changes_by_hand,
    )


def left_by(work: Work, job: Job) -> Work:
    """What a run leaves for the next to compare with: its own part in push folder and store is no news.

    Args:
      work: taken before it ran.
      job: with the state after it.
    """
    return work.model_copy(update={"pushed": _pushed(job), "store": job.changes_by_hand})


def why_new(work: Work, champion: int | None, runs: Runs) -> str | None:
    """Why there is work to do, in words; None when a run would find nothing new.

    Args:
      work: of the run that is asked for.
      champion: the newest live version.
      runs: the earlier ones of this pipeline.
    """
    return "; ".join(_reasons(work, champion, runs)) or None


def nothing_new(runs: Runs) -> str:
    """Why a run is skipped."""
    last = next(past for past in reversed(runs.past) if _counts(past))
    return f"nothing is new since the run of {format_time(last.began)}: the same data, rules, settings and code"


def _reasons(work: Work, champion: int | None, runs: Runs) -> Iterator[str]:
    last = next((past for past in reversed(runs.past) if _counts(past)), None)
    gone = _gone(champion, runs)
    unreadable = [number for number in runs.unreadable if last is None or number > last.line]
    if unreadable:  # what came of the last run is not known
        yield unreadable_in_words(unreadable)
    elif last is None:
        yield "it is the first run"
    elif last.ended is None:
        yield f"the run of {format_time(last.began)} died"
    elif not last.ended.settled:
        yield f"the run of {format_time(last.began)} ended with: {last.ended.outcome}"
    else:
        before = _looked(runs)[-1].work
        assert before is not None
        changed = [part for part in _CHANGED if getattr(before, part) != getattr(work, part)]
        yield from (gone if gone and part == "pushed" else _CHANGED[part] for part in changed)
        return
    if gone:
        yield gone


def _counts(past: Past) -> bool:
    """Whether what came of a run is what the schedule goes on from.

    A run by hand that could not begin changed nothing, and one of a span that somebody asked for was of other data.
    """
    end = past.ended
    if past.told.asked_span is not None:
        return False
    return end is None or (not end.skipped and (end.work is not None or end.trigger == "schedule"))


def _looked(runs: Runs) -> list[Ended]:
    """The runs that saw, and left, what a later one is compared with; those that were skipped have pruned, too."""
    ended = (past.ended for past in runs.past if past.told.asked_span is None)
    return [end for end in ended if end is not None and end.work is not None]


def _gone(champion: int | None, runs: Runs) -> str:
    """That the champion of the last run that knew one is gone, and nothing took its place; "" if it is not."""
    ended = (past.ended for past in reversed(runs.past))
    known = next((end.champion for end in ended if end is not None and end.work is not None and end.champion), None)
    if known is None or (champion is not None and champion >= known):
        return ""
    return f"the champion, version {known}, is gone from the push folder"


def _pushed(job: Job) -> str:
    return _digest([job.push_state, job.state.generation])


def _digest(value: object) -> str:
    return hashlib.sha256(dump_json(value).encode()).hexdigest()


def _code_digest(own: str | None) -> str:
    """sha256 of every module of both packages, and of what stands for the code of rules of one's own."""
    digest = hashlib.sha256()
    for package in (checkpoint_gate, gated_pipelines):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    digest.update((own or "").encode())
    return digest.hexdigest()
