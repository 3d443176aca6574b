"""Forked processes that stand still until they are told to go on, so that a tracer can come first."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 300  # letters of each answer
Ready = Callable[[], None]
Work = Callable[[Ready], Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
      code: its exit code; of one that was killed the signal's number, negative.
      answer: what its work answered with, as JSON gives it back; None where it did not come to that.
      error: the traceback of an error that nobody caught.
    """

    code: int
    answer: Any = None
    error: str = ""


def differing(answer: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """In what the answer of a process that was run again is not that of one that was left alone."""
    return [
        f"run again it ends with other {name}: {str(answer[name])[:SHOWN]}, left alone {str(expected[name])[:SHOWN]}"
        for name in expected
        if answer[name] != expected[name]
    ]


class Child:
    """A forked process. It does `work` up to the point where this calls `ready`; there it waits for `go`.

    Whoever has imported TensorFlow, and has not used it yet, forks processes that need not import it again.
    """

    def __init__(self, work: Work) -> None:
        told, tell = os.pipe()
        wait, go = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(told)
            os.close(go)
            _live(work, wait, tell)
        os.close(tell)
        os.close(wait)
        self._go = go
        self._told = os.fdopen(told, "rb")
        self._first = self._told.readline()

    @property
    def stands(self) -> bool:
        """Whether it has come to where it waits; otherwise it has ended."""
        return self._first == b"ready\n"

    def go(self) -> Ended:
        """Lets the process go on, and waits for its end."""
        os.close(self._go)
        with self._told as told:
            said = told.read() if self.stands else self._first
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        answer = json.loads(said) if said else {}
        return Ended(code, answer.get("answer"), answer.get("error", ""))


def _live(work: Work, wait: int, tell: int) -> None:
    """The process from its first breath to its last."""

    def ready() -> None:
        os.write(tell, b"ready\n")
        os.read(wait, 1)

    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    code, said = 1, {}
    try:
        said = {"answer": work(ready)}
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        said = {"error": traceback.format_exc()}
    finally:
        with os.fdopen(tell, "w") as out:
            json.dump(said, out)
        os._exit(code)
