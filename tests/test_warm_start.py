"""Initial weights from the champion: the same function for what both know, on vocabularies and labels of today."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.models.exporting import ServedModel
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.known_champion import KnownChampion
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from gated_pipelines.config.logged_names import LOGGED
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.tabular.model import LabelScale, build_model
from gated_pipelines.tabular.network import Network, network_asset, read_network
from gated_pipelines.tabular.starting import look_at_start
from gated_pipelines.tabular.warm_start import begin_from

FEW, MANY = ("b", "a"), ("c", "a", "d", "b", *(f"new {i}" for i in range(20)))
COLUMNS = "categorical_0_c"


def network_of(task="multiclass", hidden=(5, 4), categories=FEW, numeric=("x", "y"), categorical=("c",), **other):
    classes = {"multiclass": ("u", "v", "w"), "binary": ("u", "v"), "regression": ()}[task]
    spec = TabularSpec("label", task, numeric, categorical, other.get("classes", classes))
    scale = other.get("scale", LabelScale())
    return Network(spec, hidden, scale, dict.fromkeys(spec.categorical_keys().values(), categories))


def built(network, seed=1):
    keras.utils.set_random_seed(seed)
    sizes = {key: len(names) for key, names in network.vocabularies.items()}
    settings = {"hidden": network.hidden, "dropout": 0.0, "learning_rate": 0.01}
    model = build_model(network.spec, sizes, settings, network.scale)
    for variable in model.trainable_variables:  # no bias of an exported model is zero
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.1))
    return model


def exported(folder, network, model, tells=True):
    root = ServedModel(model)
    (folder / "held").mkdir()
    if tells:
        root.network = network_asset(network, str(folder / "held"))
    tf.saved_model.save(root, str(folder / "champion"))
    return str(folder / "champion")


def answers(network, model, names):
    """Predictions for these categories, each beside its own numbers."""
    features = {}
    for place, key in enumerate(network.spec.numeric_keys().values()):
        features[key] = np.linspace(-2, 2, len(names)).reshape(-1, 1).astype("float32") * (place + 1)
    for key in network.spec.categorical_keys().values():
        ids = {name: row for row, name in enumerate(network.vocabularies[key])}
        features[key] = np.array([[ids.get(name, len(ids))] for name in names], "int64")
    return model(features, training=False).numpy()


@pytest.mark.parametrize("hidden", [(5, 4), ()], ids=["two hidden layers", "a linear model"])
@pytest.mark.parametrize("categories", [FEW, FEW[::-1], ("z", *FEW), MANY], ids=["same", "reordered", "more", "wider"])
@pytest.mark.parametrize(
    ("task", "scale", "today"),
    [
        pytest.param("multiclass", LabelScale(), LabelScale(), id="multiclass"),
        pytest.param("binary", LabelScale(), LabelScale(), id="binary"),
        pytest.param("regression", LabelScale(7.0, 30.0), LabelScale(-3.0, 42.0), id="regression, labels moved"),
    ],
)
def test_the_function_stays_the_same_for_what_both_know(tmp_path, task, scale, today, hidden, categories):
    before = network_of(task, hidden, scale=scale)
    now = network_of(task, hidden, categories, scale=today)
    champion, model = built(before), built(now, seed=2)
    known = ["a", "b", "never seen", "b"]
    wanted = answers(before, champion, known)
    assert not np.allclose(answers(now, model, known), wanted, atol=1e-3)
    assert begin_from(model, now, exported(tmp_path, before, champion)) is None
    np.testing.assert_allclose(answers(now, model, known), wanted, rtol=1e-4, atol=1e-5)


def test_new_categories_start_fresh_and_no_optimizer_state_comes_along(tmp_path):
    before, now = network_of(), network_of(categories=("z", *FEW))
    champion, model = built(before), built(now, seed=2)
    features = {key: np.ones((4, 1), "float32") for key in before.spec.numeric_keys().values()}
    features |= {key: np.zeros((4, 1), "int64") for key in before.vocabularies}
    champion.fit(features, np.zeros((4, 1)), verbose=0)
    (table,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    fresh = table.get_weights()[0][0]
    assert begin_from(model, now, exported(tmp_path, before, champion)) is None
    np.testing.assert_array_equal(table.get_weights()[0][0], fresh)
    assert int(model.optimizer.iterations) == 0


def test_the_network_is_read_back_as_it_was_told(tmp_path):
    network = network_of("regression", scale=LabelScale(7.5, 30.25), categories=("ö", "\\x00", '"', "<missing>"))
    assert read_network(exported(tmp_path, network, built(network))) == network
    assert read_network(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(network_of(hidden=(5,)), "hidden layers differ: 5, 4 there, 5 here", id="other layers"),
        pytest.param(network_of(numeric=("x",)), "numeric features differ: x, y there, x here", id="other numbers"),
        pytest.param(network_of(categorical=()), "categorical features differ: c there, none here", id="no categories"),
        pytest.param(network_of(classes=("u", "w", "v")), "label's classes differ: u, v, w there", id="other classes"),
        pytest.param(network_of("binary"), "task differ: multiclass there, binary here", id="another task"),
    ],
)
def test_another_network_starts_cold_and_says_why(tmp_path, now, words):
    before = network_of()
    champion = exported(tmp_path, before, built(before))
    assert cold(now, champion, words)


def test_an_embedding_that_became_narrower_starts_cold(tmp_path):
    before = network_of(categories=MANY)
    assert cold(network_of(), exported(tmp_path, before, built(before)), f"{COLUMNS} has so few categories now")


def test_a_champion_that_does_not_tell_starts_cold(tmp_path):
    before = network_of()
    champion = exported(tmp_path, before, built(before), tells=False)
    assert cold(before, champion, "it does not tell what its network is like")


@pytest.mark.parametrize("file", ["variables/variables.index", "assets/network.json"])
def test_a_damaged_champion_starts_cold(tmp_path, file):
    before = network_of()
    champion = exported(tmp_path, before, built(before))
    (tmp_path / "champion" / file).write_bytes(b"x")
    assert cold(before, champion, "it cannot be read")


def test_a_champion_whose_weights_have_other_shapes_starts_cold(tmp_path):
    before = network_of()
    champion = exported(tmp_path, network_of(categories=("only",)), built(before))
    assert cold(before, champion, "it cannot be read")


def cold(now, champion, words):
    model = built(now, seed=2)
    before = [weights.copy() for weights in model.get_weights()]
    said = begin_from(model, now, champion)
    for weights, earlier in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, earlier)
    return words in said


# What a run remembers of its start.


@pytest.fixture
def pushed(tmp_path):
    """A push folder whose version 7 has a network's weights."""
    network = network_of()
    exported(tmp_path, network, built(network))
    (tmp_path / "serving").mkdir()
    shutil.move(tmp_path / "champion", tmp_path / "serving" / "7")
    return tmp_path / "serving"


def start(tmp_path, warm=True):
    return look_at_start(str(tmp_path / "store"), "run", str(tmp_path / "serving"), warm)


def begin(tmp_path, warm=True):
    """Begins the run as Trainer does; what it says of its start."""
    network = network_of()
    about = start(tmp_path, warm).begin(built(network, seed=2), network)
    Store(tmp_path / "store").start("run", **about)
    return about


def test_a_run_starts_from_the_champion_and_says_from_which(tmp_path, pushed):
    about = begin(tmp_path)
    assert about["warm_start"] == {"version": 7, "weights": weights_digest(str(pushed / "7"))}
    assert about["champion"]["version"] == 7


def test_a_run_that_is_to_start_cold_remembers_the_champion_all_the_same(tmp_path, pushed):
    assert begin(tmp_path, warm=False) == {"champion": KnownChampion(7).to_json()}


def test_without_a_champion_a_run_starts_cold(tmp_path):
    assert begin(tmp_path) == {"champion": None}


def test_a_run_broken_off_before_its_first_epoch_starts_from_the_same_weights_again(tmp_path, pushed):
    first = begin(tmp_path)
    shutil.copytree(pushed / "7", pushed / "9")
    assert start(tmp_path).source == str(pushed / "7")
    assert begin(tmp_path) == first


@pytest.mark.parametrize("how", ["gone", "replaced"])
def test_a_run_whose_first_weights_are_gone_does_not_start_from_others(tmp_path, pushed, how):
    begin(tmp_path)
    shutil.rmtree(pushed / "7")
    if how == "replaced":
        network = network_of()
        (tmp_path / "other").mkdir()
        shutil.move(exported(tmp_path / "other", network, built(network, seed=3)), pushed / "7")
    with pytest.raises(ConfigError, match=r"pushed version 7, was interrupted before its first epoch ended.*--retrain"):
        begin(tmp_path)


def test_a_resumed_run_does_not_start_again(tmp_path, pushed):
    begin(tmp_path)
    run = Store(tmp_path / "store").run("run")
    staged, place = run.stage()
    (place / "ckpt.index").write_bytes(b"state")
    run.publish_resumable(Record(1, 0, {"loss": 0.5}), "rules", staged=staged)
    shutil.rmtree(pushed / "7")
    again = start(tmp_path)
    assert (again.source, again.champion) == (None, KnownChampion(7))


@pytest.mark.parametrize("task", ["multiclass", "binary", "regression"])
def test_training_logs_the_metrics_that_rules_may_name(task):
    model = built(network_of(task, numeric=("x",), categorical=()))
    (key,) = network_of(task, numeric=("x",), categorical=()).spec.numeric_keys().values()
    features, labels = {key: np.ones((2, 1), "float32")}, np.zeros((2, 1), "float32")
    history = model.fit(features, labels, validation_data=(features, labels), verbose=0)
    assert set(history.history) == set(LOGGED[task])
