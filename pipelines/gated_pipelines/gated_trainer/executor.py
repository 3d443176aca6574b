"""What the component `Trainer` does: TFX's executor, with the settings of a run put together."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.trainer import executor as tfx_executor
from tfx.utils import json_utils

from checkpoint_gate.errors import ConfigError, RuleError
from checkpoint_gate.rule_text.own_code import own_code
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.store.lease import UNTIL_FREE
from checkpoint_gate.uri_files import below
from gated_pipelines.config.sections import MAX_EPOCHS, Train
from gated_pipelines.tabular.run_key import code_digest


class Executor(tfx_executor.GenericExecutor):
    """Trains by run_fn; see the component."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Puts the run's parameters into custom_config, and trains.

        Raises:
          RuleError: the rules are wrong, or lack `save`, or `filter`, which CheckpointFilter would miss after training.
          ConfigError: the number of epochs is out of range.
        """
        given = parse_rules(exec_properties["rules"])
        if given.save is None:
            raise RuleError("Trainer needs rules with the section `save`.")
        if exec_properties.get("whole_rules") and given.filter is None:
            raise RuleError("CheckpointFilter needs rules with the section `filter`; nothing was trained.")
        rules = given.cut("save", "keep")
        config = {
            **json_utils.loads(exec_properties["custom_config"]),
            "rules": rules.to_json(),
            "epochs": _epochs(exec_properties["epochs"]),
            "store": below(exec_properties["root"], "store"),
            "push_folder": below(exec_properties["root"], exec_properties["push_folder"]),
            # As it is here: a compiled pipeline may meet an image with newer code.
            "code": code_digest(),
            "own_rules": own_code(rules.cut("save")),
            # A task that was killed and runs again has another host's name, and its lease still holds.
            "wait_for_lease": UNTIL_FREE,
        }
        super().Do(input_dict, output_dict, exec_properties | {"custom_config": json_utils.dumps(config)})


def _epochs(given: int) -> int:
    try:
        return Train(epochs=given).epochs
    except ValueError:
        raise ConfigError(f"epochs must be a whole number from 1 to {MAX_EPOCHS:,}. Received: {given!r}.") from None
