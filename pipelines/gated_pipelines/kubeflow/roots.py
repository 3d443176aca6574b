"""The root of a compiled pipeline: the URL of the folder in a bucket below which everything goes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.mirrors import URLS

_BUCKET = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
# ? and # begin other parts of a URL, and the others are patterns to what lists files.
_NAME = re.compile(r"[^\x00-\x1f\x7f?#*\[\]{}]+")

MUST = (
    "must be a URL with a bucket, and with plain names below it, such as gs://bucket/folder: none that is empty, . or "
    "..; no blank at the end, ?, #, *, brackets or braces"
)


def plain_parts(uri: str) -> list[str] | None:
    """The bucket of a URL and the names below it; None if one is empty or climbs, so that no disk could hold it."""
    parts = uri.partition("://")[2].rstrip("/").split("/")
    return parts if {"", ".", ".."}.isdisjoint(parts) else None


def is_root(root: str, schemes: Sequence[str] = URLS) -> bool:
    """Whether tasks can work below a root, if its bucket is there."""
    parts = plain_parts(root)
    if parts is None or not root.startswith(tuple(schemes)):
        return False
    bucket, *names = parts
    return bool(_BUCKET.fullmatch(bucket)) and all(_NAME.fullmatch(name) and name == name.strip() for name in names)


def require_root(root: str, schemes: Sequence[str] = URLS) -> None:
    """Refuses what no task could work below.

    Args:
      schemes: those that the tasks can write to, as "gs://".

    Raises:
      ConfigError: `root` is no such URL.
    """
    if not is_root(root, schemes):
        raise ConfigError(f"The root {MUST}; at one of {', '.join(schemes)}: give --root. Received: {root!r}.")
