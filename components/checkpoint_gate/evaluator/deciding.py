"""From an evaluation to a verdict. Pure: reads protos, writes words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoint_gate.evaluator.comparison import compare
from checkpoint_gate.evaluator.measurements import Measurements, metric_of
from checkpoint_gate.evaluator.reason import why_blessed, why_not_blessed
from checkpoint_gate.evaluator.verdict import BlessingVerdict, FirstRun

if TYPE_CHECKING:
    from checkpoint_gate.evaluator.eval_config import Threshold


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom a candidate is up against.

    Attributes:
        champion: where the champion stands; None while there is none.
        rebaseline: the champion is set aside by request.
        obstacle: why nobody may be blessed, whatever the thresholds say; None when they decide.
    """

    champion: str | None
    rebaseline: bool = False
    obstacle: str | None = None

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


def standing(champion: str | None, first_run: FirstRun, rebaseline: bool, incomparable: str | None) -> Standing:
    """Whom a candidate is up against.

    Args:
        champion: where the champion stands; None while there is none.
        first_run, rebaseline: as Evaluator's arguments.
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
    return Standing(champion, rebaseline, obstacle)


def verdict_of(
    stands: Standing, measured: Measurements, thresholds: Sequence[Threshold], result: Any | None
) -> BlessingVerdict:
    """The verdict on a candidate that was evaluated.

    Args:
        stands: whom it was up against.
        measured: the evaluation.
        thresholds: those that judged.
        result: TFMA's `ValidationResult`; None when no threshold applied.
    """
    blessed = stands.obstacle is None and result is not None and bool(result.validation_ok)
    return BlessingVerdict(
        "blessed" if blessed else "not_blessed",
        stands.obstacle or _reason(stands, measured, thresholds, result),
        first_run=stands.champion is None,
        champion=stands.champion,
        rebaselined=stands.rebaseline and stands.champion is not None,
        candidate_metrics=measured.over_all(measured.challenger),
        champion_metrics=measured.over_all(measured.champion),
        comparison=compare(thresholds, measured, result) if result is not None else (),
    )


def _reason(stands: Standing, measured: Measurements, thresholds: Sequence[Threshold], result: Any | None) -> str:
    ending = "" if stands.compared else f"; {stands.alone}"
    if result is None:
        return f"no threshold applies, so that the model cannot be judged: give a metric a value_threshold{ending}"
    if result.validation_ok:
        return why_blessed(measured, {metric_of(threshold.key).name for threshold in thresholds}) + ending
    return why_not_blessed(result, measured) + ending
