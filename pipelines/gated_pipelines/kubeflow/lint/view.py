"""A pipeline spec as the lint rules see it: places and values, whatever the file holds.

A rule must find its fault in a file that has others too. So nothing here trusts the form of the data: what is not a
mapping counts as an empty one, what is not text as no text; that it is so is the finding of `field-value` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Generic, Literal, TypeVar

Path = tuple["str | int", ...]
Severity = Literal["error", "warning"]
Subject = TypeVar("Subject")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}
_JSON_IN_JSON = 3  # levels of text within text


def mapping(value: object) -> dict[str, Any]:
    """`value`, if it is a mapping."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """`value`, if it is a list."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """`value`, if it is text."""
    return value if isinstance(value, str) else ""


def at(value: object, *keys: str) -> Any:
    """What stands below `keys`, or None."""
    for key in keys:
        value = mapping(value).get(key)
    return value


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule found: the place, one sentence, and how to mend it, if the rule's own words do not say it well."""

    path: Path
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """A component: `path` is that of its spec; `root` has the name ''."""

    name: str
    path: Path
    spec: Mapping[str, Any]

    def inputs(self, kind: str) -> dict[str, Any]:
        """Its input definitions; `kind` is parameters or artifacts."""
        return mapping(at(self.spec, "inputDefinitions", kind))

    def outputs(self, kind: str) -> dict[str, Any]:
        """Its output definitions."""
        return mapping(at(self.spec, "outputDefinitions", kind))

    @property
    def tasks(self) -> dict[str, Any]:
        """The tasks of its dag."""
        return mapping(at(self.spec, "dag", "tasks"))


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the dag of `parent`; `component` is None where the one it names does not exist."""

    name: str
    path: Path
    spec: Mapping[str, Any]
    parent: Component
    component: Component | None

    def inputs(self, kind: str) -> Iterator[tuple[str, Path, dict[str, Any]]]:
        """Name, path and source of each input; `kind` is parameters or artifacts."""
        for name, source in mapping(at(self.spec, "inputs", kind)).items():
            yield name, (*self.path, "inputs", kind, name), mapping(source)


@dataclass(frozen=True, slots=True)
class Container:
    """A container executor, and the components that run in it."""

    label: str
    path: Path
    spec: Mapping[str, Any]
    components: tuple[Component, ...]

    def words(self) -> Iterator[tuple[Path, str]]:
        """Each word of its command and arguments."""
        for key in ("command", "args"):
            for index, word in enumerate(items(self.spec.get(key))):
                yield (*self.path, key, index), text(word)

    def argument(self, flag: str) -> tuple[Path, str] | None:
        """The word after `flag`, or behind `flag=`."""
        words = [*self.words(), (self.path, "")]
        for (path, word), following in pairwise(words):
            if word == flag:
                return following
            if word.startswith(f"{flag}="):
                return path, word.removeprefix(f"{flag}=")
        return None

    @property
    def is_tfx(self) -> bool:
        """Whether it runs a TFX executor."""
        return self.argument("--executor_class_path") is not None


@dataclass(frozen=True)
class View:
    """A pipeline spec.

    Attributes:
        spec: the data of the file, or what a PipelineJob wraps.
        base: the path of the spec in its file: () unless it is wrapped.
        wrong: what is wrong with the names that do not import, by kind and name.
    """

    spec: Mapping[str, Any]
    base: Path = ()
    wrong: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @cached_property
    def root(self) -> Component:
        return Component("", (*self.base, "root"), mapping(self.spec.get("root")))

    @cached_property
    def components(self) -> dict[str, Component]:
        found = mapping(self.spec.get("components"))
        return {name: Component(name, (*self.base, "components", name), mapping(spec)) for name, spec in found.items()}

    @cached_property
    def all_components(self) -> list[Component]:
        """The root, then the others."""
        return [self.root, *self.components.values()]

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks of all dags."""
        return [
            Task(
                name,
                (*parent.path, "dag", "tasks", name),
                mapping(spec),
                parent,
                self.components.get(text(at(spec, "componentRef", "name"))),
            )
            for parent in self.all_components
            for name, spec in parent.tasks.items()
        ]

    @cached_property
    def executors(self) -> dict[str, tuple[Path, dict[str, Any]]]:
        """Path and spec of each executor."""
        found = mapping(at(self.spec, "deploymentSpec", "executors"))
        return {label: ((*self.base, "deploymentSpec", "executors", label), mapping(e)) for label, e in found.items()}

    @cached_property
    def containers(self) -> list[Container]:
        return [
            Container(
                label,
                (*path, "container"),
                mapping(executor["container"]),
                tuple(c for c in self.components.values() if c.spec.get("executorLabel") == label),
            )
            for label, (path, executor) in self.executors.items()
            if "container" in executor
        ]

    def containers_of(self, task: Task) -> Iterator[Container]:
        """The container that runs a task, if there is one."""
        label = text(task.component.spec.get("executorLabel")) if task.component else ""
        return (container for container in self.containers if container.label == label)

    def constants(self) -> Iterator[tuple[Path, str, Any]]:
        """Path, parameter name and value of whatever a task is given: its constants, and the defaults behind it."""
        for task in self.tasks:
            for name, path, source in task.inputs("parameters"):
                runtime = mapping(source.get("runtimeValue"))
                if "constant" in runtime:
                    yield (*path, "runtimeValue", "constant"), name, runtime["constant"]
                for kind, value in mapping(runtime.get("constantValue")).items():
                    yield (*path, "runtimeValue", "constantValue", kind), name, value
        for component in self.all_components:
            for name, definition in component.inputs("parameters").items():
                if "defaultValue" in mapping(definition):
                    path = (*component.path, "inputDefinitions", "parameters", name, "defaultValue")
                    yield path, name, definition["defaultValue"]


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """One reason for which a file is refused; it looks at a `View`, or at the file before there is one.

    Attributes:
        name: what the command prints and the documentation lists.
        severity: an error breaks a backend; a warning costs something there.
        breaks: what breaks, where, and how.
        fix: how to mend it, if a fault does not say so itself.
        check: finds the faults. Pure.
    """

    name: str
    severity: Severity
    breaks: str
    fix: str
    check: Callable[[Subject], Iterator[Fault]]


def texts_in(value: object) -> Iterator[str]:
    """The texts in a value, also those in JSON that is itself text, as TFX passes messages and mappings."""
    left: list[tuple[object, int]] = [(value, _JSON_IN_JSON)]
    while left:
        part, depth = left.pop()
        if isinstance(part, str):
            inner = read_json(part) if depth and part.lstrip()[:1] in ("{", "[") else None
            if isinstance(inner, (dict, list)):
                left.append((inner, depth - 1))
            else:
                yield part
        elif isinstance(part, (dict, list)):
            inside = list(part.values()) if isinstance(part, dict) else part
            left.extend((each, depth) for each in reversed(inside))


def read_json(value: str) -> object:
    """What `value` is as JSON; None if it is none."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def shown(value: object) -> str:
    """A value in a message: short, on one line."""
    words = " ".join(repr(value).split())
    return words if len(words) <= 80 else f"{words[:77]}..."


def fits(value: object, kind: str) -> bool:
    """Whether a JSON value is one of a parameter type."""
    if kind not in _KINDS:
        return True
    if isinstance(value, bool):  # which is an int in Python
        return kind == "BOOLEAN"
    whole = not isinstance(value, float) or value.is_integer()
    return isinstance(value, _KINDS[kind]) and (whole or kind != "NUMBER_INTEGER")
