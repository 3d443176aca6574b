"""TFX's Pusher component with our executor."""

from __future__ import annotations

from typing import Any, Literal

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.pusher import executor


class PusherSpec(standard_component_specs.PusherSpec):
    """TFX's, with a push folder that may be told when the pipeline is run."""

    PARAMETERS = {
        **standard_component_specs.PusherSpec.PARAMETERS,
        executor.PUSH_FOLDER: component_spec.ExecutionParameter(type=str, optional=True),
        executor.ROOT: component_spec.ExecutionParameter(type=str, optional=True),
        executor.STORE: component_spec.ExecutionParameter(type=str, optional=True),
        executor.ON_NOT_BLESSED: component_spec.ExecutionParameter(type=str, optional=True),
    }


class Pusher(base_component.BaseComponent):
    """TFX's Pusher; it checks what it pushes, pushes the same weights once, and withdrawn ones never.

    Into the papers of the copy that it pushes, and that `pushed_model` holds, it writes how it was pushed. Inputs and
    outputs are TFX's. The class keeps its name because the component's id derives from it.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel | None = None,
        model_blessing: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        push_destination: pusher_pb2.PushDestination | RuntimeParameter | None = None,
        custom_config: dict[str, Any] | None = None,
        *,
        push_folder: str | RuntimeParameter | None = None,
        root: str | RuntimeParameter | None = None,
        store: str | None = None,
        on_not_blessed: Literal["fail", "keep_champion"] | None = None,
    ) -> None:
        """Wires the component; exactly one of `push_destination` and `push_folder` is given.

        Args:
          model, model_blessing, infra_blessing, custom_config: as TFX's; one of `model` and `infra_blessing` is given.
          push_destination: names a `filesystem.base_directory`, a path or a URL.
          push_folder: that folder by itself; unlike a part of `push_destination` it can be a RuntimeParameter.
          root: a path or a URL; a relative `push_folder` is below it, and a relative `store`.
          store: of the checkpoints; it is told which of them are in production, and prunes them no more.
          on_not_blessed: whether a challenger that Evaluator refused fails the component, so that the run's state tells
            it; None is "keep_champion".

        Raises:
          ConfigError: both or none of the two are given, or `root` without `push_folder`.
          ValueError: there is no model.
        """
        if (push_destination is None) == (push_folder is None):
            which = "neither" if push_folder is None else "both"
            raise ConfigError(f"Pusher needs exactly one of push_destination and push_folder. Received: {which}.")
        if root is not None and push_folder is None:
            raise ConfigError("Pusher's root goes with push_folder, not with push_destination.")
        if model is None and infra_blessing is None:
            raise ValueError("Pusher needs a model, or an infra_blessing that holds one. Received: neither.")
        spec = PusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            push_destination=push_destination,
            push_folder=push_folder,
            root=root,
            store=store,
            on_not_blessed=on_not_blessed,
            custom_config=json_utils.dumps(custom_config),
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
