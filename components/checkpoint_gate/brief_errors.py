"""What is wrong, in one line, of errors that TensorFlow, TFMA and Beam tell in many. Pure."""

from __future__ import annotations

import re

_WHERE = ("Graph execution error", "Detected at node", "<stack traces", "[[", "Traceback", "File ")
_IN_LINE = (r"\{\{[^}]*\}\}", r"\[\[.*?\]\]", r"\[while running .*", r"\[Op:.*")


def brief(error: BaseException) -> str:
    """The kind of an error, and its first line that says what is wrong rather than where in a graph."""
    line = _telling(error)
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__


def brief_cause(error: BaseException) -> str:
    """The same of the error that led to the others, without its kind and without its place in a graph or pipeline."""
    while (led := error.__cause__ or error.__context__) is not None:
        error = led
    said = _telling(error) or type(error).__name__
    for where in _IN_LINE:
        said = re.sub(where, "", said)
    return re.sub(r"\s+", " ", said).strip(" .;")[:300]


def _telling(error: BaseException) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith(_WHERE)), "")
