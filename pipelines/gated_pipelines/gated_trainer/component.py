"""The component `Trainer`."""

from __future__ import annotations

from typing import Any

from tfx.components.trainer import component as tfx_component
from tfx.dsl.components.base import executor_spec
from tfx.orchestration.data_types import RuntimeParameter

from checkpoint_gate.rule_text.own_code import own_code
from checkpoint_gate.rule_text.rule_set import parse_rules
from gated_pipelines.gated_trainer import executor


class Trainer(tfx_component.Trainer):
    """TFX's Trainer; rules, epochs, root and push_folder are parameters beside custom_config.

    A RuntimeParameter can stand for a whole parameter only, never for a part of custom_config. The class keeps its name
    because the component's id derives from it.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        rules: str | RuntimeParameter,
        epochs: int | RuntimeParameter,
        root: str | RuntimeParameter,
        push_folder: str | RuntimeParameter,
        whole_rules: bool = False,
        **kwargs: Any,
    ) -> None:
        """Wires the component.

        Args:
          rules: rule text; of its sections `save` (needed) and `keep` are read.
          epochs: passes over the training split, 1 or more.
          root: a path or a URL; the checkpoint store is below it.
          push_folder: where the champion is when a run begins: a URL, absolute, or below the root.
          whole_rules: whether CheckpointFilter gets the same text, so that one without `filter` is refused before
            training.
          **kwargs: TFX's. Of `custom_config` the executor makes TrainSettings.
        """
        super().__init__(**kwargs)
        # For TFX's cache. What a RuntimeParameter names is in the image of the container, whose name a cache looks at.
        own = None if isinstance(rules, RuntimeParameter) else own_code(parse_rules(rules).cut("save"))
        # TFX's constructor makes the spec itself; what is added here is compiled, cached and handed to the executor
        # like the rest.
        self.spec.exec_properties.update(
            rules=rules, epochs=epochs, root=root, push_folder=push_folder, whole_rules=int(whole_rules)
        )
        if own is not None:
            self.spec.exec_properties["own_rules"] = own
