"""Threads of which one runs at a time: at each operation of the store a seeded draw says who goes on."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

_OPERATIONS = ("rename", "replace", "link", "unlink", "rmdir", "mkdir", "listdir", "open", "stat")
_CHANGE = 0.3  # how often another one goes on


class Schedule:
    """Stands in for `os` in the store's files, and hands over from one actor to another.

    The same seed gives the same order of operations, as long as the actors do the same.
    """

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._turns: dict[str, threading.Semaphore] = {}
        self._own = threading.local()
        self._done = threading.Event()

    def play(self, actors: Mapping[str, Callable[[], object]]) -> dict[str, Exception | None]:
        """Runs the actors to their ends; answers with what each has raised."""
        ends: dict[str, Exception | None] = {}

        def live(name: str, act: Callable[[], object]) -> None:
            self._own.name = name
            self._turns[name].acquire()
            try:
                act()
                ends[name] = None
            except Exception as error:
                ends[name] = error
            finally:
                del self._turns[name]
                self._wake_one()

        self._turns = {name: threading.Semaphore(0) for name in actors}
        threads = [threading.Thread(target=live, args=item, daemon=True) for item in actors.items()]
        for thread in threads:
            thread.start()
        self._wake_one()
        if not self._done.wait(60):
            raise TimeoutError(f"the actors {sorted(self._turns)} wait for each other")
        return ends

    def _wake_one(self) -> None:
        if self._turns:
            self._turns[self._draw.choice(sorted(self._turns))].release()
        else:
            self._done.set()

    def _hand_over(self) -> None:
        own = self._turns.get(getattr(self._own, "name", ""))
        if own is not None and self._draw.random() < _CHANGE:
            self._wake_one()
            own.acquire()

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        if name not in _OPERATIONS:
            return value

        def operation(*args: Any, **kwargs: Any) -> Any:
            self._hand_over()
            return value(*args, **kwargs)

        setattr(self, name, operation)
        return operation

    def fsync(self, handle: int) -> None:
        """Left out: nothing here cuts the power."""
