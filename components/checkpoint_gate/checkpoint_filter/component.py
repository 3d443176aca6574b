"""CheckpointFilter: the component's face."""

from __future__ import annotations

from typing import Literal

from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from checkpoint_gate.artifacts import CheckpointSet
from checkpoint_gate.checkpoint_filter.executor import Executor, needed_rules
from checkpoint_gate.errors import RuleError
from checkpoint_gate.rule_text.own_code import own_code
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.rules.filtering import PrunePolicy


class CheckpointFilterSpec(ComponentSpec):
    """What goes in and out of CheckpointFilter."""

    PARAMETERS = {
        "rules": ExecutionParameter(type=str),
        "own_rules": ExecutionParameter(type=str, optional=True),
        "default_prune": ExecutionParameter(type=str, optional=True),
        "store": ExecutionParameter(type=str, optional=True),
        "store_revision": ExecutionParameter(type=int, optional=True),
        "on_no_survivors": ExecutionParameter(type=str),
    }
    INPUTS = {"model_run": ChannelParameter(type=standard_artifacts.ModelRun)}
    OUTPUTS = {"survivors": ChannelParameter(type=CheckpointSet)}


class CheckpointFilter(base_component.BaseComponent):
    """Judges the checkpoints of one or several training runs by `filter:` and removes the rejected by `prune:`.

    Example:

    ```python
    survivors = CheckpointFilter(
        model_run=trainer.outputs["model_run"],
        rules="filter: {metric: val_loss, at_most: 0.5}",
    ).outputs["survivors"]
    ```
    """

    SPEC_CLASS = CheckpointFilterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model_run: channel.BaseChannel,
        rules: str | RuleSet | RuntimeParameter,
        *,
        default_prune: PrunePolicy | None = None,
        store: str | None = None,
        store_revision: int = 0,
        on_no_survivors: Literal["fail", "keep_champion"] = "fail",
    ) -> None:
        """Wires the component.

        Args:
          model_run: the `model_run` of one or several Trainers, each with a pointer to its run.
          rules: rule text; the sections `filter` (needed) and `prune` (optional: see default_prune). A
            RuntimeParameter's text is read when the component runs.
          default_prune: how the rejected are removed where the rules lack `prune`, such as a RuntimeParameter's text;
            None removes nothing then.
          store: overrides the store that the pointers name.
          store_revision: raised by what a user does to the store by hand, so that a cached result is not taken.
          on_no_survivors: "fail" raises NoSurvivors; "keep_champion" marks the set empty and goes on.

        Raises:
          RuleError: the rules are wrong, or lack `filter`.
        """
        given = None if isinstance(rules, RuntimeParameter) else needed_rules(rules)
        if on_no_survivors not in ("fail", "keep_champion"):
            raise RuleError(f"on_no_survivors must be fail or keep_champion. Received: {on_no_survivors!r}.")
        spec = CheckpointFilterSpec(
            model_run=model_run,
            rules=rules if given is None else given.to_json(),
            # For TFX's cache. What a RuntimeParameter names is in the image of the container, whose name a cache sees.
            own_rules=None if given is None else own_code(given),
            default_prune=RuleSet(prune=default_prune).to_json() if default_prune is not None else None,
            store=store,
            store_revision=store_revision,
            on_no_survivors=on_no_survivors,
            survivors=channel.Channel(type=CheckpointSet),
        )
        super().__init__(spec=spec)
