"""What a rehearsal leaves for the next one: which tasks are done, and what they made.

    <folder>/rehearsal/record.json        the last rehearsal
    <folder>/rehearsal/<id>/<task>.log    what a task said
    <folder>/rehearsal/<id>/<task>.json   the ExecutorInput that it was given
    <folder>/mirror                       /gcs, /minio and /s3 of the pods, where the root is a URL

The folder is the root; for a URL, it is one below runs/rehearsals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store.files import LocalFiles
from gated_pipelines.kubeflow.rehearsal.driver_input import Artifact, Mode, Produced

FORMAT = 1
FOLDER = "rehearsal"
State = Literal["waiting", "running", "done", "reused", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class TaskReport:
    """How far a task is.

    Attributes:
      seconds: of all its attempts; of the rehearsal that executed it, where it is reused.
      attempts: how often it was begun.
      log: file of what it said, "" before it began.
    """

    name: str
    state: State = "waiting"
    seconds: float = 0.0
    attempts: int = 0
    log: str = ""
    produced: Produced = field(default_factory=Produced)

    @property
    def has_outputs(self) -> bool:
        return self.state in ("done", "reused")


@dataclass(frozen=True, slots=True)
class Record:
    """A rehearsal: what was run, below which folder or URL, and how far its tasks are."""

    id: str
    pipeline: str
    mode: Mode
    root: str
    parameters: Mapping[str, Any]
    tasks: Mapping[str, TaskReport]

    @property
    def next_number(self) -> int:
        """Greater than that of every artifact of these tasks."""
        numbers = [one.number for task in self.tasks.values() for one in task.produced.artifacts.values()]
        return max(numbers, default=0) + 1


def write_record(folder: Path, record: Record) -> None:
    """Replaces the record in a folder: whoever reads finds the one before or this one, whole."""
    value = {"format": FORMAT} | asdict(record)
    LocalFiles(folder / FOLDER).replace("record.json", (dump_json(value) + "\n").encode())


def read_record(folder: Path) -> Record | None:
    """The last rehearsal in a folder; None where there was none.

    Raises:
      ConfigError: the record is damaged, or of another version.
    """
    path = folder / FOLDER / "record.json"
    try:
        value = load_json(path.read_bytes())
        if value["format"] != FORMAT or value["mode"] not in get_args(Mode):
            raise ValueError(f"format {value['format']!r}, mode {value['mode']!r}")
        return Record(
            id=str(value["id"]),
            pipeline=str(value["pipeline"]),
            mode=value["mode"],
            root=str(value["root"]),
            parameters=dict(value["parameters"]),
            tasks={name: _task(one) for name, one in value["tasks"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Rehearse from the beginning, without --from.") from error


def _task(value: dict[str, Any]) -> TaskReport:
    produced = value.pop("produced")
    artifacts = {key: Artifact(**one) for key, one in produced["artifacts"].items()}
    return TaskReport(**value, produced=Produced(artifacts, produced["parameters"]))
