"""What the values of a compiled pipeline's parameters must be beyond their types, told before a run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from checkpoint_gate.errors import ConfigError, RuleError
from checkpoint_gate.rule_text.located_yaml import YamlError, read_located
from checkpoint_gate.rule_text.rule_set import read_rules
from gated_pipelines.config.sections import MAX_EPOCHS
from gated_pipelines.kubeflow.local_paths import is_local
from gated_pipelines.kubeflow.roots import MUST, is_root
from gated_pipelines.tables.spans import require_fit, require_place, require_span

TYPES: Mapping[str, str] = {
    "data": "STRING",
    "epochs": "NUMBER_INTEGER",
    "push_folder": "STRING",
    "root": "STRING",
    "rules": "STRING",
    "span": "STRING",
}
"""The parameters that every pipeline of `gated-pipeline compile` has, and their types."""


def is_known(definitions: Mapping[str, Any]) -> bool:
    """Whether a pipeline has these parameters of these types; what another one's values mean is not known.

    Args:
      definitions: the root's parameters, name to parameterType.
    """
    given = {name: one.get("parameterType") for name, one in definitions.items() if isinstance(one, Mapping)}
    return given.items() >= TYPES.items()


def wrong_values(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and one sentence for each value that a task would refuse; one of another type is left to others.

    Args:
      values: of the parameters in `TYPES`.
    """
    for name in ("data", "push_folder", "root"):
        value = values.get(name)
        if isinstance(value, str) and (wrong := _wrong_place(name, value, values.get("root"))):
            yield name, f"The parameter {name} {wrong}. Received: {value!r}."
    epochs = values.get("epochs")
    if isinstance(epochs, (int, float)) and not isinstance(epochs, bool) and not 1 <= epochs <= MAX_EPOCHS:
        yield "epochs", f"The parameter epochs must be a whole number from 1 to {MAX_EPOCHS:,}. Received: {epochs}."
    data = values.get("data")
    checks = (("rules", _read_rules), ("data", require_place), ("span", partial(_require_span, data=data)))
    for name, check in checks:
        value = values.get(name)
        try:
            if isinstance(value, str):
                check(value)
        except (ConfigError, RuleError) as error:
            yield name, f"The parameter {name}: {error}"


def require_values(definitions: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuses what a task of a known pipeline would refuse.

    Args:
      definitions: the root's parameters, name to parameterType and defaultValue.
      given: values in place of defaults.

    Raises:
      ConfigError: the first of them, in one sentence.
    """
    if not is_known(definitions):
        return
    defaults = {name: one["defaultValue"] for name, one in definitions.items() if "defaultValue" in one}
    for _name, sentence in wrong_values(defaults | dict(given)):
        raise ConfigError(sentence)


def _wrong_place(name: str, value: str, root: object) -> str:
    """What must hold of a place, if it does not."""
    if not value.strip():
        return "must not be empty"
    if name == "root" and not is_local(value) and not is_root(value):
        return MUST
    if name == "push_folder" and value.startswith("~"):
        return "must not begin with ~, since a container has no home folder to keep"
    in_bucket = isinstance(root, str) and "://" in root and not is_local(root)
    if name != "root" and in_bucket and (is_local(value) or value.startswith("~")):
        return f"must be a URL, or a place below the root {root}, since a container does not see this machine's disk"
    if name != "root" and "://" in value and not _has_driver(value):
        return "must be at a scheme that can be read, such as gs://, s3:// or minio://"
    return ""


def _has_driver(url: str) -> bool:
    """Whether there are drivers for the schemes of a URL, of which `a::b://` has two."""
    from fsspec import available_protocols

    return {*url.partition("://")[0].split("::")} <= {"minio", *available_protocols()}


def _require_span(span: str, data: object) -> None:
    require_span(span)
    if isinstance(data, str):
        require_fit(span, data)


def _read_rules(text: str) -> None:
    """Raises RuleError where Trainer or CheckpointFilter would."""
    try:
        located = read_located(text, "rules")
    except YamlError as error:
        raise RuleError(str(error)) from error
    rules = read_rules(replace(located, data=_without_own(located.data)))
    for section in ("save", "filter"):
        if getattr(rules, section) is None:
            raise RuleError(f"the rules must have the section `{section}`.")


def _without_own(value: Any) -> Any:
    """Rules, with a plain one in the place of each of one's own: reading those runs code that the image has."""
    if isinstance(value, list):
        return [_without_own(each) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("rule"), str) and value.keys() <= {"rule", "with"}:
        return {"every": 1}
    return {key: _without_own(each) for key, each in value.items()}
