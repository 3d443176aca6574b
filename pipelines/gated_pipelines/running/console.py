"""What a person sees while a pipeline runs: words on standard error, everything else in a log file."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

_OURS = ("checkpoint_gate", "gated_pipelines")


@contextlib.contextmanager
def quiet(log_file: Path) -> Iterator[None]:
    """Sends what libraries say to `log_file`, and our own words to standard error as well.

    Standard output stays free for the one line that a program reads.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's C++ side writes past Python's logging
    file = logging.FileHandler(log_file, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    words = logging.StreamHandler(sys.stderr)
    words.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger()
    before = list(root.handlers), root.level
    root.handlers[:] = [file]
    root.setLevel(logging.INFO)
    ours = [logging.getLogger(name) for name in _OURS]
    for logger in ours:
        logger.addHandler(words)
        logger.setLevel(logging.INFO)
    steps = _StepWords()
    absl = logging.getLogger("absl")
    absl.setLevel(logging.INFO)
    absl.addFilter(steps)
    # tf.saved_model.save raises absl's level and does not lower it again; the steps' words would end there.
    absl.setLevel = lambda level: None  # type: ignore[method-assign]
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    try:
        with _output_to_errors():
            yield
    finally:
        logging.captureWarnings(False)
        del absl.setLevel
        absl.removeFilter(steps)
        for logger in ours:
            logger.removeHandler(words)
        root.handlers[:], root.level = before
        file.close()


class _StepWords(logging.Filter):
    """Turns LocalDagRunner's records about its components into words for people."""

    def __init__(self) -> None:
        super().__init__()
        self._log = logging.getLogger("gated_pipelines.run")
        self._begun: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg == "Component %s is running." and isinstance(record.args, tuple):
            name = str(record.args[0])
            self._begun[name] = time.monotonic()
            self._log.info("%s …", name)
        elif record.msg == "Component %s is finished." and isinstance(record.args, tuple):
            name = str(record.args[0])
            self._log.info("%s done, %.1f s", name, time.monotonic() - self._begun.get(name, time.monotonic()))
        return True


@contextlib.contextmanager
def _output_to_errors() -> Iterator[None]:
    """Whatever prints to standard output meanwhile, Python or not, goes to standard error."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
