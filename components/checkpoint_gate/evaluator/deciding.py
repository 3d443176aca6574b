"""From an evaluation to a verdict. Pure: reads protos, writes words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from checkpoint_gate.evaluator.against_best import Best, hold_against
from checkpoint_gate.evaluator.comparison import compare, failed_first
from checkpoint_gate.evaluator.measurements import Measurements, metric_of
from checkpoint_gate.evaluator.reason import why_blessed, why_not_blessed
from checkpoint_gate.evaluator.verdict import Against, BlessingVerdict, FirstRun

if TYPE_CHECKING:
    from checkpoint_gate.evaluator.eval_config import Threshold


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom a candidate is up against.

    Attributes:
        champion: where the champion stands; None while there is none.
        rebaseline: the champion is set aside by request.
        obstacle: why nobody may be blessed, whatever the thresholds say; None when they decide.
        against: whether the best version so far counts too.
    """

    champion: str | None
    rebaseline: bool = False
    obstacle: str | None = None
    against: Against = "last"

    @property
    def begins_anew(self) -> bool | None:
        """True where a candidate is the best so far, since there is none to hold it against; else None."""
        alone = self.obstacle is None and not self.compared
        return True if alone and self.against == "best" else None

    @property
    def compared(self) -> bool:
        """Whether the champion is evaluated beside the candidate."""
        return self.champion is not None and not self.rebaseline and self.obstacle is None

    @property
    def alone(self) -> str:
        """Why the candidate is judged by itself."""
        if self.champion is None:
            return "there is no champion yet to compare with"
        return f"the champion {self.champion} was set aside and not compared with"


def standing(
    champion: str | None,
    first_run: FirstRun,
    rebaseline: bool,
    incomparable: str | None,
    against: Against = "last",
) -> Standing:
    """Whom a candidate is up against.

    Args:
        champion: where the champion stands; None while there is none.
        first_run, rebaseline, against: as Evaluator's arguments.
        incomparable: why the two cannot be compared.
    """
    obstacle = None
    if champion is None and first_run == "refuse" and not rebaseline:
        obstacle = (
            "there is no champion to compare with, and a first model is not blessed unasked: let the value thresholds "
            "decide alone by first_run: bless_on_value_thresholds (below evaluate in a pipeline.yaml), or once by "
            "--rebaseline"
        )
    elif champion is not None and incomparable is not None and not rebaseline:
        obstacle = (
            f"the candidate cannot be compared with the champion {champion}: {incomparable}; to set that champion "
            "aside and let the value thresholds decide alone, run once with --rebaseline"
        )
    return Standing(champion, rebaseline, obstacle, against)


def without_best(stands: Standing, best: str, incomparable: str) -> Standing:
    """The same, where the best version so far, which stands at `best`, cannot be compared with."""
    obstacle = (
        f"the candidate cannot be compared with the best champion so far, {best}: {incomparable}; to set the champions "
        "aside and let the value thresholds decide alone, run once with --rebaseline"
    )
    return replace(stands, obstacle=obstacle)


def verdict_of(
    stands: Standing,
    measured: Measurements,
    thresholds: Sequence[Threshold],
    result: Any | None,
    best: Best | None = None,
) -> BlessingVerdict:
    """The verdict on a candidate that was evaluated.

    Args:
        stands: whom it was up against.
        measured: the evaluation.
        thresholds: those that judged.
        result: TFMA's `ValidationResult`; None when no threshold applied.
        best: the best version so far, where the candidate is held against it too.
    """
    held = hold_against(best, thresholds, measured) if best is not None and best.incomparable is None else None
    drifts = held.failures if held is not None else ()
    blessed = stands.obstacle is None and result is not None and bool(result.validation_ok) and not drifts
    rows = compare(thresholds, measured, result) if result is not None else ()
    return BlessingVerdict(
        "blessed" if blessed else "not_blessed",
        stands.obstacle or _reason(stands, measured, thresholds, result, drifts),
        first_run=stands.champion is None,
        champion=stands.champion,
        rebaselined=stands.rebaseline and stands.champion is not None,
        candidate_metrics=measured.over_all(measured.challenger),
        champion_metrics=measured.over_all(measured.champion),
        comparison=failed_first((*rows, *(held.rows if held is not None else ()))),
        best=best.name if best is not None else None,
        best_metrics=best.measured.over_all(best.measured.challenger) if best is not None and best.measured else {},
        improves_on_best=held.improves if held is not None else stands.begins_anew,
    )


def _reason(
    stands: Standing,
    measured: Measurements,
    thresholds: Sequence[Threshold],
    result: Any | None,
    drifts: Sequence[str],
) -> str:
    ending = "" if stands.compared else f"; {stands.alone}"
    if result is None:
        return f"no threshold applies, so that the model cannot be judged: give a metric a value_threshold{ending}"
    if result.validation_ok and drifts:
        return "; ".join(drifts) + ending
    if result.validation_ok:
        return why_blessed(measured, {metric_of(threshold.key).name for threshold in thresholds}) + ending
    return "; ".join([why_not_blessed(result, measured), *drifts]) + ending
