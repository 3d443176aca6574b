"""What becomes of MySQL, or of who uses it, while CheckpointFilter runs in a pipeline; and how somebody mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.boundaries import FILTER, PUBLISH, Boundary, die
from faults.mysql import DATABASE, Server

LOCKED = (5.0, 20.0, 120.0)  # seconds; MySQL itself gives up waiting for rows after 50
_UNTIL_IT_WAITS = 2.0  # seconds
_MUCH = 1000  # rows

_LAUNCH = "tfx.orchestration.portable.launcher:Launcher"
_REGISTERED = Boundary("the filter is registered", f"{_LAUNCH}._prepare_execution", "begins", number=2)
_STARTED = Boundary("the run begins", f"{_LAUNCH}._prepare_execution", "begins")
_BEGINS = Boundary("the filter begins", FILTER, "begins")
_MARKED = Boundary("the journal is written", "checkpoint_gate.store.pruning:PrunePlan.write", "returns", within=FILTER)
_MOVED = Boundary("all is in the trash", "checkpoint_gate.store.pruning:sweep", "begins", within=FILTER)
_SWEPT = Boundary("the trash is swept", FILTER, "returns")
_PUBLISHED = Boundary("the filter is published", PUBLISH, "begins", number=2)


@dataclass(frozen=True)
class Place:
    """What a trouble needs to know: the server, and a file for a dump of its database."""

    server: Server
    dump: Path


Deed = Callable[[Place], None]


def _nothing(place: Place) -> None:
    """Nobody has to mend anything."""


@dataclass(frozen=True)
class Trouble:
    """A trouble.

    Attributes:
      name: what happens.
      when: where the pipeline is then.
      befalls: makes it happen, in the pipeline's process.
      mend: what is done before the pipeline is run again.
    """

    name: str
    when: Boundary
    befalls: Deed
    mend: Deed = _nothing

    def __str__(self) -> str:
        return f"{self.name} when {self.when.name}"


def troubles() -> Iterator[Trouble]:
    """All of them; the locks of 120 seconds come last."""
    for when in (_REGISTERED, _MARKED, _MOVED, _SWEPT, _PUBLISHED):
        yield Trouble("the server is killed", when, _kill, _start_again)
        yield Trouble("the server and the pipeline are killed", when, _kill_both, _start_again)
        yield Trouble("the pipeline is killed", when, lambda place: die())
    for when in (_STARTED, _REGISTERED, _BEGINS, _MARKED, _PUBLISHED):
        yield Trouble("the database is lost after the run and put back to how it was", when, _dump, _restore)
    yield Trouble("the database is dropped and put back", _MARKED, _dump_and_drop, _restore)
    for table in ("ArtifactProperty", "Event"):
        yield Trouble(f"another connection makes a deadlock about {table}", _PUBLISHED, _deadlock(table), _met)
    yield Trouble("what is to be written is there, as of a try whose answer was lost", _PUBLISHED, _written)
    for seconds in LOCKED:
        for when in (_REGISTERED, _PUBLISHED):
            yield Trouble(f"all tables are locked for {seconds:.0f} s", when, _locked_tables(seconds))
            yield Trouble(f"all rows are locked for {seconds:.0f} s", when, _locked_rows(seconds))


def _kill(place: Place) -> None:
    place.server.kill()


def _kill_both(place: Place) -> None:
    place.server.kill()
    die()


def _start_again(place: Place) -> None:
    place.server.start_again()


def _dump(place: Place) -> None:
    place.dump.write_text(place.server.dump())


def _dump_and_drop(place: Place) -> None:
    _dump(place)
    place.server.tell(f"drop database {DATABASE}")


def _restore(place: Place) -> None:
    place.server.restore(place.dump.read_text())


def _locked_tables(seconds: float) -> Deed:
    def lock(place: Place) -> None:
        place.server.hold("lock tables " + ", ".join(f"`{table}` write" for table in place.server.tables()), seconds)

    return lock


def _locked_rows(seconds: float) -> Deed:
    """Rows and the gaps between them, where new ones would be put."""

    def lock(place: Place) -> None:
        tables = place.server.tables()
        reads = "; ".join(f"select count(*) from `{table}` for update" for table in tables)
        place.server.hold(f"set transaction isolation level serializable; begin; {reads}", seconds)

    return lock


def _deadlock(table: str) -> Deed:
    """Lets ML Metadata wait for a table, and then waits for what it has written: MySQL ends one of both.

    Of two, InnoDB ends that which has changed less; so the other one changes much, where nobody looks.
    """
    held = (
        "create or replace database troubles; create table troubles.much (n integer) engine=InnoDB; "
        f"begin; insert into troubles.much select seq from seq_1_to_{_MUCH}; select count(*) from {table} for update"
    )

    def hold(place: Place) -> None:
        place.server.hold(held, _UNTIL_IT_WAITS, "select count(*) from Artifact for update; commit")

    return hold


def _met(place: Place) -> None:
    """Makes sure that there was a deadlock, and that it was ML Metadata's connection which MySQL ended."""
    found = place.server.tell("select count(*) from troubles.much; show global status like 'Innodb_deadlocks'").split()
    if found[0] != str(_MUCH) or found[-1] == "0":
        raise RuntimeError(f"There was no deadlock in which MySQL ended ML Metadata's part: {found}.")


def _written(place: Place) -> None:
    """The event by which ML Metadata will tell of the filter's output has to be the only one of its kind."""
    output = 4  # as ML Metadata writes Event.OUTPUT
    ids = "(select max(id) + 1 from Artifact), (select max(id) from Execution)"
    columns = "artifact_id, execution_id, type, milliseconds_since_epoch"
    place.server.tell(f"insert into Event ({columns}) values ({ids}, {output}, 0)", DATABASE)
