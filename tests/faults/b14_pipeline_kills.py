"""Whole pipeline runs, killed by SIGKILL and simply run again, beside one that was left alone.

Most begin where the undisturbed run's Transform was done: Transform executed anew gives other bytes, and other weights.
Compared are every tensor of the store's live checkpoints, its champion, and of every version in the push folder the
names, shapes and bytes of its weights, its papers (run, step, metrics) and what it predicts. `saved_model.pb` differs
from export to export, so its bytes are not compared.

Others begin with nothing and die at each component in turn. Of these the outcome is compared: one version is pushed, of
the checkpoint that the store holds for the champion; the store has no fault; and a run after that has nothing to do.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import read_champion
from checkpoint_gate.store.checking import check_store
from faults.boundaries import (
    BOUNDARIES,
    COMPONENTS,
    FILTER,
    Boundary,
    after_each_component,
    before_each_is_known,
    die_at,
    find,
    watch,
)
from faults.figure import Measured
from faults.memory import memory_folder
from faults.processes import Child, Ended, Ready, differing

FIGURE = "B14"
WHAT = "whole pipeline runs killed by SIGKILL and run again"

DATA = Path(__file__).parents[2] / "data" / "penguins"
SHORT = ("half of the epochs", "one in the trash", "copied to a temporary name")
RANDOM_KILLS = 20
SECONDS = 40.0  # of a run from Transform on, at least
SEED = 14
LOCKED = 45.0  # seconds; MLMD waits longer in a run, and not as long when it opens the database
LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


def measure(long: bool) -> Measured:
    """Kills one run after the other until it comes to its end; in the long run at every boundary, and at random."""
    import tfx.orchestration.local.local_dag_runner  # noqa: F401  imported now, so that no process has to

    import gated_pipelines.pipeline
    import gated_pipelines.trainer  # noqa: F401

    measured = Measured()
    for boundary in (*BOUNDARIES, *after_each_component(), *before_each_is_known()):
        find(boundary.function)  # those of the long run, too: what was renamed is told at once
    with memory_folder() as folder:
        pipeline = _Pipeline(folder)
        problems = pipeline.run_undisturbed()
        measured.violations.extend(f"a run that was left alone: {problem}" for problem in problems)
        short = [boundary for boundary in BOUNDARIES if boundary.name in SHORT]
        for chain in [[boundary] for boundary in BOUNDARIES] if long else [short]:
            _kill_in_turn(measured, pipeline, chain)
        _kill_from_nothing(measured, pipeline, after_each_component())
        if long:
            _kill_from_nothing(measured, pipeline, before_each_is_known())
            _kill_at_random(measured, pipeline)
            for case in (_metadata_lost, _metadata_older, _metadata_locked, _metadata_locked_while_pruning):
                measured.case(*(f"{case.__doc__} {problem}" for problem in case(pipeline)))
    after = f"after each of {len(COMPONENTS)} components"
    kinds = f"{len(SHORT)} boundaries, {after}"
    if long:
        kinds = f"{len(BOUNDARIES)} boundaries, {after} twice, {RANDOM_KILLS} random kills, 4 times MLMD disturbed"
    measured.detail = f"{kinds}; the same pushed model each time: {pipeline.expected['versions'][0]['weights'][:12]}"
    return measured


def _kill_in_turn(measured: Measured, pipeline: _Pipeline, chain: Sequence[Boundary]) -> None:
    """Kills the first run at the first boundary, and so on; the last one is left alone."""
    pipeline.begin()
    so_far = []
    for boundary in chain:
        so_far.append(boundary.name)
        ended = pipeline.start(functools.partial(die_at, boundary)).go()
        problems = [] if ended.code == -signal.SIGKILL else [f"it was not killed, but ended with {ended}"]
        measured.case(*_told(so_far, problems + pipeline.damage()))
    measured.violations.extend(_told(so_far, pipeline.run_again()))


def _kill_from_nothing(measured: Measured, pipeline: _Pipeline, chain: Sequence[Boundary]) -> None:
    """Kills the first run of an empty root at the first boundary, and so on; the last one is left alone."""
    shutil.rmtree(pipeline.root, ignore_errors=True)
    for boundary in chain:
        ended = pipeline.start(functools.partial(die_at, boundary)).go()
        problems = [] if ended.code == -signal.SIGKILL else [f"it was not killed, but ended with {ended}"]
        measured.case(*_told([boundary.name], problems + pipeline.faults()))
    measured.violations.extend(_told([boundary.name for boundary in chain], pipeline.come_through()))


def _kill_at_random(measured: Measured, pipeline: _Pipeline) -> None:
    """Kills runs at random times, each time the one that was started again, and begins anew when one got through."""
    chance = random.Random(SEED)
    kills = 0
    while kills < RANDOM_KILLS:
        pipeline.begin()
        so_far: list[str] = []
        while kills < RANDOM_KILLS:
            seconds = chance.uniform(0.0, SECONDS)
            child = pipeline.start()
            killer = threading.Timer(seconds, os.kill, (child.pid, signal.SIGKILL))
            killer.start()
            ended = child.go()
            killer.cancel()
            killer.join()
            if ended.code != -signal.SIGKILL:
                break
            kills += 1
            so_far.append(f"{seconds:.3f} s")
            measured.case(*_told(so_far, pipeline.damage()))
        measured.violations.extend(_told(so_far, pipeline.run_again()))


def _metadata_lost(pipeline: _Pipeline) -> list[str]:
    """MLMD was lost after a run:"""
    pipeline.put(pipeline.done)
    (pipeline.root / "metadata.sqlite").unlink()
    refused = pipeline.start().go()
    if refused.code != 1 or "metadata.sqlite is gone" not in refused.error:
        return [f"run again it ends with {refused}"]
    (pipeline.root / "artifacts").rename(pipeline.root / "old artifacts")
    ended = pipeline.start().go()  # Transform is executed anew, which makes it another training
    state, expected = pipeline.state(), pipeline.expected
    problems = [f"run again it ends with {ended}"] if ended.code else []
    problems += [
        f"of {key} live are {state['live'][key]}"
        for key, live in expected["live"].items()
        if state["live"][key] != live
    ]
    return problems + [f"{version} is gone" for version in expected["versions"] if version not in state["versions"]]


def _metadata_older(pipeline: _Pipeline) -> list[str]:
    """MLMD was restored from a copy that was made before the training:"""
    pipeline.put(pipeline.done)
    shutil.copy(pipeline.transformed / "metadata.sqlite", pipeline.root)
    return pipeline.run_again()


def _metadata_locked(pipeline: _Pipeline) -> list[str]:
    """MLMD was locked by another process when a run began:"""
    pipeline.put(pipeline.done)
    lock = _lock(pipeline.root / "metadata.sqlite")
    pipeline.start().go()
    lock.wait()
    return pipeline.damage() + pipeline.run_again()


def _metadata_locked_while_pruning(pipeline: _Pipeline) -> list[str]:
    """MLMD was locked by another process when CheckpointFilter began:"""
    pipeline.begin()
    pipeline.start(lambda: watch(FILTER, before=lambda: _lock(pipeline.root / "metadata.sqlite"))).go()
    return pipeline.damage() + pipeline.run_again()


def _lock(database: Path) -> subprocess.Popen[bytes]:
    """Starts a process that holds the lock of a SQLite database for a time, and returns when it has it."""
    process = subprocess.Popen([sys.executable, "-c", LOCK, database, str(LOCKED)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _told(so_far: Sequence[str], problems: Sequence[str]) -> list[str]:
    return [f"killed at {', then at '.join(so_far)}: {problem}" for problem in problems]


class _Pipeline:
    """A pipeline's root, always at the same place: MLMD holds absolute paths.

    Attributes:
      expected: what the undisturbed run has come to.
      transformed, done: copies of the root as it was when Trainer began, and at the end of that run.
    """

    def __init__(self, folder: Path) -> None:
        self.expected: dict[str, Any] = {}
        self._file = folder / "project" / "pipeline.yaml"
        self.root = folder / "root"
        self.transformed = folder / "transformed"
        self.done = folder / "done"
        shutil.copytree(DATA, folder / "project")

    def run_undisturbed(self) -> list[str]:
        """Runs the pipeline; a copy of its root is made when Trainer begins, and one at the end."""

        def copy() -> None:
            shutil.copytree(self.root, self.transformed)

        trainer = "tfx.components.trainer.executor:GenericExecutor.Do"
        ended = self.start(lambda: watch(trainer, before=copy)).go()
        if ended.code or ended.answer != "pushed":
            raise RuntimeError(f"A run that nobody disturbs ends with {ended}.")
        shutil.copytree(self.root, self.done)
        self.expected = self.state()
        return self.damage()

    def begin(self) -> None:
        """Puts the root back to where Transform was done."""
        self.put(self.transformed)

    def put(self, state: Path) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(state, self.root)

    def start(self, prepare: Callable[[], None] = lambda: None) -> Child:
        """A process that stands before what `gated-pipeline run` does, and answers with its outcome."""

        def run(ready: Ready) -> str:
            from gated_pipelines.running.local import run_local

            prepare()
            ready()
            summary = run_local(self._file, self.root)
            if not summary.green:
                raise RuntimeError(summary.reason)
            return str(summary.outcome)

        return Child(run)

    def state(self) -> dict[str, Any]:
        """What a run has come to."""
        return _answer(Child(lambda ready: _state(self.root)).go())

    def faults(self) -> list[str]:
        """What is wrong with the store, beside what was interrupted."""
        if not (self.root / "store").exists():
            return []
        found = check_store(Store.open(self.root / "store"))
        return [f"{each.place} {each.what}" for each in found if each.severity == "fault"]

    def damage(self) -> list[str]:
        """What no kill may do, wherever it came."""
        if not (self.root / "store").exists():
            return []
        problems = self.faults()
        versions = self.state()["versions"]
        return problems + [f"pushed is {each}" for each in versions if each not in self.expected["versions"]]

    def run_again(self) -> list[str]:
        """Runs the pipeline to its end; how that differs from what the undisturbed run has come to."""
        ended = self.start().go()
        if ended.code or ended.answer not in ("pushed", "skipped"):
            return [f"run again it ends with {ended}"]
        found = check_store(Store.open(self.root / "store"))
        problems = [f"{each.place} {each.what}" for each in found if each.severity != "note"]
        return problems + differing(self.state(), self.expected)

    def come_through(self) -> list[str]:
        """Runs a pipeline that has begun with nothing to its end; what an undisturbed one would have done otherwise."""
        ended = [self.start().go() for _ in range(3)]
        problems = [f"run again it ends with {one}" for one in ended if one.code]
        if ended[0].answer not in ("pushed", "skipped") or [one.answer for one in ended[1:]] != ["skipped"] * 2:
            problems.append(f"run again three times it ends with {[one.answer for one in ended]}")
        state = self.state()
        if len(state["versions"]) != len(self.expected["versions"]) or state["others"]:
            problems.append(f"in the push folder are {len(state['versions'])} versions, and {state['others']}")
        pushed = [[version["run"], version["step"]] for version in state["versions"]]
        if pushed != [state["champion"]]:
            problems.append(f"pushed is {pushed}, and the store takes {state['champion']} for the champion")
        lived, expected = ([len(live) for live in one["live"].values()] for one in (state, self.expected))
        if lived != expected:
            problems.append(f"{lived} checkpoints live, {expected} of a run left alone")
        return problems + self.faults()


def _answer(ended: Ended) -> Any:
    if ended.code:
        raise RuntimeError(f"The state cannot be read: {ended}.")
    return ended.answer


def _state(root: Path) -> dict[str, Any]:
    from faults.trained import tensors

    store = Store(root / "store")
    champion = read_champion(store.files)
    serving = root / "serving"
    names = sorted(path.name for path in serving.iterdir()) if serving.exists() else []
    return {
        "live": {
            run.key: {str(stored.step): _sha256(tensors(run.prefix(stored))) for stored in run.live()}
            for run in map(store.run, store.keys())
        },
        "champion": [champion.run, champion.step] if champion is not None else None,
        "versions": [_model(serving / name) for name in names if name.isdecimal()],
        "others": [name for name in names if not name.isdecimal()],
    }


def _model(folder: Path) -> dict[str, Any]:
    """What of a pushed model is the same whenever the same checkpoint is pushed."""
    import tensorflow as tf

    from checkpoint_gate.models.weights import weights_digest
    from checkpoint_gate.pushed.papers import read_papers
    from checkpoint_gate.pusher.servable import EXAMPLES_FILE, SIGNATURE

    papers = read_papers(folder)
    assert papers is not None
    examples = list(tf.data.TFRecordDataset(str(folder / EXAMPLES_FILE)).as_numpy_iterator())
    signature = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    predicted = {name: value.numpy().tolist() for name, value in signature(tf.constant(examples)).items()}
    return {
        "weights": weights_digest(str(folder)),
        "run": papers.run,
        "step": papers.step,
        "metrics": dict(papers.metrics),
        "predicted": _sha256(predicted),
    }


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
