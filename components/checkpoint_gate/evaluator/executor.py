"""The executor of `Evaluator`."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import io_utils, json_utils, path_utils

from checkpoint_gate.artifact_files.markers import empty_reason
from checkpoint_gate.brief_errors import brief
from checkpoint_gate.errors import ModelError
from checkpoint_gate.evaluator.against_best import Best
from checkpoint_gate.evaluator.comparable import difference, fault_on_examples, read_interface
from checkpoint_gate.evaluator.deciding import Standing, standing, verdict_of, without_best
from checkpoint_gate.evaluator.eval_config import preprocessing_signatures, read_config, serving_signature, thresholds
from checkpoint_gate.evaluator.measurements import Measurements
from checkpoint_gate.evaluator.verdict import VERDICT_FILE, BlessingVerdict
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.best_so_far import handed_on as handed_on_best
from checkpoint_gate.pushed.best_so_far import place_for
from checkpoint_gate.pushed.push_log import handed_on, withdrawal_of

_log = logging.getLogger("checkpoint_gate")

_MODEL = standard_component_specs.MODEL_KEY
_BASELINE = standard_component_specs.BASELINE_MODEL_KEY
_BLESSING = standard_component_specs.BLESSING_KEY
_EVALUATION = standard_component_specs.EVALUATION_KEY

_BATCH = 256  # examples that a champion is asked at a time

_Artifacts = dict[str, list[types.Artifact]]


@dataclass(frozen=True)
class _Champion:
    """The model in production.

    Attributes:
        model: its artifact.
        name: the pushed version, or the artifact's folder where that is not known.
        digest: of its weights; None when they cannot be read.
        damage: why they cannot be read, else None.
    """

    model: types.Artifact
    name: str
    digest: str | None
    damage: str | None


class Executor(tfx_executor.Executor):
    """Lets TFX's executor evaluate, and judges what it cannot: no model, no champion, or none to compare with."""

    def Do(self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
        """Blesses the candidate or not, and says why. Whatever cannot be judged is not blessed.

        Raises:
            ModelError: the candidate cannot be read.
        """
        candidate = artifact_utils.get_single_instance(input_dict[_MODEL])
        champion = _champion(input_dict)
        verdict = _without_evaluation(candidate, champion) or _on_withdrawn(candidate, champion, input_dict)
        if verdict is None:
            verdict = self._evaluated(input_dict, output_dict, exec_properties, champion)
        else:
            self._log_startup(input_dict, output_dict, exec_properties)
            fileio.makedirs(artifact_utils.get_single_uri(output_dict[_EVALUATION]))
        blessing = artifact_utils.get_single_instance(output_dict[_BLESSING])
        _write(verdict, blessing, candidate, champion, exec_properties)
        _log.info("%s: %s.", "Blessed" if verdict.blessed else "Not blessed", verdict.reason)

    def _evaluated(
        self,
        input_dict: _Artifacts,
        output_dict: _Artifacts,
        exec_properties: dict[str, Any],
        champion: _Champion | None,
    ) -> BlessingVerdict:
        """The verdict after an evaluation, beside the champion where that says something."""
        evaluation = artifact_utils.get_single_uri(output_dict[_EVALUATION])
        config = read_config(exec_properties)

        def against(incomparable: str | None) -> Standing:
            name = None if champion is None else champion.name
            rebaseline, mode = bool(exec_properties.get("rebaseline")), exec_properties.get("against", "last")
            first_run = exec_properties.get("first_run", "refuse")
            return standing(name, first_run, rebaseline, incomparable, mode)

        candidate = artifact_utils.get_single_instance(input_dict[_MODEL])
        stands = against(_incomparable(candidate, champion, serving_signature(config)))
        inputs = input_dict if stands.compared else _without_champion(input_dict)
        try:
            judged = self._evaluate(inputs, output_dict, exec_properties)
        except Exception:  # TFMA does not say which model is at fault; only a champion that fails by itself is blamed
            fault = _fault(champion, config, _batches(input_dict, exec_properties)) if stands.compared else None
            if fault is None:
                raise
            stands = against(fault)
            if fileio.exists(evaluation):
                fileio.rmtree(evaluation)
            judged = self._evaluate(_without_champion(input_dict), output_dict, exec_properties)
        measured = Measurements.of(tfma.load_metrics(evaluation))
        judging = thresholds(config, has_baseline=stands.compared)
        best = None
        if champion is not None and stands.compared and stands.against == "best":
            best = self._best(input_dict, exec_properties, champion, config)
            if best.incomparable is not None:
                stands = without_best(stands, best.name, best.incomparable)
        result = tfma.load_validation_result(evaluation) if judged else None
        return verdict_of(stands, measured, judging, result, best)

    def _best(
        self, input_dict: _Artifacts, exec_properties: dict[str, Any], champion: _Champion, config: tfma.EvalConfig
    ) -> Best:
        """The best version so far, evaluated by itself on the same examples where it is not the champion."""
        name = handed_on_best(champion.model.uri)
        if name is None:
            return Best(champion.name)
        model = standard_artifacts.Model()
        model.uri = place_for(champion.model.uri)
        best = _Champion(model, name, None, None)
        candidate = artifact_utils.get_single_instance(input_dict[_MODEL])
        incomparable = _incomparable(candidate, best, serving_signature(config))
        if incomparable is not None:
            return Best(name, incomparable=incomparable)
        with tempfile.TemporaryDirectory() as folder:
            evaluation = standard_artifacts.ModelEvaluation()
            evaluation.uri = folder
            inputs = {**_without_champion(input_dict), _MODEL: [model]}
            try:
                self._evaluate(inputs, {_EVALUATION: [evaluation]}, exec_properties)
            except Exception:
                fault = _fault(best, config, _batches(input_dict, exec_properties))
                if fault is None:
                    raise
                return Best(name, incomparable=fault)
            return Best(name, Measurements.of(tfma.load_metrics(folder)))

    def _evaluate(self, inputs: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> bool:
        """Runs TFX's executor; whether any threshold applied. The blessing that it writes is thrown away."""
        with tempfile.TemporaryDirectory() as folder:
            blessing = standard_artifacts.ModelBlessing()
            blessing.uri = folder
            super().Do(inputs, {**output_dict, _BLESSING: [blessing]}, exec_properties)
        return bool(blessing.has_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY))


def _without_champion(input_dict: _Artifacts) -> _Artifacts:
    return {key: artifacts for key, artifacts in input_dict.items() if key != _BASELINE}


def _champion(input_dict: _Artifacts) -> _Champion | None:
    """The baseline, unless there is none or it is marked empty."""
    baseline = input_dict.get(_BASELINE)
    if not baseline:
        return None
    model = artifact_utils.get_single_instance(baseline)
    reason = empty_reason(model.uri)
    if reason is not None:
        _log.info("There is nothing to compare the candidate with: %s.", reason)
        return None
    name, folder = model.get_string_custom_property("pushed_path") or model.uri, _path(model)
    if not fileio.exists(folder):
        return _Champion(model, name, None, f"its folder {folder} is gone")
    try:
        return _Champion(model, name, weights_digest(folder), None)
    except ModelError as error:
        return _Champion(model, name, None, f"its weights cannot be read ({brief(error.__cause__ or error)})")


def _without_evaluation(candidate: types.Artifact, champion: _Champion | None) -> BlessingVerdict | None:
    """The verdict when there is nothing to evaluate, else None."""
    name = None if champion is None else champion.name
    empty = empty_reason(candidate.uri)
    if empty is not None:
        return BlessingVerdict("no_candidate", empty, champion is None, name)
    digest = weights_digest(_path(candidate))
    if champion is None or digest != champion.digest:
        return None
    version = champion.model.get_string_custom_property("pushed_version")
    which = f"the pushed version {version}" if version else "the champion"
    reason = f"already champion: the candidate has the same weights as {which}"
    return BlessingVerdict("already_champion", reason, False, name)


def _on_withdrawn(
    candidate: types.Artifact, champion: _Champion | None, input_dict: _Artifacts
) -> BlessingVerdict | None:
    """The verdict on weights that a rollback has withdrawn from the push folder, else None."""
    for baseline in input_dict.get(_BASELINE) or ():
        withdrawn = handed_on(baseline.uri)
        withdrawal = withdrawal_of(weights_digest(_path(candidate)), withdrawn) if withdrawn else None
        if withdrawal is not None:
            reason = f"the pushed version {withdrawal.version} with the same weights was {withdrawal}"
            name = None if champion is None else champion.name
            return BlessingVerdict("not_blessed", reason, champion is None, name)
    return None


def _incomparable(candidate: types.Artifact, champion: _Champion | None, signature: str) -> str | None:
    """Why candidate and champion cannot be compared; None when nothing is known against it."""
    if champion is None or champion.damage is not None:
        return None if champion is None else champion.damage
    wanted = read_interface(_path(candidate), signature)
    try:
        found = read_interface(_path(champion.model), signature)
    except ModelError as error:
        return str(error).rstrip(".")
    return difference(wanted, found)


def _fault(champion: _Champion | None, config: tfma.EvalConfig, batches: Iterable[Sequence[bytes]]) -> str | None:
    """Why the champion cannot be evaluated on the examples; None when it can."""
    if champion is None:
        return None
    return fault_on_examples(
        _path(champion.model), [*preprocessing_signatures(config), serving_signature(config)], batches
    )


def _batches(input_dict: _Artifacts, exec_properties: dict[str, Any]) -> Iterator[Sequence[bytes]]:
    """The serialized examples that bless."""
    examples = input_dict[standard_component_specs.EXAMPLES_KEY]
    splits = json_utils.loads(exec_properties.get(standard_component_specs.EXAMPLE_SPLITS_KEY) or "null") or ["eval"]
    uris = [uri for split in splits for uri in artifact_utils.get_split_uris(examples, split)]
    files = [file for uri in uris for file in sorted(tf.io.gfile.glob(io_utils.all_files_pattern(uri)))]
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH):
        yield list(batch.numpy())


def _path(model: types.Artifact) -> str:
    return str(path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)))


def _write(
    verdict: BlessingVerdict,
    blessing: types.Artifact,
    candidate: types.Artifact,
    champion: _Champion | None,
    exec_properties: dict[str, Any],
) -> None:
    """Writes the blessing as TFX's executor does, and the verdict beside it."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
    if champion is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, champion.model.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, champion.model.id)
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])
    blessed = constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
    marker = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, marker), verdict.reason + "\n")
    io_utils.write_string_file(os.path.join(blessing.uri, VERDICT_FILE), verdict.to_json())
