"""How a rehearsal ended: for programs one JSON object, for people a page of words."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from checkpoint_gate.pushed.push_folder import champion_path
from checkpoint_gate.rules.records import dump_json
from checkpoint_gate.uri_files import is_local
from gated_pipelines.kubeflow.rehearsal.driver_input import Run
from gated_pipelines.kubeflow.rehearsal.plan import Plan
from gated_pipelines.kubeflow.rehearsal.record import TaskReport
from gated_pipelines.kubeflow.rehearsal.rehearsing import Stopped
from gated_pipelines.reporting.step import Step
from gated_pipelines.reporting.summary import Outcome, Summary, read_steps
from gated_pipelines.reporting.words import tell

_KINDS: Mapping[str, Outcome] = {"NoSurvivors": "no_survivors", "NoCandidate": "no_candidate"}
_OURS = {"Trainer", "CheckpointFilter", "CheckpointEvaluator", "Evaluator", "Pusher"}


def summarise(plan: Plan, reports: Mapping[str, TaskReport], stopped: Stopped | None, since: float) -> Summary:
    """What the tasks did, read as after a run of `gated-pipeline run`.

    Args:
      reports: how far each task came.
      stopped: why the rehearsal ended early, None if it did not.
      since: when it began, in seconds since 1970.
    """
    steps = {name: _step(plan.run, report) for name, report in reports.items() if report.has_outputs}
    push = os.path.join(plan.root, str(plan.run.parameters.get("push_folder", "serving")))
    champion = champion_path(push) if is_local(push) else None  # a bucket is left alone
    summary, _ = read_steps(f"{plan.root}/store", champion, steps, since)
    if stopped is not None:
        raised = re.match(r"(?:[\w.]+\.)?(\w+): ", stopped.line)
        summary.outcome = _KINDS.get(raised[1], "failed") if raised is not None else "failed"
        summary.reason, summary.green = reason(stopped, reports[stopped.task].log), False
    return summary


def _step(run: Run, report: TaskReport) -> Step:
    artifacts = report.produced.artifacts
    return Step(
        state="cached" if report.state == "reused" else "complete",
        seconds=report.seconds,
        outputs={key: run.local(artifact.uri) for key, artifact in artifacts.items()},
        notes={
            key: {
                name: value if isinstance(value, str) else int(value)
                for name, value in artifact.metadata.items()
                if isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())
            }
            for key, artifact in artifacts.items()
        },
    )


def reason(stopped: Stopped, log: str) -> str:
    """Why a rehearsal ended early, in one sentence; where the log lies, in another."""
    said = f": {stopped.line.removeprefix('Error: ')}" if stopped.line else ""
    where = f" Its log is {log}." if log else ""
    return f"{stopped.task} {stopped.words}{said.rstrip('.')}.{where}"


def how_to_go_on(file: Path, plan: Plan, stopped: Stopped) -> str:
    """The command that takes up a rehearsal which ended early."""
    return shlex.join(["gated-pipeline", "rehearse", str(file), "--root", plan.root, "--from", stopped.task])


def to_json(plan: Plan, reports: Mapping[str, TaskReport], summary: Summary, seconds: float) -> str:
    """One line: the keys of `gated-pipeline run --json`, and those of a rehearsal, which win.

    Keys: `tasks` ({name, state, seconds, attempts, log}), `outputs` (task -> output -> URI), `mode`, `root`, `id`,
    `seconds` (all together).
    """
    value: dict[str, Any] = vars(summary) | {
        "tasks": [
            {key: getattr(report, key) for key in ("name", "state", "seconds", "attempts", "log")}
            for report in reports.values()
        ],
        "outputs": {
            name: {key: artifact.uri for key, artifact in report.produced.artifacts.items()}
            for name, report in reports.items()
        },
        "mode": plan.run.mode,
        "root": plan.root,
        "id": plan.run.id,
        "seconds": round(seconds, 3),
    }
    return dump_json(value)


def show(plan: Plan, reports: Mapping[str, TaskReport], summary: Summary, console: Console) -> None:
    """Prints the end of a rehearsal: of one of our pipelines as after a run, of another what it left last."""
    if set(reports) >= _OURS:
        tell(summary, console)
        return
    used = {name for task in plan.compiled.tasks for name in task.needs}
    table = Table(box=None, title="outputs", title_justify="left")
    for name, report in reports.items():
        for key, artifact in report.produced.artifacts.items() if name not in used else ():
            table.add_row(name, key, artifact.uri)
    console.print(table)
