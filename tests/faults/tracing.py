"""The calls of a process to the kernel that change a folder: written down, and one of them its last, by strace."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.figure import NotPossible
from faults.processes import Child, Ended

SYSCALLS = (
    "openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link",
    "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
)  # fmt: skip
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_RANDOM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{12}(?=\.tmp)|(?<=--)[0-9a-f]{12}|(?<=\.tempstate)\d+")
_PATH = re.compile(r'["<](/[^">]*)[">]')


@dataclass(frozen=True, slots=True)
class Call:
    """A call that changes a folder, or brings a change of it to the disk.

    Attributes:
      syscall: its name.
      number: which call of this name in its thread it is, from 1.
      where: what it is about, relative to the folder; names that chance chose are left out.
    """

    syscall: str
    number: int
    where: str

    def __str__(self) -> str:
        return f"{self.syscall}({self.where})"


class Untraceable(NotPossible):
    """strace is missing, or may not trace."""


def calls(child: Child, folder: Path) -> tuple[Ended, list[Call]]:
    """Lets a process go on to its end, and answers with its calls that concern `folder`."""
    ended, log = _trace(child)
    return ended, list(_calls(log, folder))


def kill(child: Child, call: Call, folder: Path) -> tuple[Ended, Call | None]:
    """Kills a process by SIGKILL at the first call of the name and number of `call`, which is not carried out.

    Answers with the call that was its last, None where it came to its end, or died at a call that concerns another
    folder: which thread gets that far first may differ from what was written down.
    """
    ended, log = _trace(child, f"inject={call.syscall}:signal=KILL:when={call.number}")
    done = [each for each in _calls(log, folder) if (each.syscall, each.number) == (call.syscall, call.number)]
    return ended, done[0] if done and ended.code < 0 else None


def _trace(child: Child, *expressions: str) -> tuple[Ended, str]:
    if not child.stands:
        return child.go(), ""
    with tempfile.NamedTemporaryFile() as log:
        options = [
            part for each in (f"trace={','.join(SYSCALLS)}", "signal=none", *expressions) for part in ("-e", each)
        ]
        command = ["strace", "-f", "-y", "-s", "0", "-o", log.name, *options, "-p", str(child.pid)]
        try:
            strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            child.go()
            raise Untraceable("There is no strace: install it, as by apt-get install strace.") from None
        while not _traced(child.pid):
            if strace.poll() is not None:
                child.go()
                raise Untraceable(f"strace cannot trace here: {strace.communicate()[1].strip()}")
            time.sleep(0.002)
        ended = child.go()
        strace.communicate()
        return ended, Path(log.name).read_text(errors="replace")


def _traced(pid: int) -> bool:
    """Whether every thread of the process has a tracer."""
    states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("\nTracerPid:\t0\n" not in state for state in states)


def _calls(log: str, folder: Path) -> Iterator[Call]:
    """The calls that concern `folder`, the first ones of their name and number in whichever thread."""
    counts: Counter[tuple[str, str]] = Counter()
    seen: Counter[str] = Counter()
    for line in log.splitlines():
        if (match := _LINE.fullmatch(line)) is None:
            continue
        thread, syscall, rest = match.groups()
        counts[thread, syscall] += 1
        number = counts[thread, syscall]
        first = number > seen[syscall]
        seen[syscall] = max(seen[syscall], number)
        places = [path for path in _PATH.findall(rest) if f"{path}/".startswith(f"{folder}/")]
        if first and places and (syscall != "openat" or "O_CREAT" in rest):
            names = dict.fromkeys(str(Path(place).relative_to(folder)) for place in places)
            yield Call(syscall, number, _RANDOM.sub("…", " → ".join(names)))
