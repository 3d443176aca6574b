"""Gated checkpointing: save, keep and push only what the rules let through, and say why.

Names are imported when they are first used: the rules and the store need neither TensorFlow nor TFX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "CheckpointGateError": "checkpoint_gate.errors",
    "CheckpointEvaluator": "checkpoint_gate.checkpoint_evaluator",
    "CheckpointFilter": "checkpoint_gate.checkpoint_filter",
    "CheckpointSet": "checkpoint_gate.artifacts",
    "Champion": "checkpoint_gate.champion",
    "Decision": "checkpoint_gate.rules.judgement",
    "Evaluator": "checkpoint_gate.evaluator",
    "Gate": "checkpoint_gate.rules.gate",
    "GatedCheckpoint": "checkpoint_gate.training.callback",
    "GatedLoop": "checkpoint_gate.training.loop",
    "Pusher": "checkpoint_gate.pusher",
    "Record": "checkpoint_gate.rules.records",
    "RuleSet": "checkpoint_gate.rule_text.rule_set",
    "Store": "checkpoint_gate.store",
    "TensorFlowState": "checkpoint_gate.training.tensorflow_state",
    "load_rules": "checkpoint_gate.rule_text.rule_set",
    "parse_rules": "checkpoint_gate.rule_text.rule_set",
}

__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from checkpoint_gate.artifacts import CheckpointSet
    from checkpoint_gate.champion import Champion
    from checkpoint_gate.checkpoint_evaluator import CheckpointEvaluator
    from checkpoint_gate.checkpoint_filter import CheckpointFilter
    from checkpoint_gate.errors import CheckpointGateError
    from checkpoint_gate.evaluator import Evaluator
    from checkpoint_gate.pusher import Pusher
    from checkpoint_gate.rule_text.rule_set import RuleSet, load_rules, parse_rules
    from checkpoint_gate.rules.gate import Gate
    from checkpoint_gate.rules.judgement import Decision
    from checkpoint_gate.rules.records import Record
    from checkpoint_gate.store import Store
    from checkpoint_gate.training.callback import GatedCheckpoint
    from checkpoint_gate.training.loop import GatedLoop
    from checkpoint_gate.training.tensorflow_state import TensorFlowState


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
