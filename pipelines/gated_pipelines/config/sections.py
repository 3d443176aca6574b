"""The sections of a pipeline.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

from checkpoint_gate.evaluator.verdict import Against, FirstRun
from checkpoint_gate.quantities import parse_duration
from checkpoint_gate.rules.retention import Keep
from gated_pipelines.config.section import Section, Text

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Mode = Literal["min", "max"]
MAX_EPOCHS = 100_000
Columns = Annotated[tuple[Text, ...], Strict(False)]


class Splits(Section):
    """Hash buckets of each split: `{train: 3, eval: 1, test: 1}` gives three fifths to training."""

    train: int = Field(ge=1, le=1000)
    eval: int = Field(ge=1, le=1000)
    test: int = Field(ge=1, le=1000)


class Data(Section):
    """The table, and how its rows are divided.

    Attributes:
        csv: a path; `{SPAN}` in the file's name stands for a whole number, and a run takes one of these tables.
        window: so many tables, the last up to that one, are read as one; fewer where there are no more.
        schema_file: `schema` in the file: a curated schema, a path; None infers one whenever the pipeline runs.
    """

    csv: Text
    splits: Splits = Splits(train=3, eval=1, test=1)
    window: int = Field(default=1, ge=1, le=1000)
    schema_file: Text | None = Field(default=None, alias="schema")


class Validate(Section):
    """What becomes of a run whose data are not as they should be.

    Attributes:
        on_anomalies: `warn` tells of them and goes on; `fail` ends the run before anything is trained.
        drift: the largest Jensen-Shannon divergence, in (0, 1], of a column's values in the newest span from those in
            the span before; None compares nothing. What the schema says of a column itself comes first.
        skew: the same, of the rows that are trained on from the newest span, which is what will be served.
    """

    on_anomalies: Literal["warn", "fail"] = "warn"
    drift: float | None = Field(default=None, gt=0, le=1)
    skew: float | None = Field(default=None, gt=0, le=1)


class Features(Section):
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


class Model(Section):
    """A multilayer perceptron.

    Attributes:
        hidden: units of each hidden layer, 1 to 4096 each, at most 8 layers; none gives a linear model.
        dropout: the share of units dropped after each hidden layer while training, in [0, 1).
        learning_rate: Adam's, in (0, 1].
    """

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Strict(False), Field(max_length=8)] = (32, 16)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rate: float = Field(default=0.005, gt=0, le=1)


class Train(Section):
    """Attributes:
    epochs: passes over the training split, 1 to 100,000.
    batch_size: rows, 1 to 65,536.
    seed: of initial weights and shuffling, 0 to 2**31 - 1.
    warm_start: what initial weights come from; None for chance.
    """

    epochs: int = Field(default=40, ge=1, le=MAX_EPOCHS)
    batch_size: int = Field(default=32, ge=1, le=65_536)
    seed: int = Field(default=7, ge=0, le=2**31 - 1)
    warm_start: Literal["champion"] | None = None


class Rules(Section):
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


Slice = Annotated[
    Columns, BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
]
Slices = Annotated[tuple[Slice, ...], Strict(False)]


class Threshold(Section):
    """A bound that a candidate's `metric` must keep over a whole split; exactly one of the two is not None.

    Attributes:
        slices: each a tuple of columns; the bound must be kept on every slice of theirs as well.
    """

    metric: Text
    at_least: float | None = None
    at_most: float | None = None
    slices: Slices = ()

    @model_validator(mode="after")
    def _one_bound(self) -> Threshold:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("must have exactly one of at_least and at_most")
        return self


class Select(Section):
    """Which candidate wins: the one whose `metric` is smallest (`min`) or largest (`max`) on the eval split.

    Attributes:
        ties: which of equal candidates wins, the one with the latest or the earliest step.
        within_noise: of all whose confidence interval overlaps the best one's, the earliest wins.
        worst_slice: candidates are compared on their worst slice, instead of on the whole split.
        require: bounds on the eval split; who does not keep them is out.
        average: whether the uniform average of the survivors' weights is a candidate too.
    """

    metric: Text
    mode: Mode
    ties: Literal["latest", "earliest"] = "latest"
    within_noise: bool = False
    worst_slice: bool = False
    require: Annotated[tuple[Threshold, ...], Strict(False)] = ()
    average: bool = False


class ChampionThreshold(Section):
    """How much worse than the champion the candidate's `metric` may be, in the metric's own units, 0 or more.

    Attributes:
        against: the last champion, or the best one so far as well, measured on the same rows: else small losses that
            are tolerated one by one add up.
    """

    metric: Text
    mode: Mode
    worse_by_at_most: float = Field(default=0.0, ge=0)
    against: Against = "last"


class Evaluate(Section):
    """How candidates are measured, chosen and blessed; what the file leaves out is filled in by task.

    Attributes:
        metrics: TFMA or Keras class names.
        slices: each a tuple of columns; the whole split is always measured too.
        thresholds: bounds on the test split, which the winner must keep.
        first_run: whether, while there is no champion, the thresholds on values decide alone, or nothing is blessed.
    """

    metrics: Annotated[tuple[Text, ...], Strict(False), Field(min_length=1)]
    select: Select
    slices: Slices = ()
    thresholds: Annotated[tuple[Threshold, ...], Strict(False)] = ()
    champion: ChampionThreshold
    first_run: FirstRun = "refuse"


def _seconds(value: object) -> float:
    """Seconds in the text of a time."""
    return parse_duration(value if isinstance(value, str) else str(value))


Duration = Annotated[float, BeforeValidator(_seconds)]


class KeepVersions(Section):
    """Which pushed versions stay; a union, as the rules' `keep`.

    Attributes:
        last: the newest so many.
        within: seconds; the versions that were pushed since.
    """

    last: int | None = Field(default=None, ge=1)
    within: Duration | None = None

    @model_validator(mode="after")
    def _something(self) -> KeepVersions:
        if self.last is None and self.within is None:
            raise ValueError("must have at least one of last and within")
        if self.within is not None and self.within <= 0:
            raise ValueError("must keep within a time above 0s")
        return self


class Push(Section):
    """Where the blessed model goes: a folder below the run's root, or absolute, or `~`, or a URL.

    Attributes:
        keep: None keeps every version. The champion, the version before it and the one that a rollback would go back
            to always stay.
        grace: seconds that a version which does not stay lies in the folder's trash.
    """

    folder: Text = "serving"
    keep: KeepVersions | None = None
    grace: Duration = 86_400.0

    @model_validator(mode="after")
    def _keep_on_a_disk(self) -> Push:
        if self.keep is not None and "://" in self.folder:
            raise ValueError(
                f"must not have keep for a URL, since old versions go only from a folder on a disk, "
                f"received folder {self.folder!r}"
            )
        return self

    @property
    def retention(self) -> Keep | None:
        """The rule that `keep` says."""
        return Keep(last=self.keep.last, within=self.keep.within) if self.keep is not None else None

    def under(self, root: str | os.PathLike[str]) -> str:
        """The push folder of a run whose root is `root`."""
        if "://" in self.folder:
            return self.folder
        return str(Path(root) / Path(self.folder).expanduser())


class Disk(Section):
    """How much of old runs stays on the disk; see `gated-pipeline prune`.

    Attributes:
        keep_runs: what so many of the newest runs used stays; None keeps all.
        keep_logs: so many log files stay; None keeps all.
    """

    keep_runs: int | None = Field(default=None, ge=1)
    keep_logs: int | None = Field(default=None, ge=1)


def infer_is_none(value: object) -> object:
    if value == "infer":
        return None
    if not isinstance(value, (Mapping, Features)):
        raise ValueError("must be the word infer, or a mapping with numeric and categorical")
    return value
