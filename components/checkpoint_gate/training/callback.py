"""The Keras callback, for `keras` 3 and `tf-keras`."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from checkpoint_gate.errors import RuleError, StoreError
from checkpoint_gate.rule_text.rules_like import RulesLike, as_rules
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record, metrics_from_logs
from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import Stored
from checkpoint_gate.training.closing import closing_words
from checkpoint_gate.training.gated_training import GatedTraining
from checkpoint_gate.training.preemption import RESUMABLE, Preemption
from checkpoint_gate.training.room import OnNoRoom
from checkpoint_gate.training.saving import Saving
from checkpoint_gate.training.tensorflow_state import TensorFlowState

_LOG = logging.getLogger(__name__)
_MISFITS = (ValueError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError)  # of shape, of dtype, of a variable


class GatedCheckpoint(keras.callbacks.Callback):
    """Saves a checkpoint only when the rules hold, and records every decision with its reason.

    Example:

    ```python
    gate = GatedCheckpoint("checkpoints", "save: {metric: val_loss, improves: min}", run="first")
    model.fit(x, y, validation_data=(vx, vy), epochs=40, callbacks=[gate])
    ```

    Running the same thing again goes on after the last complete epoch; when all epochs are done, nothing is trained.
    SIGTERM ends training at the state of the last complete epoch, and the program with exit code 75, unless the program
    handles SIGTERM itself. Put it last in `callbacks`, so that what the others log can be judged.

    Args:
      store: folder of the store, or the URL of one in an object store; made when it is not there.
      rules: rule text, the path of a rules file or of a pipeline.yaml, a mapping, or a rule built of this package's
        rules in Python.
      run: name of this training run in the store.
      every_n_steps: judges within epochs too, whenever the optimizer's steps reach a multiple of it, by Keras' running
        means of the epoch so far; >= 1. The records say `at: step`.
      saving: "background" (training waits only until the state is captured and the one before is safe on the disk),
        "latest" (it never waits; a state still waiting to be written is overtaken by a newer one) or "synchronous".
      on_no_room: "stop" ends training with `NoRoom` when the disk is full or a quota used up; "skip" trains on without
        that state: the ledger says so, and what was saved before stays.
      about: plain JSON that says what determined the run.
      wait_for_lease: seconds, finite and >= 0, to wait for the lease of a training on another host that shows no
        sign of life, such as a killed one that runs again; 720 outlast any. Of one that does, LeaseHeld is raised.

    Raises:
      RuleError: the rules, or an argument, are wrong.
    """

    def __init__(
        self,
        store: str | Path | Store,
        rules: RulesLike,
        run: str,
        *,
        every_n_steps: int | None = None,
        saving: Saving = "background",
        on_no_room: OnNoRoom = "stop",
        about: dict[str, object] | None = None,
        wait_for_lease: float = 0.0,
    ) -> None:
        super().__init__()
        if every_n_steps is not None and (
            isinstance(every_n_steps, bool) or not isinstance(every_n_steps, int) or every_n_steps < 1
        ):
            raise RuleError(f"every_n_steps must be a whole number of at least 1. Received: {every_n_steps!r}.")
        home = store if isinstance(store, Store) else Store(store)
        read = as_rules(rules)
        self._unused = [name for name in ("filter", "prune") if getattr(read, name) is not None]
        self.training = GatedTraining(
            *(home, read, run, about), saving=saving, on_no_room=on_no_room, wait_for_lease=wait_for_lease
        )
        self._preemption = Preemption(self._leave, at_once=True)
        self._state: TensorFlowState | None = None
        self._begun = False
        self._next_epoch = 0
        self._finished = 0  # epochs at whose end an earlier training came to its own
        self._epoch = 0
        self._batches = 0  # of this epoch, begun
        self._before = 0  # steps done before this epoch
        self._step = 0  # of the last record
        self._every = every_n_steps
        self._due = 0  # the batch at whose end steps are looked at next
        if every_n_steps is not None:
            # Only then: with any hook at batches' ends Keras fetches the logs of every batch, and waits for them.
            self.on_train_batch_end = self._judge_step

    def resume(self, model: Any, epochs: int | None = None) -> int:
        """Restores the last complete epoch into `model`, which is compiled; answers with the epoch to go on with.

        `fit` does this by itself; call it yourself when the data depend on the epoch.

        Args:
          epochs: how many there will be; where an earlier training came to the end of as many, also by early stopping,
            the answer is `epochs`: nothing is left to train.

        Raises:
          StoreError: the store cannot be written to, or the model is not built yet.
          LeaseHeld: another writer is at work in the run.
        """
        if not self._begun:
            self._state = TensorFlowState(lambda: _checkpoint(model), lambda: _variables(model))
            saved = self.training.begin(epochs)
            try:
                self._restore(model, saved)
            except BaseException:
                self.training.abandon()
                raise
            self._begun = True
        if epochs is not None and self._finished >= epochs:
            return max(self._next_epoch, epochs)
        return self._next_epoch

    def _restore(self, model: Any, saved: Stored | None) -> None:
        """Puts model and counters where the training left off that saved this."""
        self._next_epoch = self._step = self._finished = 0
        if saved is None or saved.manifest is None:
            return
        if not _has_weights(model):
            raise StoreError(
                f"The state of epoch {saved.manifest.epoch + 1} cannot be restored into a model that has no weights "
                "yet: begin it with an Input, or call its build, before fit."
            )
        assert self._state is not None
        state = f"The state of epoch {saved.manifest.epoch + 1} of the run {self.training.run.key}"
        try:
            self._state.read(self.training.run.prefix(saved))
        except _MISFITS as error:
            raise StoreError(
                f"{state} does not fit this model or its optimizer: {_first_line(error)} Give another training another "
                "run name."
            ) from error
        except (OSError, tf.errors.OpError) as error:
            raise StoreError(
                f"{state} could not be read: {type(error).__name__}: {_first_line(error)}. It is there, and the same "
                "training goes on once it can be."
            ) from error
        self._next_epoch, self._step = saved.manifest.epoch + 1, saved.manifest.step
        self._finished = self.training.run.ledger.read().finished_epochs
        _LOG.info("resuming after epoch %d, step %d", self._next_epoch, self._step)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        epochs = self.params.get("epochs")
        epoch = self.resume(self.model, epochs)
        if epochs is not None and epoch >= epochs:
            _LOG.warning(
                "the run %s is complete, nothing is trained: an earlier training of %d epochs came to its end. Raise "
                "epochs to train on, or give another training another run name",
                self.training.run.key,
                epochs,
            )
        if self._unused:
            names = ", ".join(self._unused)
            _LOG.info("training does not use %s of the rules: CheckpointFilter and checkpoint-gate prune do", names)
        if epoch:
            _begin_fit_at(self.model, epoch)
        self._begun = False  # a fit after one that broke off begins anew, from the last complete epoch
        self._preemption.install()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        _begin_fit_at(self.model, None)  # fit has taken it; the next one shall not
        self._epoch, self._batches = epoch, 0
        self._before = max(self._step, self._optimizer_steps())
        if self._every is not None:
            self._due = self._every - self._before % self._every - 1

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.training.check()  # what went wrong behind training is told here
        self._preemption.check()
        self._batches = batch + 1

    def _judge_step(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The end of a batch."""
        if batch < self._due:
            return
        assert self._every is not None
        step = self._steps(batch + 1)
        self._due = batch + self._every - step % self._every
        if step // self._every == max(self._step, self._before) // self._every:
            return  # not there yet: an optimizer that accumulates gradients does not step at every batch
        decision = self._judge(Record(step, self._epoch, metrics_from_logs(logs or {}), "step", time.time()))
        _LOG.info("step %d: %s, %s", step, _outcome(decision), decision.reason)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        batches = self.params.get("steps") or self._batches
        step = max(self._steps(batches), self._step, self._before + 1)
        decision = self._judge(Record(step, epoch, metrics_from_logs(logs or {}), "epoch", time.time()))
        _LOG.info(
            "epoch %d of %s: %s, %s", epoch + 1, self.params.get("epochs", "?"), _outcome(decision), decision.reason
        )

    def _judge(self, record: Record) -> Decision:
        with self._preemption.shield():
            decision = self.training.observe(record)
            assert self._state is not None
            self.training.commit(record, decision, self._state, resumable=record.at == "epoch")
            self._step = record.step
        return decision

    def _steps(self, batches: int) -> int:
        """Optimizer steps done after so many batches of this epoch.

        Where the optimizer does not count, because a train_step of one's own uses others, batches are counted.
        """
        done = self._optimizer_steps()
        if done > self._before or getattr(self.model.optimizer, "gradient_accumulation_steps", None):
            return done
        return self._before + batches

    def _optimizer_steps(self) -> int:
        return int(self.model.optimizer.iterations) if self.model.optimizer is not None else 0

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        _begin_fit_at(self.model, None)
        try:
            with self._preemption.shield():
                self.training.finish(self.params.get("epochs"))
        finally:
            self._preemption.restore()
            self._begun = False
        self._tell_end()

    def _tell_end(self) -> None:
        """Counts what was saved and refused; a training that has saved nothing must not end without a word."""
        with contextlib.suppress(StoreError, OSError):  # the training is whole, whether this can be read or not
            history = self.training.run.ledger.read()
            if history.entries:
                _LOG.log(logging.INFO if history.saved else logging.WARNING, "%s", closing_words(history))

    def close(self) -> None:
        """Gives the run free after a training that failed; it can be resumed. Waits for what is being written."""
        self._preemption.restore()
        if self.model is not None:
            _begin_fit_at(self.model, None)
        self.training.abandon()
        self._begun = False

    def _leave(self) -> None:
        """Ends the program after SIGTERM: the last complete epoch is on the disk when it is gone."""
        self.training.abandon("SIGTERM")
        _LOG.warning("SIGTERM: training stops; the same again goes on after its last complete epoch")
        raise SystemExit(RESUMABLE)

    # tf-keras asks these of its callbacks. Logs may stay tensors: they are turned into numbers when they are judged.
    _supports_tf_logs = True

    def _implements_train_batch_hooks(self) -> bool:
        return True

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _outcome(decision: Decision) -> str:
    return "saved" if decision.save else "refused"


class _FirstEpoch:
    """What tf-keras asks for the epoch to begin with, in the place of its own BackupAndRestore's answer."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def maybe_load_initial_counters_from_ckpt(self, steps: Any, initial_epoch: int, mode: Any) -> tuple[int, int]:
        return max(self._epoch, initial_epoch), 0


def _begin_fit_at(model: Any, epoch: int | None) -> None:
    """Tells `fit`, which has called on_train_begin and asks next, where to begin; None takes it back.

    There is no public way; these are the ones of BackupAndRestore in Keras 3 and in tf-keras.
    """
    if hasattr(model, "_initial_epoch"):
        model._initial_epoch = epoch if epoch is None else max(epoch, model._initial_epoch or 0)
    elif hasattr(model, "_training_state"):
        model._training_state = None if epoch is None else _FirstEpoch(epoch)


def _checkpoint(model: Any) -> tf.train.Checkpoint:
    """The whole state that training depends on: weights, optimizer, and the state of random layers."""
    optimizer = model.optimizer
    if optimizer is None:
        return tf.train.Checkpoint(model=model, random=_random(model))
    if not getattr(optimizer, "built", False):  # tf-keras has no such attribute, but builds once only
        optimizer.build(model.trainable_variables)  # else slots are restored late, or not saved at all
    return tf.train.Checkpoint(model=model, optimizer=optimizer, random=_random(model))


def _random(model: Any) -> list[Any]:
    """The state of Dropout and its like, which the model does not track.

    In Keras 3 these are variables that are not weights. In tf-keras they are generators, if the program has called
    `tf_keras.backend.experimental.enable_tf_random_generator()`; without that there is no state that could be restored.
    """
    weights = set(map(id, model.weights))
    seeds = [variable for variable in model.variables if id(variable) not in weights]
    layers = (getattr(layer, "_random_generator", None) for layer in model._flatten_layers())
    generators = [getattr(layer, "_generator", None) for layer in layers]
    return seeds + [generator for generator in generators if generator is not None]


def _variables(model: Any) -> Hashable:
    """Tells a model from the same one with other variables."""
    found = list(model.variables)
    for optimizer in _optimizers(model):
        variables = optimizer.variables
        found += variables() if callable(variables) else variables
    return tuple(map(id, found))


def _optimizers(model: Any) -> list[Any]:
    """The model's optimizer, and others that a train_step of one's own may use, perhaps only later in training."""
    held: list[Any] = []
    for value in vars(model).values():
        held += value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else [value]
    return [value for value in held if hasattr(value, "apply_gradients") and hasattr(value, "variables")]


def _has_weights(model: Any) -> bool:
    try:
        return bool(model.variables)
    except ValueError:  # tf-keras, before the model is built
        return False
