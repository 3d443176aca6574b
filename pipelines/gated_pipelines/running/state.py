"""What one run leaves for the next of the same pipeline in the root's state.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store.files import LocalFiles
from gated_pipelines.running.places import Places

_PIPELINES = "pipelines"


@dataclass(frozen=True, slots=True)
class State:
    """Attributes:
    generation: how often training anew was asked for. It sticks, so that later runs settle on the newest training.
    last_push: the version that was pushed last, whether or not it still stands; "" before the first.
    filter_digest, filter_changes: the filter rules of the last run, and how often they have changed: going back to
      earlier rules has to judge again, since others have pruned in between.
    """

    generation: int = 0
    last_push: str = ""
    filter_digest: str = ""
    filter_changes: int = 0


def read_state(places: Places, pipeline: str) -> State:
    """The state that a pipeline of this name left in a root; fresh where it left none.

    Raises:
      ConfigError: the file is damaged.
    """
    try:
        document = _read(places)
        value = document.get(_PIPELINES, {}).get(pipeline, document)
        if not value.keys() - {_PIPELINES}:
            return State()
        return State(
            generation=int(value["generation"]),
            last_push=str(value["last_push"]),
            filter_digest=str(value["filter_digest"]),
            filter_changes=int(value["filter_changes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{places.state} is damaged ({error}). Remove it to start from generation 0.") from error


def write_state(places: Places, pipeline: str, state: State) -> None:
    """Replaces what a pipeline of this name leaves in a root; call it under the root's lease."""
    document = _read(places)
    document[_PIPELINES] = {**document.get(_PIPELINES, {}), pipeline: asdict(state)}
    LocalFiles(places.root).replace(places.state.name, (dump_json(document) + "\n").encode())


def _read(places: Places) -> dict[str, Any]:
    """The file: `pipelines`, name -> state. A state at the top was written when a root held but one pipeline."""
    try:
        document = load_json(places.state.read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(document, dict):
        raise TypeError("it must be an object")
    return document
