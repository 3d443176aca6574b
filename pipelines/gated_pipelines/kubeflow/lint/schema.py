"""Lint rules: the form of a pipeline spec, read as strictly as the API server reads it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from gated_pipelines.kubeflow.lint.view import Fault, Path, Rule, View, at, mapping, shown, text
from gated_pipelines.kubeflow.roots import MUST, is_root

# Known to kfp-pipeline-spec 2.17, unknown to 0.2.2: found by comparing the descriptors of both.
_RESOURCES = "KFP servers up to 2.4 ignore it, so that the limit is lost"
_REFUSED = "older KFP servers refuse the whole file for it"
_IGNORED = "older KFP servers ignore it"
NEWER: dict[str, dict[str, str]] = {
    "ComponentSpec": dict.fromkeys(("taskConfigPassthroughs", "singlePlatformSpecs"), _REFUSED),
    "ParameterSpec": {"literals": _REFUSED},
    "CachingOptions": {"cacheKey": _REFUSED},
    "ResourceSpec": dict.fromkeys(
        ("resourceCpuLimit", "resourceCpuRequest", "resourceMemoryLimit", "resourceMemoryRequest"), _RESOURCES
    ),
    "AcceleratorConfig": dict.fromkeys(("resourceType", "resourceCount"), _RESOURCES),
    "ImporterSpec": {"downloadToWorkspace": _IGNORED},
}
_OLD_FORM = {
    "resourceCpuLimit": "cpuLimit: 2.0",
    "resourceCpuRequest": "cpuRequest: 2.0",
    "resourceMemoryLimit": "memoryLimit: 4.0 (in GB)",
    "resourceMemoryRequest": "memoryRequest: 4.0 (in GB)",
    "resourceType": "type",
    "resourceCount": "count",
}
_NAME = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME_LENGTH = 57  # Argo adds a hyphen and five letters, and labels pods with it: at most 63


def _unknown(path: Path, key: str, fields: dict[str, Any], snake: dict[str, str], message: str) -> Fault:
    if key in snake:
        return Fault((*path, key), f"{key!r} must be written {snake[key]!r}.", f"Rename it to {snake[key]}.")
    near = difflib.get_close_matches(key, fields, 1)
    fix = f"Write {near[0]}." if near else ""
    return Fault((*path, key), f"{message} has no field {key!r}; it knows {', '.join(fields)}.", fix)


def _walk(data: object, message: Any, path: Path) -> Iterator[tuple[str, Fault]]:
    """(rule, fault) for all that a protobuf message does not take, with the path that protobuf itself does not tell.

    `message` is an empty message of the type wanted; only leaves are parsed, so that one fault does not hide the next.
    """
    descriptor = message.DESCRIPTOR
    if not isinstance(data, dict):
        yield "field-value", Fault(path, f"{descriptor.name} must be a mapping. Received: {shown(data)}.")
        return
    fields = {field.json_name: field for field in descriptor.fields}
    snake = {field.name: field.json_name for field in descriptor.fields if field.name != field.json_name}
    for key, value in data.items():
        newer = NEWER.get(descriptor.name, {}).get(key)
        if newer:
            old = _OLD_FORM.get(key)
            fix = f"Write {old} instead, which every server and Vertex AI read." if old else ""
            yield "newer-field", Fault((*path, key), f"{key!r} is new: {newer}.", fix)
        elif key not in fields:
            yield "unknown-field", _unknown(path, key, fields, snake, descriptor.name)
        else:
            yield from _field(value, message, fields[key], (*path, key))


def _field(value: object, message: Any, field: Any, path: Path) -> Iterator[tuple[str, Fault]]:
    inner, here = field.message_type, message.DESCRIPTOR.file
    is_map = inner is not None and inner.GetOptions().map_entry
    held = inner.fields_by_name["value"].message_type if is_map else inner
    child = getattr(message, field.name)
    if held is None or held.file != here:
        yield from _leaf(value, message, field, path)
    elif is_map and not isinstance(value, dict):
        yield "field-value", Fault(path, f"{field.json_name} must be a mapping. Received: {shown(value)}.")
    elif is_map:
        for key, part in mapping(value).items():
            yield from _walk(part, child[key], (*path, key))
    elif not hasattr(child, "add"):
        yield from _walk(value, child, path)
    elif not isinstance(value, list):
        yield "field-value", Fault(path, f"{field.json_name} must be a list. Received: {shown(value)}.")
    else:
        for index, part in enumerate(value):
            yield from _walk(part, child.add(), (*path, index))


def _leaf(value: object, message: Any, field: Any, path: Path) -> Iterator[tuple[str, Fault]]:
    from google.protobuf import json_format

    try:
        json_format.ParseDict({field.json_name: value}, type(message)())
    except (json_format.ParseError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        said = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        yield "field-value", Fault(path, f"{field.json_name} cannot hold {shown(value)}: {said}.")


def _faults(view: View) -> Iterator[tuple[str, Fault]]:
    from kfp.pipeline_spec import pipeline_spec_pb2 as messages

    yield from _walk(dict(view.spec), messages.PipelineSpec(), view.base)
    deployment = mapping(view.spec.get("deploymentSpec"))
    deployment = {key: value for key, value in deployment.items() if key != "@type"}  # the server allows this one
    yield from _walk(deployment, messages.PipelineDeploymentConfig(), (*view.base, "deploymentSpec"))


def _of(rule: str) -> Any:
    def check(view: View) -> Iterator[Fault]:
        return (fault for name, fault in _faults(view) if name == rule)

    return check


def schema_version(view: View) -> Iterator[Fault]:
    version = view.spec.get("schemaVersion")
    if version != "2.1.0":
        said = "is missing" if version is None else f"is {shown(version)}"
        yield Fault((*view.base, "schemaVersion"), f"schemaVersion must be 2.1.0; it {said}.")


def pipeline_name(view: View) -> Iterator[Fault]:
    path = (*view.base, "pipelineInfo", "name")
    name = at(view.spec, "pipelineInfo", "name")
    if not isinstance(name, str) or not name:
        yield Fault(path, "The pipeline must have a name.")
    elif not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        yield Fault(
            path,
            "A pipeline's name must be lower-case letters, digits and hyphens, begin with a letter, end with a letter "
            f"or digit, and have at most {_NAME_LENGTH} characters. Received: {shown(name)}.",
        )


def root_dag(view: View) -> Iterator[Fault]:
    if not view.root.tasks:
        missing = "dag with tasks" if view.root.spec else "root"
        yield Fault(
            view.root.path, f"The pipeline must have a root component with a dag of tasks; it has no {missing}."
        )


def reserved_name(view: View) -> Iterator[Fault]:
    if "root" in view.components:
        yield Fault(view.components["root"].path, "A component must not be called 'root'.")


def pipeline_root(view: View) -> Iterator[Fault]:
    root = view.spec.get("defaultPipelineRoot")
    if root is not None and not is_root(text(root)):
        yield Fault((*view.base, "defaultPipelineRoot"), f"The pipeline root {MUST}. Received: {shown(root)}.")


RULES: tuple[Rule[View], ...] = (
    Rule(
        "schema-version",
        "error",
        'The API server takes 2.1.0 only: "KFP only supports schema version 2.1.0".',
        "Compile with schema 2.1 (TFX: use_pipeline_spec_2_1=True).",
        schema_version,
    ),
    Rule(
        "unknown-field",
        "error",
        "The API server parses the spec strictly and then finds no pipeline in the file; below deploymentSpec it "
        "drops the field without a word. The Vertex SDK reads keys as they are written, in camelCase.",
        "Remove the field, or correct its name.",
        _of("unknown-field"),
    ),
    Rule(
        "field-value",
        "error",
        "The API server's strict parser refuses a value of the wrong type, and with it the file.",
        "Give the value the type that the field has.",
        _of("field-value"),
    ),
    Rule(
        "newer-field",
        "warning",
        "Fields newer than kfp-pipeline-spec 0.2: older servers refuse or ignore them, kfp 2.5 cannot read them.",
        "Leave it out, or be sure that the server is new enough.",
        _of("newer-field"),
    ),
    Rule(
        "pipeline-name",
        "error",
        "The API server takes small letters, digits and hyphens only. The name becomes that of the Argo workflow, a "
        "Kubernetes resource name, and the job id on Vertex AI.",
        "Rename the pipeline, for example 'gated-penguins'.",
        pipeline_name,
    ),
    Rule(
        "root-dag",
        "error",
        'The API server: "root component is empty"; the Argo compiler: "unknown component implementation".',
        "Compile a pipeline that has tasks.",
        root_dag,
    ),
    Rule(
        "reserved-name",
        "error",
        "The Argo compiler keeps 'root' for the pipeline itself and skips a component of that name.",
        "Rename the component.",
        reserved_name,
    ),
    Rule(
        "pipeline-root",
        "error",
        "The driver and the launcher store artifacts at gs://, s3:// or minio:// only (Vertex AI: gs://), and the "
        "first task refuses a URL that is no plain one.",
        "Compile with --root gs://BUCKET/FOLDER, or leave it to the server by leaving it out.",
        pipeline_root,
    ),
)
