"""What submitting and scheduling need of a place that runs compiled pipelines, and the words that both places share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from gated_pipelines.cron import Cron
from gated_pipelines.kubeflow.compiled_pipeline import CompiledPipeline

Change = Literal["pause", "resume", "delete"]
State = Literal["pending", "running", "succeeded", "failed", "canceled", "skipped"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "canceled", "skipped"})


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run.

    Attributes:
      pipeline: the compiled pipeline, with the caching that is wanted.
      parameters: only those given; the others keep the pipeline's defaults.
      root: the URI below which artifacts go.
      experiment: the group of runs, "" for the server's default.
      service_account: that runs it, "" for the server's default.
    """

    pipeline: CompiledPipeline
    parameters: Mapping[str, Any]
    root: str
    experiment: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a job is to run again and again, under a name.

    Attributes:
      start, end: no run begins before and after; None for no such limit.
      paused: that it is to be made paused, where the server can be told so.
    """

    name: str
    cron: Cron
    start: datetime | None = None
    end: datetime | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it would be sent; an id that only the server knows is written <…>."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "path": self.path, **({} if self.body is None else {"body": dict(self.body)})}


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was begun; `version` names what runs, `uploaded` says whether it was new to the server."""

    run_id: str
    url: str
    version: str
    uploaded: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: its state, that of each task that has begun, and what the server says went wrong."""

    state: State
    tasks: Mapping[str, State] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that a server keeps."""

    name: str
    id: str
    url: str
    cron: str
    paused: bool


class Backend(Protocol):
    """A place that runs compiled pipelines. Each method raises ServerError, one sentence, if the place refuses."""

    def submit(self, job: Job, name: str) -> Submitted:
        """Begins a run; what it runs is uploaded first if the server does not have it."""

    def progress(self, run_id: str, tasks: Sequence[str]) -> Progress:
        """How far a run is; of its tasks, only those named."""

    def schedules(self, name: str | None = None) -> list[Schedule]:
        """The schedules kept, or those with just this name."""

    def content(self, schedule: Schedule) -> Mapping[str, Any]:
        """What a schedule does and when, in comparable values."""

    def wanted(self, job: Job, timing: Timing) -> Mapping[str, Any]:
        """What the content of a schedule made by `create` is to be; what is left to the server is left out."""

    def create(self, job: Job, timing: Timing) -> Schedule:
        """Makes a schedule, whether or not there is one of this name."""

    def pause(self, schedule: Schedule) -> None: ...

    def resume(self, schedule: Schedule) -> None: ...

    def delete(self, schedule: Schedule) -> None: ...
