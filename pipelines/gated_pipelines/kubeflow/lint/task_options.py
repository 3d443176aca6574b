"""Lint rules: what a task says of its being tried again, of its being skipped, and of its name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gated_pipelines.kubeflow.lint.view import Fault, Rule, View, at, mapping, text

_LOOK_OUTSIDE = {
    "gated_pipelines.table_example_gen.executor.Executor": "the table",
    "checkpoint_gate.checkpoint_filter.executor.Executor": "the store",
    "checkpoint_gate.champion.executor.Executor": "the push folder",
    "checkpoint_gate.pusher.executor.Executor": "the push folder",
}
_NO_SECOND = re.compile(r"\s*-.*|0*(\.\d*)?s?|")


def _count(value: object) -> int:
    """A 32-bit number as protobuf's JSON has it, which may be text; 0 if it is none."""
    try:
        return 0 if isinstance(value, bool) else int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return 0  # told by `field-value`


def retry_policy(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        policy = mapping(task.spec.get("retryPolicy"))
        path, times = (*task.path, "retryPolicy"), _count(policy.get("maxRetryCount"))
        if times < 0:
            yield Fault(
                (*path, "maxRetryCount"),
                f"Task {task.name!r} is to be tried again {times} times.",
                "Write how often it is tried again, 0 or more.",
            )
        elif times > 0 and _NO_SECOND.fullmatch(text(policy.get("backoffMaxDuration"))):
            yield Fault(path, f"The retries of task {task.name!r} have no backoffMaxDuration of a second or more.")


def looks_outside(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if at(task.spec, "cachingOptions", "enableCache") is not True:
            continue
        for container in view.containers_of(task):
            if what := _LOOK_OUTSIDE.get((container.argument("--executor_class_path") or ((), ""))[1]):
                yield Fault(
                    (*task.path, "cachingOptions", "enableCache"),
                    f"{task.name!r} depends on {what} and may be answered from the cache.",
                )


def task_label(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        name = text(at(task.spec, "taskInfo", "name"))
        if name and name != task.name:
            yield Fault((*task.path, "taskInfo", "name"), f"Task {task.name!r} has the name {name!r} in its taskInfo.")


RULES: tuple[Rule[View], ...] = (
    Rule(
        "retry-policy",
        "error",
        'From Kubeflow Pipelines 2.14 on the time within which Argo may try again is 0 then: "Max duration limit '
        'exceeded" at the first failure, so that nothing is tried again.',
        'Add backoffMaxDuration: "604800s"; it counts from the beginning of the first try.',
        retry_policy,
    ),
    Rule(
        "looks-outside",
        "warning",
        "What lies outside its inputs is no part of the cache key: new data are not read, what was pushed or pruned "
        "since is not seen, and nothing is pushed.",
        "Leave enableCache out for this task, as gated-pipeline compile does.",
        looks_outside,
    ),
    Rule(
        "task-label",
        "warning",
        "Pages and `gated-pipeline submit --wait` know the task by this name only; older drivers look for its outputs "
        "by it, too, while other tasks ask for them by the task's key.",
        "Give the task's key as taskInfo.name.",
        task_label,
    ),
)
