"""B3: an error of the disk at every operation that changes it, an fsync among them."""

from __future__ import annotations

import errno
import itertools

from faults.every_work import every_work
from faults.figure import Measured
from faults.trial import Trial
from faults.world import local_world

FIGURE = "B3"
WHAT = "an errno at every operation is never reported as success, loses nothing, and one re-run finishes"
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.ETIMEDOUT, errno.ENOENT)


def failing_everywhere(trial: Trial, measured: Measured, stride: int = 1) -> None:
    """Fails a work at each operation, or each `stride`-th in turn, with each errno, once and from there on."""
    ways = itertools.product(ERRORS, (False, True))
    for number, (error, sticky) in enumerate(ways):
        for at in range(number % stride, trial.operations, stride):
            trial.begin()
            wrong = trial.fail(at, error, sticky) + trial.verdict()
            how = f"{errno.errorcode[error]} {'from' if sticky else 'at'} operation {at}"
            measured.case(*(f"{trial.name}, {how}: {words}" for words in wrong))


def measure(long: bool) -> Measured:
    measured = Measured()
    counts = []
    with local_world(syncs=True) as world:
        for work in every_work(long):
            trial = Trial(world, work)
            failing_everywhere(trial, measured)
            counts.append(f"{work.name} {trial.operations}")
    measured.detail = f"{len(ERRORS)} errnos, once and sticky, at the operations of {', '.join(counts)}"
    if long:
        from faults.gfile_errors import measure_tensorflow  # the short run does without TensorFlow

        measured.detail += f"; {measure_tensorflow(measured)}"
    return measured
