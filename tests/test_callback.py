"""The Keras callback in a real fit: Keras 3 and tf-keras, interrupted and run again."""

from __future__ import annotations

import errno
import os
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from checkpoint_gate import GatedCheckpoint, Store
from checkpoint_gate.errors import RuleError, StoreError, UnknownMetricError

RULES = "save: {metric: val_loss, at_most: 100.0}"
X = np.random.default_rng(0).random((32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def compiled(library=keras):
    library.utils.set_random_seed(1)
    model = library.Sequential([library.layers.Dense(4), library.layers.Dense(1)])
    model.build((None, 4))
    model.compile(library.optimizers.Adam(0.01), "mse")
    return model


def fit(model, gate, epochs, library=keras, stop_at=None, **more):
    def interrupt(epoch, logs=None):
        if epoch == stop_at:
            raise KeyboardInterrupt

    stop = library.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    arguments = {"validation_data": (X, Y), "shuffle": False, "verbose": 0, **more}
    model.fit(X, Y, epochs=epochs, callbacks=[stop, gate], **arguments)


def epochs_of(store):
    return [entry.record.epoch for entry in Store.open(store).run("first").ledger.read().entries]


def test_the_same_callback_after_an_interruption_trains_no_completed_epoch_again(tmp_path):
    model, gate = compiled(), GatedCheckpoint(tmp_path, RULES, run="first")
    with pytest.raises(KeyboardInterrupt):
        fit(model, gate, 6, stop_at=3)
    fit(model, gate, 6)
    assert epochs_of(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert int(model.optimizer.iterations) == 6


def test_interrupted_and_resumed_gives_the_weights_of_an_uninterrupted_training(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), GatedCheckpoint(tmp_path / "a", RULES, run="first"), 6, stop_at=4)
    resumed, whole = compiled(), compiled()
    fit(resumed, GatedCheckpoint(tmp_path / "a", RULES, run="first"), 6)
    fit(whole, GatedCheckpoint(tmp_path / "b", RULES, run="first"), 6)
    pairs = zip(
        resumed.variables + resumed.optimizer.variables, whole.variables + whole.optimizer.variables, strict=True
    )
    assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in pairs)


def test_a_finished_training_trains_nothing_more_and_says_so(tmp_path, caplog):
    fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 3)
    assert "is complete" not in caplog.text
    model = compiled()
    fit(model, GatedCheckpoint(tmp_path, RULES, run="first"), 3)
    assert (
        "the run first is complete, nothing is trained: an earlier training of 3 epochs came to its end" in caplog.text
    )
    assert epochs_of(tmp_path) == [0, 1, 2]
    assert int(model.optimizer.iterations) == 3


def test_tf_keras_saves_and_resumes_by_the_initial_epoch(tmp_path):
    gate = GatedCheckpoint(tmp_path, RULES, run="first")
    fit(compiled(tf_keras), gate, 2, tf_keras)
    model, gate = compiled(tf_keras), GatedCheckpoint(tmp_path, RULES, run="first")
    fit(model, gate, 4, tf_keras, initial_epoch=gate.resume(model, 4))
    assert epochs_of(tmp_path) == [0, 1, 2, 3]
    assert int(model.optimizer.iterations) == 4


def test_validation_every_other_epoch_is_refused_in_between(tmp_path):
    fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 4, validation_freq=2)
    entries = Store.open(tmp_path).run("first").ledger.read().entries
    assert [entry.decision.save for entry in entries] == [False, True, False, True]
    assert entries[0].decision.reason == "val_loss was not logged"


def test_a_changed_gate_is_written_into_the_ledger_when_training_goes_on(tmp_path):
    fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 2)
    fit(compiled(), GatedCheckpoint(tmp_path, "save: {metric: loss, at_most: 0.0}", run="first"), 3)
    history = Store.open(tmp_path).run("first").ledger.read()
    assert [event["gate"] for event in history.events if event["event"] == "gate_changed"] == [
        {"save": {"metric": "loss", "at_most": 0.0}}
    ]
    assert [entry.decision.save for entry in history.entries] == [True, True, False]


def test_a_metric_that_is_never_logged_stops_training_after_the_first_epoch(tmp_path):
    with pytest.raises(UnknownMetricError, match=r"'f1', which training never logged\. Logged were: loss, val_loss"):
        fit(compiled(), GatedCheckpoint(tmp_path, "save: {metric: f1, at_least: 0.5}", run="first"), 5)
    assert epochs_of(tmp_path) == []


def test_validation_that_is_not_there_is_told_after_the_first_epoch(tmp_path, caplog):
    words = "'val_loss', which training never logged.*Name one of these in the rules, or give fit validation_data"
    with pytest.raises(UnknownMetricError, match=words):
        fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 3, validation_data=None)
    told = [r.getMessage() for r in caplog.records if r.name == "checkpoint_gate.training.gated_training"]
    assert told == ["the rules name 'val_loss', which epoch 1 does not log; logged are: loss"]


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf-keras"])
def test_another_model_under_the_same_run_name_is_told_in_one_sentence(tmp_path, library):
    fit(compiled(library), GatedCheckpoint(tmp_path, RULES, run="first"), 2, library)
    other = library.Sequential([library.layers.Dense(7), library.layers.Dense(1)])
    other.build((None, 4))
    other.compile(library.optimizers.Adam(0.01), "mse")
    words = "The state of epoch 2 of the run first does not fit this model .*Give another training another run name"
    with pytest.raises(StoreError, match=words):
        fit(other, GatedCheckpoint(tmp_path, RULES, run="first"), 3, library)
    fit(compiled(library), GatedCheckpoint(tmp_path, RULES, run="first"), 3, library)
    assert epochs_of(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            tf.errors.UnavailableError(None, None, "the bucket\nis away"), "UnavailableError: the bucket", id="away"
        ),
        pytest.param(
            tf.errors.PermissionDeniedError(None, None, "no"), "PermissionDeniedError: no", id="not to be read"
        ),
        pytest.param(OSError(5, "Input/output error"), r"OSError: \[Errno 5\] Input/output error", id="a broken disk"),
    ],
)
def test_a_state_that_cannot_be_read_now_is_not_told_as_that_of_another_model(tmp_path, monkeypatch, error, words):
    fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 2)
    words = rf"^The state of epoch 2 of the run first could not be read: {words}\. It is there, and the same training"
    with monkeypatch.context() as patch:
        patch.setattr(tf.raw_ops, "RestoreV2", Mock(side_effect=error))
        with pytest.raises(StoreError, match=words):
            fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 3)
    fit(compiled(), GatedCheckpoint(tmp_path, RULES, run="first"), 3)
    assert epochs_of(tmp_path) == [0, 1, 2]


def test_rules_without_save_are_refused_when_the_callback_is_made(tmp_path):
    with pytest.raises(RuleError, match="Gating needs the section `save`"):
        GatedCheckpoint(tmp_path, "keep: {last: 1}", run="first")


@pytest.mark.parametrize(
    ("rules", "level", "words"),
    [
        pytest.param(
            "save: {metric: loss, at_most: 0}",
            "WARNING",
            "2 epochs: 0 saved, 2 refused, most often by loss at most 0 (2 times)",
            id="a training that saved nothing warns",
        ),
        pytest.param(
            "save: {all: [{every: 2}, {metric: loss, at_most: 1e9}]}",
            "INFO",
            "2 epochs: 1 saved, 1 refused, most often by every 2 epochs (1 time)",
            id="one that saved something tells",
        ),
        pytest.param("save: {every: 1}", "INFO", "2 epochs: 2 saved, 0 refused", id="no refusal has no cause"),
    ],
)
def test_the_last_line_counts_what_was_saved_and_refused(tmp_path, caplog, rules, level, words):
    caplog.set_level("INFO", "checkpoint_gate")
    fit(compiled(), GatedCheckpoint(tmp_path, rules, run="first"), 2)
    (last,) = caplog.records[-1:]
    assert (last.levelname, last.getMessage()) == (level, words)


def test_the_last_line_counts_records_of_steps_and_of_what_was_trained_before(tmp_path, caplog):
    caplog.set_level("INFO", "checkpoint_gate")
    gate = GatedCheckpoint(tmp_path, "save: {every: 2}", run="first", every_n_steps=1)
    fit(compiled(), gate, 1, batch_size=3)
    fit(compiled(), gate, 2, batch_size=3)
    entries = Store.open(tmp_path).run("first").ledger.read().entries
    assert caplog.messages[-1].startswith(f"{len(entries)} records: ")
    assert {entry.record.epoch for entry in entries} == {0, 1}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        pytest.param("save: {every: 1}", [], id="none but what it uses"),
        pytest.param(
            "{save: {every: 1}, filter: {every: 2}, prune: {grace: 0s}}",
            ["training does not use filter, prune of the rules: CheckpointFilter and checkpoint-gate prune do"],
            id="what others use",
        ),
    ],
)
def test_sections_of_the_rules_that_training_does_not_use_are_told(tmp_path, caplog, rules, told):
    caplog.set_level("INFO", "checkpoint_gate")
    fit(compiled(), GatedCheckpoint(tmp_path, rules, run="first"), 1)
    assert [message for message in caplog.messages if "does not use" in message] == told


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf-keras"])
def test_training_goes_on_without_a_state_that_there_is_no_room_for_if_told_to(tmp_path, monkeypatch, library):
    gate = GatedCheckpoint(tmp_path, RULES, run="first", on_no_room="skip")
    stage = gate.training.run.stage

    def full_at_the_second():
        if len(gate.training.run.ledger.read().records) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return stage()

    monkeypatch.setattr(gate.training.run, "stage", full_at_the_second)
    fit(compiled(library), gate, 3, library)
    run = Store.open(tmp_path).run("first")
    entries = run.ledger.read().entries
    assert [entry.decision.save for entry in entries] == [True, True, True]
    assert [entry.skipped is None for entry in entries] == [True, False, True]
    assert [stored.manifest.epoch for stored in run.live()] == [0, 2]
