"""TFX's Pusher component with our executor."""

from __future__ import annotations

from tfx.components.pusher import component as tfx_component
from tfx.dsl.components.base import executor_spec

from checkpoint_gate.pusher import executor


class Pusher(tfx_component.Pusher):
    """TFX's Pusher; it checks what it pushes, pushes the same weights once, and withdrawn ones never.

    Into the papers of the copy that it pushes, and that `pushed_model` holds, it writes how it was pushed.

    Arguments, inputs and outputs are TFX's; `push_destination` names a `filesystem.base_directory`. The class keeps
    its name because the component's id derives from it.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
