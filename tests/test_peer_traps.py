"""What has bitten users of other checkpoint callbacks, each trap beside the peer that has it, in a real fit.

What the peers do was seen with Keras 3.12.4 and 3.15.1, tf-keras 2.16.0 and 2.21.0. A peer that does something else now
fails the test: then what is said about it needs an update. Orbax stands in test_against_orbax.py.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from checkpoint_gate import GatedCheckpoint, Store
from checkpoint_gate.errors import MetricValueError, UnknownMetricError

X = np.random.default_rng(0).random((16, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
VALIDATED = {"validation_data": (X, Y)}
NAN, INF = math.nan, math.inf
IMPROVES = "save: {metric: val_loss, improves: min}"
CHANGED = "the peer does something else than it did: say so wherever this project compares itself with it"

pytestmark = [
    pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf-keras"]),
    pytest.mark.filterwarnings("ignore:Can save best model only"),
]


def compiled(library):
    library.utils.set_random_seed(1)
    model = library.Sequential([library.layers.Dense(1)])
    model.build((None, 4))
    model.compile(library.optimizers.Adam(0.01), "mse", run_eagerly=True)  # so few steps that tracing would take longer
    return model


def telling(library, logs):
    """A callback that puts `logs`, one mapping an epoch, into the logs; None takes a metric out of them."""

    class Telling(library.callbacks.Callback):
        _supports_tf_logs = True  # else tf-keras gives it a copy

        def on_epoch_end(self, epoch, told=None):
            told.update(logs[epoch] if epoch < len(logs) else {})
            for name in [name for name, value in told.items() if value is None]:
                del told[name]

    return Telling()


def interrupting(library, epoch, batch):
    """A callback that breaks training off at the end of a batch."""

    class Interrupting(library.callbacks.Callback):
        def on_epoch_begin(self, now, logs=None):
            self.epoch = now

        def on_train_batch_end(self, now, logs=None):
            if (self.epoch, now) == (epoch, batch):
                raise KeyboardInterrupt

    return Interrupting()


def fit(library, last, epochs, *, logs=(), steps=1, interrupted=None, **more):
    """A new model, as in a new process, trained with the callback `last`, `steps` an epoch; returns it."""
    model = compiled(library)
    callbacks = [telling(library, logs)] + ([interrupting(library, *interrupted)] if interrupted else [])
    try:
        model.fit(X, Y, len(X) // steps, epochs, callbacks=[*callbacks, last], shuffle=False, verbose=0, **more)
    except KeyboardInterrupt:
        assert interrupted
    finally:
        if isinstance(last, GatedCheckpoint):
            last.close()  # waits for what is being written behind a training that broke off
    return model


def gated(folder, rules=IMPROVES, **more):
    return GatedCheckpoint(folder / "store", rules, run="run", **more)


def entries(folder):
    return Store.open(folder / "store").run("run").ledger.read().entries


def saved_epochs(folder):
    """Epochs, from 1, that the gate decided to save."""
    return [entry.record.epoch + 1 for entry in entries(folder) if entry.decision.save]


def best_only(library, folder, monitor="val_loss", **more):
    """The peer: saves each best epoch under its number, from 1."""
    (folder / "peer").mkdir(exist_ok=True)
    path = str(folder / "peer" / "{epoch}.weights.h5")
    return library.callbacks.ModelCheckpoint(
        path, monitor=monitor, mode="min", save_best_only=True, save_weights_only=True, **more
    )


def peer_epochs(folder):
    return sorted(int(path.name.split(".")[0]) for path in (folder / "peer").iterdir())


def by(library, of_keras, of_tf_keras):
    return of_keras if library is keras else of_tf_keras


def val_losses(*values):
    return [{"val_loss": value} for value in values]


DELTA = "save: {metric: val_loss, improves: min, min_delta: 0.001}"
TRAPS = [
    pytest.param(
        IMPROVES, val_losses(NAN, 0.5, 0.4), [2, 3], [1], [2, 3], id="a first NaN is not saved and blocks nothing"
    ),
    pytest.param(IMPROVES, val_losses(0.5, NAN, 0.4), [1, 3], [1, 3], [1, 3], id="a NaN later blocks nothing"),
    pytest.param(
        IMPROVES, val_losses(-INF, 0.5, 0.4), [2, 3], [1], [1], id="a first infinity is not saved and blocks nothing"
    ),
    pytest.param(
        IMPROVES, val_losses(0.5, -INF, 0.4), [1, 3], [1, 2], [1, 2], id="an infinity later is never the best"
    ),
    pytest.param(
        IMPROVES,
        [{"loss": loss, "val_loss": value} for loss, value in [(0.1, 0.5), (NAN, 0.4), (INF, 0.3), (0.1, 0.45)]],
        [1, 4],
        [1, 2, 3],
        [1, 2, 3],
        id="a broken training loss is not saved, however good the monitored metric",
    ),
    pytest.param(
        IMPROVES,
        val_losses(0.5, None, 0.4, None),
        [1, 3],
        [1, 2, 3, 4],
        [1, 3],
        id="an epoch that did not log the metric is not saved",
    ),
    pytest.param(IMPROVES, val_losses(0.5, 0.5, 0.5), [1], [1], [1], id="a tie is no improvement"),
    pytest.param(
        DELTA,
        val_losses(0.5, 0.4999, 0.4998),
        [1],
        [1, 2, 3],
        [1, 2, 3],
        id="an improvement by less than min_delta is none",
    ),
    pytest.param(
        DELTA,
        val_losses(0.5, 0.4996, 0.4992, 0.4988),
        [1, 4],
        [1, 2, 3, 4],
        [1, 2, 3, 4],
        id="small improvements add up until they are more than min_delta",
    ),
    pytest.param(
        IMPROVES,
        val_losses(np.float32(0.5), np.float64(0.6), tf.constant(0.4), np.array(0.3), 0),
        [1, 3, 4, 5],
        [1, 3, 4, 5],
        [1, 3, 4, 5],
        id="numpy scalars, 0-d tensors and arrays, and Python numbers are numbers",
    ),
]


@pytest.mark.parametrize(("rules", "logs", "ours", "of_keras", "of_tf_keras"), TRAPS)
def test_of_the_epochs_the_right_ones_are_saved(tmp_path, library, rules, logs, ours, of_keras, of_tf_keras):
    fit(library, gated(tmp_path, rules), len(logs), logs=logs)
    assert saved_epochs(tmp_path) == ours
    fit(library, best_only(library, tmp_path), len(logs), logs=logs)
    assert peer_epochs(tmp_path) == by(library, of_keras, of_tf_keras), CHANGED


def test_with_validation_every_third_epoch_only_validated_epochs_are_saved(tmp_path, library):
    fit(library, gated(tmp_path, "save: {metric: val_loss, at_most: 100.0}"), 6, validation_freq=3, **VALIDATED)
    assert saved_epochs(tmp_path) == [3, 6]
    fit(library, best_only(library, tmp_path), 6, validation_freq=3, **VALIDATED)
    assert peer_epochs(tmp_path) == by(library, [1, 2, 3, 4, 5, 6], [3, 6]), CHANGED


def test_a_metric_that_is_never_logged_ends_training_with_its_name(tmp_path, library):
    with pytest.raises(
        UnknownMetricError, match=r"'val_los', which training never logged\. Logged were: loss, val_loss"
    ):
        fit(library, gated(tmp_path, "save: {metric: val_los, improves: min}"), 3, **VALIDATED)
    assert saved_epochs(tmp_path) == []
    fit(library, best_only(library, tmp_path, "val_los"), 3, **VALIDATED)
    assert peer_epochs(tmp_path) == by(library, [1, 2, 3], []), CHANGED  # everything, or nothing; neither says so


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.array([0.6, 0.7]), id="two numbers"),
        pytest.param(np.array([0.6]), id="one number in an array"),
        pytest.param(tf.constant([0.6, 0.7]), id="a tensor"),
    ],
)
def test_a_metric_that_is_no_single_number_ends_training_with_its_name(tmp_path, library, value):
    logs = val_losses(0.5, value, 0.8)
    with pytest.raises(
        MetricValueError, match=r"Metric 'val_loss' must be a single number\. Received: an array of shape"
    ):
        fit(library, gated(tmp_path), 3, logs=logs)
    assert saved_epochs(tmp_path) == [1]


def test_the_peers_save_on_an_array_or_stumble(tmp_path, library):
    logs = val_losses(0.5, np.array([0.6, 0.7]), 0.8)
    if library is keras:
        fit(library, best_only(library, tmp_path), 3, logs=logs)
    else:
        with pytest.raises(ValueError, match="truth value of an array"):
            fit(library, best_only(library, tmp_path), 3, logs=logs)
    assert peer_epochs(tmp_path) == by(library, [1, 2], [1]), CHANGED


def test_a_resumed_training_remembers_the_best(tmp_path, library):
    logs = val_losses(0.3, 0.5, 0.9, 0.2)
    fit(library, gated(tmp_path), 4, logs=logs, interrupted=(2, 0))
    fit(library, gated(tmp_path), 4, logs=logs)
    assert saved_epochs(tmp_path) == [1, 4]
    every = Store.open(tmp_path / "store").run("run").ledger.read().every_entry
    assert [entry.record.epoch for entry in every] == [0, 1, 2, 3]  # the refused second was not trained again
    fit(library, best_only(library, tmp_path), 4, logs=logs, interrupted=(2, 0))
    fit(library, best_only(library, tmp_path), 4, logs=logs, initial_epoch=2)
    assert peer_epochs(tmp_path) == [1, 3, 4], CHANGED  # the third is worse than both before


def test_a_resumed_training_remembers_the_best_though_its_checkpoint_is_gone(tmp_path, library):
    rules = "save: {any: [{metric: val_loss, improves: min}, {every: 2}]}\nkeep: {last: 1}"
    logs = val_losses(0.1, 0.5, 0.3, 0.6, 0.2)
    fit(library, gated(tmp_path, rules), 5, logs=logs, interrupted=(4, 0))
    fit(library, gated(tmp_path, rules), 5, logs=logs)
    assert saved_epochs(tmp_path) == [1, 2, 4]
    assert [stored.step for stored in Store.open(tmp_path / "store").run("run").live()] == [4]


def test_keeping_only_the_best_does_not_lose_the_state_to_resume_from(tmp_path, library):
    rules = "save: {every: 1}\nkeep: {best: {metric: val_loss, mode: min, n: 1}}"
    logs = val_losses(0.1, 0.5, 0.6, 0.7)
    fit(library, gated(tmp_path, rules), 4, logs=logs, interrupted=(3, 0))
    assert [stored.step for stored in Store.open(tmp_path / "store").run("run").live()] == [1]
    model = fit(library, gated(tmp_path, rules), 4, logs=logs)
    assert [entry.record.epoch for entry in entries(tmp_path)] == [0, 1, 2, 3]
    assert int(model.optimizer.iterations) == 4


def test_of_equal_checkpoints_the_later_is_kept(tmp_path, library):
    rules = "save: {every: 1}\nkeep: {best: {metric: val_loss, mode: min, n: 2}}"
    fit(library, gated(tmp_path, rules), 4, logs=val_losses(0.5, 0.3, 0.5, 0.5))
    run = Store.open(tmp_path / "store").run("run")
    assert [stored.step for stored in run.live()] == [2, 4]


def test_improves_works_with_judging_every_few_steps(tmp_path, library):
    fit(library, gated(tmp_path, "save: {metric: loss, improves: min}", every_n_steps=4), 2, steps=8)
    seen = entries(tmp_path)
    assert [(e.record.step, e.record.at) for e in seen] == [
        *[(4, "step"), (8, "step"), (8, "epoch")],
        *[(12, "step"), (16, "step"), (16, "epoch")],
    ]
    losses = [entry.record.metrics["loss"] for entry in seen]
    assert [e.decision.save for e in seen] == [loss < min(losses[:i], default=INF) for i, loss in enumerate(losses)]

    peer = best_only(library, tmp_path, "loss", save_freq=4)
    if library is keras:
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            fit(library, peer, 2, steps=8)
    else:
        fit(library, peer, 2, steps=8)
        assert peer_epochs(tmp_path) == [1, 2], CHANGED


def test_judging_every_few_steps_still_judges_what_only_an_epoch_logs(tmp_path, library):
    logs = val_losses(0.5, 0.4, 0.6)
    fit(library, gated(tmp_path, every_n_steps=4), 3, logs=logs, steps=8)
    assert [(e.record.step, e.record.at) for e in entries(tmp_path) if e.decision.save] == [(8, "epoch"), (16, "epoch")]
    fit(library, best_only(library, tmp_path, save_freq=4), 3, logs=logs, steps=8)
    # Keras saves every fourth batch whatever val_loss is, tf-keras nothing at all.
    assert peer_epochs(tmp_path) == by(library, [1, 2, 3], []), CHANGED


@pytest.mark.parametrize("every", [None, 3], ids=["judged at epochs' ends", "judged every third step, too"])
@pytest.mark.parametrize(
    "interrupted", [(0, 6), (1, 5), (2, 1)], ids=lambda at: f"epoch {at[0] + 1}, batch {at[1] + 1}"
)
def test_an_interruption_within_an_epoch_trains_no_step_twice(tmp_path, library, interrupted, every):
    rules = "save: {metric: loss, improves: min}"
    fit(library, gated(tmp_path, rules, every_n_steps=every), 3, steps=8, interrupted=interrupted)
    model = fit(library, gated(tmp_path, rules, every_n_steps=every), 3, steps=8)
    assert int(model.optimizer.iterations) == 24
    seen = [(entry.record.step, entry.record.at) for entry in entries(tmp_path)]
    ends = [(step, "epoch") for step in (8, 16, 24)]
    between = [(step, "step") for step in range(3, 25, 3)] if every else []
    assert seen == sorted(ends + between, key=lambda place: (place[0], place[1] == "epoch"))


@pytest.mark.parametrize(
    ("save_freq", "interrupted", "of_keras", "of_tf_keras"),
    [
        pytest.param(3, (1, 5), 28, 24, id="saved within the epoch"),
        pytest.param("epoch", (1, 5), 24, 24, id="saved at its end"),
    ],
)
def test_the_peers_train_so_many_steps(tmp_path, library, save_freq, interrupted, of_keras, of_tf_keras):
    def backup():
        return library.callbacks.BackupAndRestore(str(tmp_path / "backup"), save_freq=save_freq)

    fit(library, backup(), 3, steps=8, interrupted=interrupted)
    model = fit(library, backup(), 3, steps=8)
    # Keras restores the state of the middle of an epoch and begins the epoch again; 24 are those of three epochs.
    assert int(model.optimizer.iterations) == by(library, of_keras, of_tf_keras), CHANGED
