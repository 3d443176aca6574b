"""The Keras callback."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from checkpoint_gate.gate import Gate
from checkpoint_gate.records import Record, metrics_from_logs
from checkpoint_gate.rule_text import RuleSet, load_rules, parse_rules, rules_from_mapping
from checkpoint_gate.rules import Rule
from checkpoint_gate.store import Store
from checkpoint_gate.training import GatedTraining

_LOG = logging.getLogger(__name__)

RulesLike = str | Path | Mapping[str, Any] | RuleSet | Gate | Rule


def as_rules(rules: RulesLike) -> RuleSet:
    """Rules from text, a path, a mapping, or a rule built in Python.

    A string with a line break or a brace is rule text, any other string a path.
    """
    if isinstance(rules, RuleSet):
        return rules
    if isinstance(rules, Gate):
        return RuleSet(save=rules)
    if isinstance(rules, Mapping):
        return rules_from_mapping(rules)
    if isinstance(rules, str):
        return parse_rules(rules) if "\n" in rules or "{" in rules else load_rules(rules)
    return load_rules(rules) if isinstance(rules, Path) else RuleSet(save=Gate(rules))


class GatedCheckpoint(keras.callbacks.Callback):
    """Saves a checkpoint at an epoch's end only when the rules hold, and records every decision with its reason.

    Example:

    ```python
    gate = GatedCheckpoint("checkpoints", "save: {metric: val_loss, improves: min}", run="first")
    model.fit(x, y, validation_data=(vx, vy), epochs=40, callbacks=[gate])
    ```

    Running the same thing again goes on after the last complete epoch; when all epochs are done, nothing is trained.
    Put it last in `callbacks`, so that what the others log can be judged.

    Args:
      store: folder of the store; made when it is not there.
      rules: rule text, the path of a rules file, a mapping, or a rule built of this package's rules in Python.
      run: name of this training run in the store.
      about: plain JSON that says what determined the run.

    Raises:
      RuleError: the rules are wrong.
    """

    def __init__(
        self, store: str | Path | Store, rules: RulesLike, run: str, *, about: dict[str, object] | None = None
    ) -> None:
        super().__init__()
        home = store if isinstance(store, Store) else Store(store)
        self.training = GatedTraining(home, as_rules(rules), run, about)
        self._begun = False
        self._next_epoch = 0

    def resume(self, model: Any, epochs: int | None = None) -> int:
        """Restores the last complete epoch into `model`, which is compiled; answers with the epoch to go on with.

        `fit` does this by itself; call it yourself when the data depend on the epoch.
        """
        if not self._begun:
            state = self.training.begin(epochs)
            self._begun = True
            if state is not None and state.manifest is not None:
                _restore(model, self.training.run.prefix(state))
                self._next_epoch = state.manifest.epoch + 1
                _LOG.info("resuming after epoch %d, step %d", state.manifest.epoch + 1, state.manifest.step)
        return self._next_epoch

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        epoch = self.resume(self.model, self.params.get("epochs"))
        if epoch and hasattr(self.model, "_initial_epoch"):
            # What Keras' own BackupAndRestore sets; fit reads it after on_train_begin.
            self.model._initial_epoch = max(epoch, self.model._initial_epoch or 0)
        self._begun = False  # a fit after one that broke off begins anew, from the last complete epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = int(self.model.optimizer.iterations)
        record = Record(step=step, epoch=epoch, metrics=metrics_from_logs(logs or {}), time=time.time())
        decision = self.training.observe(record)
        self.training.commit(record, decision, lambda prefix: _write(self.model, prefix))
        outcome = "saved" if decision.save else "refused"
        _LOG.info("epoch %d of %s: %s, %s", epoch + 1, self.params.get("epochs", "?"), outcome, decision.reason)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.training.finish(self.params.get("epochs"))
        self._begun = False

    # tf-keras asks these of its callbacks; the gate looks at nothing below an epoch.
    _supports_tf_logs = False

    def _implements_train_batch_hooks(self) -> bool:
        return False

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False

    def close(self) -> None:
        """Gives the run free after a training that failed; it can be resumed."""
        self.training.abandon()
        self._begun = False


def _checkpoint(model: Any) -> Any:
    import tensorflow as tf

    if not getattr(model.optimizer, "built", False):  # tf-keras has no such attribute, but builds once only
        model.optimizer.build(model.trainable_variables)  # else slots are restored late, or not saved at all
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer)


def _write(model: Any, prefix: str) -> None:
    _checkpoint(model).write(prefix)


def _restore(model: Any, prefix: str) -> None:
    _checkpoint(model).read(prefix).assert_existing_objects_matched()
