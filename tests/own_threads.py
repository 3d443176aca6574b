"""The threads of trainings that a test begins, without those of other tests in the same process."""

from __future__ import annotations

import contextlib
import gc
import threading
import time


@contextlib.contextmanager
def joined():
    """At the end, the threads begun in it do what was given to them, and end: nobody holds their training any more."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 60
    while any(thread.name.startswith("checkpoint-gate") for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.002)
