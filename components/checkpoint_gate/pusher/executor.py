"""The executor of `Pusher`."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from tfx import types
from tfx.components.pusher import executor as tfx_executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from checkpoint_gate.artifact_files.markers import empty_reason
from checkpoint_gate.errors import CheckpointGateError, ConfigError, ModelError, NotBlessed
from checkpoint_gate.evaluator.verdict import VERDICT_FILE, read_verdict
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.best_so_far import best_after
from checkpoint_gate.pushed.papers import Push, read_papers, write_papers
from checkpoint_gate.pushed.push_folder import champion_path, next_version
from checkpoint_gate.pushed.push_log import withdrawal_of, withdrawn_from
from checkpoint_gate.pusher.noting import note_pushed
from checkpoint_gate.pusher.publish import exclusive, publish
from checkpoint_gate.pusher.servable import require_servable
from checkpoint_gate.rules.records import load_json
from checkpoint_gate.uri_files import below, read_file

PUSH_FOLDER = "push_folder"
ROOT = "root"
STORE = "store"
ON_NOT_BLESSED = "on_not_blessed"

_log = logging.getLogger("checkpoint_gate")

_Artifacts = dict[str, list[types.Artifact]]


class Executor(tfx_executor.Executor):
    """Pushes a blessed model whose weights are neither those of the champion already nor withdrawn."""

    def Do(self, input_dict: _Artifacts, output_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
        """Pushes the model, or marks `pushed_model` as not pushed, with the reason, and logs it.

        Raises:
            NotBlessed: the challenger was refused, and that is to fail the run.
            ConfigError: the push destination is no folder that can be written.
            StoreError: the push folder's log is damaged, or weights to be compared cannot be reached.
            ModelError: the model does not load or does not predict; nothing is visible in the push folder.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        folder = _push_folder(exec_properties)
        refusal = self._refusal(input_dict)
        if refusal is not None:
            self._mark_not_pushed(pushed, refusal)
            _fail_if_refused(input_dict, exec_properties)
            return
        model = self.GetModelPath(input_dict)
        with exclusive(folder):
            weights, champion = weights_digest(model), champion_path(folder)
            refusal = _refusal_here(weights, folder, champion)
            if refusal is not None:
                self._mark_not_pushed(pushed, refusal)
                return
            now = time.time()
            version = next_version(folder, int(now))
            io_utils.copy_dir(model, pushed.uri)  # before the push: once visible, nothing may fail any more
            replaces = int(os.path.basename(champion)) if champion is not None else None
            blessing = _blessing(input_dict)
            push = Push(version=version, time=now, weights=weights, replaces=replaces, blessing=blessing)
            _add_push(pushed.uri, push.model_copy(update={"best": best_after(blessing, version)}))
            path = publish(pushed.uri, folder, version, require_servable)
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=os.path.basename(path))
        _log.info("Pushed %s.", path)
        _note(exec_properties, folder)

    def _refusal(self, input_dict: _Artifacts) -> str | None:
        """Why the model must not be pushed, whatever is in the push folder; None when it may be."""
        models = input_dict.get(standard_component_specs.MODEL_KEY)
        empty = empty_reason(artifact_utils.get_single_uri(models)) if models else None
        if empty is not None:
            return empty
        return None if self.CheckBlessing(input_dict) else "the model is not blessed"

    def _mark_not_pushed(self, pushed: types.Artifact, reason: str) -> None:
        self._MarkNotPushed(pushed)
        pushed.set_string_custom_property("not_pushed", reason)
        _log.info("Not pushed: %s.", reason)


def _note(exec_properties: dict[str, Any], folder: str) -> None:
    """Tells the store, if one is named; what is pushed stays pushed, whatever becomes of that."""
    store = exec_properties.get(STORE)
    if not store:
        return
    place = below(exec_properties.get(ROOT), store)
    try:
        note_pushed(place, folder)
    except (CheckpointGateError, OSError) as error:
        _log.warning("The store %s was not told, and may prune the checkpoint that was pushed: %s", place, error)


def _fail_if_refused(input_dict: _Artifacts, exec_properties: dict[str, Any]) -> None:
    """Raises where a challenger was refused, for a run that is to end red then; nothing to judge is no refusal."""
    blessings = input_dict.get(standard_component_specs.MODEL_BLESSING_KEY)
    if exec_properties.get(ON_NOT_BLESSED) != "fail" or not blessings:
        return
    verdict = read_verdict(artifact_utils.get_single_uri(blessings))
    if verdict is not None and verdict.outcome == "not_blessed":
        raise NotBlessed(f"The model was not blessed, and the champion stays: {verdict.reason}.")


def _refusal_here(weights: str, folder: str, champion: str | None) -> str | None:
    """Why these weights must not be pushed to this folder; None when they may be."""
    if champion is not None and weights == _readable_digest(champion):
        return f"{champion} has the same weights"
    withdrawal = withdrawal_of(weights, withdrawn_from(folder))
    return f"version {withdrawal.version} with the same weights was {withdrawal}" if withdrawal is not None else None


def _blessing(input_dict: _Artifacts) -> dict[str, Any] | None:
    """What verdict.json says beside the blessing; None where the model needs none, or another Evaluator judged it."""
    blessings = input_dict.get(standard_component_specs.MODEL_BLESSING_KEY)
    data = read_file(os.path.join(artifact_utils.get_single_uri(blessings), VERDICT_FILE)) if blessings else None
    return None if data is None else dict(load_json(data))


def _add_push(model: str, push: Push) -> None:
    """Fills in the papers of the copy that is pushed; one without papers, or with others, goes as it is."""
    try:
        papers = read_papers(model)
    except ModelError as error:
        _log.warning("%s They are pushed as they are.", error)
        return
    if papers is not None:
        write_papers(model, papers.model_copy(update={"push": push}))


def _readable_digest(champion: str) -> str | None:
    """The digest of the champion's weights; None when they are damaged, for then it must be replaced."""
    try:
        return weights_digest(champion)
    except ModelError as error:
        _log.warning("The champion is damaged: %s", error)
        return None


def _push_folder(exec_properties: dict[str, Any]) -> str:
    """The push folder that the component's `push_folder` or `push_destination` names."""
    given = exec_properties.get(PUSH_FOLDER)
    if given:
        return below(exec_properties.get(ROOT), given)
    destination = pusher_pb2.PushDestination()
    text = exec_properties.get(standard_component_specs.PUSH_DESTINATION_KEY)
    if text:
        proto_utils.json_to_proto(text, destination)
    folder = str(destination.filesystem.base_directory)
    if not folder:
        raise ConfigError(f"push_destination must name a filesystem.base_directory. Received: {text or 'nothing'}.")
    return folder
