"""Which texts are paths of one machine, which no container of a cluster can reach. Pure."""

from __future__ import annotations

import re

_MOUNTS = ("/gcs/", "/s3/", "/minio/", "/oci/", "/kfp-workspace/")  # of the cluster, not of this machine
_LOCAL = re.compile(r"file:.*|(/|~/|\.\.?/)[^\s/*][^\n]*|[A-Za-z]:[\\/].*|\.\.?|~", re.DOTALL)


def is_local(value: str) -> bool:
    """Whether a text is a path of the machine that wrote it."""
    return bool(_LOCAL.fullmatch(value)) and not value.startswith(_MOUNTS)
