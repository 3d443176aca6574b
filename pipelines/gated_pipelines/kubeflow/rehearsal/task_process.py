"""One command of a task: a process group of its own, and the line of its log that tells what went wrong."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from checkpoint_gate.errors import ConfigError

_GRACE = 10.0  # seconds between asking a task to end and ending it
_TAIL = 64 * 1024  # bytes of a log that are searched
_LONGEST = 400  # characters
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR = re.compile(r"[\w.]*(?:Error|NoSurvivors|NoCandidate): ")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?$")


class TaskProcess:
    """A command that runs in a folder of its own and in a process group of its own; nothing goes through a shell.

    Raises:
      ConfigError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: BinaryIO) -> None:
        words = [sys.executable if command[0] in ("python", "python3") else command[0], *command[1:]]
        try:
            self._process = subprocess.Popen(
                words, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # the latter: a NUL in a word
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{command[0]} cannot be run on this machine: {why}.") from error

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs. Who it left behind ends with it, as in a pod."""
        if self._process.returncode is not None:
            return self._process.returncode
        done = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if done is None:
            return None
        self._signal(signal.SIGKILL)  # before the wait: until then nobody else can have the group's number
        return self._process.wait()

    def end(self) -> None:
        """Ends the whole group: asks, waits a little, and kills what is left."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + _GRACE
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: nothing but zombies is left
            os.killpg(self._process.pid, number)


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"signal {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")


def telling_line(log: Path, begin: int) -> str:
    """The line that says best what went wrong: the last error, be it at the end of a traceback, else the last line.

    Args:
      begin: offset of the part of the log that counts, in bytes.
    """
    with open(log, "rb") as file:
        file.seek(max(begin, os.path.getsize(log) - _TAIL))
        text = file.read().decode("utf-8", errors="replace")
    lines = [_ESCAPES.sub("", line).rstrip() for line in text.splitlines()]
    return (_last_error(lines) or next((line for line in reversed(lines) if line), "it said nothing"))[:_LONGEST]


def _last_error(lines: Sequence[str]) -> str | None:
    found, in_traceback = None, False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = True
        elif in_traceback and _RAISED.match(line):
            found, in_traceback = line, False
        elif _ERROR.match(line):
            found = line
    return found
