"""TFX's Evaluator, with a verdict that carries its reason.

`Evaluator` is imported when it is asked for: reading a verdict must not import TFX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoint_gate.evaluator.verdict import BlessingVerdict as BlessingVerdict
from checkpoint_gate.evaluator.verdict import read_verdict as read_verdict

if TYPE_CHECKING:
    from checkpoint_gate.evaluator.component import Evaluator as Evaluator


def __getattr__(name: str) -> Any:
    if name == "Evaluator":
        from checkpoint_gate.evaluator.component import Evaluator

        return Evaluator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
