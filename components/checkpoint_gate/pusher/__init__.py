"""TFX's Pusher: a version becomes visible whole and checked, or not at all; and what happens to versions later.

`Pusher` is imported when it is asked for: rolling back and pruning must not import TFX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checkpoint_gate.pusher.component import Pusher as Pusher


def __getattr__(name: str) -> Any:
    if name == "Pusher":
        from checkpoint_gate.pusher.component import Pusher

        return Pusher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
