"""The executor of `Evaluator`."""

from __future__ import annotations

import logging
import os
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_executor
from tfx.components.util import model_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils, proto_utils

from checkpoint_gate.evaluator.measurements import Measurements
from checkpoint_gate.evaluator.reason import why_blessed, why_not_blessed
from checkpoint_gate.evaluator.verdict import VERDICT_FILE, BlessingVerdict
from checkpoint_gate.markers import empty_reason
from checkpoint_gate.weights import weights_digest

_log = logging.getLogger("checkpoint_gate")

_MODEL = standard_component_specs.MODEL_KEY
_BASELINE = standard_component_specs.BASELINE_MODEL_KEY

_Artifacts = dict[str, list[types.Artifact]]


class Executor(tfx_executor.Executor):
    """Judges what TFX's executor cannot: empty models and weights that are the champion's; leaves it the rest."""

    def Do(self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
        """Blesses the candidate or not, and says why.

        Without a champion, value thresholds alone decide. Whatever cannot be judged is not blessed.
        """
        candidate = artifact_utils.get_single_instance(input_dict[_MODEL])
        inputs = _without_empty_baseline(input_dict)
        champion = artifact_utils.get_single_instance(inputs[_BASELINE]) if inputs.get(_BASELINE) else None
        evaluation_uri = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        verdict = _verdict_without_evaluation(candidate, champion)
        if verdict is None:
            super().Do(inputs, output_dict, exec_properties)
            verdict = _verdict_of_evaluation(evaluation_uri, blessing, exec_properties, first_run=champion is None)
        else:
            self._log_startup(input_dict, output_dict, exec_properties)
            fileio.makedirs(evaluation_uri)
        _write(verdict, blessing, candidate, champion, exec_properties)
        _log.info("%s: %s.", "Blessed" if verdict.blessed else "Not blessed", verdict.reason)


def _without_empty_baseline(input_dict: _Artifacts) -> _Artifacts:
    """A copy of `input_dict` that has a baseline only when there is a champion."""
    baseline = input_dict.get(_BASELINE)
    reason = empty_reason(artifact_utils.get_single_uri(baseline)) if baseline else None
    if reason is None:
        return dict(input_dict)
    _log.info("Value thresholds alone decide: %s.", reason)
    return {key: artifacts for key, artifacts in input_dict.items() if key != _BASELINE}


def _verdict_without_evaluation(candidate: types.Artifact, champion: types.Artifact | None) -> BlessingVerdict | None:
    """The verdict when there is nothing to evaluate, else None."""
    empty = empty_reason(candidate.uri)
    if empty is not None:
        return BlessingVerdict("no_candidate", empty, first_run=champion is None)
    if champion is None or _digest(candidate) != _digest(champion):
        return None
    version = champion.get_string_custom_property("pushed_version")
    which = f"the pushed version {version}" if version else "the champion"
    reason = f"already champion: the candidate has the same weights as {which}"
    return BlessingVerdict("already_champion", reason, first_run=False)


def _digest(model: types.Artifact) -> str:
    return weights_digest(path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)))


def _verdict_of_evaluation(
    evaluation_uri: str, blessing: types.Artifact, exec_properties: dict[str, Any], first_run: bool
) -> BlessingVerdict:
    """Puts into words what TFX's executor decided."""
    if not blessing.has_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY):
        without = "while there is no champion " if first_run else ""
        reason = f"no threshold applies {without}so that the model cannot be judged; give a metric a value_threshold"
        return BlessingVerdict("not_blessed", reason, first_run)
    measured = Measurements.of(tfma.load_metrics(evaluation_uri))
    if model_utils.is_model_blessed(blessing):
        return BlessingVerdict("blessed", why_blessed(measured, _guarded(exec_properties), first_run), first_run)
    result = tfma.load_validation_result(evaluation_uri)
    return BlessingVerdict("not_blessed", why_not_blessed(result, measured), first_run)


def _guarded(exec_properties: dict[str, Any]) -> set[str]:
    """Names of the metrics that have thresholds."""
    config = config_pb2.EvalConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], config)
    return {key.name for key in tfma.metrics.metric_thresholds_from_metrics_specs(config.metrics_specs, config)}


def _write(
    verdict: BlessingVerdict,
    blessing: types.Artifact,
    candidate: types.Artifact,
    champion: types.Artifact | None,
    exec_properties: dict[str, Any],
) -> None:
    """Writes the blessing as TFX's executor does, which it has not done for a verdict without evaluation."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
    if champion is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, champion.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, champion.id)
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])
    blessed = constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
    marker = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, marker), verdict.reason + "\n")
    io_utils.write_string_file(os.path.join(blessing.uri, VERDICT_FILE), verdict.to_json())
