"""What a training run starts under and from, settled when it first begins and kept in its `run.json`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import keras

from checkpoint_gate.errors import ConfigError, ModelError, RunMissing, StoreError
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.known_champion import KEY, KnownChampion, look_up, recorded
from checkpoint_gate.pushed.push_folder import live_versions, version_path
from checkpoint_gate.store import Run, Store
from gated_pipelines.tabular.network import Network
from gated_pipelines.tabular.warm_start import begin_from

WARM_START = "warm_start"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """How a run starts.

    Attributes:
      champion: the one that it begins, or once began, under.
      source: folder of the SavedModel that its initial weights are to come from; None for a run that is to start cold,
        or that goes on from a state of its own.
      began_from: digest of the weights that it once began from, where it begins again.
    """

    champion: KnownChampion | None
    source: str | None = None
    began_from: str | None = None

    def begin(self, model: keras.Model, network: Network) -> dict[str, Any]:
        """Gives the model its initial weights; answers with what `run.json` is to say of the start.

        Raises:
          ConfigError: the run once began from weights that are not there any more.
        """
        champion = self.champion
        about = {KEY: champion.to_json() if champion is not None else None}
        if self.source is None or champion is None:
            return about
        digest = _digest(self.source)
        if self.began_from not in (None, digest):
            raise _gone(champion.version)
        cold = begin_from(model, network, self.source)
        if cold is not None:
            _LOG.warning("not started from the champion %s, but cold: %s", self.source, cold)
            return about | {WARM_START: {"version": champion.version, "cold": cold}}
        _LOG.info("started from the weights of the champion %s", self.source)
        return about | {WARM_START: {"version": champion.version, "weights": digest}}


def look_at_start(store: str, key: str, push_folder: str, warm: bool) -> Start:
    """How the run of this key starts: as it once began, where it did, or under the champion of now.

    Args:
      warm: whether initial weights are to come from the champion.

    Raises:
      ConfigError: the push folder cannot be listed, or the version that the run once began from is gone.
    """
    run = _begun(store, key)
    if run is None:
        champion = look_up(push_folder)
        return Start(champion, version_path(push_folder, champion.version) if warm and champion is not None else None)
    champion = recorded(run) if KEY in run.about() else None
    before = run.about().get(WARM_START) or {}
    if "weights" not in before or run.resume_state() is not None:
        return Start(champion)
    if before["version"] not in live_versions(push_folder):
        raise _gone(before["version"])
    return Start(champion, version_path(push_folder, before["version"]), before["weights"])


def _begun(store: str, key: str) -> Run | None:
    try:
        return Store.open(store).run(key)
    except RunMissing:
        return None
    except StoreError:  # none there yet; what else is wrong with it, training tells
        return None


def _digest(model: str) -> str | None:
    try:
        return weights_digest(model)
    except ModelError:  # damaged: so it is told when it is read
        return None


def _gone(version: int) -> ConfigError:
    return ConfigError(
        f"The training run began from the weights of the pushed version {version}, was interrupted before its first "
        "epoch ended, and these weights are not there any more: run again with --retrain."
    )
