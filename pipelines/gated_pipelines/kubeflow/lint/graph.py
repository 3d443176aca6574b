"""Lint rules: tasks, what they refer to, and in which order they can run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gated_pipelines.kubeflow.lint.view import Component, Fault, Path, Rule, Task, View, at, items, mapping, shown, text

_TASK_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]*")
_TASK_LENGTH = 128 - len("-driver")
_KEY = {"parameters": "outputParameterKey", "artifacts": "outputArtifactKey"}
_SOURCE = {"parameters": "taskOutputParameter", "artifacts": "taskOutputArtifact"}
_PARENT = {"parameters": "componentInputParameter", "artifacts": "componentInputArtifact"}


def _one_of(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def _produced(view: View) -> Iterator[tuple[Path, Component, str, str, str]]:
    """Path, dag, kind, producer and key of every output that is used in the dag of its producer."""
    for task in view.tasks:
        for kind, source in _SOURCE.items():
            for _name, path, spec in task.inputs(kind):
                if source in spec:
                    wanted = mapping(spec[source])
                    key = text(wanted.get(_KEY[kind]))
                    yield (*path, source), task.parent, kind, text(wanted.get("producerTask")), key
    for dag in view.all_components:
        for kind in _SOURCE:
            for path, selector in _selectors(dag, kind):
                yield path, dag, kind, text(selector.get("producerSubtask")), text(selector.get(_KEY[kind]))


def _selectors(dag: Component, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The outputs of a dag: path, and {producerSubtask, output…Key}."""
    for name, output in mapping(at(dag.spec, "dag", "outputs", kind)).items():
        path = (*dag.path, "dag", "outputs", kind, name)
        one = mapping(mapping(output).get("valueFromParameter"))
        if one:
            yield (*path, "valueFromParameter"), one
        for keys in (("artifactSelectors",), ("valueFromOneof", "parameterSelectors")):
            for index, selector in enumerate(items(at(output, *keys))):
                yield (*path, *keys, index), mapping(selector)


def unknown_component(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if task.component is None:
            name = at(task.spec, "componentRef", "name")
            yield Fault(
                (*task.path, "componentRef"),
                f"Task {task.name!r} must name a component. Received: {shown(name)}; there are "
                f"{_one_of(view.components)}.",
            )


def unknown_producer(view: View) -> Iterator[Fault]:
    for path, dag, _kind, producer, _key in _produced(view):
        if producer not in dag.tasks:
            yield Fault(path, f"There is no task {producer!r} beside it to take an output from.")
    for task in view.tasks:
        for index, name in enumerate(items(task.spec.get("dependentTasks"))):
            if not isinstance(name, str) or name not in task.parent.tasks:
                yield Fault(
                    (*task.path, "dependentTasks", index), f"There is no task {shown(name)} beside it to wait for."
                )


def unknown_output(view: View) -> Iterator[Fault]:
    for path, dag, kind, producer, key in _produced(view):
        reference = text(at(dag.tasks.get(producer), "componentRef", "name"))
        component = view.components.get(reference)
        if component is not None and key not in component.outputs(kind):
            known = _one_of(component.outputs(kind))
            yield Fault(path, f"Task {producer!r} has no output {key!r} among its {kind}; it has {known}.")


def unknown_input(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        for kind, parent in _PARENT.items():
            for _name, path, source in task.inputs(kind):
                wanted = source.get(parent)
                if parent in source and text(wanted) not in task.parent.inputs(kind):
                    whose = task.parent.name or "the pipeline"
                    yield Fault((*path, parent), f"{whose!r} has no input {shown(wanted)} among its {kind}.")


def undeclared_input(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        for kind in _PARENT:
            for name, path, _source in task.inputs(kind):
                # the kfp SDK adds inputs of this prefix for placeholders within constants
                declared = task.component is None or name in task.component.inputs(kind)
                if not declared and not name.startswith("pipelinechannel--"):
                    yield Fault(path, f"The component of task {task.name!r} has no input {name!r} among its {kind}.")


def missing_input(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if task.component is None:
            continue
        made = {text(at(task.spec, key, "itemInput")) for key in ("parameterIterator", "artifactIterator")}
        for kind in _SOURCE:
            given = {name for name, _path, _source in task.inputs(kind)} | made
            for name, definition in task.component.inputs(kind).items():
                if name in given or mapping(definition).get("isOptional") is True:
                    continue
                if "defaultValue" in mapping(definition):
                    yield Fault(
                        (*task.component.path, "inputDefinitions", kind, name),
                        f"Task {task.name!r} does not give {name!r}; its default counts only where isOptional is true.",
                        "Add isOptional: true beside the default, or give the value in the task.",
                    )
                else:
                    yield Fault(task.path, f"Task {task.name!r} must give the input {name!r} of its component.")


def missing_dependency(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        waits = items(task.spec.get("dependentTasks"))
        for kind, source in _SOURCE.items():
            for _name, path, spec in task.inputs(kind):
                producer = text(at(spec, source, "producerTask"))
                if producer in task.parent.tasks and producer not in waits:
                    yield Fault(
                        path, f"Task {task.name!r} takes from {producer!r}, which dependentTasks does not list."
                    )


def _needs(task: Task) -> set[str]:
    named = {name for name in items(task.spec.get("dependentTasks")) if isinstance(name, str)}
    for kind, source in _SOURCE.items():
        named |= {text(at(spec, source, "producerTask")) for _name, _path, spec in task.inputs(kind)}
    return named & task.parent.tasks.keys()


def _cycle(needs: dict[str, set[str]]) -> list[str]:
    """The names on one circle, in order; empty if there is none."""
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)}).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def cycle(view: View) -> Iterator[Fault]:
    for dag in view.all_components:
        circle = _cycle({task.name: _needs(task) for task in view.tasks if task.parent is dag})
        if circle:
            yield Fault((*dag.path, "dag", "tasks", circle[0]), f"Tasks wait for each other: {' → '.join(circle)}.")
    uses = {name: set[str]() for name in view.components}
    for task in view.tasks:
        if task.component is not None and task.parent.name in uses:
            uses[task.parent.name].add(task.component.name)
    circle = _cycle(uses)
    if circle:
        yield Fault(view.components[circle[0]].path, f"Components contain each other: {' → '.join(circle)}.")


def task_name(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if not _TASK_NAME.fullmatch(task.name) or len(task.name) > _TASK_LENGTH:
            yield Fault(
                task.path,
                "A task's name must begin with a letter, go on with letters, digits and hyphens, and have at most "
                f"{_TASK_LENGTH} characters. Received: {task.name!r}.",
                f"Rename the task, for example {re.sub('[^-a-zA-Z0-9]+', '-', task.name)[:_TASK_LENGTH]!r}.",
            )
        elif task.name.removesuffix("-driver") in task.parent.tasks.keys() - {task.name}:
            yield Fault(task.path, f"{task.name!r} is the name that Argo's driver of another task gets.")


def task_info(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if not at(task.spec, "taskInfo", "name"):
            yield Fault((*task.path, "taskInfo"), f"Task {task.name!r} must have taskInfo.name.")


def unsupported_task(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if "artifactIterator" in task.spec:
            yield Fault((*task.path, "artifactIterator"), f"Task {task.name!r} loops over artifacts.")
        label = text(at(task.component.spec, "executorLabel")) if task.component else ""
        _path, executor = view.executors.get(label, ((), {}))
        if "importer" in executor and at(task.spec, "triggerPolicy", "condition"):
            yield Fault((*task.path, "triggerPolicy"), f"Task {task.name!r} is an importer under a condition.")


def several_artifacts(view: View) -> Iterator[Fault]:
    for container in view.containers:
        for component in container.components:
            sides = {"outputDefinitions": component.outputs("artifacts")}
            if container.is_tfx:
                sides["inputDefinitions"] = component.inputs("artifacts")
            for side, artifacts in sides.items():
                for name, artifact in artifacts.items():
                    if mapping(artifact).get("isArtifactList") is True:
                        path = (*component.path, side, "artifacts", name)
                        yield Fault(path, f"{name!r} of {component.name!r} is a list of artifacts.")


RULES: tuple[Rule[View], ...] = (
    Rule(
        "unknown-component",
        "error",
        'The Argo compiler: "cannot find component ref".',
        "Name a component of the file.",
        unknown_component,
    ),
    Rule(
        "unknown-producer",
        "error",
        'The Argo compiler: "unknown producer task in DAG"; Argo: "dependency not defined". Vertex AI refuses it too.',
        "Name a task of the same dag.",
        unknown_producer,
    ),
    Rule(
        "unknown-output",
        "error",
        "The driver finds no such output and fails the task that needs it, after its producers have run.",
        "Name an output that the producer's component defines.",
        unknown_output,
    ),
    Rule(
        "unknown-input",
        "error",
        'The driver: "parent DAG does not have input parameter".',
        "Name an input of the pipeline, or of the component whose dag this is.",
        unknown_input,
    ),
    Rule(
        "undeclared-input",
        "warning",
        "It is passed on, and nothing is known to read it: most likely its name is misspelt.",
        "Define the input in the component, or leave it out.",
        undeclared_input,
    ),
    Rule(
        "missing-input",
        "error",
        'The driver: "neither value nor default value provided for non-optional parameter". A default without '
        "isOptional arrives as an empty text, or fails the task.",
        "Give the input in the task.",
        missing_input,
    ),
    Rule(
        "missing-dependency",
        "warning",
        "The open-source compiler adds it by itself; the format says nothing of other backends.",
        "Add the producer to dependentTasks.",
        missing_dependency,
    ),
    Rule("cycle", "error", 'Argo: "dependency cycle detected".', "Break the circle.", cycle),
    Rule(
        "task-name",
        "error",
        "Argo refuses the workflow: names of dag tasks have only letters, digits and hyphens, and begin with no digit.",
        "Rename the task.",
        task_name,
    ),
    Rule(
        "task-info",
        "error",
        'The driver: "task spec is required", which it says of a task without taskInfo.name.',
        "Add taskInfo: {name: …}.",
        task_info,
    ),
    Rule(
        "unsupported-task",
        "error",
        'The Argo compiler: "artifact iterator not implemented yet", "triggerPolicy.condition on importer task is not '
        'supported".',
        "Loop over parameters; put the condition on another task.",
        unsupported_task,
    ),
    Rule(
        "several-artifacts",
        "error",
        "The driver gives a container one place for each output, and TFX's executors take one artifact an input.",
        "Pass one artifact with a folder for each, as CheckpointFilter does.",
        several_artifacts,
    ),
)
