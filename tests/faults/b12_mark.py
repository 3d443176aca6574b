"""Every move and every deletion has an earlier mark on the disk: a journal that names it, a tombstone before bytes go.

Recorded at the filesystem while runs are trained, kept short, pruned, swept and brought back from the trash: a mark
counts from the fsync of its file and of the folder around it. The pipeline's metadata database is no part of the store:
that it is locked, lost or replaced by an older copy changes nothing in what a pruning leaves, and no pruning opens it.
In the long run it is also MySQL, in whole runs of a small pipeline.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Run
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.undeleting import undelete
from checkpoint_gate.training.gated_training import GatedTraining
from faults.crowd import Clock, Crowd, write_state
from faults.figure import Measured
from faults.marks import Watch
from faults.memory import memory_folder
from faults.mysql_marks import measure_on_mysql
from faults.recording import Audit, Recorder, as_os, contents, without_fsync

FIGURE = "B12"
WHAT = "moves and deletions of checkpoints: without an earlier mark on the disk that names them"

DAY = 86400.0


def measure(long: bool) -> Measured:
    measured = Measured()
    with memory_folder() as folder:
        watch = Watch(measured.case)
        with as_os(Recorder(watch)):
            for epochs in (10, 100) if long else (10, 30):
                _workload(Crowd(folder / f"store of {epochs}", Clock()), epochs)
    changes = measured.n
    with memory_folder() as folder, without_fsync():
        audit = Audit()
        for name, spoil in DATABASES.items():
            measured.case(*_with_database(folder / name, spoil, audit))
    measured.detail = f"{changes} moves and deletions, {len(DATABASES)} states of the metadata database"
    if long:
        with measured.part("ML Metadata in MySQL"), memory_folder() as folder:
            measured.detail += f"; {measure_on_mysql(measured, folder)}"
    return measured


def _workload(crowd: Crowd, epochs: int) -> None:
    """A training with retention, a resumed one, prunings with and without a grace, sweeps, and an undeletion."""
    rules = parse_rules("save: {metric: val_loss, at_most: 1.0}\nkeep: {best: {metric: val_loss, mode: min, n: 6}}")
    _train(GatedTraining(crowd.store, rules, "trained"), range(epochs), crowd.clock)
    run = crowd.run([0.9 - 0.8 * epoch / epochs for epoch in range(epochs)])
    _prune(run, {1: "too high", 2: "too high"}, [epochs], DAY)
    with run.lease("undeleting") as lease:
        undelete(run, 1, lease)
    crowd.clock.now += 2 * DAY
    _prune(run, {3: "too high", 4: "too high"}, [epochs], 0.0)
    with run.lease("sweeping") as lease:
        sweep(run, lease)
    with run.lease("training"):
        run.resume_after(epochs - 2)


def _train(training: GatedTraining, epochs: range, clock: Clock) -> None:
    training.begin(len(epochs))
    for epoch in epochs:
        loss = 0.3 + (7 * epoch % 10) / 20
        record = Record(epoch + 1, epoch, {"loss": 0.4, "val_loss": loss}, time=clock())
        decision: Decision = training.observe(record)
        training.commit(record, decision, lambda prefix, step=record.step: write_state(prefix, step))
        clock.now += 60
    training.finish(len(epochs))


def _prune(run: Run, rejected: dict[int, str], survivors: list[int], grace: float) -> None:
    with run.lease("pruning") as lease:
        recover(run, lease)
        execute_prune(run, plan_prune(run, rejected, survivors, PrunePolicy(grace=grace), "f" * 64), lease)


def _with_database(home: Path, spoil: Callable[[Path], object], audit: Audit) -> list[str]:
    """A pruning beside a metadata database of this kind, compared with one beside none."""
    database = home / "metadata.sqlite"
    opened: list[str] = []
    for name in ("alone", "beside"):
        (home / name).mkdir(parents=True)
    expected = _pruned_store(home / "alone" / "store")
    held = spoil(database)
    with audit.listening(lambda event, place: opened.append(place)):
        found = _pruned_store(home / "beside" / "store")
    broken = [] if found == expected else [f"a {home.name} database changed what a pruning left"]
    broken += [f"a pruning opened {place}" for place in opened if "metadata" in place]
    if isinstance(held, sqlite3.Connection):
        held.close()
    return broken


def _pruned_store(root: Path) -> dict[str, bytes | str | None]:
    run = Crowd(root, Clock()).run([0.9, 0.8, 0.3, 0.2])
    _prune(run, {1: "too high"}, [3], 0.0)
    _prune(run, {2: "too high"}, [3], DAY)
    return {path: data for path, data in contents(root).items() if "lease." not in path}


def _database(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("create table Artifact (id integer, uri text, state integer)")
    connection.execute("insert into Artifact values (1, 'store/run/checkpoints', 2)")
    connection.commit()
    return connection


def _locked(path: Path) -> sqlite3.Connection:
    connection = _database(path)
    connection.execute("begin exclusive")
    return connection


def _lost(path: Path) -> None:
    _database(path).close()
    path.unlink()


def _older(path: Path) -> None:
    _database(path).close()
    old = path.read_bytes()
    connection = sqlite3.connect(path)
    connection.execute("update Artifact set state = 4")
    connection.commit()
    connection.close()
    path.write_bytes(old)


DATABASES: dict[str, Callable[[Path], object]] = {"locked": _locked, "lost": _lost, "older": _older}
