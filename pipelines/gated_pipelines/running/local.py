"""One run of a pipeline by TFX's LocalDagRunner."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import (
    CheckpointGateError,
    ConfigError,
    DataAnomalies,
    LeaseHeld,
    NoCandidate,
    NoSurvivors,
)
from checkpoint_gate.pushed.known_champion import resolved_for
from checkpoint_gate.pushed.push_folder import champion_path
from checkpoint_gate.pusher.noting import note_pushed
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.store import Store
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.ledger import History as Ledger
from checkpoint_gate.store.sweeping import sweep_store
from checkpoint_gate.training.preemption import RESUMABLE
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.config.sections import Disk
from gated_pipelines.disk.bounds import bounds_of
from gated_pipelines.disk.pruning import prune_after_run
from gated_pipelines.disk.unfinished import fail_unfinished
from gated_pipelines.history.novelty import nothing_new
from gated_pipelines.history.recorder import Recorder
from gated_pipelines.reporting.report import write_report
from gated_pipelines.reporting.summary import Outcome, Summary, collect
from gated_pipelines.running.console import quiet
from gated_pipelines.running.job import Job, prepare_config
from gated_pipelines.running.places import Places
from gated_pipelines.running.pushed import prune_pushed
from gated_pipelines.running.state import read_state, write_state
from gated_pipelines.tables.spans import spans_in_words

_LOG = logging.getLogger(__name__)
_BY_HAND = 128 + signal.SIGINT  # as a shell tells of a command that Ctrl-C has ended


def run_command(pipeline: Path, root: Path, **asked: Any) -> Summary:
    """As `run_local`, in a program of its own: Ctrl-C ends it with the exit code that a shell gives such a program."""
    try:
        return run_local(pipeline, root, **asked)
    except KeyboardInterrupt:
        raise SystemExit(_BY_HAND) from None


def run_local(
    pipeline_file: Path,
    root: Path,
    *,
    span: int | None = None,
    retrain: bool = False,
    rebaseline: bool = False,
    scheduled: bool = False,
    clock: Callable[[], float] = time.time,
) -> Summary:
    """Runs a pipeline.yaml from its table to the push folder; everything it makes lies below `root`.

    Args:
      pipeline_file: the pipeline.yaml.
      root: the folder for everything.
      span: the last span whose rows are taken; None for the largest there is.
      retrain: trains anew, though nothing has changed.
      rebaseline: sets the champion aside for this run, so that the thresholds on values decide alone.
      scheduled: a run that finds nothing new, or another one at work, is skipped.
      clock: seconds since 1970, for the history.

    What is wrong ends in a summary whose outcome is "failed", "no_survivors" or "no_candidate", with one sentence as
    the reason. Errors that nobody foresaw are raised. Each run is written into the root's history.

    Raises:
      SystemExit: it was interrupted: by Ctrl-C with code 130, by SIGTERM while it trained with code 75.
    """
    places = Places(root.expanduser().absolute())
    recorder = Recorder(places.root, "schedule" if scheduled else "by hand", span, clock)
    with ExitStack() as held:  # to the end: whoever has the root next finds the whole history
        try:
            config = load_config(pipeline_file)
            recorder.found_pipeline(config.name, config.push.under(places.root))
            job = replace(prepare_config(config, places, span), rebaseline=rebaseline)
            try:
                held.enter_context(_root_lease(places))
            except LeaseHeld as error:
                return recorder.end(_left_to_another(error, scheduled), skipped=scheduled)
            job = replace(job, state=read_state(places, config.name))
            return _alone(job, recorder, retrain=retrain, scheduled=scheduled)
        except CheckpointGateError as error:
            return recorder.end(Summary(reason=str(error)))
        except Exception as error:
            recorder.end(Summary(reason=" ".join(f"{type(error).__name__}: {error}".split())))
            raise


def _root_lease(places: Places) -> Lease:
    """One run at a time in a root: two would meet in ML Metadata and in the push folder."""
    return Lease(LocalFiles(places.root), "run.lease", "running a pipeline", time.time, again=False)


def _left_to_another(error: LeaseHeld, scheduled: bool) -> Summary:
    if not scheduled:
        return Summary(reason=str(error))
    return Summary(outcome="skipped", green=True, reason=f"another run is at work: {error}")


def _alone(job: Job, recorder: Recorder, *, retrain: bool, scheduled: bool) -> Summary:
    """Runs, or skips; call it under the root's lease."""
    why = recorder.found_work(job)
    if scheduled and why is None:
        return _skip(job, recorder)
    asked = [words for words, given in (("--retrain", retrain), ("--rebaseline", job.rebaseline)) if given]
    recorder.begin("; ".join([*asked, *([why] if why else [])]) or "it was asked for, though nothing is new")
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    log_file = job.places.logs / f"{stamp}.log"
    with quiet(log_file):
        spans = f" of {spans_in_words(job.table.spans)}" if job.table.spans else ""
        _LOG.info("%s: %d rows%s; the full log is %s", job.config.name, job.table.rows, spans, log_file)
        with _told_if_interrupted(recorder):
            return recorder.end(*_run(_anew(job) if retrain else job, log_file))


@contextmanager
def _told_if_interrupted(recorder: Recorder) -> Iterator[None]:
    """Writes into the history that a run was interrupted, which is no failure of its own."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        if isinstance(stopped, SystemExit) and stopped.code != RESUMABLE:
            raise
        by_hand = isinstance(stopped, KeyboardInterrupt)
        words = "the same command goes on; training after its last complete epoch"
        words = f"{'Ctrl-C' if by_hand else 'SIGTERM'}: {words}"
        _LOG.warning("interrupted by %s", words)
        recorder.end(Summary(outcome="interrupted", reason=words))
        raise


def _skip(job: Job, recorder: Recorder) -> Summary:
    """What is due goes from the disk all the same."""
    reason = nothing_new(recorder.earlier())
    left = _catch_up(job)
    champion = champion_path(job.push_folder)
    summary = Summary(outcome="skipped", green=True, reason=reason, champion=champion, store=str(job.places.store))
    return recorder.end(summary, left, skipped=True)


def _anew(job: Job) -> Job:
    """The job of a training that was not there before."""
    state = replace(job.state, generation=job.state.generation + 1)
    write_state(job.places, job.config.name, state)
    return replace(job, state=state)


def _run(job: Job, log_file: Path) -> tuple[Summary, Job]:
    """What came of it, and the job with the state that the next run will find."""
    since = time.time()
    _require_metadata(job.places)
    fail_unfinished(job.places)
    before = champion_path(job.push_folder)
    ready = _catch_up(job)
    _LOG.info("loading TensorFlow Extended …")
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    from gated_pipelines.pipeline import create_pipeline
    from gated_pipelines.reporting.lineage import last_run, newest_run

    pipeline = create_pipeline(ready)
    earlier = newest_run(job.places.metadata)
    error: CheckpointGateError | None = None
    try:
        LocalDagRunner().run(pipeline)
    except CheckpointGateError as raised:
        error = raised
    left = _catch_up(ready)
    summary, ledger = collect(left, last_run(job.places.metadata, after=earlier), since)
    if error is not None:
        kinds: dict[type, Outcome] = {NoSurvivors: "no_survivors", NoCandidate: "no_candidate"}
        summary.outcome = kinds.get(type(error), "failed")
        summary.reason, summary.green, summary.pushed = str(error), False, None
        if isinstance(error, DataAnomalies):  # what ExampleValidator wrote is gone
            summary.anomalies = list(error.anomalies)
    _report(left, summary, ledger, before, log_file)
    _prune_old_runs(left)
    return summary, left


def _catch_up(job: Job) -> Job:
    """Does what is due, looks at what others did meanwhile, and answers with the job whose state tells of it.

    Old versions go, the store is told of those that stand, and what lies in its trash beyond its grace is freed: a
    filter that is taken from the cache does not do it.
    """
    prune_pushed(job.config.push, job.push_folder)
    note_pushed(job.places.store, job.push_folder)
    champion = champion_path(job.push_folder)
    state = replace(job.state, last_push=Path(champion).name if champion is not None else job.state.last_push)
    digest = job.rules.cut("filter", "prune").digest()
    if state.filter_digest != digest:
        state = replace(state, filter_digest=digest, filter_changes=state.filter_changes + 1)
    if state != job.state:
        write_state(job.places, job.config.name, state)
    if (job.places.store / STORE_FILE).is_file():
        sweep_store(Store.open(job.places.store))
    return replace(job, state=state)


def _require_metadata(places: Places) -> None:
    """Refuses to go on without the database: ids would begin anew, and outputs fall into folders that are not empty."""
    if not places.metadata.exists() and places.artifacts.is_dir() and any(places.artifacts.iterdir()):
        raise ConfigError(
            f"ML Metadata's database {places.metadata} is gone, but the artifacts that it told of are there: put it "
            f"back, or move {places.artifacts} away to execute everything anew. The store keeps what it holds."
        )


def _report(job: Job, summary: Summary, ledger: Ledger, before: str | None, log_file: Path) -> None:
    path = job.places.report
    try:
        rules = _as_judged(job.rules, summary)
        write_report(summary, ledger, job.config.name, path, rules=rules, champion_before=before, log=log_file)
    except Exception as error:  # the run is over; whatever is wrong with its picture does not change how it ended
        _LOG.warning("the report %s could not be written: %s: %s", path, type(error).__name__, error)
    else:
        summary.report = str(path)


def _prune_old_runs(job: Job) -> None:
    """Keeps the disk bounded, where the pipeline.yaml asks for it."""
    if job.config.disk != Disk():
        prune_after_run(job.places, job.push_folder, bounds_of(job.config))


def _as_judged(rules: RuleSet, summary: Summary) -> RuleSet:
    """The rules with the numbers of the champion that the training run began under."""
    if not rules.unresolved or summary.run is None:
        return rules
    return resolved_for(rules, [Store.open(summary.store).run(summary.run)])
