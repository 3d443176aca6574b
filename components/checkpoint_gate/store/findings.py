"""What a check finds.

A *fault* is damage or loss of what the store promises to keep; a *warning* is something that somebody should look at,
and that no command of this package has left there when it ended well; a *note* is worth knowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fault", "warning", "note"]

QUARANTINED = "moved to the quarantine, where its bytes stay"
CLEARED = "cleared away"
FINISHED = "finished"
TAKEN_FOR_LOST = "taken for lost, and told so in the tombstones"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
      run: the run, None for the store as a whole.
      place: the file or folder on the disk.
      severity: "fault", "warning" or "note".
      what: one phrase.
      remedy: what a repair does about it, in the past tense; None where it can do nothing, or need not.
      advice: what a person can do about it, where a repair can't or must not.
    """

    run: str | None
    place: str
    severity: Severity
    what: str
    remedy: str | None = None
    advice: str | None = None
