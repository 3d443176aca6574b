"""The outcome of a run: one JSON object for programs, a page of words for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from checkpoint_gate.artifact_files.checkpoint_set import SET_FILE, read_about
from checkpoint_gate.artifact_files.markers import empty_reason
from checkpoint_gate.artifact_files.pointer import read_pointer
from checkpoint_gate.artifact_files.selection_file import read_selection
from checkpoint_gate.errors import CheckpointGateError
from checkpoint_gate.evaluator.verdict import BlessingVerdict, read_verdict
from checkpoint_gate.pushed.push_folder import champion_path
from checkpoint_gate.rules.records import encode_metrics
from checkpoint_gate.rules.selection import AVERAGE
from checkpoint_gate.store import Store
from checkpoint_gate.store.layout import STORE_FILE
from checkpoint_gate.store.ledger import History, parse_ledger
from checkpoint_gate.store.trash import tombstones, trashed
from gated_pipelines.reporting.anomalies import read_anomalies
from gated_pipelines.reporting.splits import read_splits, told_of
from gated_pipelines.reporting.step import Step
from gated_pipelines.running.job import Job

Outcome = Literal["pushed", "not_blessed", "no_survivors", "no_candidate", "skipped", "interrupted", "failed"]
CHAMPION_STAYS: tuple[Outcome, ...] = ("not_blessed", "no_survivors", "no_candidate")


@dataclass
class Summary:
    """What `gated-pipeline run --json` prints; see `to_json` for the keys' meaning.

    Attributes:
      green: whether the run counts as a success; without survivors, without a candidate among them and without a
        blessing, only if the pipeline.yaml says keep_champion.
      epochs, saved, refused: of the training run, over its whole ledger.
      refusals: clause -> how many epochs it refused, commonest first.
      survivors: `{name, run, step, metrics, averaged, score}`, metrics by TFMA on the eval split; see `read_selection`.
      selection: `{metric, mode, within_noise, worst_slice, ranking, excluded}`: how the best was chosen, the names of
        the survivors from the best on, and those that are out, each with the reason. None before it was.
      winner: `{name, run, step, reason, averaged}` or None; `averaged` holds the [run, step] of each checkpoint whose
        average it is, `step` is the latest of them; empty for a checkpoint.
      average: of the survivors' weights, where the pipeline.yaml asks for it, else None: the keys of a survivor, `won`,
        and the `reason` why it won or did not; `metrics` is None where they could not be averaged.
      span, spans: the newest span whose rows were taken, and all of them; None and none where the table has none.
      rows: split -> rows, of the examples that were trained on, chosen by and judged by.
      warnings: what is too little of them, in words: a class without a row in a split, a split of few rows.
      anomalies: of the data, by ExampleValidator: `{feature, where, short, long}`; `where` is a split, drift or skew.
      blessed: whether Evaluator blessed the winner in this run.
      comparison: the thresholds that judged the winner on the test split, champion and challenger side by side:
        `{metric, slice, candidate, champion, best, required, holds}`; those that failed come first. `best` is the value
        of the best champion so far, None where that is the champion or does not count.
      measured: `{challenger, champion}`: the metrics of each over the whole test split, where this run judged by them.
      rebaselined: the champion that was set aside by --rebaseline, or None.
      pushed: folder of the version that this run pushed, or None.
      champion: folder of the newest live version after the run, or None.
      pruned_bytes: removed from the store in this run, by retention, filter and sweep. What a survivors artifact of an
        earlier run still links stays on the disk until that artifact goes.
      trashed_bytes: in the store's trash after the run; removed once their grace is over.
      prune_refused: why the filter pruned nothing, "" when it did.
      seconds: component -> seconds; 0 for one taken from the cache.
      executed: the components that were not taken from the cache.
    """

    outcome: Outcome = "failed"
    green: bool = False
    reason: str = ""
    epochs: int = 0
    saved: int = 0
    refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    survivors: list[dict[str, Any]] = field(default_factory=list)
    selection: dict[str, Any] | None = None
    winner: dict[str, Any] | None = None
    average: dict[str, Any] | None = None
    span: int | None = None
    spans: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    anomalies: list[dict[str, str]] = field(default_factory=list)
    blessed: bool = False
    comparison: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, dict[str, float | str]] = field(default_factory=dict)
    rebaselined: str | None = None
    pushed: str | None = None
    champion: str | None = None
    store: str = ""
    run: str | None = None
    pruned_bytes: int = 0
    trashed_bytes: int = 0
    prune_refused: str = ""
    pruned_earlier: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)
    report: str | None = None

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The survivors, and their average where there is one."""
        average = self.average
        return self.survivors if average is None or average["metrics"] is None else [*self.survivors, average]

    def to_json(self) -> str:
        """One line of strict JSON."""
        return json.dumps(self.__dict__, sort_keys=True, allow_nan=False)


def collect(job: Job, steps: Mapping[str, Step], since: float) -> tuple[Summary, History]:
    """Reads what a run of a job did.

    Args:
      job: what was run.
      steps: what its components did.
      since: when the run began, in seconds since 1970.
    """
    summary, history = read_steps(str(job.places.store), champion_path(job.push_folder), steps, since)
    summary.span, summary.spans = job.table.span, list(job.table.spans)
    _splitting(summary, steps, job)
    if summary.outcome == "not_blessed":
        summary.green = job.config.on_not_blessed == "keep_champion"
    return summary, history


def read_steps(store: str, champion: str | None, steps: Mapping[str, Step], since: float) -> tuple[Summary, History]:
    """Reads what the components did, whatever ran them; a run without a blessing is not green here.

    Args:
      store: folder or URL of the store; what lies in its trash is counted for a folder only.
      champion: the newest live version after the run.
      steps, since: as for `collect`.
    """
    summary = Summary(store=store, champion=champion)
    summary.seconds = {name: step.seconds for name, step in steps.items()}
    summary.executed = [name for name, step in steps.items() if step.executed]
    _disk(summary, Path(store), since)
    _validating(summary, steps)
    history = _training(summary, steps)
    _filtering(summary, steps)
    _selecting(summary, steps)
    _outcome(summary, steps)
    return summary, history


def _disk(summary: Summary, folder: Path, since: float) -> None:
    if not (folder / STORE_FILE).is_file():
        return
    store = Store.open(folder)
    for run in store.runs()[0]:
        marks = tombstones(run).values()
        summary.pruned_bytes += sum(m["bytes"] for m in marks if m["event"] == "pruned" and m["time"] >= since)
        summary.trashed_bytes += sum(s.manifest.size for s in trashed(run) if s.manifest is not None)


def _output(steps: Mapping[str, Step], component: str, key: str) -> Path | None:
    step = steps.get(component)
    return Path(step.outputs[key]) if step is not None and key in step.outputs else None


def _splitting(summary: Summary, steps: Mapping[str, Step], job: Job) -> None:
    folder = _output(steps, "CsvExampleGen", "examples")
    if folder is None or not folder.is_dir():
        return
    splits = read_splits(folder, job.table.label, job.table.classes)
    summary.rows = {split: sum(rows.values()) for split, rows in splits.items()}
    summary.warnings = list(told_of(splits, job.table.classes))


def _validating(summary: Summary, steps: Mapping[str, Step]) -> None:
    folder = _output(steps, "ExampleValidator", "anomalies")
    if folder is not None:
        summary.anomalies = [one.to_json() for one in read_anomalies(folder)]


def _training(summary: Summary, steps: Mapping[str, Step]) -> History:
    model_run = _output(steps, "Trainer", "model_run")
    if model_run is None or not (model_run / "run_pointer.json").is_file():
        return History((), ())
    pointer = read_pointer(model_run)
    summary.run = pointer.run
    try:
        run = pointer.open()
    except CheckpointGateError:  # everything was cached, and the store is gone: the copy of the ledger serves
        ledger = model_run / "ledger.jsonl"
        history = parse_ledger(ledger.read_text(encoding="utf-8"), str(ledger))
    else:
        history = run.ledger.read()
    decisions = [entry.decision for entry in history.entries]
    summary.epochs = len(decisions)
    summary.saved = sum(d.save for d in decisions)
    summary.refused = summary.epochs - summary.saved
    summary.refusals = dict(Counter(c for d in decisions if not d.save for c in d.clauses).most_common())
    return history


def _filtering(summary: Summary, steps: Mapping[str, Step]) -> None:
    folder = _output(steps, "CheckpointFilter", "survivors")
    if folder is None or not (folder / SET_FILE).is_file():
        return
    about = read_about(folder)
    summary.prune_refused = about["prune_refused"]
    summary.pruned_earlier = [
        {key: mark[key] for key in ("run", "step", "epoch", "reason")} for mark in about["pruned_earlier"]
    ]


def _selecting(summary: Summary, steps: Mapping[str, Step]) -> None:
    folder = _output(steps, "CheckpointEvaluator", "evaluation")
    selection = read_selection(folder) if folder is not None else None
    if selection is None:
        return
    summary.survivors = [one for one in selection["candidates"] if not one["averaged"]]
    kept = ("metric", "mode", "within_noise", "worst_slice", "ranking", "excluded")
    summary.selection = {key: selection[key] for key in kept}
    for one in selection["candidates"]:
        if one["name"] == selection["winner"]:
            summary.winner = {
                **{key: one[key] for key in ("name", "run", "step", "averaged")},
                "reason": selection["reason"],
            }
    summary.average = _average(selection)


def _average(selection: Mapping[str, Any]) -> dict[str, Any] | None:
    """What became of the average of the survivors' weights; None where nobody asked for it."""
    found = [one for one in selection["candidates"] if one["averaged"]]
    out = selection["excluded"].get(AVERAGE)
    if not found:
        return None if out is None else {"won": False, "reason": out, "metrics": None}
    won = selection["winner"] == found[0]["name"]
    average: dict[str, Any] = found[0]
    return average | {"won": won, "reason": out or (selection["reason"] if won else "a checkpoint is better")}


def _outcome(summary: Summary, steps: Mapping[str, Step]) -> None:
    blessing = _output(steps, "Evaluator", "blessing")
    verdict = read_verdict(str(blessing)) if blessing is not None else None
    survivors = _output(steps, "CheckpointFilter", "survivors")
    none = empty_reason(str(survivors)) if survivors is not None else None
    model = _output(steps, "CheckpointEvaluator", "model")
    nobody = empty_reason(str(model)) if model is not None else None
    if verdict is not None:
        summary.comparison = [row.to_json() for row in verdict.comparison]
        if {"Evaluator", "Pusher"} & set(summary.executed):
            both = {"challenger": verdict.candidate_metrics, "champion": verdict.champion_metrics}
            summary.measured = {who: encode_metrics(metrics) for who, metrics in both.items() if metrics}
        summary.rebaselined = verdict.champion if verdict.rebaselined else None
    summary.blessed = verdict is not None and verdict.blessed and "Evaluator" in summary.executed
    summary.pushed = _pushed(summary, steps)
    summary.outcome, summary.reason = _ending(summary, verdict, none, nobody)
    summary.green = summary.outcome in ("pushed", "skipped", "no_survivors", "no_candidate")


def _ending(
    summary: Summary, verdict: BlessingVerdict | None, none: str | None, nobody: str | None
) -> tuple[Outcome, str]:
    """How it ended, and why.

    Args:
      verdict: the Evaluator's; None where it did not come to that.
      none, nobody: why there is no survivor, and no candidate; None where there is one.
    """
    if none is not None:
        return "no_survivors", none
    if nobody is not None:
        return "no_candidate", nobody
    if verdict is None:
        return "failed", "the run ended before the Evaluator"
    if summary.pushed is not None:
        return "pushed", verdict.reason
    if verdict.outcome == "not_blessed":
        return "not_blessed", verdict.reason
    if summary.champion is not None:
        return "skipped", "already champion"
    return "failed", "the push folder is empty although the model is blessed; run with --retrain to push it again"


def _pushed(summary: Summary, steps: Mapping[str, Step]) -> str | None:
    """What Pusher says it pushed, if it was executed in this run."""
    notes = steps["Pusher"].notes.get("pushed_model", {}) if "Pusher" in summary.executed else {}
    return str(notes["pushed_destination"]) if notes.get("pushed") else None


def rows_in_words(rows: Mapping[str, int]) -> str:
    """Of each split how many: "206 rows in train, 64 in eval, 74 in test"."""
    first, *others = (f"{count:,}{{}} in {split}" for split, count in rows.items())
    return ", ".join([first.format(" rows"), *(one.format("") for one in others)])


def format_value(value: float | str | None) -> str:
    """A metric's value for a table."""
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"


def commonest(refusals: Mapping[str, int], count: int = 3) -> Sequence[str]:
    """The commonest reasons for a refusal, in words."""
    return [f"{clause} ({times} time{'' if times == 1 else 's'})" for clause, times in list(refusals.items())[:count]]


def winner_in_words(winner: Mapping[str, Any]) -> str:
    """Which weights won: "step 49", or "the average of the steps 35, 42, 49"."""
    if not winner["averaged"]:
        return f"step {winner['step']}"
    return f"the average of the steps {', '.join(str(step) for _, step in winner['averaged'])}"
