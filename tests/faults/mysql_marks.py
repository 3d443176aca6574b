"""CheckpointFilter in whole runs of TFX's LocalDagRunner, with ML Metadata in MySQL and that in trouble.

A trouble befalls the first run, which may fail or be killed. Then somebody mends MySQL and simply runs the pipeline
again. Every move and every deletion of both is asked for its mark; in the end the store and the published survivors
have to be those of a run on SQLite that was left alone.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.trash import stones
from faults.boundaries import act_at
from faults.figure import Measured
from faults.marks import Watch
from faults.mysql import DATABASE, HOST, PASSWORD, USER, Server, running
from faults.mysql_troubles import Place, Trouble, troubles
from faults.processes import SHOWN, Child, Ended, Ready, differing
from faults.pruned import FILTER, SURVIVORS, lost, pruned, pruned_twice
from faults.recording import Recorder, as_os

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import ConnectionConfig

KEY = "run"
COMES_TO = {
    "tombstones": {"1": "pruned", "2": "trashed", "3": "pruned", "4": "pruned", "6": "pruned"},
    "survivors": list(SURVIVORS),
}
RULES = FILTER % "0s"
RANDOM_KILLS = 10
SEED = 12
SECONDS = 0.3  # of a run, about


def measure_on_mysql(measured: Measured, folder: Path) -> str:
    """Counts the cases, and each move and deletion in them; how many both were, in words.

    Raises:
      NotPossible: this machine has no server.
    """
    (folder / "server").mkdir()
    with running(folder / "server") as server:
        import faults.small_filtering  # noqa: F401  imported now, so that no process has to

        bench = _Bench(folder, server)
        cases: list[tuple[str, Callable[[], list[str]]]] = [
            ("left alone", bench.run_alone),
            ("the database is lost for good after a run", bench.lose_database),
        ]
        cases += [(str(trouble), functools.partial(bench.befall, trouble)) for trouble in troubles()]
        chance = random.Random(SEED)
        for seconds in (chance.uniform(0.0, SECONDS) for _ in range(RANDOM_KILLS)):
            cases.append((f"the server is killed after {seconds:.3f} s", functools.partial(bench.kill_after, seconds)))
        measured.violations.extend(f"on SQLite, left alone: {problem}" for problem in bench.problems)
        changes = measured.n
        for name, case in cases:
            measured.case(*(f"on MySQL, {name}: {problem}" for problem in case()))
            measured.n += bench.changes()
    return f"{len(cases)} runs with it in MySQL and {measured.n - changes - len(cases)} moves and deletions there"


class _Bench:
    """Where the pipeline is run again and again, always in the same folder: ML Metadata holds absolute paths.

    Attributes:
      expected: what a run on SQLite has come to.
      problems: what was wrong with that.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self._template = folder / "template"
        self._root = folder / "root"
        self._store = self._root / "store"
        self._heard = folder / "heard"
        self._place = Place(server, folder / "dump.sql")
        pruned_twice(self._template / "store")
        self._tables = self._made_tables()
        self._begin()
        ended = self._start(sqlite=True).go()
        if not isinstance(ended.answer, dict):
            raise RuntimeError(f"A run on SQLite that nobody disturbs ends with {ended}.")
        self.expected = ended.answer
        self.problems = self._problems(ended) + differing(ended.answer, COMES_TO)

    def changes(self) -> int:
        """The moves and deletions of the last case."""
        return len(self._judged())

    def run_alone(self) -> list[str]:
        self._begin()
        return self._run_again()

    def befall(self, trouble: Trouble) -> list[str]:
        self._begin()
        befallen = self._root / "befallen"

        def prepare() -> None:
            act_at(trouble.when, befall)

        def befall() -> None:
            befallen.touch()
            try:
                trouble.befalls(self._place)
            except Exception as error:
                befallen.write_text(str(error))
                raise

        ended = self._start(prepare).go()
        if not befallen.exists() or befallen.read_text():
            why = befallen.read_text() if befallen.exists() else f"The pipeline did not come there, but ended: {ended}"
            raise RuntimeError(f"{trouble} could not be made. {why}")
        trouble.mend(self._place)
        return lost(self._store, SURVIVORS) + self._run_again()

    def lose_database(self) -> list[str]:
        """Numbers begin anew then: the outputs have the places of those that are there."""
        self._begin()
        self._start().go()
        self._place.server.make_database()
        return lost(self._store, SURVIVORS) + self._run_again()

    def kill_after(self, seconds: float) -> list[str]:
        self._begin()
        child = self._start()
        killer = threading.Timer(seconds, self._place.server.kill)
        killer.start()
        child.go()
        killer.join()
        self._place.server.start_again()
        return lost(self._store, SURVIVORS) + self._run_again()

    def _begin(self) -> None:
        """Puts the store back to where nothing of this was, and makes ML Metadata forget."""
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(self._template, self._root)
        self._place.server.restore(self._tables)
        self._heard.write_text("")

    def _made_tables(self) -> str:
        """The database as ML Metadata makes it. Killed meanwhile, MySQL is left with one that it never opens again."""

        def make(ready: Ready) -> None:
            from ml_metadata import MetadataStore

            MetadataStore(self._mysql())

        self._place.server.make_database()
        ended = Child(make).go()
        if ended.code:
            raise RuntimeError(f"ML Metadata cannot make its tables: {ended.error}")
        return self._place.server.dump()

    def _run_again(self) -> list[str]:
        """Runs the pipeline to its end; what is not as it has to be."""
        return self._problems(self._start().go())

    def _start(self, prepare: Callable[[], None] = lambda: None, *, sqlite: bool = False) -> Child:
        def run(ready: Ready) -> dict[str, Any]:
            from faults.small_filtering import run_filtering

            metadata = self._sqlite() if sqlite else self._mysql()
            watch = Watch(self._hear)
            watch.believe(self._store)
            prepare()
            ready()
            with as_os(Recorder(watch)):
                run_filtering(self._root / "artifacts", self._store, KEY, RULES, metadata)
            return self._come_to(metadata)

        return Child(run)

    def _hear(self, *broken: str) -> None:
        """Writes down one change at once: what has changed it may be killed."""
        with self._heard.open("a") as file:
            file.write(json.dumps(broken) + "\n")

    def _judged(self) -> list[list[str]]:
        return [json.loads(line) for line in self._heard.read_text().splitlines()]

    def _problems(self, ended: Ended) -> list[str]:
        unmarked = [each for broken in self._judged() for each in broken]
        if ended.code or ended.error:
            return [*unmarked, f"run again it ends with code {ended.code} {ended.error[-SHOWN:]}".rstrip()]
        found = check_store(Store.open(self._store))
        problems = [f"{each.place} {each.what}" for each in found if each.severity != "note"]
        return unmarked + problems + differing(ended.answer, self.expected)

    def _come_to(self, metadata: ConnectionConfig) -> dict[str, Any]:
        """The store, and what the newest output says that ML Metadata knows of."""
        from ml_metadata import MetadataStore
        from ml_metadata.proto.metadata_store_pb2 import Artifact

        from checkpoint_gate.artifact_files.checkpoint_set import read_about, read_set
        from checkpoint_gate.artifacts import CheckpointSet

        known = MetadataStore(metadata).get_artifacts_by_type(CheckpointSet.TYPE_NAME)
        live = [one for one in known if one.state == Artifact.LIVE]
        newest = Path(max(live, key=lambda one: one.id).uri) if live else None
        run = Store.open(self._store).run(KEY)
        return {
            **pruned(run),
            "buried": [[line["event"], line["plan"], line["step"]] for line in stones(run).read()],
            "survivors": [survivor.manifest.step for survivor in read_set(newest)] if newest else None,
            "about": dict(read_about(newest)) if newest else None,
        }

    def _sqlite(self) -> ConnectionConfig:
        from tfx.orchestration.metadata import sqlite_metadata_connection_config

        return sqlite_metadata_connection_config(str(self._root / "metadata.sqlite"))

    def _mysql(self) -> ConnectionConfig:
        from tfx.orchestration.metadata import mysql_metadata_connection_config

        return mysql_metadata_connection_config(HOST, self._place.server.port, DATABASE, USER, PASSWORD)
