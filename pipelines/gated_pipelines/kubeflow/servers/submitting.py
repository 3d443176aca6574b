"""Begins a run of a compiled pipeline, and waits for its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError, ServerUnreachable
from gated_pipelines.kubeflow.arguments import read_arguments
from gated_pipelines.kubeflow.compiled_pipeline import read_compiled
from gated_pipelines.kubeflow.parameters import require_values
from gated_pipelines.kubeflow.roots import require_root
from gated_pipelines.kubeflow.servers.backend import ENDED, Backend, Job, Progress, State, Submitted
from gated_pipelines.kubeflow.servers.refusals import Refusal

POLL = 5.0  # seconds
_PATIENCE = 12  # times in a row without an answer, while waiting for a run that goes on without us


def make_job(
    compiled: Path,
    parameters: Sequence[str],
    root: str | None,
    schemes: Sequence[str],
    *,
    cache: bool = False,
    experiment: str = "",
    service_account: str = "",
) -> Job:
    """What is to run: a compiled file with its arguments.

    Args:
      parameters: NAME=VALUE each.
      root: the URI below which everything goes; None for the file's own. Given as the parameter `root`, it is the same.
      schemes: those of the roots that the server can write to, as "gs://".
      cache: whether tasks may be skipped as the file allows; otherwise every task is executed.

    Raises:
      ConfigError: the file, an argument or the root is wrong.
    """
    pipeline = read_compiled(compiled)
    if root is not None and "root" in pipeline.parameters:
        if any(parameter.startswith("root=") for parameter in parameters):
            raise ConfigError("The root must be given once: either by --root or by -p root=URI.")
        parameters = [*parameters, f"root={root}"]
    values = read_arguments(parameters, pipeline.parameters)
    require_values(pipeline.parameters, values)
    below = values.get("root") if root is None else root
    require_root(pipeline.default_root if below is None else str(below), schemes)
    artifacts = pipeline.default_root if below is None else f"{str(below).rstrip('/')}/artifacts"
    pipeline = pipeline if cache else pipeline.without_cache()
    return Job(pipeline, values, artifacts, experiment, service_account)


def name_run(job: Job) -> str:
    return f"{job.pipeline.name} {datetime.now(timezone.utc):%Y-%m-%d %H-%M-%S}"


def wait(
    backend: Backend, run_id: str, tasks: Sequence[str], tell: Callable[[str], None], again: Callable[[], Backend]
) -> Progress:
    """Waits for a run's end, and tells each change of its tasks.

    Args:
      tasks: those to tell of.
      again: connects anew; a run may last longer than a token.

    Raises:
      ServerError: the server refuses, or fails or gives no answer twelve times in a row; the run goes on.
    """
    told: dict[str, State] = {}
    silent = 0
    while True:
        try:
            progress = backend.progress(run_id, tasks)
        except (ServerUnreachable, Refusal) as error:
            silent += 1
            status = error.status if isinstance(error, Refusal) else None
            if silent >= _PATIENCE or (status and status < 500 and status not in (401, 429)):
                raise
            if status == 401:
                backend = again()
        else:
            silent = 0
            for line in _changes(told, {"the run": progress.state, **progress.tasks}):
                tell(line)
            if progress.state in ENDED:
                return progress
        time.sleep(POLL)


def ending(progress: Progress, url: str) -> str:
    """Why a run that did not succeed did not, in one sentence."""
    failed = [task for task, state in progress.tasks.items() if state in ("failed", "canceled")]
    where = f" at {', '.join(failed)}" if failed else ""
    why = f": {progress.error}" if progress.error else ""
    return f"The run {progress.state}{where}{why}; see {url}."


def _changes(told: dict[str, State], now: Mapping[str, State]) -> list[str]:
    changed = [(name, state) for name, state in now.items() if told.get(name) != state]
    told.update(now)
    return [f"{name}: {state}" for name, state in changed]


def summary_of(job: Job, submitted: Submitted, state: State | None) -> dict[str, Any]:
    """What `submit --json` prints."""
    return {
        "run_id": submitted.run_id,
        "url": submitted.url,
        "pipeline": job.pipeline.name,
        "version": submitted.version,
        "uploaded": submitted.uploaded,
        "state": state,
    }
