"""What Kubeflow Pipelines' v2beta1 API takes and gives, read out of the generated client that kfp brings.

kfp-server-api is generated from the server's published description: each method of its services names a path, a method,
the query parameters and the body's type, and each of its models names its fields and their types.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from datetime import datetime

import kfp_server_api

PRIMITIVES = {"str": str, "bool": bool, "int": int, "float": (int, float)}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Route:
    """One method of the API: `name` without the service's prefix, `body` and `answer` types of the description."""

    name: str
    method: str
    path: re.Pattern
    query: frozenset
    body: str | None
    file: bool
    answer: str | None


class Wrong(ValueError):
    """A value is not what the description says."""


def routes() -> list[Route]:
    found = []
    for service in ("Experiment", "Healthz", "Pipeline", "PipelineUpload", "RecurringRun", "Run"):
        api = getattr(kfp_server_api, f"{service}ServiceApi")
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", service).lower() + "_service_"
        for name, method in inspect.getmembers(api, inspect.isfunction):
            if name.endswith("_with_http_info"):
                found.append(
                    _route(name.removesuffix("_with_http_info").removeprefix(prefix), inspect.getsource(method))
                )
    return found


def _route(name, source):
    path, method = re.search(r"call_api\(\s*'([^']+)', '(\w+)'", source).groups()
    body = re.search(r"body_params = local_var_params\['(\w+)'\]", source)
    answer = re.search(r"response_type='([^']*)'", source)
    return Route(
        name=name,
        method=method,
        path=_pattern(path),
        query=frozenset(re.findall(r"query_params\.append\(\('([^']+)'", source)),
        body=re.search(rf":type {body[1]}: (\S+)", source)[1] if body else None,
        file="local_var_files['uploadfile']" in source,
        answer=answer[1] if answer else None,
    )


def _pattern(path):
    parts = re.split(r"\{([\w.]+)\}", path)  # text and names in turn
    named = [
        f"(?P<{part.replace('.', '_')}>[^/:]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    ]
    return re.compile("".join(named))


def check(value, kind: str, where: str) -> None:
    """Raises Wrong unless the JSON value is of the description's type: no other fields, no other words of an enum."""
    if kind == "object":
        return
    if kind in PRIMITIVES:
        if not isinstance(value, PRIMITIVES[kind]) or (kind != "bool" and isinstance(value, bool)):
            raise Wrong(f"{where} must be {kind}. Received: {value!r}")
    elif kind == "datetime":
        if not (isinstance(value, str) and TIME.fullmatch(value)):
            raise Wrong(f"{where} must be a time of RFC 3339. Received: {value!r}")
        datetime.fromisoformat(re.sub(r"\.\d+", "", value).replace("Z", "+00:00"))
    elif inner := re.fullmatch(r"dict\(str, (.*)\)", kind):
        if not isinstance(value, dict):
            raise Wrong(f"{where} must be a mapping. Received: {value!r}")
        for key, item in value.items():
            check(item, inner[1], f"{where}.{key}")
    elif inner := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            raise Wrong(f"{where} must be a list. Received: {value!r}")
        for place, item in enumerate(value):
            check(item, inner[1], f"{where}[{place}]")
    else:
        _check_model(value, getattr(kfp_server_api, kind), where)


def _check_model(value, model, where):
    if hasattr(model, "allowable_values"):
        if value not in model.allowable_values:
            raise Wrong(f"{where} must be one of {model.allowable_values}. Received: {value!r}")
        return
    if not isinstance(value, dict):
        raise Wrong(f"{where} must be a {model.__name__}. Received: {value!r}")
    kinds = {field: model.openapi_types[attribute] for attribute, field in model.attribute_map.items()}
    for field, item in value.items():
        if field not in kinds:
            raise Wrong(f'{where}: unknown field "{field}"')
        check(item, kinds[field], f"{where}.{field}")
