"""Real processes under strace, killed by SIGKILL as they enter a call to the kernel, and simply started again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_gate.cli import cli
from checkpoint_gate.reviewing.joint_pruning import plan_runs
from checkpoint_gate.rule_text.rule_set import load_rules
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import check_store
from faults import tracing
from faults.figure import Measured
from faults.memory import memory_folder
from faults.processes import Child, Ended, Ready, differing
from faults.pruned import FILTER, SURVIVORS, lost, pruned, pruned_twice

FIGURE = "B18"
WHAT = "SIGKILL by strace at the file-system calls of a real save and a real prune, and of the recovery from one"

SEED = 18
SHORT = {"save": 10, "callback": 8, "prune": 40}  # kills of each scenario of a kind

EPOCHS = 4
GATE = "save: {metric: loss, at_most: 2.0}\nkeep: {best: {metric: loss, mode: min, n: 2}, last: 1}"
LOSS_OF_EPOCH = (1.0, 3.0, 0.5, 0.9)


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Attributes:
      kind: of which the number of kills depends.
      prepare: makes the folder that the command finds.
      command: is given that folder; calls `ready` when the kills may begin, and answers with what it has come to.
      survivors: the steps that must be live whatever happens.
    """

    name: str
    kind: str
    prepare: Callable[[Path], None]
    command: Callable[[Path, Ready], Any]
    survivors: Sequence[int] = ()


def measure(long: bool) -> Measured:
    """Kills each command at calls that chance draws, or at all of them; and each again when it recovers from a kill."""
    measured = Measured()
    told = []
    chance = random.Random(SEED)
    for scenario in _scenarios():
        with memory_folder() as folder:
            bench = _Bench(scenario, folder)
            midway = bench.calls if long else [bench.calls[len(bench.calls) // 2]]
            told.append(bench.kill_all(measured, None if long else SHORT[scenario.kind], chance))
            for call in midway[:: len(midway) // 8 + 1]:
                with memory_folder() as other:
                    again = _Bench(_recovering(scenario, bench, call), other, bench.expected)
                    told.append(again.kill_all(measured, SHORT[scenario.kind] // (1 if long else 2), chance))
    measured.detail = "; ".join(told)
    return measured


def _scenarios() -> Iterator[Scenario]:
    yield from (Scenario(f"prune, grace {g}", "prune", _pruner(g), _prune, SURVIVORS) for g in ("0s", "1d"))
    import keras  # noqa: F401  imported now, so that no process has to; it is not forked for the prunings

    yield Scenario("GatedLoop, tf.train.Checkpoint", "save", _nothing, _save)
    yield Scenario("GatedCheckpoint in fit", "callback", _nothing, _callback)


class _Bench:
    """Where one scenario is repeated, always in the same folder."""

    def __init__(self, scenario: Scenario, folder: Path, expected: Any = None) -> None:
        self._scenario = scenario
        self._template = folder / "template"
        self.place = folder / "place"
        self._template.mkdir()
        scenario.prepare(self._template)
        ended = self._start().go()
        if ended.code or ended.error:
            raise RuntimeError(f"{scenario.name} ends with code {ended.code}: {ended.error}")
        self.expected = ended.answer if expected is None else expected
        self.problems = self._problems_at_the_end(ended)
        _, self.calls = tracing.calls(self._start(), self.place)

    def _start(self) -> Child:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._template, self.place)
        return self._again()

    def _again(self) -> Child:
        return Child(lambda ready: self._scenario.command(self.place, ready))

    def kill_all(self, measured: Measured, most: int | None, chance: random.Random) -> str:
        """Kills at all calls, or at `most` that chance draws; answers with how many that were, in words."""
        chosen = self.calls if most is None or most > len(self.calls) else chance.sample(self.calls, most)
        measured.violations.extend(f"{self._scenario.name}, left alone: {problem}" for problem in self.problems)
        missed = 0
        for call in chosen:
            last, problems = self.kill(call)
            if last is None and not problems:
                missed += 1
                continue
            where = f"{self._scenario.name}, killed at {last}, number {call.number} of its name"
            measured.case(*(f"{where}: {problem}" for problem in problems))
        words = f"{self._scenario.name}: {len(chosen) - missed} of {len(self.calls)} calls"
        return words + (f" ({missed} not met again)" if missed else "")

    def kill(self, call: tracing.Call) -> tuple[tracing.Call | None, list[str]]:
        """Kills the command at a call and starts it again; what was its last call, and what went wrong."""
        last = self.kill_once(call)
        problems = lost(self.place / "store", self._scenario.survivors)
        again = self._again().go()
        return last, problems + self._problems_at_the_end(again)

    def kill_once(self, call: tracing.Call) -> tracing.Call | None:
        ended, last = tracing.kill(self._start(), call, self.place)
        return last if ended.code == -9 else None

    def _problems_at_the_end(self, ended: Ended) -> list[str]:
        if ended.code or ended.error:
            return [f"run again it ends with code {ended.code} {ended.error}".rstrip()]
        found = check_store(Store.open(self.place / "store"))
        problems = [f"{each.place} {each.what}" for each in found if each.severity != "note"]
        problems += [f"{path} is left over" for path in sorted(self.place.rglob(".*.tmp"))]
        return problems + differing(ended.answer, self.expected)


def _recovering(scenario: Scenario, bench: _Bench, call: tracing.Call) -> Scenario:
    """The same command, over what a kill at `call` has left."""

    def prepare(folder: Path) -> None:
        bench.kill_once(call)
        shutil.copytree(bench.place, folder, dirs_exist_ok=True)

    name = f"{scenario.name} after a kill at {call}"
    return Scenario(name, scenario.kind, prepare, scenario.command, scenario.survivors)


# checkpoint-gate prune: one beyond its grace and one within lie in the trash, three are to go, two survive


def _pruner(grace: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        place = folder / "store"
        run = pruned_twice(place)
        rules = folder / "rules.yaml"
        rules.write_text(FILTER % grace)
        digest = plan_runs([run], load_rules(rules)).digest
        (folder / "digest").write_text(str(digest))

    return prepare


def _prune(folder: Path, ready: Ready) -> Any:
    store, rules, digest = folder / "store", folder / "rules.yaml", (folder / "digest").read_text()
    ready()
    try:
        cli(["prune", str(store), "--rules", str(rules), "--execute", digest])
    except SystemExit as end:
        if end.code:
            raise
    return pruned(Store.open(store).run("run"))


# GatedLoop with TensorFlow's own writer; and GatedCheckpoint in model.fit, which saves behind training


def _nothing(folder: Path) -> None:
    """The training makes its store itself."""


def _save(folder: Path, ready: Ready) -> Any:
    import tensorflow as tf

    from checkpoint_gate.training.loop import GatedLoop
    from checkpoint_gate.training.tensorflow_state import TensorFlowState
    from faults.trained import trained

    weights = [tf.Variable(tf.ones([8]) * number) for number in range(3)]
    state = TensorFlowState(tf.train.Checkpoint(weights=weights))
    ready()
    with GatedLoop(folder / "store", GATE, run="run", saving="synchronous") as gate:
        for step in range(gate.resume(state.read), EPOCHS):
            for weight in weights:
                weight.assign_add(tf.ones([8]) * step)
            gate.observe(step + 1, {"loss": LOSS_OF_EPOCH[step]}, epoch=step, at="epoch")
            gate.save(state)
    return trained(folder / "store")


def _callback(folder: Path, ready: Ready) -> Any:
    import keras
    import numpy as np

    from checkpoint_gate import GatedCheckpoint
    from faults.trained import trained

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.03), "mse", run_eagerly=True)  # tracing takes longer than training
    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: ready())
    gate = GatedCheckpoint(folder / "store", GATE, run="run")
    model.fit(x, x.sum(axis=1), batch_size=4, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[begin, gate])
    return trained(folder / "store")
