"""Who notices that something is wrong with the code that this process has imported."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Sequence

import pytest

from faults.alarm import Alarm, Caught
from faults.b01_kill import killed_everywhere
from faults.b03_errno import failing_everywhere
from faults.b04_power import power_cuts, record
from faults.every_work import every_work
from faults.trial import Trial
from faults.works import works_on_store
from faults.world import bucket_world, local_world

SECONDS = 120  # of a test, or of another attempt: what takes longer waits for what does not come
ERRNO_STRIDE = 24  # each operation with one of the 12 ways in which it can fail, every other one in turn
CUT_STRIDE = 3
LATE = 3  # changes that a listing of the bucket does not show yet
_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--timeout={SECONDS}")


def noticed_by(tests: Sequence[str]) -> str | None:
    """The name of the first that notices something: tests, B1, B3, B4 or B11.

    Args:
      tests: names of the tests that are asked.
    """
    attempts: tuple[tuple[str, Callable[[], None]], ...] = (
        ("tests", lambda: _test(tests)),
        ("B1", _kill),
        ("B3", _fail),
        ("B4", _cut_power),
        ("B11", _kill_in_bucket),
    )
    for name, attempt in attempts:
        signal.alarm(SECONDS)  # ends this process; pytest has an alarm of its own for each test, and disarms it
        try:
            attempt()
        except Exception:
            return name
    return None


def _kill() -> None:
    with local_world() as world:
        for trial in [Trial(world, work) for work in every_work(False)]:
            killed_everywhere(trial, Alarm())


def _test(tests: Sequence[str]) -> None:
    if tests and pytest.main([*_OPTIONS, *tests]):
        raise Caught("A test fails.")


def _kill_in_bucket() -> None:
    with bucket_world(late=LATE) as world:
        for trial in [Trial(world, work) for work in works_on_store(False)]:
            killed_everywhere(trial, Alarm())


def _fail() -> None:
    with local_world(syncs=True) as world:
        for work in every_work(False):
            failing_everywhere(Trial(world, work), Alarm(), ERRNO_STRIDE)


def _cut_power() -> None:
    with local_world(records=True) as world:
        for work in every_work(False):
            trial = Trial(world, work)
            power_cuts(trial, itertools.islice(record(trial).cuts(), 0, None, CUT_STRIDE), Alarm())
