"""Lint rules: what TFX's executors need, and what ties a file to the machine that compiled it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gated_pipelines.kubeflow.lint.view import (
    Component,
    Fault,
    Path,
    Rule,
    View,
    at,
    items,
    mapping,
    read_json,
    shown,
    text,
    texts_in,
)
from gated_pipelines.kubeflow.local_paths import is_local

STOCK_ENTRYPOINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_ANYTHING = "system.Artifact"
# A path of the image cannot be told from one of this machine, except where people have their files.
_HOME = re.compile(r"(?!/home/pipeline\b)/(home|Users|root)/.|~/|file:|[A-Za-z]:\\")
_MODULE_PARAMETERS = ("module_file", "module_path")


def stock_entrypoint(view: View) -> Iterator[Fault]:
    for container in view.containers:
        for path, word in container.words():
            if STOCK_ENTRYPOINT in word:
                yield Fault(path, f"Executor {container.label!r} is started by TFX's own entrypoint.")


def tfx_arguments(view: View) -> Iterator[Fault]:
    for container in view.containers:
        if not container.is_tfx:
            continue
        given = container.argument("--json_serialized_invocation_args")
        if given is None or given[1] != "{{$}}":
            message = f"{container.label!r} must be given --json_serialized_invocation_args {{{{$}}}}."
            yield Fault(container.path if given is None else given[0], message)
        spec = container.argument("--json_serialized_inputs_spec_args")
        if spec is None:
            yield Fault(container.path, f"{container.label!r} must be given --json_serialized_inputs_spec_args.")
            continue
        told = read_json(spec[1])
        for component in container.components:
            for kind in ("parameters", "artifacts"):
                names, defined = mapping(at(told, kind)).keys(), component.inputs(kind).keys()
                if names != defined:
                    odd = ", ".join(sorted(names ^ defined))
                    yield Fault(spec[0], f"The inputs told to {container.label!r} are not those it has; {kind}: {odd}.")


def artifact_types(view: View) -> Iterator[tuple[Component, Path, object]]:
    """Component, path and type of every artifact that a component takes or gives."""
    for component in view.all_components:
        for side in ("inputDefinitions", "outputDefinitions"):
            for name, artifact in mapping(at(component.spec, side, "artifacts")).items():
                path = (*component.path, side, "artifacts", name, "artifactType")
                yield component, path, mapping(artifact).get("artifactType")


def title_of(artifact_type: object) -> str | None:
    """The name of an artifact type; None if it has none."""
    from checkpoint_gate.rule_text.located_yaml import YamlError, read_located

    written = mapping(artifact_type)
    if "instanceSchema" not in written:
        return text(written.get("schemaTitle")) or None
    try:
        return text(at(read_located(text(written["instanceSchema"]), "instanceSchema").data, "title")) or None
    except YamlError:
        return None


def artifact_title(view: View) -> Iterator[Fault]:
    for _component, path, artifact_type in artifact_types(view):
        if "schemaUri" in mapping(artifact_type):
            yield Fault((*path, "schemaUri"), "The type of this artifact is a schemaUri.")
        elif title_of(artifact_type) is None:
            yield Fault(path, "The type of this artifact has no title.")


def artifact_mismatch(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        if task.component is None or not any(container.is_tfx for container in view.containers_of(task)):
            continue
        for name, path, source in task.inputs("artifacts"):
            taken = mapping(source.get("taskOutputArtifact"))
            producer = text(taken.get("producerTask"))
            maker = view.components.get(text(at(task.parent.tasks.get(producer), "componentRef", "name")))
            made = maker.outputs("artifacts").get(text(taken.get("outputArtifactKey"))) if maker else None
            given, wanted = (
                title_of(at(one, "artifactType")) for one in (made, task.component.inputs("artifacts").get(name))
            )
            if given and wanted and given != wanted and _ANYTHING not in (given, wanted):
                yield Fault(path, f"{name!r} of {task.name!r} must be a {wanted}, but {producer!r} makes a {given}.")


def module_file(view: View) -> Iterator[Fault]:
    for path, name, value in view.constants():
        wheel = isinstance(value, str) and value.endswith(".whl")
        if (name in _MODULE_PARAMETERS and value not in ("", "null", None)) or wheel:
            yield Fault(path, f"{name!r} is user code from the machine that compiled this file: {shown(value)}.")


def _places(view: View) -> Iterator[tuple[Path, str, object]]:
    for path, name, value in view.constants():
        if name not in _MODULE_PARAMETERS:
            yield path, repr(name), value
    for label, (path, executor) in view.executors.items():
        for key in ("constant", "constantValue"):
            uri = at(executor, "importer", "artifactUri", key)
            if uri is not None:
                yield (*path, "importer", "artifactUri", key), f"the artifact of {label!r}", uri


def local_path(view: View) -> Iterator[Fault]:
    for path, what, value in _places(view):
        for part in texts_in(value):
            if is_local(part):
                yield Fault(path, f"The value of {what} is a path of one machine: {shown(part)}.")
                break


def machine_path(view: View) -> Iterator[Fault]:
    for container in view.containers:
        words = [(path, "A word", word) for path, word in container.words()]
        for index, variable in enumerate(items(container.spec.get("env"))):
            name = shown(at(variable, "name")).strip("'")
            path = (*container.path, "env", index, "value")
            words.append((path, f"The variable {name}", text(at(variable, "value"))))
        for path, what, word in words:
            texts = texts_in(word.partition("=")[2] if word.startswith("-") else word)
            home = next((part for part in texts if _HOME.match(part)), None)
            if home is not None:
                yield Fault(path, f"{what} of {container.label!r} names a home folder: {shown(home)}.")


def stale_examples(view: View) -> Iterator[Fault]:
    for task in view.tasks:
        for container in view.containers_of(task):
            class_path = (container.argument("--executor_class_path") or ((), ""))[1]
            reads = "example_gen" in class_path and "input_base" in {name for name, *_ in task.inputs("parameters")}
            if reads and at(task.spec, "cachingOptions", "enableCache") is True:
                yield Fault(
                    (*task.path, "cachingOptions", "enableCache"),
                    f"{task.name!r} reads a folder and may be answered from the cache.",
                )


RULES: tuple[Rule[View], ...] = (
    Rule(
        "stock-entrypoint",
        "error",
        "Open source sends artifacts without their type, and an output of its own, executor-logs: TFX's own dies "
        "in the first task that has an input.",
        "Compile with default_commands=[python, -m, gated_pipelines.kubeflow.entrypoint].",
        stock_entrypoint,
    ),
    Rule(
        "tfx-arguments",
        "error",
        "Without {{$}} an executor has no inputs; without the inputs' spec, or with another one, TFX leaves out all "
        "parameters, or artifacts keep no type on open source.",
        "Compile the file anew; do not edit one of the two places only.",
        tfx_arguments,
    ),
    Rule(
        "artifact-title",
        "error",
        'The launcher: "SchemaUri is unsupported"; a type without a title stops it: "No title specified".',
        "Give the type a schemaTitle, or an instanceSchema with a title.",
        artifact_title,
    ),
    Rule(
        "artifact-mismatch",
        "error",
        "No backend compares the types of a TFX pipeline: the executor reads the artifact as what its component "
        "declares, and fails, or reads something else.",
        "Connect the input to an output of its type.",
        artifact_mismatch,
    ),
    Rule(
        "module-file",
        "error",
        "module_file and module_path are packed into a wheel on the machine that compiles: no container has it.",
        "Put the code into the image and name it: run_fn, preprocessing_fn.",
        module_file,
    ),
    Rule(
        "local-path",
        "error",
        "A container does not see the disk of the machine that compiled the file, nor that of another container.",
        "Use gs://, s3:// or minio://, or a path that the code takes as below the root.",
        local_path,
    ),
    Rule(
        "machine-path",
        "warning",
        "A container has another disk: a home folder in its command or environment is most likely that of whoever "
        "compiled the file.",
        "Put what is there into the image, or behind a URL.",
        machine_path,
    ),
    Rule(
        "stale-examples",
        "warning",
        "The cache key holds the folder's name and not what is in it: new data in the same folder are not read.",
        "Set cachingOptions.enableCache to false for this task.",
        stale_examples,
    ),
)
