"""CheckpointEvaluator: what it does."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from checkpoint_gate.artifact_files.checkpoint_set import read_set
from checkpoint_gate.artifact_files.data_note import read_data_note
from checkpoint_gate.artifact_files.markers import empty_reason, mark_empty
from checkpoint_gate.artifact_files.outputs import make_room
from checkpoint_gate.artifact_files.selection_file import write_no_winner, write_selection
from checkpoint_gate.checkpoint_evaluator.entrants import Entrant, average_of, entrants_of
from checkpoint_gate.checkpoint_evaluator.examples import first_examples
from checkpoint_gate.checkpoint_evaluator.measured import read_measured
from checkpoint_gate.checkpoint_evaluator.measuring import Measuring
from checkpoint_gate.checkpoint_evaluator.one_pass import measure
from checkpoint_gate.checkpoint_evaluator.planning import Plan, plan_of
from checkpoint_gate.checkpoint_evaluator.provenance import papers_of
from checkpoint_gate.errors import AverageRefused, NoCandidate
from checkpoint_gate.models.exporting import export_steps, load_trained, restore, write_sample
from checkpoint_gate.pushed.papers import write_papers
from checkpoint_gate.rules.selection import AVERAGE, Candidate, Selection, Selector

_LOG = logging.getLogger(__name__)
_SAMPLE = 8  # examples that travel with the model, for the check before a push

_Artifacts = dict[str, list[types.Artifact]]


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates, selects, exports, hands on."""

    def Do(self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
        """See the component.

        Raises:
          DamagedCheckpoint: a survivor does not match its manifest.
          ModelError: a survivor does not fit the Trainer's export.
          EvaluationError: there are no examples, they do not fit the model or the schema, or TFMA fails on them.
          NoCandidate: every survivor is out of the ranking and `on_no_candidate` is "fail".
        """
        survivors_uri = artifact_utils.get_single_uri(input_dict["survivors"])
        model = artifact_utils.get_single_instance(output_dict["model"])
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        make_room(model.uri)
        make_room(evaluation.uri)
        reason = empty_reason(survivors_uri)
        if reason is not None:
            mark_empty(model.uri, reason)
            mark_empty(evaluation.uri, reason)
            return
        entrants = entrants_of(read_set(Path(survivors_uri)))
        trained = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["trained_model"]))
        select = json.loads(exec_properties["select"])
        average = select.pop(AVERAGE)
        # Below the output's own disk rather than /tmp, which may be small.
        os.makedirs(evaluation.uri, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=evaluation.uri, prefix=".scratch-") as scratch:
            measuring = _measuring(input_dict, exec_properties, scratch)
            sample = first_examples(measuring.examples, measuring.splits, _SAMPLE)
            plan, refused = _prepare(entrants, trained, measuring, sample, average=average)
            not_finite = measure(self._make_beam_pipeline, plan, {e.name: e.prefix for e in entrants}, measuring)
            candidates = _candidates(entrants, not_finite)
            if os.path.isdir(measuring.output):
                _move(measuring.output, evaluation.uri)
                candidates = read_measured(evaluation.uri, candidates)
            selection = _select(candidates, Selector(**select), refused, exec_properties["on_no_candidate"], evaluation)
            if isinstance(selection, str):
                mark_empty(model.uri, selection)
                return
            serving = path_utils.serving_model_dir(model.uri)
            winning = next(entrant.prefix for entrant in entrants if entrant.name == selection.winner.name)
            for _ in export_steps(trained, [(winning, serving)]):
                _LOG.info("exported %s", selection.winner.name)
        write_sample(serving, sample)
        about = json.loads(exec_properties.get("about") or "{}")
        for examples in input_dict["examples"]:
            about.update(read_data_note(examples.uri))
        papers = papers_of(selection, Path(survivors_uri), evaluation.uri, measuring.examples, measuring.splits, about)
        write_papers(serving, papers)
        for name, value in (
            ("run", selection.winner.run),
            ("step", selection.winner.step),
            ("reason", selection.reason),
            ("averaged", json.dumps(selection.winner.averaged)),
        ):
            model.set_json_value_custom_property(name, value)


def _measuring(input_dict: _Artifacts, exec_properties: Mapping[str, Any], scratch: str) -> Measuring:
    schema = None
    if input_dict.get("schema"):
        folder = artifact_utils.get_single_uri(input_dict["schema"])
        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))
    return Measuring(
        eval_config=json_format.Parse(exec_properties["eval_config"], tfma.EvalConfig()),
        examples=input_dict["examples"],
        splits=json.loads(exec_properties["example_splits"]),
        schema=schema,
        output=os.path.join(scratch, "evaluation"),
        scratch=scratch,
    )


def _prepare(
    entrants: list[Entrant], trained: str, measuring: Measuring, sample: Sequence[bytes], *, average: bool
) -> tuple[Plan, str | None]:
    """Checks that everything fits the export, and adds the average; the plan, and why there is no average if wanted."""
    loaded = load_trained(trained)
    plan = plan_of(trained, loaded, measuring, entrants[0].prefix, sample)
    for entrant in entrants:
        restore(loaded, entrant.prefix)
    if average:
        try:
            entrants.append(average_of(entrants, loaded, plan.signature, measuring.scratch))
        except AverageRefused as refused:
            _LOG.warning("the survivors are not averaged: %s", refused)
            return plan, str(refused)
    return plan, None


def _move(source: str, target: str) -> None:
    for name in os.listdir(source):
        os.replace(os.path.join(source, name), os.path.join(target, name))


def _candidates(entrants: Sequence[Entrant], not_finite: Mapping[str, int]) -> list[Candidate]:
    return [
        Candidate(
            e.name,
            e.run,
            e.step,
            averaged=e.averaged,
            fault=f"{not_finite[e.name]} of its predictions are not finite" if e.name in not_finite else None,
        )
        for e in entrants
    ]


def _select(
    candidates: Sequence[Candidate],
    selector: Selector,
    not_averaged: str | None,
    on_no_candidate: str,
    evaluation: types.Artifact,
) -> Selection | str:
    """The choice, which is also written into the evaluation; where nobody is left, why the champion stays."""
    folder = Path(evaluation.uri)
    for name, reason in selector.excluded(candidates).items():
        _LOG.warning("%s is out of the ranking: %s", name, reason)
    try:
        selection = selector.choose(candidates)
    except NoCandidate as nobody:
        if on_no_candidate == "fail":
            raise
        _LOG.warning("%s The champion stays.", nobody)
        write_no_winner(folder, selector, candidates, str(nobody))
        return str(nobody)
    if not_averaged is not None:
        selection = replace(selection, excluded={**selection.excluded, AVERAGE: f"not averaged: {not_averaged}"})
    write_selection(folder, selector, selection)
    _LOG.info("%s wins: %s", selection.winner.name, selection.reason)
    return selection
