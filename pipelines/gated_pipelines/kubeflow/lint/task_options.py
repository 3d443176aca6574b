"""Lint rules: what a task says of its being tried again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gated_pipelines.kubeflow.lint.view import Fault, Rule, View, mapping, text

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


RULES: tuple[Rule[View], ...] = (
    Rule(
        "retry-policy",
        "error",
        'From Kubeflow Pipelines 2.14 on the time within which Argo may try again is 0 then: "Max duration limit '
        'exceeded" at the first failure, so that nothing is tried again.',
        'Add backoffMaxDuration: "604800s"; it counts from the beginning of the first try.',
        retry_policy,
    ),
)
