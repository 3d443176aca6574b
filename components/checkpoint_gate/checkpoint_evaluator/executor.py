"""CheckpointEvaluator: what it does."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from checkpoint_gate.checkpoint_evaluator.evaluating import evaluate_models, sample_examples
from checkpoint_gate.checkpoint_evaluator.measured import read_measured
from checkpoint_gate.checkpoint_set import Survivor, read_about, read_set
from checkpoint_gate.errors import NoCandidate
from checkpoint_gate.exporting import export_steps, write_sample
from checkpoint_gate.markers import empty_reason, mark_empty
from checkpoint_gate.papers import write_papers
from checkpoint_gate.selection import Candidate, Selection, Selector
from checkpoint_gate.selection_file import write_no_winner, write_selection

_LOG = logging.getLogger(__name__)
_SAMPLE = 8  # examples that travel with the model, for the check before a push


class Executor(base_beam_executor.BaseBeamExecutor):
    """Exports, evaluates, selects, hands on."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component.

        Raises:
          DamagedCheckpoint: a survivor does not match its manifest.
          ModelError: a survivor does not fit the Trainer's export.
          NoCandidate: every survivor is out of the ranking and `on_no_candidate` is "fail".
        """
        survivors_uri = artifact_utils.get_single_uri(input_dict["survivors"])
        model = artifact_utils.get_single_instance(output_dict["model"])
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        reason = empty_reason(survivors_uri)
        if reason is not None:
            mark_empty(model.uri, reason)
            mark_empty(evaluation.uri, reason)
            return
        survivors = read_set(Path(survivors_uri))
        trained = artifact_utils.get_single_instance(input_dict["trained_model"])
        splits = json.loads(exec_properties["example_splits"])
        # Below the output's own disk rather than /tmp, which may be small.
        with tempfile.TemporaryDirectory(dir=_folder(evaluation.uri), prefix=".exports-") as exports:
            models = _export(path_utils.serving_model_path(trained.uri), survivors, exports)
            self._evaluate(models, input_dict, exec_properties, splits, evaluation.uri)
            candidates = [Candidate(s.name, s.manifest.run, s.manifest.step) for s in survivors]
            selection = _select(read_measured(evaluation.uri, candidates), exec_properties, evaluation.uri)
            if isinstance(selection, str):
                mark_empty(model.uri, selection)
                return
            serving = path_utils.serving_model_dir(model.uri)
            shutil.copytree(models[selection.winner.name], serving)
        write_sample(serving, sample_examples(input_dict["examples"], splits, _SAMPLE))
        rules = read_about(Path(survivors_uri))["rules_digest"]
        write_papers(Path(serving), selection, rules)
        for name, value in (
            ("run", selection.winner.run),
            ("step", selection.winner.step),
            ("reason", selection.reason),
        ):
            model.set_json_value_custom_property(name, value)

    def _evaluate(
        self,
        models: Mapping[str, str],
        input_dict: dict[str, list[types.Artifact]],
        exec_properties: Mapping[str, Any],
        splits: Sequence[str],
        output: str,
    ) -> None:
        _LOG.info("evaluating %d survivors in one pass over %s", len(models), ", ".join(splits))
        config = json_format.Parse(exec_properties["eval_config"], tfma.EvalConfig())
        schema = None
        if input_dict.get("schema"):
            folder = artifact_utils.get_single_uri(input_dict["schema"])
            schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))
        with self._make_beam_pipeline() as pipeline:
            evaluate_models(pipeline, models, config, input_dict["examples"], splits, schema, output)


def _folder(uri: str) -> str:
    os.makedirs(uri, exist_ok=True)
    return uri


def _export(trained: str, survivors: Sequence[Survivor], exports: str) -> dict[str, str]:
    folders = {survivor.name: os.path.join(exports, survivor.name) for survivor in survivors}
    pairs = [(survivor.prefix, folders[survivor.name]) for survivor in survivors]
    for number, folder in enumerate(export_steps(trained, pairs), 1):
        _LOG.info("exported survivor %d of %d, %s", number, len(pairs), os.path.basename(folder))
    return folders


def _select(candidates: Sequence[Candidate], exec_properties: Mapping[str, Any], evaluation: str) -> Selection | str:
    """The choice, which is also written into the evaluation; where nobody is left, why the champion stays."""
    selector = Selector(**json.loads(exec_properties["select"]))
    for name, reason in selector.excluded(candidates).items():
        _LOG.warning("%s is out of the ranking: %s", name, reason)
    try:
        selection = selector.choose(candidates)
    except NoCandidate as nobody:
        if exec_properties["on_no_candidate"] == "fail":
            raise
        _LOG.warning("%s The champion stays.", nobody)
        write_no_winner(Path(evaluation), selector, candidates, str(nobody))
        return str(nobody)
    write_selection(Path(evaluation), selector, selection)
    _LOG.info("%s wins: %s", selection.winner.name, selection.reason)
    return selection
