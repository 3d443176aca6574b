"""The pass over the examples: how the candidates go through TFMA, and what can go wrong on the way."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import apache_beam as beam

from checkpoint_gate.brief_errors import brief_cause
from checkpoint_gate.checkpoint_evaluator.configuring import warn_of_change_thresholds
from checkpoint_gate.checkpoint_evaluator.evaluating import (
    Wire,
    evaluate,
    observe_predictions,
    wire_separately,
    wire_stack,
)
from checkpoint_gate.checkpoint_evaluator.examples import require_columns
from checkpoint_gate.checkpoint_evaluator.lone_name import give_name
from checkpoint_gate.checkpoint_evaluator.measuring import Measuring
from checkpoint_gate.checkpoint_evaluator.observing import read_columns, read_not_finite
from checkpoint_gate.checkpoint_evaluator.planning import Plan
from checkpoint_gate.checkpoint_evaluator.stacking import Stack
from checkpoint_gate.errors import CheckpointGateError, EvaluationError
from checkpoint_gate.models.exporting import export_steps

_LOG = logging.getLogger(__name__)

MakePipeline = Callable[[], AbstractContextManager[beam.Pipeline]]


def measure(
    make_pipeline: MakePipeline,
    plan: Plan,
    checkpoints: Mapping[str, str],
    measuring: Measuring,
) -> dict[str, int]:
    """Evaluates all candidates in one pass; TFMA's files are then in `measuring.output`, if there are any.

    Some of TFMA's metrics, AUC for one, fail as a whole on a prediction that is NaN. Candidates with such predictions
    are then found in a pass without metrics and left out of another one. Where that leaves none, nothing is written.

    Args:
      make_pipeline: as a Beam executor makes it.
      plan: how.
      checkpoints: name -> prefix of each candidate.
      measuring: what is measured, and on what.

    Returns:
      Candidate -> for how many examples its prediction is NaN or infinite, of those that have such predictions.

    Raises:
      EvaluationError: TFMA fails, or the examples lack a column that the schema asks for.
    """
    warn_of_change_thresholds(measuring.eval_config)
    _LOG.info("evaluating %d candidates in one pass over %s", len(checkpoints), ", ".join(measuring.splits))
    not_finite = None
    try:
        _evaluate(make_pipeline, plan, checkpoints, measuring)
    except EvaluationError:
        not_finite = _observe(make_pipeline, plan, checkpoints, measuring)
        if not not_finite:
            raise
        checkpoints = {name: prefix for name, prefix in checkpoints.items() if name not in not_finite}
        shutil.rmtree(measuring.output, ignore_errors=True)
        if not checkpoints:
            return not_finite
        _LOG.warning(
            "TFMA fails on predictions that are not finite; evaluating again without %s", ", ".join(not_finite)
        )
        measuring = replace(measuring, scratch=_below(measuring.scratch, "again"))
        _evaluate(make_pipeline, plan, checkpoints, measuring)
    if measuring.schema is not None:
        require_columns(measuring.schema, read_columns(measuring.scratch), measuring.splits)
    if len(checkpoints) == 1:
        give_name(measuring.output, next(iter(checkpoints)))
    return read_not_finite(measuring.scratch) if not_finite is None else not_finite


def _evaluate(make_pipeline: MakePipeline, plan: Plan, checkpoints: Mapping[str, str], measuring: Measuring) -> None:
    wire = _wire(plan, checkpoints, measuring)
    some = False
    try:
        with make_pipeline() as pipeline:
            some = evaluate(pipeline, wire, measuring)
        return
    except CheckpointGateError:
        raise
    except Exception as error:  # a runner hands on whatever happened as whatever it likes
        if not some:
            raise _failed(error, measuring) from error
        # What TFMA's own metrics make of such examples, or how they fail on them, holds.
        _LOG.info("not all can be computed batch by batch, so that TFMA computes it: %s", brief_cause(error))
    shutil.rmtree(measuring.output, ignore_errors=True)
    try:
        with make_pipeline() as pipeline:
            evaluate(pipeline, wire, measuring, batchwise=False)
    except Exception as error:
        raise _failed(error, measuring) from error


def _failed(error: Exception, measuring: Measuring) -> EvaluationError:
    splits = ", ".join(measuring.splits)
    return EvaluationError(f"The survivors cannot be evaluated on {splits}: {brief_cause(error)}.")


def _observe(
    make_pipeline: MakePipeline, plan: Plan, checkpoints: Mapping[str, str], measuring: Measuring
) -> dict[str, int]:
    """Which candidates predict what some metrics of TFMA fail on; empty also where they cannot predict at all."""
    aside = replace(measuring, scratch=_below(measuring.scratch, "observed"))
    try:
        with make_pipeline() as pipeline:
            observe_predictions(pipeline, _wire(plan, checkpoints, aside), aside)
    except Exception:  # the evaluation failed for the same reason, and says so
        return {}
    return read_not_finite(aside.scratch)


def _below(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    os.makedirs(path)
    return path


def _wire(plan: Plan, checkpoints: Mapping[str, str], measuring: Measuring) -> Wire:
    """How the candidates go into a pipeline: as one stacked model, or as many models as there are candidates."""
    reason = "there is only one" if len(checkpoints) == 1 else plan.apart
    if reason is None:
        shared = "once" if plan.split else "for each, since the export has no `features` and `answer` that fit"
        _LOG.info("they are stacked into one model; each batch is parsed and transformed %s", shared)
        return partial(wire_stack, Stack(plan, tuple(checkpoints.items())))
    _LOG.info("they are not stacked into one model but evaluated each by itself: %s", reason)
    folders = {name: os.path.join(measuring.scratch, "models", name) for name in checkpoints}
    for _ in export_steps(plan.trained, [(prefix, folders[name]) for name, prefix in checkpoints.items()]):
        pass
    return partial(wire_separately, folders)
