"""Lint rules: executors, and how their containers are started."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, DecimalException
from typing import Any

from gated_pipelines.kubeflow.lint.view import Container, Fault, Path, Rule, View, at, items, mapping, shown, text

_NOT_IMPLEMENTED = {
    "resolver": ("a Resolver", "Read what it would resolve in a component: Champion reads the push folder."),
    "customJob": ("a Vertex AI custom job", "Run it as a container."),
}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITY = re.compile(r"([+]?[0-9]+(?:\.[0-9]*)?|[+]?\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?")
_PLACEHOLDER = re.compile(r"\{\{\$[^}]*\}\}")
_INPUT = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\](\.\w+)?\}\}")
_SUFFIXES = {
    ("inputs", "parameters"): ("",),
    ("inputs", "artifacts"): (".uri", ".path"),
    ("outputs", "artifacts"): (".uri", ".path"),
    ("outputs", "parameters"): (".output_file",),
}
_OF_THE_RUN = {
    f"{{{{$.{name}}}}}"
    for name in (
        "pipeline_job_name",
        "pipeline_job_resource_name",
        "pipeline_job_uuid",
        "pipeline_task_name",
        "pipeline_task_uuid",
        "pipeline_job_create_time_utc",
        "pipeline_job_schedule_time_utc",
    )
}


def executor_kind(view: View) -> Iterator[Fault]:
    for label, (path, executor) in view.executors.items():
        for kind, (what, fix) in _NOT_IMPLEMENTED.items():
            if kind in executor:
                yield Fault((*path, kind), f"Executor {label!r} is {what}.", fix)
        if not executor.keys() & {"container", "importer", *_NOT_IMPLEMENTED}:
            yield Fault(path, f"Executor {label!r} is neither a container nor an importer.")


def no_executor(view: View) -> Iterator[Fault]:
    for component in view.components.values():
        label = component.spec.get("executorLabel")
        if label is None and "dag" not in component.spec:
            yield Fault(component.path, f"Component {component.name!r} has neither an executorLabel nor a dag.")
        elif label is not None and (not isinstance(label, str) or label not in view.executors):
            yield Fault(
                (*component.path, "executorLabel"),
                f"There is no executor {shown(label)} in deploymentSpec for component {component.name!r}.",
            )


def no_command(view: View) -> Iterator[Fault]:
    for container in view.containers:
        if not items(container.spec.get("command")):
            yield Fault(container.path, f"Executor {container.label!r} has no command.")


def pre_cache_check(view: View) -> Iterator[Fault]:
    for container in view.containers:
        if at(container.spec, "lifecycle", "preCacheCheck") is not None:
            yield Fault(
                (*container.path, "lifecycle", "preCacheCheck"),
                f"Executor {container.label!r} relies on a preCacheCheck hook.",
            )


def _bad_placeholder(word: str, container: Container) -> Iterator[str]:
    for match in _PLACEHOLDER.finditer(word):
        known = _INPUT.fullmatch(match[0])
        if match[0] == "{{$}}":
            continue
        if not known or (known[4] or "") not in _SUFFIXES[known[1], known[2]]:
            yield f"{match[0]} is no placeholder that the launcher fills in."
            continue
        for component in container.components:
            names = component.inputs(known[2]) if known[1] == "inputs" else component.outputs(known[2])
            if known[3] not in names:
                yield f"{match[0]}: component {component.name!r} has no such {known[2][:-1]} among its {known[1]}."


def placeholder(view: View) -> Iterator[Fault]:
    for container in view.containers:
        for path, word in container.words():
            for message in _bad_placeholder(word, container):
                yield Fault(path, message)
    for path, _name, value in view.constants():
        for match in _PLACEHOLDER.finditer(value if isinstance(value, str) else ""):
            known = _INPUT.fullmatch(match[0])
            if known and known[1] == "inputs" and known[2] == "parameters" and _has_sibling(view, path, known[3]):
                continue  # the kfp SDK writes texts with a parameter in them so
            if match[0] not in _OF_THE_RUN:
                yield Fault(path, f"{match[0]} is no placeholder that both backends fill in.")
            elif match[0] != value:
                yield Fault(path, f"{match[0]} is filled in only where it is the whole value, here it is a part.")


def _has_sibling(view: View, path: Path, name: str) -> bool:
    """Whether the task whose constant stands at `path` has a parameter of that name."""
    return any(
        task.path == path[: len(task.path)] and name in {n for n, *_ in task.inputs("parameters")}
        for task in view.tasks
    )


def quantity(value: object, unit: str = "") -> Decimal | None:
    """A Kubernetes quantity in cores or bytes; numbers are counted in `unit`. None if it is none."""
    written = f"{value:g}{unit}" if isinstance(value, (int, float)) and not isinstance(value, bool) else text(value)
    match = _QUANTITY.fullmatch(written.strip())
    if not match:
        return None
    number, suffix = match[1], match[2] or ""
    try:
        if suffix == "m":
            return Decimal(number) / 1000
        if suffix[1:].strip("+-").isdigit():
            return Decimal(number + suffix)
        power = "kmgtpe".find(suffix[:1].lower()) + 1 if suffix else 0
        return Decimal(number) * Decimal(1024 if suffix.endswith("i") else 1000) ** power
    except DecimalException:
        return None


def _amount(resources: dict[str, Any], what: str, side: str) -> tuple[str, Any] | None:
    """Key and value of a limit or request; the newer key counts, as in the driver."""
    for key in (f"resource{what.capitalize()}{side}", f"{what}{side}"):
        if resources.get(key):
            return key, resources[key]
    return None


def _resources(view: View) -> Iterator[tuple[Container, Path, dict[str, Any]]]:
    for container in view.containers:
        yield container, (*container.path, "resources"), mapping(container.spec.get("resources"))


def resources(view: View) -> Iterator[Fault]:
    for container, path, wanted in _resources(view):
        for what, unit in (("cpu", ""), ("memory", "G")):
            amounts = {}
            for side in ("Limit", "Request"):
                key, value = _amount(wanted, what, side) or ("", None)
                if not key or "{{$" in text(value):
                    continue
                amounts[side] = quantity(value, unit)
                if amounts[side] is None:
                    yield Fault((*path, key), f"{key} of {container.label!r} is no amount: {shown(value)}.")
            limit, request = amounts.get("Limit"), amounts.get("Request")
            if limit is not None and request is not None and request > limit:
                yield Fault(path, f"{container.label!r} requests more {what} than its limit.")
        accelerator = mapping(wanted.get("accelerator"))
        kind = accelerator.get("resourceType") or accelerator.get("type")
        count = accelerator.get("resourceCount") or accelerator.get("count")
        if bool(kind) != bool(count) and accelerator:
            lacks = "count" if kind else "type"
            yield Fault((*path, "accelerator"), f"The accelerator of {container.label!r} has no {lacks}.")


def resource_request(view: View) -> Iterator[Fault]:
    for container, path, wanted in _resources(view):
        for what in ("cpu", "memory"):
            if _amount(wanted, what, "Request") and not _amount(wanted, what, "Limit"):
                yield Fault(path, f"{container.label!r} requests {what} without a limit.")


def accelerator_name(view: View) -> Iterator[Fault]:
    for container, path, wanted in _resources(view):
        accelerator = mapping(wanted.get("accelerator"))
        kind = text(accelerator.get("resourceType") or accelerator.get("type"))
        if kind and "{{$" not in kind:
            takes = "open-source Kubeflow only" if "/" in kind else "Vertex AI only"
            yield Fault((*path, "accelerator"), f"The accelerator of {container.label!r}, {kind}, is for {takes}.")


def env_name(view: View) -> Iterator[Fault]:
    for container in view.containers:
        seen: set[str] = set()
        for index, variable in enumerate(items(container.spec.get("env"))):
            name, path = text(mapping(variable).get("name")), (*container.path, "env", index)
            if not _ENV_NAME.fullmatch(name):
                yield Fault(path, f"{shown(name)} is no name of an environment variable: letters, digits and _.")
            elif name in seen:
                yield Fault(path, f"The environment variable {name} is there twice.")
            seen.add(name)


RULES: tuple[Rule[View], ...] = (
    Rule(
        "executor-kind",
        "error",
        'The Argo compiler: "non-container and non-importer executor not implemented".',
        "Run it as a container.",
        executor_kind,
    ),
    Rule(
        "no-executor",
        "error",
        'The Argo compiler: "executor not found in deployment config", "unknown component implementation".',
        "Add the executor, or correct the label.",
        no_executor,
    ),
    Rule(
        "no-command",
        "error",
        "The launcher takes the place of the image's entrypoint: it runs the first argument as a command, or "
        'stops with "command and arguments are empty".',
        "Name the command, for example [python, -m, gated_pipelines.kubeflow.entrypoint].",
        no_command,
    ),
    Rule(
        "pre-cache-check",
        "error",
        "Open source never runs the hook: an ExampleGen gets no span and no fingerprint of its files, so that new data "
        "under an old name is served from the cache.",
        "Do its work in the container; the entrypoint of this project does.",
        pre_cache_check,
    ),
    Rule(
        "placeholder",
        "error",
        "What the launcher does not know stays in the command as it is written; an input that does not exist fails the "
        "driver.",
        "Use a placeholder of the format, with a name that the component defines.",
        placeholder,
    ),
    Rule(
        "resources",
        "error",
        "The driver cannot parse the amount; Kubernetes refuses requests beyond limits; a half accelerator is lost.",
        "Write cpuLimit: 2.0 and memoryLimit: 4.0 (in GB), which every server and Vertex AI read.",
        resources,
    ),
    Rule(
        "resource-request",
        "warning",
        "Vertex AI reads limits only.",
        "Add the limit.",
        resource_request,
    ),
    Rule(
        "accelerator-name",
        "warning",
        "Kubernetes knows resources such as nvidia.com/gpu, Vertex AI types such as NVIDIA_TESLA_T4; none is for both.",
        "Compile one file for each backend.",
        accelerator_name,
    ),
    Rule(
        "env-name",
        "error",
        "The format asks for C identifiers; of two values Kubernetes keeps one.",
        "Rename the variable, or remove one of the two.",
        env_name,
    ),
)
