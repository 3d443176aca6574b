"""What is wrong with a pipeline.yaml, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from checkpoint_gate.rule_text.located_yaml import KeyPath, Located
from checkpoint_gate.spelling import did_you_mean
from gated_pipelines.config.logged_names import LOGGED, metrics_named
from gated_pipelines.config.tfma_names import KNOWN, snake_case, value_names
from gated_pipelines.tables.spans import SPAN

if TYPE_CHECKING:
    from gated_pipelines.config.pipeline_config import PipelineConfig
    from gated_pipelines.config.sections import Evaluate, Threshold

_WITHOUT_NOISE = "example_count"  # a property of the data: TFMA computes no interval for it
_MUST = {
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "literal_error": "must be {expected}",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must begin with a small letter and hold at most 40 of a-z, 0-9 and -",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_long": "must hold at most {max_length} items",
    "too_short": "must hold at least {min_length} item",
    "tuple_type": "must be a list",
}
"""What must hold, by pydantic's name of the error; for the others its own words do."""


def contradictions(config: PipelineConfig) -> Iterable[tuple[KeyPath, str]]:
    """What pydantic cannot see: keys that do not fit each other."""
    yield from _of_spans(config)
    if config.positive is not None and config.task != "binary":
        yield ("positive",), f"positive is only for task: binary, and the task is {config.task}"
    for kind in ("numeric", "categorical"):
        if config.features is not None and config.label in getattr(config.features, kind):
            yield ("features", kind), f"features.{kind} must not hold the label {config.label!r}"
    for columns in config.evaluate.slices:
        if config.label in columns and config.task == "regression":
            yield ("evaluate", "slices"), f"evaluate.slices must not slice by {config.label!r}, a regression's label"
    yield from _of_slices(config.evaluate)
    yield from _of_rules(config)
    if config.evaluate.first_run == "bless_on_value_thresholds" and not config.evaluate.thresholds:
        yield (
            ("evaluate", "first_run"),
            "evaluate.first_run must be refuse while evaluate.thresholds has none: without a champion nothing else "
            "judges a model, and bless_on_value_thresholds would let anything through",
        )
    known = KNOWN[config.task]
    for index, metric in enumerate(config.evaluate.metrics):
        at = ("evaluate", "metrics", index)
        if metric not in known:
            yield at, f"evaluate.metrics has {metric!r}, which {config.task} does not offer{_close(metric, known)}"
        elif metric in config.evaluate.metrics[:index]:
            yield at, f"evaluate.metrics has {metric!r} twice"
    if not set(config.evaluate.metrics) <= set(known):
        return
    names = value_names(config.evaluate.metrics)
    wanted: list[tuple[KeyPath, str]] = [(("select",), config.evaluate.select.metric)]
    wanted += [(path, one.metric) for path, one in _bounds(config.evaluate)]
    if config.evaluate.champion.metric != config.evaluate.select.metric:
        wanted.append((("champion",), config.evaluate.champion.metric))
    for part, metric in wanted:
        if metric not in names:
            listed = f"is not the value of a listed metric{_close(snake_case(metric), names)}"
            yield ("evaluate", *part, "metric"), f"{_dotted(('evaluate', *part, 'metric'))} {metric!r} {listed}"


def _of_spans(config: PipelineConfig) -> Iterator[tuple[KeyPath, str]]:
    """What needs several tables, where there is but one."""
    if SPAN in config.data.csv:
        return
    if config.data.window > 1:
        said = f"data.window is {config.data.window}, but data.csv has no {SPAN}: there is one table"
        yield ("data", "window"), said
    for name in ("drift", "skew"):
        if getattr(config.validation, name) is not None:
            yield ("validate", name), f"validate.{name} compares spans, but data.csv has no {SPAN}: there is one table"


def _of_rules(config: PipelineConfig) -> Iterator[tuple[KeyPath, str]]:
    """Metrics that no epoch will have: told here, and not after the first of them."""
    logged = LOGGED[config.task]
    for path, metric in metrics_named(config.rules.model_dump(), ("rules",)):
        if metric not in logged:
            words = f"{_dotted(path)} {metric!r} is not what training logs for {config.task}"
            yield path, f"{words}{_close(metric, logged)}"


def _bounds(evaluate: Evaluate) -> Iterator[tuple[KeyPath, Threshold]]:
    """Every bound with its place below `evaluate`."""
    for index, one in enumerate(evaluate.select.require):
        yield ("select", "require", index), one
    for index, one in enumerate(evaluate.thresholds):
        yield ("thresholds", index), one


def _of_slices(evaluate: Evaluate) -> Iterator[tuple[KeyPath, str]]:
    """Where choosing and bounds ask for what is not measured, or for what cannot be."""
    select = evaluate.select
    if select.worst_slice and not evaluate.slices:
        yield ("evaluate", "select", "worst_slice"), "evaluate.select.worst_slice needs evaluate.slices; there are none"
    if select.within_noise and select.metric == _WITHOUT_NOISE:
        said = f"evaluate.select.within_noise needs a metric with confidence intervals, and {_WITHOUT_NOISE} has none"
        yield ("evaluate", "select", "within_noise"), said
    lowest: dict[tuple[str, str], float] = {}
    for path, one in _bounds(evaluate):
        at = ("evaluate", *path)
        for columns in one.slices:
            if columns not in evaluate.slices:
                said = f"has {_columns(columns)}, which evaluate.slices does not list"
                yield (*at, "slices"), f"{_dotted((*at, 'slices'))} {said}"
        if one.at_least is not None:
            place = str(path[0]), one.metric
            lowest[place] = max(one.at_least, lowest.get(place, one.at_least))
    for path, one in _bounds(evaluate):
        least = lowest.get((str(path[0]), one.metric))
        if one.at_most is not None and least is not None and least > one.at_most:
            said = f"can never hold: another bound asks for {one.metric} of at least {least:g}"
            yield ("evaluate", *path, "at_most"), f"{_dotted(('evaluate', *path, 'at_most'))} {one.at_most:g} {said}"


def _columns(columns: tuple[str, ...]) -> str:
    return columns[0] if len(columns) == 1 else f"[{', '.join(columns)}]"


def problem(error: Mapping[str, Any], located: Located, model: type[BaseModel]) -> str:
    """One of pydantic's errors as words."""
    loc, kind, received = tuple(error["loc"]), error["type"], error["input"]
    if loc and loc[-1] == "[key]":  # pydantic's word for the key itself
        loc = loc[:-1]
    key = _dotted(loc)
    if kind == "missing":
        inside = f" of {_dotted(loc[:-1])}" if len(loc) > 1 else ""
        return f"{located.where(loc[:-1])}: the key {loc[-1]}{inside} is missing"
    if kind == "extra_forbidden":
        return f"{located.where(loc)}: unknown key {key}{_close(str(loc[-1]), _keys_at(model, loc[:-1]))}"
    if kind == "value_error":
        return f"{located.where(loc)}: {key} {error['ctx']['error']}"
    if kind == "string_type" and isinstance(received, (bool, int, float)):
        return f"{located.where(loc)}: {key} must be text, in quotes, received {shown(received)}"
    must = _MUST.get(kind) or error["msg"].replace("Input should", "must")
    must = must.format(**error.get("ctx", {})).replace("'", "")
    return f"{located.where(loc)}: {key} {must}, received {shown(received)}"


def _keys_at(model: Any, loc: KeyPath) -> tuple[str, ...]:
    """The keys that the section at `loc` of `model` knows."""
    for part in loc:
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            model = _models_in(fields[part].annotation)[0]
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


def _close(name: str, known: Iterable[str]) -> str:
    """Words that suggest the known name nearest to `name`, and list all."""
    known = tuple(known)
    return f"{did_you_mean(name, known)}, known are {', '.join(known)}"


def _dotted(loc: KeyPath) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    if isinstance(value, (dict, list, tuple)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
