"""The uniform average of weights: what numpy says it is, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from small_table import export, network, write_survivors

from checkpoint_gate.artifact_files.checkpoint_set import read_set
from checkpoint_gate.errors import AverageRefused
from checkpoint_gate.models.averaging import UniformAverage, average_checkpoints
from checkpoint_gate.models.exporting import load_trained, restore, weights_of


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(np.float16, id="half"),
        pytest.param(np.float32, id="single"),
        pytest.param(np.float64, id="double"),
        pytest.param(np.complex64, id="complex"),
        pytest.param(tf.bfloat16.as_numpy_dtype, id="bfloat16"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_mean_is_numpy_s_in_double_precision_cast_back(dtype, count):
    random = np.random.default_rng(count)
    sets = [{"w": (random.normal(size=(3, 4)) * 10).astype(dtype)} for _ in range(count)]
    average = UniformAverage({"w": "averaged"})
    for values in sets:
        average.add(values)
    wide = np.complex128 if dtype is np.complex64 else np.float64
    expected = np.mean([values["w"].astype(wide) for values in sets], axis=0).astype(dtype)
    found = average.values()["w"]
    assert found.dtype == dtype
    assert found.tobytes() == expected.tobytes()


def test_a_sum_that_a_single_cannot_hold_is_averaged_in_double_precision():
    average = UniformAverage({"w": "averaged"})
    for value in (3e38, 3e38, 16777216.0, 1.0):
        average.add({"w": np.array([value], np.float32)})
    assert average.values()["w"] == np.float32(1.5e38)


def test_a_constant_must_be_the_same_everywhere_and_what_is_unused_is_the_latest():
    average = UniformAverage({"mean": "constant", "seed": "unused"})
    average.add({"mean": np.array([np.nan, 1.0]), "seed": np.array([1])})
    average.add({"mean": np.array([np.nan, 1.0]), "seed": np.array([2])})
    np.testing.assert_array_equal(average.values()["mean"], [np.nan, 1.0])
    assert average.values()["seed"] == 2
    with pytest.raises(AverageRefused, match=r"^mean is not trained and differs between the survivors"):
        average.add({"mean": np.array([np.nan, 1.1]), "seed": np.array([3])})


def averaged(tmp_path, model, weights):
    """Exports a model, averages checkpoints of it; the average's values by their way through the object graph."""
    loaded = load_trained(f"{export(model, tmp_path / 'export').uri}/Format-Serving")
    write_survivors(tmp_path / "set", model, weights)
    prefixes = [survivor.prefix for survivor in read_set(tmp_path / "set")]
    written = str(tmp_path / "average" / "ckpt")
    average_checkpoints(loaded, "serving_default", prefixes, written)
    restore(loaded, written)
    return {path: weight.numpy() for path, weight in weights_of(loaded).items()}, prefixes


def noisy(model, count, seed=0):
    random = np.random.default_rng(seed)
    return [
        [w + random.normal(size=w.shape).astype(w.dtype) if w.dtype.kind == "f" else w for w in model.get_weights()]
        for _ in range(count)
    ]


def test_the_written_average_is_the_mean_of_every_variable_of_the_checkpoints(tmp_path):
    model = network(3, "softmax")
    weights = noisy(model, 5)
    _, prefixes = averaged(tmp_path, model, weights)
    readers = [tf.train.load_checkpoint(prefix) for prefix in prefixes]
    written = tf.train.load_checkpoint(str(tmp_path / "average" / "ckpt"))
    names = [name for name, shape in written.get_variable_to_shape_map().items() if name.startswith("model/") and shape]
    trained = [name for name in names if written.get_tensor(name).dtype == np.float32]
    assert len(trained) == len(model.trainable_variables)
    for name in trained:
        expected = np.mean([reader.get_tensor(name) for reader in readers], axis=0, dtype=np.float64).astype(np.float32)
        assert written.get_tensor(name).tobytes() == expected.tobytes(), name


def test_running_statistics_that_differ_are_refused_and_named(tmp_path):
    model = network(3, "softmax", normalised=True)
    with pytest.raises(AverageRefused, match=r"moving_(mean|variance)\S* is not trained and differs") as refused:
        averaged(tmp_path, model, noisy(model, 2))
    assert "\n" not in str(refused.value)


def test_running_statistics_that_are_equal_are_no_hindrance(tmp_path):
    model = network(3, "softmax", normalised=True)
    frozen = {id(v) for v in model.non_trainable_variables}
    weights = noisy(model, 2)
    for values in weights:
        for place, variable in enumerate(model.weights):
            if id(variable) in frozen:
                values[place] = model.get_weights()[place]
    averaged(tmp_path, model, weights)


def test_the_states_of_random_generators_do_not_hinder(tmp_path):
    """Dropout keeps one that every batch of training moves, and that predictions do not read."""
    model = network(3, "softmax")
    (seed,) = [variable for variable in model.non_trainable_variables if "seed" in variable.path]
    for number in range(2):
        seed.assign(np.full(seed.shape, number, "uint32"))
        tf.train.Checkpoint(model=model).write(str(tmp_path / str(number)))
    loaded = load_trained(f"{export(model, tmp_path / 'export').uri}/Format-Serving")
    average_checkpoints(loaded, "serving_default", [str(tmp_path / str(n)) for n in range(2)], str(tmp_path / "mean"))
