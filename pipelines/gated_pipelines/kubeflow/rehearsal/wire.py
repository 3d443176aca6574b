"""How values, JSON and places are spelt between Kubeflow's driver, its launcher and a container."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from gated_pipelines.kubeflow.mirrors import MIRRORS


def as_text(value: Any) -> str:
    """A parameter in a command line: numbers without an exponent, truth values and the rest as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return format(Decimal(repr(value)).normalize(), "f") if value % 1 else str(int(value))
    return to_json(value)


def to_json(value: Any) -> str:
    """JSON as protobuf for Go writes it: compact, and whole numbers without a fraction."""
    return json.dumps(_whole(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def local_path(uri: str, mirror: str = "/") -> str:
    """Where the launcher of open-source Kubeflow keeps a URI on the pod's disk; a folder is itself."""
    scheme, separator, rest = uri.partition("://")
    return f"{mirror.rstrip('/')}/{MIRRORS[scheme]}/{rest}" if separator and scheme in MIRRORS else uri
