"""Initial weights from the champion: its weights, brought over to today's vocabularies and label.

Optimizer state does not come along. For what both know the function stays the same, but for what Transform now makes of
the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from checkpoint_gate.errors import ModelError
from checkpoint_gate.uri_files import local_copy
from gated_pipelines.tabular.model import LabelScale, build_model
from gated_pipelines.tabular.network import Network, read_network


def begin_from(model: keras.Model, network: Network, champion: str) -> str | None:
    """Puts the champion's weights into a model that was just built.

    Args:
      model: of `build_model`; unchanged where it is to start cold.
      network: what it was made of.
      champion: folder of the SavedModel, local or a URL.

    Returns:
      Why the model starts cold, in words; None when it has the champion's weights.
    """
    try:
        with local_copy(champion) as folder:
            earlier = read_network(folder)
            if earlier is None:
                return "it does not tell what its network is like"
            why = network.difference(earlier)
            if why is None:
                why = _bring(model, network, _restored(earlier, f"{folder}/variables/variables"), earlier)
            return why
    except (ModelError, OSError, ValueError, AssertionError, tf.errors.OpError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return f"it cannot be read ({first.rstrip('.')})"


def _restored(network: Network, prefix: str) -> keras.Model:
    sizes = {key: len(names) for key, names in network.vocabularies.items()}
    settings = {"hidden": network.hidden, "dropout": 0.0, "learning_rate": 0.001}
    built = build_model(network.spec, sizes, settings, network.scale)
    # As it was exported: without the optimizer.
    status = tf.train.Checkpoint(model=keras.Model(built.inputs, built.outputs)).read(prefix)
    status.assert_existing_objects_matched()
    status.expect_partial()
    return built


def _bring(model: keras.Model, network: Network, champion: keras.Model, earlier: Network) -> str | None:
    """Maps the champion's weights; why that is not possible, None when it is done."""
    keys = list(network.spec.categorical_keys().values())
    ours, theirs = _arrays(model, keras.layers.Embedding), _arrays(champion, keras.layers.Embedding)
    for key, (new,), (old,) in zip(keys, ours, theirs, strict=True):
        if new.shape[1] < old.shape[1]:
            return f"{key} has so few categories now that their embedding is narrower than the champion's"
        _map_rows(new, old, network.vocabularies[key], earlier.vocabularies[key])
    dense, their_dense = _arrays(model, keras.layers.Dense), _arrays(champion, keras.layers.Dense)
    numeric = len(network.spec.numeric)
    widths = [(1, 1)] * numeric + [(new.shape[1], old.shape[1]) for (new,), (old,) in zip(ours, theirs, strict=True)]
    first, their_first = dense[0][0], their_dense[0][0]
    for place, their_place in _places(widths):
        first[place] = their_first[their_place]
    dense[0][1][:] = their_dense[0][1]
    for arrays, their_arrays in zip(dense[1:], their_dense[1:], strict=True):
        for array, their_array in zip(arrays, their_arrays, strict=True):
            array[:] = their_array
    head, bias = dense[-1]
    _rescale(head, bias, network.scale, earlier.scale)
    _put(model, keras.layers.Embedding, ours)
    _put(model, keras.layers.Dense, dense)
    return None


def _map_rows(new: Any, old: Any, categories: Sequence[str], earlier: Sequence[str]) -> None:
    """Gives each category that the champion knew its row, and those out of the vocabulary theirs.

    A wider table is filled up with zeros, so that the function stays the same; what is new keeps its own fresh row.
    """
    known = {category: row for row, category in enumerate(earlier)}
    pairs = [(row, known[category]) for row, category in enumerate(categories) if category in known]
    for row, source in [*pairs, (-1, -1)]:
        new[row] = 0.0
        new[row, : old.shape[1]] = old[source]


def _places(widths: Sequence[tuple[int, int]]) -> Iterator[tuple[slice, slice]]:
    """Which rows of the first kernel take which of the champion's, input by input."""
    ours = theirs = 0
    for new, old in widths:
        yield slice(ours, ours + old), slice(theirs, theirs + old)
        ours, theirs = ours + new, theirs + old


def _rescale(kernel: Any, bias: Any, scale: LabelScale, earlier: LabelScale) -> None:
    """Makes the head say the same in the label's unit, now that labels are standardised in another way."""
    kernel *= earlier.deviation / scale.deviation
    bias *= earlier.deviation / scale.deviation
    bias += (earlier.mean - scale.mean) / scale.deviation


def _arrays(model: keras.Model, kind: type) -> list[list[Any]]:
    """The weights of each layer of a kind, in the order in which `build_model` makes them."""
    return [[np.array(array) for array in layer.get_weights()] for layer in _layers(model, kind)]


def _put(model: keras.Model, kind: type, arrays: Sequence[list[Any]]) -> None:
    for layer, weights in zip(_layers(model, kind), arrays, strict=True):
        layer.set_weights(weights)


def _layers(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]
