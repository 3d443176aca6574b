"""What a pipeline.yaml says, checked.

>>> config = load_config("data/penguins/pipeline.yaml")
>>> config.label, config.train.epochs
('species', 40)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rule_text.located_yaml import Located, YamlError, read_located
from gated_pipelines.config.contradictions import contradictions, problem, shown
from gated_pipelines.config.kubeflow_section import Kubeflow
from gated_pipelines.config.section import Section, Text
from gated_pipelines.config.sections import (
    Data,
    Disk,
    Evaluate,
    Features,
    Model,
    Name,
    Push,
    Rules,
    Select,
    Train,
    Validate,
    infer_is_none,
)
from gated_pipelines.config.tfma_names import DEFAULT, LOSS, Task

_MOST_PROBLEMS = 5


def _class_text(value: object) -> object:
    """The text of a class label, as the staged table writes it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, (bool, int, float)) else value


class PipelineConfig(Section):
    """A whole pipeline.yaml.

    Attributes:
        positive: for binary tasks, the class that counts as positive; None for the last in sorted order.
        features: None when the file says `infer`.
        validation: `validate` in the file.
    """

    name: Name
    data: Data
    validation: Validate = Field(default=Validate(), alias="validate")
    label: Text
    task: Task
    positive: Annotated[Text | None, BeforeValidator(_class_text)] = None
    features: Annotated[Features | None, BeforeValidator(infer_is_none)] = None
    model: Model = Model()
    train: Train = Train()
    rules: Rules
    evaluate: Evaluate
    push: Push = Push()
    disk: Disk = Disk()
    on_no_survivors: Literal["fail", "keep_champion"] = "fail"
    on_no_candidate: Literal["fail", "keep_champion"] = "fail"
    on_not_blessed: Literal["keep_champion", "fail"] = "keep_champion"
    kubeflow: Kubeflow = Kubeflow()
    _path: Path = PrivateAttr()
    _located: Located = PrivateAttr()

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self._path

    @property
    def csv(self) -> Path:
        """The table, found from where the file is; `{SPAN}` may stand in its name."""
        return self._beside(self.data.csv)

    @property
    def schema_file(self) -> Path | None:
        """The curated schema, found from where the file is."""
        return self._beside(self.data.schema_file) if self.data.schema_file is not None else None

    def _beside(self, name: str) -> Path:
        place = self._path.parent / Path(name).expanduser()
        return place.resolve() if ".." in place.parts else place

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """Every column that a slice names, once each, in order."""
        return tuple(dict.fromkeys(column for columns in self.evaluate.slices for column in columns))

    @property
    def located(self) -> Located:
        """The file's plain data with its lines."""
        return self._located

    def where(self, *path: str | int) -> str:
        """Words for the line of a key, for example `where("rules", "save")`."""
        return self._located.where(path)

    def with_features(self, numeric: tuple[str, ...], categorical: tuple[str, ...]) -> PipelineConfig:
        """The same with these features, whatever the file says or infers."""
        return self.model_copy(update={"features": Features(numeric=numeric, categorical=categorical)})

    def with_csv(self, csv: Path) -> PipelineConfig:
        """The same for the table at `csv`."""
        return self.model_copy(update={"data": self.data.model_copy(update={"csv": str(csv.absolute())})})

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
