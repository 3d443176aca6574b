"""What a rehearsal is to do: from the beginning, or from a task on, with what an earlier one made."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.spelling import did_you_mean
from gated_pipelines.kubeflow.mirrors import URLS
from gated_pipelines.kubeflow.parameters import require_values
from gated_pipelines.kubeflow.rehearsal.driver_input import Mode, Run
from gated_pipelines.kubeflow.rehearsal.record import FOLDER, Record, TaskReport, read_record
from gated_pipelines.kubeflow.rehearsal.root_parameters import require_table, root_parameters
from gated_pipelines.kubeflow.rehearsal.task_graph import TaskGraph, read_tasks
from gated_pipelines.kubeflow.rehearsal.wire import local_path
from gated_pipelines.kubeflow.roots import require_root

DEFAULT_ROOTS = Path("runs") / "rehearsals"
_STAMP = "%Y%m%dT%H%M%SZ"
_MIRROR = "mirror"  # in the folder of a rehearsal whose root is a URL


@dataclass(frozen=True, slots=True)
class Plan:
    """A rehearsal before it begins.

    Attributes:
      root: what takes the place of the compiled root, a folder or a URL.
      folder: what the record and the logs are kept in; the root, if that is a folder.
    """

    compiled: TaskGraph
    run: Run
    root: str
    folder: Path
    reports: dict[str, TaskReport]


def make_plan(file: Path, asked: str | None, given: Sequence[str], mode: Mode | None, start: str | None) -> Plan:
    """Reads a compiled file and checks all that can be checked before any task runs.

    Args:
      asked: the root, a folder or gs://, minio:// or s3://; None for a new folder, or, to go on, for the newest of this
        pipeline.
      given: parameters, NAME=VALUE.
      mode: None for that of the rehearsal that goes on, else open-source.
      start: the task to begin with; the outputs of those above it are taken from the last rehearsal in the root.

    Raises:
      ConfigError: the file, a parameter, or what is there to go on with is wrong.
    """
    compiled = read_tasks(file)
    if asked is not None and "://" in asked:
        _require_in_bucket(asked)
    if any(text.partition("=")[0] == "root" for text in given):
        raise ConfigError("The root of a rehearsal is given with --root.")
    fresh = new_id()
    folder = _folder(compiled.name, asked, fresh if start is None else None)
    record = _earlier(compiled, file, folder, start) if start is not None else None
    root = _root(asked, folder, record)
    in_bucket = root != str(folder)
    chosen = mode or (record.mode if record is not None else "open-source")
    if in_bucket and chosen == "vertex":
        raise ConfigError(f"A rehearsal like Vertex AI's must have a folder as its root. Received: {root}.")
    fixed = (dict(record.parameters) if record is not None else {}) | {"root": root}
    parameters = root_parameters(compiled, given, fixed)
    # The tasks run on this machine: whatever the root is, they see its paths.
    require_values(compiled.parameters, parameters | {"root": str(folder)})
    if not in_bucket:
        require_table(parameters, folder)
    run_id = record.id if record is not None else fresh
    run = Run(
        mode=chosen,
        pipeline=compiled.name,
        id=run_id,
        created=_created(run_id),
        root=f"{root}/artifacts",
        parameters=parameters,
        mirror=str(folder / _MIRROR) if in_bucket else "/",
    )
    return Plan(compiled, run, root, folder, _reports(compiled, folder, record, start))


def new_id() -> str:
    """A name for a run: sorts by time, and is never given twice."""
    return f"{datetime.now(timezone.utc):{_STAMP}}-{uuid.uuid4().hex[:6]}"


def _created(run: str) -> str:
    """When a run of this name was made, by RFC 3339."""
    return f"{datetime.strptime(run.partition('-')[0], _STAMP):%Y-%m-%dT%H:%M:%SZ}"


def _folder(pipeline: str, asked: str | None, fresh: str | None) -> Path:
    """What the record and the logs are kept in: if no folder is asked for, one of the name `fresh`, or the newest."""
    if asked is not None and "://" not in asked:
        return Path(asked).expanduser().absolute()
    folders = (DEFAULT_ROOTS / pipeline).absolute()
    if fresh is not None:
        return folders / fresh
    earlier = sorted(folders.glob(f"*/{FOLDER}/record.json"))
    if not earlier:
        raise ConfigError(f"There is no rehearsal below {folders} to go on with: begin without --from.")
    return earlier[-1].parents[1]


def _root(asked: str | None, folder: Path, record: Record | None) -> str:
    """What takes the place of the compiled root: a URL, or the folder itself."""
    earlier = record.root if record is not None and "://" in record.root else str(folder)
    root = asked.rstrip("/") if asked is not None and "://" in asked else earlier
    if record is not None and root != earlier:
        raise ConfigError(f"The last rehearsal in {folder} was below {record.root}, not below {root}.")
    return root


def _require_in_bucket(url: str) -> None:
    """Refuses what no pod would find on its disk."""
    if not url.startswith(URLS):
        raise ConfigError(f"The root must be a folder, or begin with {', '.join(URLS)}. Received: {url}.")
    require_root(url)


def _earlier(compiled: TaskGraph, file: Path, folder: Path, start: str) -> Record:
    names = [task.name for task in compiled.tasks]
    if start not in names:
        words = f"{did_you_mean(start, names)}, known are {', '.join(names)}"
        raise ConfigError(f"There is no task {start} in {file}{words}.")
    record = read_record(folder)
    if record is None:
        raise ConfigError(f"There is no rehearsal in {folder} to go on with: begin without --from.")
    if record.pipeline != compiled.name:
        words = f"was of the pipeline {record.pipeline}, not of {compiled.name}"
        raise ConfigError(f"The last rehearsal in {folder} {words}.")
    above = compiled.above(start)
    for name in (name for name in names if name in above):
        if name not in record.tasks or not _is_there(record.tasks[name], folder):
            raise ConfigError(f"{start} needs the outputs of {name}, which are not there: begin with --from {name}.")
    return record


def _reports(compiled: TaskGraph, folder: Path, record: Record | None, start: str | None) -> dict[str, TaskReport]:
    """The tasks as they stand before the rehearsal: to be executed, or reused."""
    earlier = record.tasks if record is not None else {}
    again = compiled.below(start) if start is not None else set()
    reports = {}
    for task in compiled.tasks:
        reuse = task.name not in again and task.name in earlier and _is_there(earlier[task.name], folder)
        reports[task.name] = replace(earlier[task.name], state="reused") if reuse else TaskReport(task.name)
    return reports


def _is_there(report: TaskReport, folder: Path) -> bool:
    """Whether a task was done, and the folders of its outputs still are. An output itself may be nothing."""
    uris = [artifact.uri for artifact in report.produced.artifacts.values()]
    return report.has_outputs and all(Path(local_path(uri, str(folder / _MIRROR))).parent.is_dir() for uri in uris)
