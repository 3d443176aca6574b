"""What one run leaves for the next in the root's state.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rules.records import dump_json, load_json
from checkpoint_gate.store.files import LocalFiles
from gated_pipelines.running.places import Places


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


def read_state(places: Places) -> State:
    """The state of a root; fresh where there is none.

    Raises:
      ConfigError: the file is damaged.
    """
    try:
        value = load_json(places.state.read_bytes())
        return State(
            generation=int(value["generation"]),
            last_push=str(value["last_push"]),
            filter_digest=str(value["filter_digest"]),
            filter_changes=int(value["filter_changes"]),
        )
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{places.state} is damaged ({error}). Remove it to start from generation 0.") from error


def write_state(places: Places, state: State) -> None:
    """Replaces the state of a root."""
    LocalFiles(places.root).replace(places.state.name, (dump_json(asdict(state)) + "\n").encode())
