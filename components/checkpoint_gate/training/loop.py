"""The gate for training loops of one's own: no Keras, and TensorFlow only where the loop brings it."""

from __future__ import annotations

import contextlib
import logging
import operator
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from checkpoint_gate.errors import RecordOrderError, StoreError
from checkpoint_gate.rule_text.rules_like import RulesLike, as_rules
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import At, Record, metrics_from_logs
from checkpoint_gate.store import Store
from checkpoint_gate.training.gated_training import GatedTraining
from checkpoint_gate.training.preemption import RESUMABLE, Preemption
from checkpoint_gate.training.room import OnNoRoom
from checkpoint_gate.training.saving import Saving, State, Write

_LOG = logging.getLogger(__name__)


class GatedLoop:
    """Gates a training loop of one's own; a context manager from the run's beginning to its end.

    Example:

    ```python
    state = TensorFlowState(tf.train.Checkpoint(model=model, optimizer=optimizer))
    with GatedLoop("checkpoints", "save: {metric: loss, moving_average: 10, at_most: 0.3}", run="loop") as gate:
        for step in range(gate.resume(state.read), 10_000):
            loss = train_step(batch_number(step))
            if (step + 1) % 100 == 0:
                gate.observe(step + 1, {"loss": loss})
                gate.save(state)
            if gate.stopping:
                gate.leave(step + 1, state)
    ```

    Running the same thing again goes on where `save` was called last. An exception within leaves the run unfinished.

    Args:
      store: folder of the store, or the URL of one in an object store; made when it is not there.
      rules: rule text, the path of a rules file, a mapping, or a rule built in Python.
      run: name of this training run in the store.
      saving: "background", "latest" or "synchronous"; see `GatedTraining`.
      on_no_room: "stop" ends training with `NoRoom` when the disk is full or a quota used up; "skip" trains on without
        that state: the ledger says so, and what was saved before stays.
      about: plain JSON that says what determined the run.

    Raises:
      RuleError: the rules, or an argument, are wrong.
    """

    def __init__(
        self,
        store: str | Path | Store,
        rules: RulesLike,
        run: str,
        *,
        saving: Saving = "background",
        on_no_room: OnNoRoom = "stop",
        about: dict[str, object] | None = None,
    ) -> None:
        home = store if isinstance(store, Store) else Store(store)
        self.training = GatedTraining(home, as_rules(rules), run, about, saving=saving, on_no_room=on_no_room)
        self._preemption = Preemption(self._go, at_once=False)
        self._open: tuple[Record, Decision] | None = None  # observed, and neither saved nor noted
        self._resumed: str | None = None
        self._step = 0  # of the newest state to resume from
        self._entered = False
        self._asked = False  # where to go on

    def __enter__(self) -> GatedLoop:
        saved = self.training.begin(None)
        if saved is not None:
            self._resumed, self._step = self.training.run.prefix(saved), saved.step
        self._preemption.install()
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._preemption.shield():
                self._end(whole=kind is None)
        finally:
            self._entered = False
            self._preemption.restore()
        if kind is None and self.stopping:
            raise SystemExit(RESUMABLE)  # SIGTERM came too late to be looked at; what follows the loop shall not run

    def _end(self, whole: bool) -> None:
        if not whole:
            self.training.abandon()
            return
        try:
            self._settle()
            self.training.finish(None)
        except BaseException:
            self.training.abandon()
            raise

    def resume(self, read: Write) -> int:
        """Restores the newest state to resume from, and answers with the step at which it was saved.

        Args:
          read: called with the prefix that `write` was called with; not called for a run that starts afresh.

        Returns:
          The steps done; 0 for a run that starts afresh.
        """
        self._asked = True
        if self._resumed is not None:
            read(self._resumed)
        return self._step

    def observe(self, step: int, metrics: Mapping[str, Any], *, epoch: int = 0, at: At = "step") -> Decision:
        """Decides about the state after `step`, and records the decision.

        Args:
          step: optimizer steps done; greater than at the last call. A whole number of Python, numpy or TensorFlow.
          metrics: name -> a single number: of Python, a numpy scalar or a 0-d tensor.
          epoch: zero-based, for rules that count epochs.
          at: "epoch" when an epoch ends here; moving averages never mix the two kinds.

        Raises:
          RecordOrderError: the step does not go forward, or is done and `resume` was not asked where to go on.
          MetricValueError: a metric is not a single number; names it.
          UnknownMetricError: the rules name a metric that should have been logged by now.
          StoreError: something could not be written behind training; or this is not within `with`.
        """
        if not self._entered:
            raise StoreError("observe and save work within `with`: with GatedLoop(…) as gate: …")
        self.training.check()
        record = Record(_whole(step), _whole(epoch), metrics_from_logs(metrics), at, time.time())
        if record.step <= self._step and not self._asked:
            raise RecordOrderError(
                f"Step {record.step} is done: the run {self.training.run.key} goes on after step {self._step}. Call "
                "resume first, and begin with the step that it answers with."
            )
        with self._preemption.shield():
            self._settle()
            decision = self.training.observe(record)
            self._open = (record, decision)
        return decision

    def save(self, state: State | Write) -> bool:
        """Saves the state that was observed last: as a checkpoint if the gate said so, to resume from in any case.

        After SIGTERM it then ends the program with exit code 75.

        Args:
          state: a `TensorFlowState`, which is written behind training; or a function that writes the state to files
            whose names begin with the prefix it is given, such as `tf.train.Checkpoint.write`, called at once.

        Returns:
          Whether the gate let it through.

        Raises:
          StoreError: there is nothing observed to save; or it could not be written (told by a later call, where
            saving goes on behind training).
        """
        if self._open is None:
            raise StoreError("save keeps the state that was observed last: call observe before each save.")
        with self._preemption.shield():
            (record, decision), self._open = self._open, None
            self.training.commit(record, decision, state)
            self._step = record.step
        if self.stopping:
            self._go()
        return decision.save

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM has come: call `leave`. A second SIGTERM ends the program at once."""
        return self._preemption.asked

    def leave(self, step: int, state: State | Write, *, epoch: int = 0) -> None:
        """Makes the state after `step` the one to resume from, and ends the program with exit code 75.

        Nothing is decided about it, so that the decisions are those of a training that was not interrupted.
        """
        record = Record(_whole(step), _whole(epoch), {}, "step", time.time())
        with self._preemption.shield():
            self._settle()
            if record.step != self._step:  # else that very state is there
                self.training.save_resumable(record, state)
        self._go()

    def _settle(self) -> None:
        """Records what was observed and not saved."""
        if self._open is not None:
            (record, decision), self._open = self._open, None
            if decision.save:
                _LOG.warning("step %d was to be saved, but save was not called after observe", record.step)
                self.training.miss(record, decision)
            else:
                self.training.note(record, decision)

    def _go(self) -> None:
        self._preemption.restore()
        self.training.abandon("SIGTERM" if self.stopping else "leave")
        raise SystemExit(RESUMABLE)


def _whole(number: Any) -> Any:
    """A whole number of any library as Python's; what is none stays as it is, and is refused by the record."""
    if not isinstance(number, bool):
        with contextlib.suppress(TypeError):
            return operator.index(number.numpy() if hasattr(number, "numpy") else number)
    return number
