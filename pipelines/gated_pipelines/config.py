"""What a pipeline.yaml says, checked.

>>> config = load_config("data/penguins/pipeline.yaml")
>>> config.label, config.train.epochs
('species', 40)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.located_yaml import Located, YamlError, read_located
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    ValidationError,
    model_validator,
)

from gated_pipelines.config_words import contradictions, problem, shown
from gated_pipelines.tfma_names import DEFAULT, LOSS, Task

_MOST_PROBLEMS = 5


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Text = Annotated[str, Field(min_length=1)]
Mode = Literal["min", "max"]
Columns = Annotated[tuple[Text, ...], Strict(False)]


class Splits(_Section):
    """Hash buckets of each split: `{train: 3, eval: 1, test: 1}` gives three fifths to training."""

    train: int = Field(ge=1, le=1000)
    eval: int = Field(ge=1, le=1000)
    test: int = Field(ge=1, le=1000)


class Data(_Section):
    """The table, and how its rows are divided."""

    csv: Text
    splits: Splits = Splits(train=3, eval=1, test=1)


class Features(_Section):
    """Columns by kind; a column in neither is ignored."""

    numeric: Columns = ()
    categorical: Columns = ()

    @model_validator(mode="after")
    def _once_each(self) -> Features:
        names = (*self.numeric, *self.categorical)
        if not names:
            raise ValueError("must name at least one column, or be the word infer")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"must name each column once, received {', '.join(map(repr, twice))} more than once")
        return self


class Model(_Section):
    """A multilayer perceptron.

    Attributes:
        hidden: units of each hidden layer, 1 to 4096 each, at most 8 layers; none gives a linear model.
        dropout: the share of units dropped after each hidden layer while training, in [0, 1).
        learning_rate: Adam's, in (0, 1].
    """

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Strict(False), Field(max_length=8)] = (32, 16)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rate: float = Field(default=0.005, gt=0, le=1)


class Train(_Section):
    """Attributes:
    epochs: passes over the training split, 1 to 100,000.
    batch_size: rows, 1 to 65,536.
    seed: of initial weights and shuffling, 0 to 2**31 - 1.
    """

    epochs: int = Field(default=40, ge=1, le=100_000)
    batch_size: int = Field(default=32, ge=1, le=65_536)
    seed: int = Field(default=7, ge=0, le=2**31 - 1)


class Rules(_Section):
    """The rule texts as plain data; the rule parser checks what they say.

    Attributes:
        save: the gate.
        keep: retention while training; None keeps all that was saved.
        filter: what the filter publishes.
        prune: how the rejected are removed; None takes the defaults.
    """

    save: dict[str, Any]
    keep: dict[str, Any] | None = None
    filter: dict[str, Any]
    prune: dict[str, Any] | None = None


class Select(_Section):
    """Which candidate wins: the one whose `metric` is smallest (`min`) or largest (`max`) on the eval split."""

    metric: Text
    mode: Mode


class Threshold(_Section):
    """A bound that the candidate's `metric` on the test split must keep; exactly one of the two is not None."""

    metric: Text
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Threshold:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("must have exactly one of at_least and at_most")
        return self


class ChampionThreshold(_Section):
    """How much worse than the champion the candidate's `metric` may be, in the metric's own units, 0 or more."""

    metric: Text
    mode: Mode
    worse_by_at_most: float = Field(default=0.0, ge=0)


Slice = Annotated[
    Columns, BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
]


class Evaluate(_Section):
    """How candidates are measured, chosen and blessed; what the file leaves out is filled in by task.

    Attributes:
        metrics: TFMA or Keras class names.
        slices: each a tuple of columns; the whole split is always measured too.
    """

    metrics: Annotated[tuple[Text, ...], Strict(False), Field(min_length=1)]
    select: Select
    slices: Annotated[tuple[Slice, ...], Strict(False)] = ()
    thresholds: Annotated[tuple[Threshold, ...], Strict(False)] = ()
    champion: ChampionThreshold


class Push(_Section):
    """Where the blessed model goes: a folder below the run's root, or absolute, or `~`, or a URL."""

    folder: Text = "serving"

    def under(self, root: str | os.PathLike[str]) -> str:
        """The push folder of a run whose root is `root`."""
        if "://" in self.folder:
            return self.folder
        return str(Path(root) / Path(self.folder).expanduser())


def _infer_is_none(value: object) -> object:
    if value == "infer":
        return None
    if not isinstance(value, (Mapping, Features)):
        raise ValueError(  # noqa: TRY004 - pydantic lets a TypeError through
            "must be the word infer, or a mapping with numeric and categorical"
        )
    return value


def _class_text(value: object) -> object:
    """The text of a class label, as the staged table writes it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, (bool, int, float)) else value


class PipelineConfig(_Section):
    """A whole pipeline.yaml.

    Attributes:
        positive: for binary tasks, the class that counts as positive; None for the last in sorted order.
        features: None when the file says `infer`.
    """

    name: Name
    data: Data
    label: Text
    task: Task
    positive: Annotated[Text | None, BeforeValidator(_class_text)] = None
    features: Annotated[Features | None, BeforeValidator(_infer_is_none)] = None
    model: Model = Model()
    train: Train = Train()
    rules: Rules
    evaluate: Evaluate
    push: Push = Push()
    on_no_survivors: Literal["fail", "keep_champion"] = "fail"
    _path: Path = PrivateAttr()
    _located: Located = PrivateAttr()

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self._path

    @property
    def csv(self) -> Path:
        """The table, found from where the file is."""
        return self._path.parent / Path(self.data.csv).expanduser()

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """Every column that a slice names, once each, in order."""
        return tuple(dict.fromkeys(column for columns in self.evaluate.slices for column in columns))

    def where(self, *path: str | int) -> str:
        """Words for the line of a key, for example `where("rules", "save")`."""
        return self._located.where(path)

    @model_validator(mode="before")
    @classmethod
    def _fill_evaluate(cls, raw: object) -> object:
        """Fills in what `evaluate` leaves out; what is malformed is left for the checks to name."""
        if not isinstance(raw, dict) or not isinstance(given := raw.get("evaluate", {}), dict):
            return raw
        task: Task = next((task for task in DEFAULT if task == raw.get("task")), "multiclass")
        filled = {"metrics": DEFAULT[task], "select": {"metric": LOSS[task], "mode": "min"}, **given}
        try:
            chosen = Select.model_validate(filled["select"])
        except ValidationError:
            chosen = Select(metric=LOSS[task], mode="min")
        filled.setdefault("champion", {"metric": chosen.metric, "mode": chosen.mode})
        return {**raw, "evaluate": filled}


def load_config(path: str | os.PathLike[str]) -> PipelineConfig:
    """Reads and checks a pipeline.yaml.

    Raises:
        ConfigError: with every problem (at most 5), each with its line and key.
    """
    path = Path(path)
    return parse_config(_read(path), path)


def parse_config(text: str, path: Path) -> PipelineConfig:
    """Checks `text` as if it were the file at `path`; see `load_config`."""
    try:
        located = read_located(text, str(path))
    except YamlError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(located.data, dict):
        found = "is empty" if located.data is None else f"holds {shown(located.data)}"
        raise ConfigError(
            f"{path} {found}; it must be a mapping that begins with name, data, label, task and rules "
            "(`gated-pipeline new` writes one)."
        )
    try:
        config = PipelineConfig.model_validate(located.data)
    except ValidationError as error:
        problems = [problem(one, located, PipelineConfig) for one in error.errors()]
    else:
        problems = [f"{located.where(where)}: {said}" for where, said in contradictions(config)]
    if problems:
        raise ConfigError(_sentence(problems))
    config._path = path
    config._located = located
    return config


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}; `gated-pipeline new` writes one for a CSV.") from None
    except IsADirectoryError:
        inside = path / "pipeline.yaml"
        hint = f"; did you mean {inside}?" if inside.is_file() else "; name the pipeline.yaml in it."
        raise ConfigError(f"{path} is a folder{hint}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def _sentence(problems: list[str]) -> str:
    more = len(problems) - _MOST_PROBLEMS
    text = "; ".join(problems[:_MOST_PROBLEMS])
    return f"{text}; and {more} more." if more > 0 else f"{text}."
