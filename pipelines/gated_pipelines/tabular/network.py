"""What the network of an exported model is like: carried in its SavedModel, so that a later training can begin from it.

It stands in `assets/network.json`, which stays when the model is loaded and saved again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from checkpoint_gate.errors import ModelError
from checkpoint_gate.rules.records import dump_json, load_json
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.tabular.model import LabelScale

_FILE = "network.json"


@dataclass(frozen=True, slots=True)
class Network:
    """What `build_model` made a model of.

    Attributes:
      spec: the table.
      hidden: units of each hidden layer.
      scale: of a regression's label; that of no label for other tasks.
      vocabularies: categorical feature -> its categories in the order of their ids.
    """

    spec: TabularSpec
    hidden: tuple[int, ...]
    scale: LabelScale
    vocabularies: Mapping[str, tuple[str, ...]]

    @staticmethod
    def of(spec: TabularSpec, hidden: Sequence[int], scale: LabelScale, transform: tft.TFTransformOutput) -> Network:
        """The network over what Transform makes of the table."""
        vocabularies = {}
        for key in spec.categorical_keys().values():
            names = transform.vocabulary_by_name(key)
            vocabularies[key] = tuple(name.decode("utf-8", "backslashreplace") for name in names)
        return Network(spec, tuple(hidden), scale, vocabularies)

    def difference(self, other: Network) -> str | None:
        """Why weights of `other` mean nothing in this one, in words; None when they do."""
        for what, ours, theirs in (
            ("task", self.spec.task, other.spec.task),
            ("label", self.spec.label, other.spec.label),
            ("numeric features", self.spec.numeric, other.spec.numeric),
            ("categorical features", self.spec.categorical, other.spec.categorical),
            ("label's classes", self.spec.classes, other.spec.classes),
            ("hidden layers", self.hidden, other.hidden),
        ):
            if ours != theirs:
                return f"its {what} differ: {_listed(theirs)} there, {_listed(ours)} here"
        return None


def network_asset(network: Network, folder: str) -> Any:
    """The network as a `tf.saved_model.Asset`: make it an attribute of what is saved.

    Args:
      folder: an existing local folder that stays until the model is saved.
    """
    path = os.path.join(folder, _FILE)
    with open(path, "w", encoding="utf-8") as file:
        file.write(dump_json(asdict(network) | {"spec": network.spec.to_json()}) + "\n")
    return tf.saved_model.Asset(path)


def read_network(saved_model_dir: str) -> Network | None:
    """The network that a SavedModel on the disk tells of; None when it tells of none.

    Raises:
      ModelError: it cannot be read.
    """
    path = os.path.join(saved_model_dir, "assets", _FILE)
    try:
        with open(path, encoding="utf-8") as file:
            value = load_json(file.read())
        return Network(
            TabularSpec.from_json(value["spec"]),
            tuple(value["hidden"]),
            LabelScale(**value["scale"]),
            {key: tuple(names) for key, names in value["vocabularies"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read ({error}).") from error


def _listed(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
