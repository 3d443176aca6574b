"""What Kubeflow Pipelines' server refuses beyond its API's description: read in its source."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timezone

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp_description import check

KINDS = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def matches(item, text):
    try:
        wanted = json.loads(text)
    except ValueError as error:
        raise Refused(400, f"failed to parse valid filter from {text}") from error
    check(wanted, "V2beta1Filter", "filter")
    return all(_holds(item, predicate) for predicate in wanted["predicates"])


def _holds(item, predicate):
    if predicate.get("key") not in ("display_name", "description", "namespace"):
        raise Refused(400, f'no support for filtering on unrecognized field "{predicate.get("key")}"')
    if predicate.get("operation") != "EQUALS" or "string_value" not in predicate:
        raise Refused(400, "this server filters by EQUALS and string_value only")
    return item.get(predicate["key"]) == predicate["string_value"]


def read_spec(text):
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
        if len(documents) != 1 or not isinstance(documents[0], dict):
            raise ValueError("no pipeline spec is provided")
        spec = documents[0]
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except (ValueError, yaml.YAMLError, json_format.ParseError) as error:
        raise Refused(400, f"invalid v2 pipeline spec: {error}") from error
    if spec.get("schemaVersion") != "2.1.0":
        raise Refused(
            400, f"KFP only supports schema version 2.1.0, but the pipeline spec has {spec.get('schemaVersion')}"
        )
    name = spec.get("pipelineInfo", {}).get("name", "")
    if not name or "root" not in spec:
        raise Refused(400, "invalid v2 pipeline spec: name or root is empty")
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,127}", name):
        raise Refused(400, f"invalid v2 pipeline spec: name must match ^[a-z0-9][a-z0-9-]{{0,127}}$: {name}")
    for executor in spec.get("deploymentSpec", {}).get("executors", {}).values():
        if "resolver" in executor:
            raise Refused(400, "resolver not implemented yet")
    return spec


def check_arguments(spec, given):
    defined = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, definition in defined.items():
        if name not in given and "defaultValue" not in definition and not definition.get("isOptional"):
            raise Refused(
                400, f"parameter {name} is not optional, yet has neither default value nor user provided value"
            )
    for name, value in given.items():
        if name not in defined:
            raise Refused(400, f"parameter(s) provided are not required by pipeline: {name}")
        kind = defined[name]["parameterType"]
        if not isinstance(value, KINDS[kind]) or (kind != "BOOLEAN" and isinstance(value, bool)):
            raise Refused(400, f"input parameter {name} requires type {kind}, but got {value!r}")


def require(value, message):
    if not value:
        raise Refused(400, message)


def get(kept, key, what):
    if key not in kept:
        raise Refused(404, f"{what} {key} not found")
    return kept[key]


def keep(kept, key, item):
    made = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    new = str(uuid.uuid4())
    kept[new] = {**item, key: new, "created_at": made}
    return kept[new]
