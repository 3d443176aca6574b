"""The executor of `Champion`."""

from __future__ import annotations

import logging
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from checkpoint_gate.artifact_files.markers import mark_empty
from checkpoint_gate.artifact_files.outputs import make_room
from checkpoint_gate.errors import ModelError
from checkpoint_gate.pushed.best_so_far import best_so_far, place_for
from checkpoint_gate.pushed.best_so_far import hand_on as hand_on_best
from checkpoint_gate.pushed.push_folder import GRAPH_FILE, champion_path, version_path
from checkpoint_gate.pushed.push_log import hand_on, withdrawn_from
from checkpoint_gate.uri_files import below, copy_below, is_local, is_there

_log = logging.getLogger("checkpoint_gate")


class Executor(base_executor.BaseExecutor):
    """Hands the newest live version of the push folder on, or says that there is none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Fills `model` in the layout that Evaluator expects of a baseline.

        The custom properties `pushed_version` and `pushed_path` (strings) name the version; an artifact that is
        marked empty has neither. Withdrawn weights go with it either way, for Evaluator, and so does the best version
        so far where the champion is another one.

        Raises:
            StoreError: the push folder's log is damaged.
            ModelError: the version vanished while it was read, or cannot be read.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(output_dict["model"])
        make_room(model.uri)
        folder = below(exec_properties.get("root"), exec_properties["push_destination"])
        champion = champion_path(folder)
        if withdrawn := withdrawn_from(folder):
            hand_on(model.uri, withdrawn)
        if champion is None:
            mark_empty(model.uri, f"no champion yet: the push folder {folder} holds no live version")
            _log.info("No champion yet: the push folder %s holds no live version.", folder)
            return
        _bring(champion, path_utils.serving_model_dir(model.uri))
        _bring_best(model.uri, folder, int(os.path.basename(champion)))
        model.set_string_custom_property("pushed_version", os.path.basename(champion))
        model.set_string_custom_property("pushed_path", champion)
        _log.info("The champion is %s.", champion)


def _bring_best(uri: str, folder: str, champion: int) -> None:
    """Brings the best version so far along, unless that is the champion itself."""
    best = best_so_far(folder)
    if best is None:
        return
    for why in best.passed_over:
        _log.warning("%s: version %d counts as the best so far instead", why, best.version)
    if best.version != champion:
        _bring(version_path(folder, best.version), path_utils.serving_model_dir(place_for(uri)))
        hand_on_best(uri, folder, best.version)
        _log.info("The best so far is version %d.", best.version)


def _bring(champion: str, target: str) -> None:
    """Brings a whole version to `target`, or raises."""
    try:
        if is_local(champion):
            _link_or_copy(champion, target)
        else:
            _copy_from_url(champion, target)
        vanished = not is_there(os.path.join(target, GRAPH_FILE))
    except (fileio.NotFoundError, FileNotFoundError):
        vanished = True
    if vanished:
        raise ModelError(f"The champion {champion} vanished while it was read; run again to take the one before it.")


def _copy_from_url(champion: str, target: str) -> None:
    try:
        copy_below(champion, target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"The champion {champion} cannot be read: {error.strerror or error}.") from error


def _link_or_copy(source: str, target: str) -> None:
    """Brings a local folder to `target`: hard links on one local disk, which cost no space, else copies."""
    for parent, _, names in fileio.walk(source):
        folder = str(parent)
        relative = os.path.relpath(folder, source)
        there = target if relative == os.curdir else os.path.join(target, relative)
        fileio.makedirs(there)
        for name in names:
            _link_or_copy_file(os.path.join(folder, str(name)), os.path.join(there, str(name)))


def _link_or_copy_file(source: str, target: str) -> None:
    if is_local(target):
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without hard links
            pass
    fileio.copy(source, target)
