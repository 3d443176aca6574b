"""Proposes rules from recorded runs: they would have saved about so many checkpoints of each, the best among them.

What is proposed has to serve the next run, of which only the recorded ones tell. So:

* A limit lies between two recorded values, never on one, and is written with the fewest digits that stay between them.
* The number of checkpoints is set by `improves` with a `min_delta`, which costs at most that much of the best value. It
  stands under limits that let every best record through with room to spare: loose ones on the training loss and on a
  moving average of it, against runs that go astray, and one on the ranking metric that tightens as training goes on.
* Where that does not come within half a checkpoint of the number asked for, on average over the runs, other rules are
  tried, in this order: tighter limits on the loss, or a fixed one on the ranking metric; only every so many epochs; no
  `improves`, since it cannot save the last of several equally best records; a longer warm-up; a single rule.
* Of the rules that come as near, those are taken that treat the runs most evenly, then those with the least risk: a
  small `min_delta`, and a limit far from the best values.

What is proposed is read back from its text and replayed over every run by the real gate; the numbers told are those.
The same runs always give the same rules. Nothing is assumed about a metric, but that the training loss should fall.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from checkpoint_gate.errors import NoCandidate, RuleError, UnknownMetricError
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules, write_rules
from checkpoint_gate.rules.conditions import Mode
from checkpoint_gate.rules.gate import LOSS, broken_loss
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.retention import Best, Keep
from checkpoint_gate.rules.selection import rank_key
from checkpoint_gate.suggesting.candidates import Ranked, candidates
from checkpoint_gate.suggesting.search import search
from checkpoint_gate.suggesting.text import scalar, yaml_text

VAL_LOSS = "val_loss"
_DEFAULTS = (VAL_LOSS, LOSS)  # less is better


@dataclass(frozen=True, slots=True)
class PastRun:
    """A recorded run: how it is called in answers, and its records that count, in order."""

    name: str
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the proposed rules would have saved of one run.

    Attributes:
      run: the run.
      saved: the records that they save, in order.
      best: the run's best record by the ranking metric; of equal ones that of the latest step.
    """

    run: PastRun
    saved: tuple[Record, ...]
    best: Record

    @property
    def refused(self) -> int:
        return len(self.run.records) - len(self.saved)

    @property
    def best_saved(self) -> bool:
        return any(record is self.best for record in self.saved)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Proposed rules, and what they would have saved.

    Attributes:
      rules: the sections `save` and `keep`.
      text: the same as YAML with comments.
      keep: how many checkpoints a run were asked for.
      metric: the ranking metric.
      mode: whether the least or the greatest value of it is best.
      runs: what the rules save of each run, in the order given.
      tried: how many sets of rules were tried.
    """

    rules: RuleSet
    text: str
    keep: int
    metric: str
    mode: Mode
    runs: tuple[Kept, ...]
    tried: int

    @property
    def mean(self) -> float:
        """Checkpoints a run."""
        return sum(len(kept.saved) for kept in self.runs) / len(self.runs)

    @property
    def reached(self) -> bool:
        """Whether the mean is within half a checkpoint of what was asked for."""
        return abs(self.mean - self.keep) < 0.5

    def to_json(self) -> dict[str, Any]:
        """Plain values: rules, keep, metric, mode, and ledgers with what would be saved of each."""
        return {
            "rules": write_rules(self.rules),
            "keep": self.keep,
            "metric": self.metric,
            "mode": self.mode,
            "ledgers": [self._run_to_json(kept) for kept in self.runs],
        }

    def _run_to_json(self, kept: Kept) -> dict[str, Any]:
        best = kept.best
        return {
            "history": kept.run.name,
            "records": len(kept.run.records),
            "saved": len(kept.saved),
            "refused": kept.refused,
            "steps": [record.step for record in kept.saved],
            "best": {
                "step": best.step,
                "epoch": best.epoch,
                "value": best.metrics[self.metric],
                "saved": kept.best_saved,
            },
        }


def suggest(
    runs: Sequence[PastRun],
    keep: int = 5,
    metric: str | None = None,
    mode: Mode | None = None,
    tell: Callable[[int], None] = lambda tried: None,
) -> Suggestion:
    """Rules that would have saved about `keep` checkpoints of each of `runs`, the best of each among them.

    Args:
      runs: at least one, each with at least one record in which the ranking metric and the training loss are finite.
      keep: checkpoints a run, on average over the runs; >= 1.
      metric: what ranks the records; by default `val_loss` where every run has it, else `loss`.
      mode: which way it is better; may be left out for `val_loss` and `loss` only, which should fall.
      tell: is called now and then with the number of sets of rules tried so far.

    Raises:
      RuleError: no runs, `keep` below 1, or a mode is missing.
      UnknownMetricError: a run never logged the ranking metric.
      NoCandidate: a run has no record that could be the best.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise RuleError(f"keep must be a whole number of checkpoints, at least 1. Received: keep={keep!r}.")
    if not runs:
        raise RuleError("Rules are proposed from at least one recorded run. Received: none.")
    metric, mode = _ranking(runs, metric, mode)
    ranked = [_ranked(run, metric, mode) for run in runs]
    found = search(ranked, candidates(ranked, metric, mode, keep), keep, tell)
    proposed = RuleSet(save=found.gate, keep=Keep(best=Best(metric, mode, keep), last=1))
    text = yaml_text(proposed, _head(len(runs), keep, metric, mode))
    rules = parse_rules(text, "the proposed rules")
    assert rules == proposed
    assert rules.save is not None
    kept = []
    for run, past in zip(runs, ranked, strict=True):
        decisions = zip(run.records, rules.save.replay(run.records), strict=True)
        saved = tuple(record for record, decision in decisions if decision.save)
        kept.append(Kept(run, saved, run.records[past.best]))
    assert found.counts == tuple(len(of_run.saved) for of_run in kept)
    assert all(of_run.best_saved for of_run in kept)
    return Suggestion(rules, text, keep, metric, mode, tuple(kept), found.tried)


def _ranking(runs: Sequence[PastRun], metric: str | None, mode: Mode | None) -> tuple[str, Mode]:
    logged = [{name for record in run.records for name in record.metrics} for run in runs]
    for run, names in zip(runs, logged, strict=True):
        if not names:
            what = "logged no metrics" if run.records else "has no records"
            raise NoCandidate(f"{run.name} {what}, so there is nothing to propose rules from.")
    if metric is None:
        everywhere = set.intersection(*logged)
        metric = next((name for name in _DEFAULTS if name in everywhere), None)
        if metric is None:
            raise UnknownMetricError(
                "Neither val_loss nor loss is logged in every ledger: say with --metric and --mode by what to rank. "
                f"Logged in every one: {', '.join(sorted(everywhere)) or 'none'}."
            )
        if mode == "max":
            raise RuleError(f"--mode max goes with --metric: without it the least {metric} is best.")
    for run, names in zip(runs, logged, strict=True):
        if metric not in names:
            raise UnknownMetricError(
                f"{run.name} has no metric {metric!r}. Logged were: {', '.join(sorted(names))}. Name one of these."
            )
    if mode is None and metric not in _DEFAULTS:
        raise RuleError(f"Say with --mode min or --mode max which way {metric!r} is better: that is never guessed.")
    return metric, mode or "min"


def _ranked(run: PastRun, metric: str, mode: Mode) -> Ranked:
    places = [
        place
        for place, record in enumerate(run.records)
        if record.finite(metric) is not None and broken_loss(record) is None
    ]
    if not places:
        raise NoCandidate(f"{run.name} has no record with a finite {metric!r} and a finite loss, so none is the best.")
    records = run.records
    best = min(places, key=lambda place: rank_key(records[place].metrics[metric], records[place].step, mode))
    return Ranked(run.name, records, best)


def _head(runs: int, keep: int, metric: str, mode: Mode) -> list[str]:
    recorded = f"{runs} recorded runs" if runs > 1 else "one recorded run"
    checkpoints = "checkpoints" if keep > 1 else "checkpoint"
    return [
        f"Proposed by checkpoint-gate suggest from {recorded}, to save about {keep} {checkpoints} a run,",
        f"the best by {scalar(metric)} ({mode}) among them.",
    ]
