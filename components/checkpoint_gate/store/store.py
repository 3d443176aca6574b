"""The store: a folder of runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from checkpoint_gate.errors import NewerFormat, RunMissing, StoreError, sentence
from checkpoint_gate.store.documents import read_object, read_object_if_there, write_object
from checkpoint_gate.store.elapsed import SystemClock
from checkpoint_gate.store.filesystem import Files, open_files
from checkpoint_gate.store.layout import RUN_FILE, STORE_FILE, WRITER
from checkpoint_gate.store.revision import by_hand, raise_revision, read_revision
from checkpoint_gate.store.run import Run

_KEY = re.compile(r"(?!.*\.json$)[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def is_key(name: str) -> bool:
    """Whether a run may have this name."""
    return _KEY.fullmatch(name) is not None


class Store:
    """The folder of runs at `root`: a path, or the URL of a place in an object store.

    `clock` gives seconds since 1970 (UTC); without one, the system's.
    """

    def __init__(self, root: str | Path, clock: Callable[[], float] | None = None) -> None:
        self.files: Files = open_files(root)
        self.clock = clock if clock is not None else SystemClock()

    @property
    def root(self) -> Path | str:
        """The folder on the disk, or the URL."""
        return self.files.root

    @staticmethod
    def open(root: str | Path, clock: Callable[[], float] | None = None) -> Store:
        """A store that is there.

        Raises:
          StoreError: there is none at `root`, or it is of a newer format.
        """
        store = Store(root, clock)
        try:
            there = store.files.is_file(STORE_FILE)
            if there:
                read_object(store.files, STORE_FILE)
        except OSError as error:
            raise StoreError(f"The store {store.root} cannot be read: {error.strerror}.") from error
        if not there:
            raise StoreError(f"There is no checkpoint store at {store.root}.")
        return store

    def create(self) -> Store:
        """Makes the folder and its marker; fine when they are there.

        Raises:
          StoreError: the folder cannot be made, or holds a store that is damaged or of a newer format.
        """
        try:
            self.files.make_root()
            if not self.files.exists(STORE_FILE):
                self._mark()
        except OSError as error:
            raise StoreError(
                f"The store {self.root} cannot be made: {error.strerror}. Choose another folder."
            ) from error
        read_object(self.files, STORE_FILE)
        return self

    def _mark(self) -> None:
        """Writes the marker, and clears away what others who were killed at that have left."""
        self.files.remove_temporary(of=STORE_FILE)
        write_object(self.files, STORE_FILE, created=self.clock(), writer=WRITER)

    def revision(self) -> int:
        """How often somebody changed the store by hand: pin, unpin, undelete."""
        return read_revision(self.files)

    def raise_revision(self) -> int:
        """Counts one more change by hand, and answers with the new number.

        Raises:
          LeaseHeld: another change by hand is under way.
        """
        with by_hand(self.files, self.clock, "raising the revision"):
            return raise_revision(self.files)

    def keys(self) -> list[str]:
        """The runs' keys, sorted; those of folders that may not be looked into are among them."""
        names = [name for name in self.files.names() if is_key(name) and self.files.is_folder(name)]
        return [name for name in names if self._may_be_run(name)]

    def _may_be_run(self, name: str) -> bool:
        try:
            return self.files.is_file(f"{name}/{RUN_FILE}")
        except OSError:
            return True

    def runs(self) -> tuple[list[Run], dict[str, str]]:
        """Every run that can be opened, by key; and of each other one, by key, why it cannot, in one sentence."""
        opened, closed = [], {}
        for key in self.keys():
            try:
                opened.append(self.run(key))
            except (StoreError, OSError) as error:
                closed[key] = sentence(error)
        return opened, closed

    def run(self, key: str) -> Run:
        """A run that is there.

        Raises:
          RunMissing: there is none of this key.
          NewerFormat: it is of a format that this version does not read.
        """
        if not is_key(key) or not self._is_run(key):
            raise RunMissing(f"The store {self.root} has no run {key!r}. It has: {', '.join(self.keys()) or 'none'}.")
        return Run(self.files, key, self.clock)

    def _is_run(self, key: str) -> bool:
        """Whether this is a run: so it is, too, if its file is damaged, of which a check tells."""
        path = f"{key}/{RUN_FILE}"
        if not self.files.is_file(path):
            return False
        try:
            return read_object_if_there(self.files, path) is not None
        except NewerFormat:
            raise
        except StoreError:
            return True

    def start(self, key: str, **about: object) -> Run:
        """The run of this key, made when it is not there; `about` is plain JSON that `run.json` keeps.

        Raises:
          StoreError: no run can have this key, or the folder is taken by other things.
          NewerFormat: it is there, of a format that this version does not read.
        """
        if not is_key(key):
            raise StoreError(
                "A run's name has letters, digits, '.', '_' and '-', at most 120, a letter or digit first, and does "
                "not end in .json. "
                f"Received: {key!r}."
            )
        run = Run(self.create().files, key, self.clock)
        if not self._is_run(key):
            self._refuse_alike(key)
            run.create(**about)
        self.files.sync_folder()  # whoever made the run may have been killed before its name was made to last
        return run

    def _refuse_alike(self, key: str) -> None:
        alike = [name for name in self.files.names() if name.casefold() == key.casefold() and name != key]
        if alike:
            raise StoreError(
                f"The names of runs must differ in more than their case, which some disks do not tell apart. "
                f"Received: {key!r}, beside {alike[0]!r}."
            )
