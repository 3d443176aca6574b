"""Names of container images, by https://pkg.go.dev/github.com/distribution/reference. Pure."""

from __future__ import annotations

import re

from checkpoint_gate.errors import ConfigError

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:\[[0-9a-fA-F:]+\]|{_LABEL}(?:\.{_LABEL})*)"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}(?::[0-9]+)?/)?{_PART}(?:/{_PART})*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_LONGEST = 255  # of the name

MUST = (
    "must be named as registry.example/folder/name:tag, in small letters, or by a digest in place of the tag, with "
    "neither spaces nor https://"
)


def is_image(reference: str) -> bool:
    """Whether nodes can pull an image of this name, if there is one."""
    found = _IMAGE.fullmatch(reference)
    return found is not None and len(found["name"]) <= _LONGEST


def require_image(reference: str) -> None:
    """Refuses what no node can pull.

    Raises:
      ConfigError: `reference` is no name of an image.
    """
    if not is_image(reference):
        raise ConfigError(f"The image {MUST}. Received: {reference!r}.")
