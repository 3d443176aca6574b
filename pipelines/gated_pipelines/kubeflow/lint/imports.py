"""Lint rules: the names in a file that containers import, tried out in the installed distribution.

Importing TFX takes 10-45 s and changes the process; it happens in one other process, which is told the names and
answers what became of each.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gated_pipelines.kubeflow.lint.tfx_names import artifact_types, title_of
from gated_pipelines.kubeflow.lint.view import Fault, Path, Rule, View

Kind = Literal["class", "function", "module", "type"]
FUNCTION_PARAMETERS = ("run_fn", "preprocessing_fn", "stats_options_updater_fn", "tuner_fn")
TIMEOUT = 600  # seconds
_CHILD = """
import sys
sys.path[:] = [place for place in sys.path if place]
from gated_pipelines.kubeflow.lint.imports import answer
answer()
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A name that some container imports."""

    kind: Kind
    name: str
    path: Path


def wanted(view: View) -> Iterator[Wanted]:
    """What TFX's containers import: entrypoints, executor classes, user functions, artifact types."""
    ours = {component.name for container in view.containers if container.is_tfx for component in container.components}
    for container in view.containers:
        argument = container.argument("--executor_class_path")
        if argument:
            yield Wanted("class", argument[1], argument[0])
            module = container.argument("-m")
            if module:
                yield Wanted("module", module[1], module[0])
    for path, name, value in view.constants():
        if name in FUNCTION_PARAMETERS and isinstance(value, str) and value not in ("", "null"):
            yield Wanted("function", value, path)
    for component, path, artifact_type in artifact_types(view):
        title = title_of(artifact_type)
        if title and component.name in ours:
            yield Wanted("type", title, path)


def import_in_another_process(names: list[tuple[Kind, str]]) -> dict[tuple[str, str], str]:
    """What is wrong with each name that does not import.

    Raises:
        RuntimeError: the process did not answer; its last words.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(names),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {TIMEOUT} seconds") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise RuntimeError(words[-1] if words else f"exit code {done.returncode}")
    return {(kind, name): error for kind, name, error in json.loads(done.stdout.splitlines()[-1])}


def answer() -> None:
    """The other process: reads the names from standard input, writes what is wrong as its last line."""
    output = os.dup(1)
    os.dup2(2, 1)  # what imported code prints is no answer
    wrong = [(kind, name, error) for kind, name in json.load(sys.stdin) if (error := _try(kind, name))]
    with os.fdopen(output, "w") as answers:
        print(f"\n{json.dumps(wrong)}", file=answers)


def _try(kind: Kind, name: str) -> str:
    """'' if the name imports and is what it should be; otherwise what is wrong."""
    try:
        if kind == "module":  # to import an entrypoint may run it
            return "" if importlib.util.find_spec(name) else "there is no such module"
        if kind == "type":
            from tfx.orchestration.kubeflow.v2.compiler_utils import TITLE_TO_CLASS_PATH

            found = _find(TITLE_TO_CLASS_PATH.get(name, name))
        else:
            found = _find(name)
        return _unfit(kind, found)
    except Exception as error:  # imported code may raise anything
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _find(name: str) -> object:
    module, dot, attribute = name.rpartition(".")
    if not dot:
        raise ImportError(f"{name!r} has no module before a dot")
    return getattr(importlib.import_module(module), attribute)


def _unfit(kind: Kind, found: object) -> str:
    if kind == "function":
        return "" if callable(found) else "it is not a function"
    from tfx.dsl.components.base.base_executor import BaseExecutor
    from tfx.types.artifact import Artifact

    base = BaseExecutor if kind == "class" else Artifact
    fit = isinstance(found, type) and issubclass(found, base)
    return "" if fit else f"it is no subclass of {base.__module__}.{base.__name__}"


def tried(view: View) -> dict[tuple[str, str], str]:
    """What is wrong with each (kind, name) that does not import; ("", "") if that could not be tried."""
    names = list(dict.fromkeys((each.kind, each.name) for each in wanted(view)))
    try:
        return import_in_another_process(names) if names else {}
    except RuntimeError as error:
        return {("", ""): str(error)}


def _faults(view: View, kind: Kind, what: str) -> Iterator[Fault]:
    places: dict[str, list[Path]] = {}
    for each in wanted(view):
        if each.kind == kind and (kind, each.name) in view.wrong:
            places.setdefault(each.name, []).append(each.path)
    for name, paths in places.items():
        more = f" It is named in {len(paths)} places." if len(paths) > 1 else ""
        yield Fault(paths[0], f"{what} {name} does not import: {view.wrong[kind, name].rstrip('.')}.{more}")


def executor_class(view: View) -> Iterator[Fault]:
    return _faults(view, "class", "The executor class")


def entrypoint(view: View) -> Iterator[Fault]:
    return _faults(view, "module", "The entrypoint")


def function_name(view: View) -> Iterator[Fault]:
    return _faults(view, "function", "The function")


def artifact_type(view: View) -> Iterator[Fault]:
    return _faults(view, "type", "The artifact type")


def imports(view: View) -> Iterator[Fault]:
    if ("", "") in view.wrong:
        yield Fault(view.base, f"The imports could not be tried: {view.wrong['', '']}.")


RULES: tuple[Rule[View], ...] = (
    Rule(
        "entrypoint",
        "error",
        'The container starts, and stops with "No module named …".',
        "Compile for the distribution that the image holds.",
        entrypoint,
    ),
    Rule(
        "executor-class",
        "error",
        "The task's container cannot import its executor: it fails after its image was pulled, TFX was loaded and its "
        "inputs were produced.",
        "Name a class of the installed distribution, and build the image from the same one.",
        executor_class,
    ),
    Rule(
        "function-name",
        "error",
        "Trainer and Transform look up run_fn and preprocessing_fn by their dotted names, in the container.",
        "Name a function that the image can import.",
        function_name,
    ),
    Rule(
        "artifact-type",
        "error",
        "TFX finds the class of an artifact by its title: one of its standard types, or else a dotted class path.",
        "Give the type the path as its TYPE_NAME from which it can be imported.",
        artifact_type,
    ),
    Rule(
        "imports",
        "error",
        "Whether the names in the file import is not known: the process that tries them died.",
        "Look at what it said; --no-import leaves this out.",
        imports,
    ),
)
