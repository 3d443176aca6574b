"""The champion that a training run began under: what limits that are relative to it go by, then and ever after.

It is looked up once, when a run begins, and stands in its `run.json` from then on. So a resumed training, the filter
and a run with nothing changed judge by the same numbers, whatever was pushed in between.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from checkpoint_gate.errors import ModelError, RuleError
from checkpoint_gate.pushed.papers import Papers, read_papers
from checkpoint_gate.pushed.push_folder import champion_path
from checkpoint_gate.rule_text.rule_set import RuleSet
from checkpoint_gate.rules.records import decode_metrics, encode_metrics
from checkpoint_gate.store import Run

KEY = "champion"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownChampion:
    """A pushed version.

    Attributes:
      version: its number in the push folder.
      weights: digest of its weights; None where its papers do not tell.
      metrics: as its training logged them, of an average of checkpoints the means; None where its papers do not tell:
        for the rules there is no champion then.
    """

    version: int
    weights: str | None = None
    metrics: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for `run.json`."""
        metrics = encode_metrics(self.metrics) if self.metrics is not None else None
        return {"version": self.version, "weights": self.weights, "metrics": metrics}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> KnownChampion:
        """The inverse of `to_json`."""
        metrics = value["metrics"]
        return KnownChampion(
            int(value["version"]), value["weights"], decode_metrics(metrics) if metrics is not None else None
        )


def look_up(push_folder: str) -> KnownChampion | None:
    """The champion of a push folder; None while no version is live. Papers that tell nothing are warned of.

    Raises:
      ConfigError: the folder cannot be listed.
    """
    path = champion_path(push_folder)
    if path is None:
        return None
    version = int(os.path.basename(path))
    try:
        papers = read_papers(path)
    except ModelError as error:
        _LOG.warning("%s For the rules there is no champion.", error)
        return KnownChampion(version)
    if papers is None or not papers.origins:
        _LOG.warning("the champion %s carries no papers: for the rules there is no champion", path)
        return KnownChampion(version)
    return KnownChampion(version, papers.push.weights if papers.push is not None else None, _metrics(papers))


def _metrics(papers: Papers) -> dict[str, float]:
    """What training logged; of several checkpoints the means of the metrics that all of them have."""
    logged = [decode_metrics(origin.metrics) for origin in papers.origins]
    return {name: fmean(one[name] for one in logged) for name in logged[0] if all(name in one for one in logged)}


def recorded(run: Run) -> KnownChampion | None:
    """The champion that a run began under; None where there was none.

    Raises:
      RuleError: the run does not record it.
      StoreError: its `run.json` is damaged.
    """
    about = run.about()
    if KEY not in about:
        raise RuleError(
            f"The rules are relative to the champion, and the training run {run.key} does not record which one it "
            "began under: resolve them by RuleSet.resolved, or train anew."
        )
    value = about[KEY]
    return None if value is None else KnownChampion.from_json(value)


def metrics_of(champion: KnownChampion | None) -> Mapping[str, float] | None:
    """What the rules go by; None for no champion."""
    return champion.metrics if champion is not None else None


def resolved_for(rules: RuleSet, runs: Sequence[Run]) -> RuleSet:
    """Rules with the numbers of the champion that `runs` began under; as they are where they need none.

    Raises:
      RuleError: a run does not record it, two began under different ones, or it lacks a metric.
      StoreError: a `run.json` is damaged.
    """
    if not rules.unresolved:
        return rules
    found = {run.key: rules.resolved(metrics_of(recorded(run))) for run in runs}
    different = list(dict.fromkeys(one.digest() for one in found.values()))
    if len(different) > 1:
        raise RuleError(
            "The rules are relative to the champion, so the runs must have begun under champions of equal metrics. "
            f"Received: {', '.join(found)}."
        )
    return next(iter(found.values()), rules)
