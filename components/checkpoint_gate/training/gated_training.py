"""A gated training run: decide, save, record. Knows the store and the rules, but no Keras and no TensorFlow."""

from __future__ import annotations

import contextlib
import logging
import math
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError, NoRoom, RecordOrderError, RuleError, StoreError
from checkpoint_gate.rule_text.rule_set import RuleSet, write_rules
from checkpoint_gate.rules.gate import MetricWatch
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import At, Record
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checkpoints import PREFIX, Stored, verify_files
from checkpoint_gate.store.ledger import History
from checkpoint_gate.store.prune_plan import make_plan
from checkpoint_gate.store.pruning import execute_prune, sweep
from checkpoint_gate.store.standing import why_all_stays
from checkpoint_gate.training.room import OnNoRoom, Room
from checkpoint_gate.training.saving import Saver, Saving, State, Write, saver

_LOG = logging.getLogger(__name__)

_AT_WORK: weakref.WeakValueDictionary[tuple[str, str], GatedTraining] = weakref.WeakValueDictionary()
"""The trainings of this process by store and run."""


class GatedTraining:
    """One training run in a store, from `begin` to `finish`; the only writer of the run in between.

    Between the two, only the saver touches the run: what is given to it is done in order, behind training or at once.

    Args:
      store: where the run lives; made when it is not there.
      rules: `save` is needed, `keep` is optional; the other sections are not looked at.
      run: the run's name in the store. A run of that name that is not finished goes on.
      about: plain JSON that says what determined the run; kept in its `run.json`.
      saving: "synchronous": training waits until a state is safe on the disk. "background": it waits only until the
        state is captured and the one before is safe. "latest": it never waits; of the states that pile up while one is
        being written, only the newest is written, and the ledger says which were overtaken.
      on_no_room: "stop" raises NoRoom when the disk is full or a quota used up; "skip" goes on without what there is no
        room for.
      wait_for_lease: seconds, finite and >= 0, that `begin` waits for a lease of another host whose owner shows no sign
        of life; 720 outlast any dead one. One that is renewed meanwhile, or is of this host, is not waited for.
    """

    def __init__(
        self,
        store: Store,
        rules: RuleSet,
        run: str,
        about: dict[str, object] | None = None,
        *,
        saving: Saving = "synchronous",
        on_no_room: OnNoRoom = "stop",
        wait_for_lease: float = 0.0,
    ) -> None:
        if rules.save is None:
            raise RuleError("Gating needs the section `save`: without it nothing would ever be saved.")
        if unresolved := rules.cut("save").unresolved:
            raise RuleError(
                f"Gating needs the champion's {', '.join(unresolved)}, which the rules name: give them its numbers by "
                "RuleSet.resolved."
            )
        if not 0 <= wait_for_lease < math.inf:
            raise RuleError(f"wait_for_lease must be finite and at least 0 seconds. Received: {wait_for_lease!r}.")
        self._rules = rules.cut("save", "keep")
        self._gate = rules.save
        self._digest = rules.cut("save").digest()
        self._room = Room(str(store.files.root), on_no_room)
        self._saving = saving
        self._saver: Saver = saver(saving)
        self.run: Run = store.start(run, gate=write_rules(rules.cut("save")), **(about or {}))
        self._lease = self.run.lease("training")
        self._wait_for_lease = wait_for_lease
        self._running = self._gate.start()
        self._last: Record | None = None
        self._known: set[int] | None = None  # live steps, since retention last asked what must stay
        self._kinds: set[At] = set()  # of records, so far
        best = rules.keep.best if rules.keep is not None else None
        self._watch = MetricWatch(self._gate.rule.metrics() | ({best.metric} if best is not None else set()))

    def begin(self, epochs: int | None) -> Stored | None:
        """Takes the lease, and answers with the state to resume from; None for a run that starts afresh.

        What an interrupted training left after that state is set aside: its last, incomplete epoch runs again.
        """
        self._saver.close()
        self._settle_earlier()
        self._lease.acquire(self._wait_for_lease)
        try:
            self._saver = saver(self._saving)
            self._known = None  # others may have been at work since
            return self._begin(epochs)
        except BaseException:
            self.abandon()
            raise

    def _settle_earlier(self) -> None:
        """Waits for what a training of this run, broken off in this process, still writes behind it.

        Its lease is taken over at once, and between two looks at it a folder could be half of the one and half of the
        other where there is no rename.
        """
        place = str(self.run.files.root), self.run.key
        earlier = _AT_WORK.get(place)
        if earlier is not None and earlier is not self:
            earlier._saver.settle()
        _AT_WORK[place] = self

    def _begin(self, epochs: int | None) -> Stored | None:
        run = self.run
        run.gated.clear_staged()
        for left in sweep(run, self._lease).left:  # finishes what a crash interrupted
            _LOG.warning("not removed: %s", left)
        state = self._whole_state()
        history = run.ledger.read()
        step = state.manifest.step if state is not None and state.manifest is not None else -1
        steps = [record.step for record in history.records]
        steps += [stored.step for stored in (*run.live(), *run.resumable.stored())]
        if max(steps, default=-1) > step:
            run.resume_after(step)
            history = run.ledger.read()
        gate = write_rules(self._rules.cut("save"))
        if history.entries and history.gate != gate:
            self._tell_change(history, gate, max(step, 0))
        run.ledger.append_event("started", epochs=epochs, step=max(step, 0), gate=gate)
        self._running = self._gate.start((entry.record, entry.decision.save) for entry in history.entries)
        for record in history.records:
            self._watch.recall(record)
        self._last = history.records[-1] if history.records else None
        self._kinds = {record.at for record in history.records}
        self.retain()  # `keep` may have changed, or a crash may have come between a commit and its retention
        return state

    def _tell_change(self, history: History, gate: dict[str, object], step: int) -> None:
        """Says from where the new rules hold, and what they would have decided before."""
        again = self._gate.replay(history.records)
        differing = [(e, d) for e, d in zip(history.entries, again, strict=True) if e.decision.save != d.save]
        self.run.ledger.append_event("gate_changed", gate=gate, after_step=step, differing=len(differing))
        words = f"none of the {len(again)} decisions before would have been another"
        if differing:
            entry, decision = differing[0]
            then, now = ("saved" if saved else "refused" for saved in (entry.decision.save, decision.save))
            words = (
                f"of the {len(again)} decisions before, {len(differing)} would have been others, the first at epoch "
                f"{entry.record.epoch + 1}, step {entry.record.step}: {then} then, {now} now ({decision.reason})"
            )
        _LOG.warning("the rules of run %s have changed: the new ones hold after step %d; %s", self.run.key, step, words)

    def _whole_state(self) -> Stored | None:
        """The state to resume from, on the shelf of its own; a newer one that is damaged goes to quarantine."""
        run = self.run
        state = run.resume_state()
        for stored in run.resumable.stored():
            if state is not None and (stored.step < state.step or stored == state):
                continue  # older, or verified already
            damage = verify_files(run.files, stored)
            if damage is not None:
                _LOG.warning("set aside: %s", damage)
                run.quarantine(stored, damage)
        if state is not None and state.manifest is not None and state.folder != run.resumable.path(state.step):
            run.publish_resumable(state.manifest.record, self._digest)  # retention may remove the gated one
            state = run.resume_state()
        if state is not None:
            run.drop_states_before(state.step)
        return state

    def observe(self, record: Record) -> Decision:
        """Decides about the next record. `commit` or `note` has to follow.

        Raises:
          UnknownMetricError: the rules name a metric that should have been logged by now.
          RecordOrderError: the record does not come after the last one.
          StoreError: something behind training could not be written.
        """
        self.check()
        last = self._last
        if last is not None and not (
            record.step > last.step or (record.step == last.step and (last.at, record.at) == ("step", "epoch"))
        ):
            raise RecordOrderError(
                f"Steps must go forward. Received: step {record.step} (at: {record.at}) after step {last.step} "
                f"(at: {last.at})."
            )
        self._watch.see(record)
        if record.at not in self._kinds and (suspects := self._watch.suspects(record)):
            _LOG.warning(
                "the rules name %s, which %s does not log; logged are: %s",
                ", ".join(map(repr, suspects)),
                _moment(record),
                ", ".join(sorted(record.metrics)) or "none",
            )
        self._kinds.add(record.at)
        self._last = record
        return self._running.decide(record)

    def check(self) -> None:
        """Raises what went wrong behind training, if anything did."""
        self._saver.check()

    def note(self, record: Record, decision: Decision) -> None:
        """Records a decision whose state is not written.

        Raises:
          StoreError: the ledger, or something behind training before, could not be written.
        """
        self._saver.add(partial(self._note, record, decision))

    def _note(self, record: Record, decision: Decision, skipped: str | None = None) -> None:
        with self._room.told(f"The decision about {_moment(record)}"):
            self._lease.renew()
            self.run.ledger.append(record, decision, skipped)

    def commit(self, record: Record, decision: Decision, state: State | Write, *, resumable: bool = True) -> None:
        """Saves the state of `record` if the gate said so, and records the decision.

        Args:
          record, decision: what `observe` was given, and its answer.
          state: what to save, as it is now. A plain function is called at once with the prefix of the files' names.
          resumable: the state becomes the one to resume from, in any case.

        Raises:
          NoRoom: there is no room for it, and training is to stop then.
          StoreError: it could not be written; what was there before is untouched. When saving goes on behind training,
            a later call raises either.
        """
        if not (decision.save or resumable):
            self.note(record, decision)
            return

        def keep(staged: str) -> None:
            self._keep(staged, record, decision, resumable)

        skipped = partial(self._skipped, record, decision)
        self._save(record, state, keep, skipped, partial(self._overtaken, record, decision))

    def miss(self, record: Record, decision: Decision) -> None:
        """Records a decision to save whose state was never given: the ledger says that it was not written."""
        self._saver.add(partial(self._overtaken, record, decision))

    def save_resumable(self, record: Record, state: State | Write) -> None:
        """Makes the state of `record`, about which nothing is decided, the one to resume from; the rest as `commit`."""

        def keep(staged: str) -> None:
            self.run.publish_resumable(record, self._digest, staged=staged)

        self._save(record, state, keep, lambda full: _LOG.warning("%s", full), lambda: None)

    def _save(
        self,
        record: Record,
        state: State | Write,
        keep: Callable[[str], None],
        skipped: Callable[[NoRoom], None],
        overtaken: Callable[[], None],
    ) -> None:
        self._saver.ready()
        captured = None if callable(state) else state.capture()
        if captured is not None:
            write = captured
            work = partial(self._publish, record, lambda: self._stage(record, write), keep, skipped)
            self._saver.add(work, overtaken)
            return
        self._saver.wait()  # two threads are not to write in the run at once
        try:
            staged = self._stage(record, state if callable(state) else state.write)
        except NoRoom as full:
            self._room.go_on(full, skipped)
            return
        self._saver.add(partial(self._publish, record, lambda: staged, keep, skipped))

    def _stage(self, record: Record, write: Write) -> str:
        """Writes a state to a temporary folder, and answers with its path in the store."""
        what = f"The state of {_moment(record)}"
        with self._room.told(what):
            self._lease.renew()
            staged, place = self.run.stage()
            with self._undone(staged):
                try:
                    write(str(place / PREFIX))
                except (OSError, CheckpointGateError):
                    raise
                except Exception as error:  # TensorFlow tells of a full disk by an error of its own
                    first = next(iter(str(error).splitlines()), "")
                    raise self._room.error(error, what, f"{type(error).__name__}: {first}") from error
        return staged

    def _publish(
        self,
        record: Record,
        stage: Callable[[], str],
        keep: Callable[[str], None],
        skipped: Callable[[NoRoom], None],
    ) -> None:
        try:
            staged = stage()
            with self._room.told(f"The state of {_moment(record)}"), self._undone(staged):
                self._lease.renew()  # writing may have taken long
                keep(staged)
        except NoRoom as full:
            self._room.go_on(full, skipped)

    def _skipped(self, record: Record, decision: Decision, full: NoRoom) -> None:
        """Records a decision whose state there is no room for."""
        if decision.save and self.run.gated.holds(record.step):
            raise full  # it is there, and only the line about it, or that it survives a power cut, is not
        self._note(record, decision, skipped=str(full))
        _LOG.warning("%s Training goes on without it.", full)

    @contextlib.contextmanager
    def _undone(self, staged: str) -> Iterator[None]:
        """Takes `staged` away when what stands within fails."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError, StoreError):
                self.run.gated.discard(staged)
            raise

    def _keep(self, staged: str, record: Record, decision: Decision, resumable: bool) -> None:
        if decision.save:
            self.run.publish(staged, record, decision.reason, self._digest)
            if self._known is not None:
                self._known.add(record.step)
        with self._room.told(f"The state of {_moment(record)}", for_good=True):  # the line may be there, or half of it
            self.run.ledger.append(record, decision)
        with self._room.put_off(f"the save of {_moment(record)}"), self._undone(staged):
            if resumable:
                self.run.publish_resumable(record, self._digest, staged=None if decision.save else staged)
            if decision.save:
                self.retain()

    def _overtaken(self, record: Record, decision: Decision) -> None:
        self._note(record, decision)
        if decision.save:
            self.run.ledger.append_event("overtaken", step=record.step, at=record.at)

    def retain(self) -> None:
        """Applies `keep`: what no part of it protects goes, pinned checkpoints and the champion's excepted.

        Nothing goes while one that stays is damaged or gone, for what goes is gone for good.
        """
        if self._rules.keep is None:
            return
        run = self.run
        live, protected = run.live(), run.protected()
        surplus = self._rules.keep.surplus(run.held(live), run.clock(), protected)
        if not surplus:
            return
        rules = self._rules.cut("keep").digest()
        plan = make_plan(run, surplus, protected, 0.0, rules, "retention", live)
        why = why_all_stays(run, surplus.keys(), live, self._known)
        if why is not None:
            _LOG.warning("retention removes nothing this time: %s", why)
            return
        self._known = {stored.step for stored in live} - surplus.keys()
        for left in execute_prune(run, plan, self._lease, sure=True).left:
            _LOG.warning("not removed: %s", left)

    def finish(self, epochs: int | None) -> None:
        """Waits until all is saved, records that training came to its end, and gives the lease back.

        Raises:
          UnknownMetricError: the rules name a metric that was never logged.
          StoreError: something behind training could not be written.
        """
        self._saver.wait()
        self._watch.end()
        self.run.ledger.append_event("finished", epochs=epochs)
        self._saver.close()
        self._lease.release()

    def abandon(self, why: str | None = None) -> None:
        """Waits until all is saved and gives the lease back without an end: the run can be resumed.

        Args:
          why: recorded as an `interrupted` line.
        """
        self._saver.close()
        if why is not None:
            with contextlib.suppress(StoreError, OSError):  # whoever took the lease over writes the ledger now
                self._lease.renew()
                self.run.ledger.append_event("interrupted", why=why)
        self._lease.release()

    def copy_ledger(self, folder: Path) -> None:
        """Writes the ledger's whole lines to `folder`/ledger.jsonl, outside the store."""
        (folder / "ledger.jsonl").write_text(self.run.ledger.text(), encoding="utf-8")


def _moment(record: Record) -> str:
    return f"epoch {record.epoch + 1}" if record.at == "epoch" else f"step {record.step}"
