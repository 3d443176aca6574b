"""Which known name was probably meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The words " (did you mean X?)" with the known name nearest to `name`; empty when none is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def name_a_logged_one(unknown: Iterable[str], logged: Iterable[str]) -> str:
    """Which metrics were logged, and which of them the unknown names probably mean; without the last full stop.

    Validation metrics are meant by names of validation metrics only: `val_loss` is no misspelt `loss`.
    """
    known = sorted(logged)
    near = []
    for name in unknown:
        alike = [other for other in known if other.startswith("val_") == name.startswith("val_")]
        near += difflib.get_close_matches(name, alike, n=1)
    meant = f" (did you mean {', '.join(dict.fromkeys(near))}?)" if near else ""
    return f"Logged were: {', '.join(known)}. Name one of these in the rules{meant}"
