"""The `Champion` component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from checkpoint_gate.champion import executor


class ChampionSpec(types.ComponentSpec):
    """No inputs; the state of the push folder is a parameter, because it is what a cached result depends on."""

    PARAMETERS = {
        "push_destination": component_spec.ExecutionParameter(type=str),
        "push_state": component_spec.ExecutionParameter(type=str),
        "root": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class Champion(base_component.BaseComponent):
    """Brings the newest live version of the push folder as `model`; marked empty while there is none.

    Unlike a resolver of the latest blessed model it sees rollbacks and deleted versions, and it needs no metadata
    store.

    Args:
        push_destination: the folder that Pusher pushes to, a path or a URL.
        push_state: `push_folder.listing_digest(push_destination)` when the run starts; a change of it, and nothing
            else, makes the component run again.
        root: a path or a URL; a relative `push_destination` is below it.
    """

    SPEC_CLASS = ChampionSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        push_destination: str | data_types.RuntimeParameter,
        push_state: str | data_types.RuntimeParameter,
        root: str | data_types.RuntimeParameter | None = None,
    ) -> None:
        super().__init__(
            spec=ChampionSpec(
                push_destination=push_destination,
                push_state=push_state,
                root=root,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
