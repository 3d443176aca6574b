"""A gated training run: decide, save, record. Knows the store and the rules, but no Keras and no TensorFlow."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from checkpoint_gate.errors import RuleError, StoreError
from checkpoint_gate.gate import MetricWatch
from checkpoint_gate.judgement import Decision
from checkpoint_gate.records import Record
from checkpoint_gate.rule_text import RuleSet, write_rules
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import PREFIX, Stored, verify_files
from checkpoint_gate.store.ledger import History
from checkpoint_gate.store.pruning import execute_prune, make_plan, sweep

_LOG = logging.getLogger(__name__)


class GatedTraining:
    """One training run in a store, from `begin` to `finish`; the only writer of the run in between.

    Args:
      store: where the run lives; made when it is not there.
      rules: `save` is needed, `keep` is optional; the other sections are not looked at.
      run: the run's name in the store. A run of that name that is not finished goes on.
      about: plain JSON that says what determined the run; kept in its `run.json`.
    """

    def __init__(self, store: Store, rules: RuleSet, run: str, about: dict[str, object] | None = None) -> None:
        if rules.save is None:
            raise RuleError("Gating needs the section `save`: without it nothing would ever be saved.")
        self._rules = rules.cut("save", "keep")
        self._gate = rules.save
        self._digest = rules.cut("save").digest()
        self.run: Run = store.start(run, gate=write_rules(rules.cut("save")), **(about or {}))
        self._lease = self.run.lease("training")
        self._running = self._gate.start()
        best = rules.keep.best if rules.keep is not None else None
        self._watch = MetricWatch(self._gate.rule.metrics() | ({best.metric} if best is not None else set()))

    def begin(self, epochs: int | None) -> Stored | None:
        """Takes the lease, and answers with the state to resume from; None for a run that starts afresh.

        What an interrupted training left after that state is set aside: its last, incomplete epoch runs again.
        """
        self._lease.acquire()
        try:
            return self._begin(epochs)
        except BaseException:
            self.abandon()
            raise

    def _begin(self, epochs: int | None) -> Stored | None:
        run = self.run
        run.gated.clear_staged()
        sweep(run, self._lease)  # finishes what a crash interrupted
        state = self._whole_state()
        history = run.ledger.read()
        step = state.manifest.step if state is not None and state.manifest is not None else -1
        steps = [record.step for record in history.records]
        steps += [stored.step for stored in (*run.live(), *run.resumable.stored())]
        if max(steps, default=-1) > step:
            run.resume_after(step)
            history = run.ledger.read()
        gate = write_rules(self._rules.cut("save"))
        if history.entries and self._recorded_gate(history) != gate:
            _LOG.warning("the rules of run %s have changed; the new ones decide from here on", run.key)
            run.ledger.append_event("gate_changed", gate=gate)
        run.ledger.append_event("started", epochs=epochs, step=max(step, 0))
        self._running = self._gate.start((entry.record, entry.decision.save) for entry in history.entries)
        for record in history.records:
            self._watch.see(record)
        self.retain()  # `keep` may have changed, or a crash may have come between a commit and its retention
        return state

    def _recorded_gate(self, history: History) -> object:
        changes = [event["gate"] for event in history.events if event["event"] == "gate_changed"]
        return changes[-1] if changes else self.run.about().get("gate")

    def _whole_state(self) -> Stored | None:
        """The state to resume from, on the shelf of its own; a newer one that is damaged goes to quarantine."""
        run = self.run
        state = run.resume_state()
        for stored in run.resumable.stored():
            damage = verify_files(run.files, stored)
            if damage is not None and (state is None or stored.step >= state.step):
                _LOG.warning("set aside: %s", damage)
                run.quarantine(stored, damage)
        if state is not None and state.manifest is not None and state.folder != run.resumable.path(state.step):
            run.publish_resumable(state.manifest.record, self._digest)  # retention may remove the gated one
            state = run.resume_state()
        if state is not None:
            run.drop_states_before(state.step)
        return state

    def observe(self, record: Record) -> Decision:
        """Decides about the next record.

        Raises:
          UnknownMetricError: the rules name a metric that should have been logged by now.
        """
        self._watch.see(record)
        return self._running.decide(record)

    def commit(self, record: Record, decision: Decision, write: Callable[[str], None]) -> None:
        """Writes the state of `record` by `write(prefix)`, publishes it if the gate said so, and records the decision.

        The state becomes the one to resume from in any case.

        Raises:
          StoreError: it could not be written; what was there before is untouched.
        """
        self._lease.renew()
        staged, place = self.run.stage()
        try:
            write(str(place / PREFIX))
            self._lease.renew()  # writing may have taken long
            if decision.save:
                self.run.publish(staged, record, decision.reason, self._digest)
            self.run.ledger.append(record, decision)
            self.run.publish_resumable(record, self._digest, staged=None if decision.save else staged)
        except BaseException as error:
            with contextlib.suppress(OSError, StoreError):
                self.run.gated.discard(staged)
            if isinstance(error, OSError):
                raise StoreError(
                    f"The state of epoch {record.epoch + 1} could not be written to {self.run.files.root}: "
                    f"{error.strerror or error}. What was saved before is untouched."
                ) from error
            raise
        if decision.save:
            self.retain()

    def retain(self) -> None:
        """Applies `keep`: what no part of it protects goes, pinned checkpoints and the champion's excepted."""
        if self._rules.keep is None:
            return
        run = self.run
        protected = run.protected()
        surplus = self._rules.keep.surplus(run.held(), run.clock(), protected)
        rules = self._rules.cut("keep").digest()
        pruned = execute_prune(run, make_plan(run, surplus, protected, 0.0, rules, "retention"), self._lease)
        for left in pruned.left:
            _LOG.warning("not removed: %s", left)

    def finish(self, epochs: int | None) -> None:
        """Records that training came to its end, and gives the lease back.

        Raises:
          UnknownMetricError: the rules name a metric that was never logged.
        """
        self._watch.end()
        self.run.ledger.append_event("finished", epochs=epochs)
        self._lease.release()

    def abandon(self) -> None:
        """Gives the lease back without an end: the run can be resumed."""
        self._lease.release()

    def copy_ledger(self, folder: Path) -> None:
        """Writes the ledger's whole lines to `folder`/ledger.jsonl, outside the store."""
        (folder / "ledger.jsonl").write_text(self.run.ledger.text(), encoding="utf-8")
