"""What becomes of training when there is no room for a state."""

from __future__ import annotations

import errno
import os
from typing import Literal

from checkpoint_gate.errors import NoRoom, RuleError

OnNoRoom = Literal["stop", "skip"]
ON_NO_ROOM: tuple[OnNoRoom, ...] = ("stop", "skip")

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(map(os.strerror, _NUMBERS))


def checked(on_no_room: OnNoRoom) -> OnNoRoom:
    """The same.

    Raises:
      RuleError: there is no such choice.
    """
    if on_no_room not in ON_NO_ROOM:
        raise RuleError(f"on_no_room must be one of {', '.join(ON_NO_ROOM)}. Received: on_no_room={on_no_room!r}.")
    return on_no_room


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
