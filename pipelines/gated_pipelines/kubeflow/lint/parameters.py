"""Lint rules: parameters, their types, defaults and constants."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gated_pipelines.kubeflow import parameters as known
from gated_pipelines.kubeflow.lint.view import Component, Fault, Path, Rule, View, at, fits, mapping, shown, text
from gated_pipelines.kubeflow.local_paths import is_local

_TYPES = ("STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT")
_INSTEAD = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE", "STRING": "STRING"}
_ARGO = re.compile(r"\{\{\s*(item|steps|inputs|outputs|pod|workflow|tasks)\.[^}]*\}\}")
MAX_ARGUMENT = 128 * 1024  # MAX_ARG_STRLEN of Linux, in bytes, its closing zero included


def _definitions(view: View) -> Iterator[tuple[Component, str, Path, dict[str, object]]]:
    for component in view.all_components:
        for side in ("inputDefinitions", "outputDefinitions"):
            for name, definition in mapping(at(component.spec, side, "parameters")).items():
                yield component, name, (*component.path, side, "parameters", name), mapping(definition)


def _type(definition: object) -> str:
    return text(mapping(definition).get("parameterType"))


def parameter_type(view: View) -> Iterator[Fault]:
    for component, name, path, definition in _definitions(view):
        kind = _type(definition)
        if kind in _TYPES or (kind == "TASK_FINAL_STATUS" and component is not view.root):
            continue
        old = text(definition.get("type"))
        received = f"type: {old}, the form of schema 2.0" if old else shown(definition.get("parameterType"))
        fix = f"Write parameterType: {_INSTEAD[old]}." if old in _INSTEAD else ""
        yield Fault(
            path, f"Parameter {name!r} must have a parameterType: {', '.join(_TYPES)}. Received: {received}.", fix
        )


def parameter_default(view: View) -> Iterator[Fault]:
    for _component, name, path, definition in _definitions(view):
        default, kind = definition.get("defaultValue"), _type(definition)
        if "defaultValue" in definition and kind in _TYPES and not fits(default, kind):
            message = f"The default of {name!r} must be a {kind}. Received: {shown(default)}."
            yield Fault((*path, "defaultValue"), message)


def parameter_value(view: View) -> Iterator[Fault]:
    definitions = view.root.inputs("parameters")
    if not known.is_known(definitions):
        return
    defaults = {name: mapping(definitions[name]).get("defaultValue") for name in known.TYPES}
    for name, message in known.wrong_values(defaults):
        if not is_local(text(defaults[name])):  # told by `local-path`
            yield Fault((*view.root.path, "inputDefinitions", "parameters", name, "defaultValue"), message)


def no_default(view: View) -> Iterator[Fault]:
    for name, definition in view.root.inputs("parameters").items():
        path = (*view.root.path, "inputDefinitions", "parameters", name)
        if "defaultValue" in mapping(definition):
            continue
        if mapping(definition).get("isOptional") is not True:
            yield Fault(path, f"The pipeline's parameter {name!r} has no default.")
            continue
        for task in view.tasks:
            for key, _path, source in task.inputs("parameters"):
                needed = at(task.component.inputs("parameters"), key) if task.component else None
                passed = task.parent is view.root and source.get("componentInputParameter") == name
                if passed and mapping(needed).get("isOptional") is not True:
                    yield Fault(path, f"{name!r} is optional and has no default, but task {task.name!r} needs a value.")


def root_artifact(view: View) -> Iterator[Fault]:
    for name, definition in view.root.inputs("artifacts").items():
        if mapping(definition).get("isOptional") is not True:
            path = (*view.root.path, "inputDefinitions", "artifacts", name)
            yield Fault(path, f"The pipeline takes an artifact, {name!r}, from outside.")
    for side in ("inputDefinitions", "outputDefinitions"):
        for name, definition in mapping(at(view.root.spec, side, "artifacts")).items():
            if not text(at(definition, "artifactType", "schemaTitle")):
                path = (*view.root.path, side, "artifacts", name, "artifactType")
                message = f"The type of {name!r}, an artifact of the pipeline itself, has no schemaTitle."
                yield Fault(path, message, "Give it a schemaTitle, or leave it out.")


def constant_type(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        definitions = task.component.inputs("parameters") if task.component else {}
        for name, path, source in task.inputs("parameters"):
            kind = _type(definitions.get(name))
            runtime = mapping(source.get("runtimeValue"))
            if "constant" in runtime and kind in _TYPES and not fits(runtime["constant"], kind):
                yield Fault(
                    (*path, "runtimeValue", "constant"),
                    f"{name!r} of task {task.name!r} must be a {kind}. Received: {shown(runtime['constant'])}.",
                )
            given = _given_type(view, task.parent, source)
            if kind in _TYPES and given in _TYPES and kind != given and {kind, given} != {*_TYPES[1:3]}:
                yield Fault(path, f"{name!r} of task {task.name!r} is a {kind}, but is given a {given}.")


def _given_type(view: View, parent: Component, source: dict[str, object]) -> str:
    """The type of what a task is given by its parent or by another task; '' if that is not known."""
    if mapping(source).get("parameterExpressionSelector"):
        return ""
    if "componentInputParameter" in source:
        return _type(parent.inputs("parameters").get(text(source["componentInputParameter"])))
    taken = mapping(source.get("taskOutputParameter"))
    producer = parent.tasks.get(text(taken.get("producerTask")))
    component = view.components.get(text(at(producer, "componentRef", "name")))
    outputs = component.outputs("parameters") if component else {}
    return _type(outputs.get(text(taken.get("outputParameterKey"))))


def runtime_value(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        for name, path, source in task.inputs("parameters"):
            kinds = ("runtimeValue", "componentInputParameter", "taskOutputParameter", "taskFinalStatus")
            if not any(kind in source for kind in kinds):
                yield Fault(path, f"{name!r} of task {task.name!r} has no source of its value.")
            elif "runtimeValue" in source and "constant" not in mapping(source["runtimeValue"]):
                held = ", ".join(mapping(source["runtimeValue"])) or "nothing"
                yield Fault(
                    (*path, "runtimeValue"),
                    f"runtimeValue of {name!r} must hold `constant`. Received: {held}, the form of schema 2.0.",
                )
        for name, path, source in task.inputs("artifacts"):
            if not any(kind in source for kind in ("taskOutputArtifact", "componentInputArtifact")):
                yield Fault(path, f"{name!r} of task {task.name!r} has no source of its artifact.")


def argo_template(view: View) -> Iterator[Fault]:
    for path, name, value in view.constants():
        found = _ARGO.search(value if isinstance(value, str) else "")
        if found:
            yield Fault(path, f"The value of {name!r} holds {found[0]}, which Argo takes for a variable of its own.")


def argument_size(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        sources = [source for _name, _path, source in task.inputs("parameters")]
        constants = [mapping(source.get("runtimeValue")).get("constant") for source in sources]
        size = len(json.dumps(constants).encode())
        if size >= MAX_ARGUMENT:
            yield Fault(
                (*task.path, "inputs", "parameters"),
                f"The constants of task {task.name!r} have {size} bytes; all that a task is given must fit into one "
                f"command-line argument, {MAX_ARGUMENT} bytes.",
            )


RULES: tuple[Rule[View], ...] = (
    Rule(
        "parameter-type",
        "error",
        'The API server: "input parameter has unspecified type", "requires type TASK_FINAL_STATUS, which is invalid '
        'for root component". What schema 2.0 called `type` counts as none, and so does a number for the kfp SDK.',
        "Give it a parameterType.",
        parameter_type,
    ),
    Rule(
        "parameter-default",
        "error",
        'The driver: "input parameter type mismatch"; Vertex AI refuses the file.',
        "Give a default of that type.",
        parameter_default,
    ),
    Rule(
        "parameter-value",
        "error",
        "A run with this default fails in the task that reads it, which may be after training.",
        "Compile the file anew with a value that holds; a run that gives another one is not affected.",
        parameter_value,
    ),
    Rule(
        "no-default",
        "error",
        'The API server: "parameter is not optional, yet has neither default value nor user provided value". Nobody '
        "gives one to a run on a schedule: it cannot start.",
        "Give it a default.",
        no_default,
    ),
    Rule(
        "root-artifact",
        "error",
        "A run on open-source Kubeflow cannot be given artifacts, only parameters; the kfp SDK cannot load a pipeline "
        "whose own artifacts have no schemaTitle.",
        "Pass a URI as a parameter, or use an importer.",
        root_artifact,
    ),
    Rule(
        "constant-type",
        "error",
        'The driver: "input parameter type mismatch". Open source turns what a STRING is given into text; Vertex AI '
        "refuses it.",
        "Give a value of that type.",
        constant_type,
    ),
    Rule(
        "runtime-value",
        "error",
        'The driver: "param runtime value spec of type … not implemented".',
        "Compile with schema 2.1, or write the value as `constant`.",
        runtime_value,
    ),
    Rule(
        "argo-template",
        "error",
        'Argo replaces its own {{…}} variables inside constants, or refuses the workflow: "failed to resolve".',
        "Write the value without those braces.",
        argo_template,
    ),
    Rule(
        "argument-size",
        "error",
        'The launcher passes {{$}} as one argument; Linux refuses one of 128 KiB: "argument list too long".',
        "Put large values into a file of the store, and pass its place.",
        argument_size,
    ),
)
