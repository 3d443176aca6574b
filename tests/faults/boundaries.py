"""Points in a pipeline's run at which its process is killed, by SIGKILL and with nothing left to happen after."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

FILTER = "checkpoint_gate.checkpoint_filter.executor:Executor.Do"


@dataclass(frozen=True)
class Boundary:
    """A call of a function.

    Attributes:
      name: what has been done by then.
      function: its module and its name there, as "module:Class.method".
      edge: whether the process dies as the call begins, or as it returns.
      number: which call it is, from 1.
      within: calls count from the first call of this function on; from the start where it is "".
    """

    name: str
    function: str
    edge: Literal["begins", "returns"]
    number: int = 1
    within: str = ""


BOUNDARIES = (
    Boundary("half of the epochs", "checkpoint_gate.training.gated_training:GatedTraining.commit", "begins", 20),
    Boundary("all epochs, no pointer", "checkpoint_gate.artifact_files.pointer:RunPointer.write", "begins"),
    Boundary("trained, not in MLMD", "tfx.components.trainer.executor:GenericExecutor.Do", "returns"),
    Boundary("the filter begins", FILTER, "begins"),
    Boundary("survivors published", "checkpoint_gate.checkpoint_filter.executor:execute_prune", "begins"),
    Boundary("journal written", "checkpoint_gate.store.pruning:PrunePlan.write", "returns", within=FILTER),
    Boundary("one in the trash", "checkpoint_gate.store.pruning:move_checkpoint", "returns", within=FILTER),
    Boundary("all in the trash", "checkpoint_gate.store.pruning:sweep", "begins", within=FILTER),
    Boundary("one freed", "checkpoint_gate.store.pruning:remove_checkpoint", "returns", within=FILTER),
    Boundary("filtered, not in MLMD", FILTER, "returns"),
    Boundary("evaluated, not in MLMD", "checkpoint_gate.checkpoint_evaluator.executor:Executor.Do", "returns"),
    Boundary("blessed, not in MLMD", "checkpoint_gate.evaluator.executor:Executor.Do", "returns"),
    Boundary("copied to a temporary name", "checkpoint_gate.pusher.executor:require_servable", "begins"),
    Boundary("pushed, not in MLMD", "checkpoint_gate.pusher.executor:publish", "returns"),
    Boundary("pushed, the store not told", "checkpoint_gate.pusher.noting:note_champion", "begins"),
)


COMPONENTS = (
    "Champion", "CsvExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer",
    "CheckpointFilter", "CheckpointEvaluator", "Evaluator", "Pusher",
)  # fmt: skip
"""In the order in which they run."""

PUBLISH = "tfx.orchestration.portable.launcher:Launcher._publish_successful_execution"


def after_each_component() -> list[Boundary]:
    """For runs of one root, one after the other: each executes one component more, and dies when MLMD knows of it."""
    return [Boundary(f"{component} done", PUBLISH, "returns") for component in COMPONENTS]


def before_each_is_known() -> list[Boundary]:
    """The same, but each dies before MLMD knows: the next executes that component again, and one more."""
    return [
        Boundary(f"{component} done, not in MLMD", PUBLISH, "begins", number=2 if place else 1)
        for place, component in enumerate(COMPONENTS)
    ]


def die() -> None:
    """Ends this process by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(boundary: Boundary) -> None:
    """Lets this process die there."""
    act_at(boundary, die)


def act_at(boundary: Boundary, act: Callable[[], None]) -> None:
    """Calls `act` when this process comes there."""
    entered = not boundary.within
    calls = 0

    def enter() -> None:
        nonlocal entered
        entered = True

    def begins() -> None:
        nonlocal calls
        calls += entered
        if boundary.edge == "begins":
            there()

    def returns() -> None:
        if boundary.edge == "returns":
            there()

    def there() -> None:
        if entered and calls == boundary.number:
            act()

    if boundary.within:
        watch(boundary.within, before=enter)
    watch(boundary.function, before=begins, after=returns)


def watch(
    function: str, *, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None
) -> None:
    """Calls `before` and `after` around every call of a function of this process."""
    holder, name = find(function)
    original = getattr(holder, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        before()
        result = original(*args, **kwargs)
        after()
        return result

    setattr(holder, name, watched)


def find(function: str) -> tuple[Any, str]:
    """What a function, module:Class.method, is an attribute of, and its name there.

    Raises:
      AttributeError: it is not there any more.
    """
    module, _, path = function.partition(":")
    *owners, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for owner in owners:
        holder = getattr(holder, owner)
    getattr(holder, name)
    return holder, name
