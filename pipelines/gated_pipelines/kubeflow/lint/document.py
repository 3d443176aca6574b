"""Lint rules: the file itself, before there is a pipeline spec to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.rule_text.located_yaml import MAX_BYTES, Located, YamlError, read_located
from gated_pipelines.kubeflow.lint.view import Fault, Rule, View, mapping, shown

_OF_A_TABLE = {"data", "label", "task", "rules"}
_OF_A_SPEC = {"pipelineSpec", "pipelineInfo", "root", "components", "deploymentSpec"}


@dataclass(frozen=True, slots=True)
class Document:
    """What became of a file.

    Attributes:
        unread: why the file could not be read; '' if it could.
        size: bytes.
        unparsed: why its text is no YAML; '' if it is.
        located: its data and their lines, if it could be read and parsed.
    """

    unread: str = ""
    size: int = 0
    unparsed: str = ""
    located: Located | None = None


def read_document(path: Path) -> Document:
    """Reads a file; never raises for what may be in it."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        return Document(unread=f"{path} cannot be read: {error.strerror or error}.")
    except UnicodeDecodeError as error:
        return Document(unread=f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}.")
    if not text.strip():
        return Document(unread=f"{path} is empty.")
    if len(content) > MAX_BYTES:
        return Document(size=len(content))
    try:
        return Document(size=len(content), located=read_located(text, path.name))
    except YamlError as error:
        return Document(size=len(content), unparsed=str(error))


def view_of(document: Document) -> View | None:
    """The pipeline spec of a file, if it holds a mapping; that within a PipelineJob, if it is one.

    None for a pipeline.yaml: it has none of what the rules of a spec ask for.
    """
    if document.located is None or not isinstance(document.located.data, dict) or _describes_table(document):
        return None
    inner = document.located.data.get("pipelineSpec")
    return View(inner, ("pipelineSpec",)) if isinstance(inner, dict) else View(document.located.data)


def unreadable(document: Document) -> Iterator[Fault]:
    if document.unread:
        yield Fault((), document.unread)


def too_large(document: Document) -> Iterator[Fault]:
    if document.size > MAX_BYTES:
        yield Fault((), f"The file has {document.size} bytes, more than {MAX_BYTES}.")


def not_yaml(document: Document) -> Iterator[Fault]:
    if document.unparsed:
        yield Fault((), document.unparsed)
    elif document.located is not None and not isinstance(document.located.data, dict):
        yield Fault((), f"The file must hold a mapping. Received: {shown(document.located.data)}.")


def pipeline_job(document: Document) -> Iterator[Fault]:
    data = mapping(document.located.data if document.located else None)
    if "pipelineSpec" in data or "runtimeConfig" in data:
        key = "pipelineSpec" if "pipelineSpec" in data else "runtimeConfig"
        yield Fault((key,), "This is a PipelineJob, a pipeline spec wrapped with its runtimeConfig.")


def not_compiled(document: Document) -> Iterator[Fault]:
    if _describes_table(document):
        yield Fault((), "This is a pipeline.yaml, not a compiled pipeline.")


def _describes_table(document: Document) -> bool:
    """Whether it is what `gated-pipeline compile` reads, rather than what it writes."""
    data = mapping(document.located.data if document.located else None)
    return len(data.keys() & _OF_A_TABLE) > 1 and not data.keys() & _OF_A_SPEC


RULES: tuple[Rule[Document], ...] = (
    Rule("unreadable", "error", "There is nothing that a server could take.", "Name a compiled pipeline.", unreadable),
    Rule(
        "too-large",
        "error",
        "The compiled workflow is one Kubernetes object; etcd takes 1.5 MB of it, with its status.",
        "Put large values into files of the store.",
        too_large,
    ),
    Rule(
        "not-yaml",
        "error",
        "The API server cannot decode the file. Of several documents Vertex AI reads none.",
        "Compile the file anew, as one document.",
        not_yaml,
    ),
    Rule(
        "pipeline-job",
        "error",
        'Only Vertex AI takes the wrapper: the API server says "unknown template format".',
        "Write the spec to a .yaml file: TFX's runner wraps it when the name ends in .json.",
        pipeline_job,
    ),
    Rule(
        "not-compiled",
        "error",
        "The API server and Vertex AI take compiled pipelines only.",
        "Compile it first: gated-pipeline compile PIPELINE --image IMAGE --root URI -o FILE.",
        not_compiled,
    ),
)
