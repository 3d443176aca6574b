"""A private MySQL server: MariaDB, on a free port of loopback, with all that it holds in a folder of its own.

ML Metadata's client is the library of MariaDB itself. It was seen to work with MariaDB 10.11 by the password plugin
mysql_native_password, which is what a user made by `identified by` has there, and under every sql_mode that was tried:
MariaDB's own, an empty one, and ANSI with TRADITIONAL, ONLY_FULL_GROUP_BY and NO_BACKSLASH_ESCAPES.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults.figure import NotPossible

PROGRAMS = ("mariadb-install-db", "mariadbd", "mariadb", "mariadb-dump", "setpriv")
HOST, DATABASE, USER, PASSWORD = "127.0.0.1", "metadata", "pipeline", "secret"
STARTS = 60.0  # seconds in which a server has to answer
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])  # not everybody has it there
_SMALL = ("--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--innodb-use-native-aio=0")
_ROOT = ("--user=root",)  # it would not run as root unless it is told to


class Server:
    """A server that may be killed and started again; `running` makes one.

    Attributes:
      port: where it listens, on loopback; the same as long as it lives.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "socket"
        self._options = [*_SMALL, f"--datadir={folder / 'data'}", *(_ROOT if not os.getuid() else ())]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def install(self) -> None:
        """Makes the folder in which the server keeps everything.

        Raises:
          NotPossible: it cannot be made here.
        """
        command = [_program("mariadb-install-db"), "--no-defaults", *self._options]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode:
            raise NotPossible(f"mariadb-install-db cannot make a folder for a server: {_last_line(made.stdout)}")

    def start(self) -> None:
        """Starts the server, and returns when it answers.

        Raises:
          NotPossible: it does not come up.
        """
        self.port = self.port or _free_port()
        log = self._folder / "log"
        # The kernel ends it with the process that has started it, whatever becomes of that one.
        command = [_program("setpriv"), "--pdeathsig=KILL", _program("mariadbd"), "--no-defaults", *self._options]
        command += [f"--bind-address={HOST}", f"--port={self.port}", f"--socket={self._socket}", "--skip-name-resolve"]
        with log.open("wb") as said:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        end = time.monotonic() + STARTS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise NotPossible(f"mariadbd does not come up: {_last_line(log.read_text(errors='replace'))}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a machine that fails; also from a process forked by the one that has started it."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        # Whoever has started it reaps it; others see only that nobody answers any more.
        while self._answers():
            time.sleep(0.01)

    def start_again(self) -> None:
        """After a `kill` by whomever."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Ends it, if it runs, and surely."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tell(self, statements: str, database: str = "") -> str:
        """Lets the server's administrator say something; what the server answers.

        Raises:
          RuntimeError: it did not do so.
        """
        done = subprocess.run(self._client(database), input=statements, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"MariaDB refuses {statements[:80]!r}: {done.stderr.strip()}")
        return done.stdout.strip()

    def hold(self, statements: str, seconds: float, then: str = "do 0") -> None:
        """Says something in a connection of its own; returns when it was done. That stays for a time, and says more."""
        client = subprocess.Popen(
            [*self._client(DATABASE), "--unbuffered"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"{statements}; select 'done'; select sleep({seconds}); {then};\n")
        client.stdin.close()
        while (line := client.stdout.readline()) != "done\n":
            if not line:
                raise RuntimeError(f"MariaDB refuses {statements[:80]!r}.")

    def make_database(self) -> None:
        """Gives ML Metadata an empty database, in the place of the one there was, and a user who may do all in it."""
        who = f"{USER}@'{HOST}'"
        self.tell(
            f"drop database if exists {DATABASE}; create database {DATABASE};"
            f"create user if not exists {who} identified by '{PASSWORD}'; grant all on {DATABASE}.* to {who};"
        )

    def tables(self) -> Sequence[str]:
        return self.tell("show tables", DATABASE).split()

    def dump(self) -> str:
        """All that the database holds, as statements that make it anew."""
        command = [_program("mariadb-dump"), "--no-defaults", f"--socket={self._socket}", "--user=root", DATABASE]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def restore(self, dump: str) -> None:
        """Puts the database back to what it was."""
        self.make_database()
        self.tell(dump, DATABASE)

    def _client(self, database: str) -> list[str]:
        command = [_program("mariadb"), "--no-defaults", f"--socket={self._socket}", "--user=root"]
        return [*command, "--skip-column-names", "--batch", *([database] if database else [])]

    def _answers(self) -> bool:
        return not subprocess.run([*self._client(""), "--execute=select 1"], capture_output=True).returncode


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server in an empty folder; it has ended when this ends.

    Raises:
      NotPossible: there is no such server on this machine, or it does not come up.
    """
    for program in PROGRAMS:
        _program(program)
    server = Server(folder)
    server.install()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _program(name: str) -> str:
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise NotPossible(f"There is no {name} on this machine.")
    return path


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
