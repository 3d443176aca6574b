"""What becomes of training when there is no room for a state."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from checkpoint_gate.errors import NoRoom, RuleError, StoreError

_LOG = logging.getLogger(__name__)

OnNoRoom = Literal["stop", "skip"]
ON_NO_ROOM: tuple[OnNoRoom, ...] = ("stop", "skip")

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(map(os.strerror, _NUMBERS))


@dataclass(frozen=True, slots=True)
class Room:
    """What becomes of errors of the disk while a training writes.

    Attributes:
      root: of the store, for people.
      on_no_room: "stop" or "skip".

    Raises:
      RuleError: there is no such choice.
    """

    root: str
    on_no_room: OnNoRoom

    def __post_init__(self) -> None:
        if self.on_no_room not in ON_NO_ROOM:
            known = ", ".join(ON_NO_ROOM)
            raise RuleError(f"on_no_room must be one of {known}. Received: on_no_room={self.on_no_room!r}.")

    @contextlib.contextmanager
    def told(self, what: str, *, for_good: bool = False) -> Iterator[None]:
        """Makes a sentence about `what` of an error of the disk; one after which training never goes on `for_good`."""
        try:
            yield
        except OSError as error:
            raise self.error(error, what, error.strerror or str(error), for_good=for_good) from error

    def error(self, error: Exception, what: str, why: str, *, for_good: bool = False) -> StoreError:
        """What to raise when `what` could not be written."""
        kind = NoRoom if is_no_room(error) and not for_good else StoreError
        return kind(f"{what} could not be written to {self.root}: {why}. What was saved before is untouched.")

    @contextlib.contextmanager
    def put_off(self, what: str) -> Iterator[None]:
        """Leaves what stands within, and follows `what`, for later where there is no room and training is to go on."""
        try:
            yield
        except (OSError, StoreError) as error:
            if self.on_no_room == "stop" or not is_no_room(error):
                raise
            _LOG.warning("what follows %s is put off until there is room: %s", what, error)

    def go_on(self, full: NoRoom, skipped: Callable[[NoRoom], None]) -> None:
        """Goes on without a state that there is no room for, or raises, as was chosen."""
        if self.on_no_room == "stop":
            raise full
        skipped(full)


def is_no_room(error: BaseException) -> bool:
    """Whether an error says that a disk is full or a quota used up.

    Libraries say so in errors of their own: TensorFlow by the system's words, numpy by what it could not write.
    """
    if isinstance(error, NoRoom) or (isinstance(error, OSError) and error.errno in _NUMBERS):
        return True
    text = str(error)
    return any(words in text for words in _WORDS) or (
        isinstance(error, OSError) and error.errno is None and " requested and " in text and text.endswith(" written")
    )
