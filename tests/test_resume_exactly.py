"""Killed at any batch and run again, a training ends bit for bit as one that was left alone: Keras 3 and tf-keras."""

from __future__ import annotations

import contextlib
import os
import random
import runpy
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from faults.trained import trained
from own_threads import joined

from checkpoint_gate import GatedCheckpoint

pytestmark = pytest.mark.usefixtures("quick_collection")

EPOCHS, BATCHES, SIZE = 5, 7, 4
X = np.random.default_rng(0).random((BATCHES * SIZE, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
VALIDATION = (X[:10] * 0.9, Y[:10])
RULES = """
save:
  any:
    - {metric: val_loss, improves: min, min_delta: 0.1}
    - all: [{metric: loss, moving_average: 3, at_most: 1.0}, {metric: mae, exponential_average: 2, at_most: 0.7}]
keep: {best: {metric: loss, mode: min, n: 2}, last: 2}
"""


def compiled(library, dropout):
    library.utils.set_random_seed(1)
    random_layers = [library.layers.Dropout(0.2, seed=5)] if dropout else []
    model = library.Sequential([library.layers.Dense(6, activation="relu"), *random_layers, library.layers.Dense(1)])
    model.build((None, 4))
    model.compile(library.optimizers.Adam(0.03), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def variables(model):
    generators = [getattr(getattr(layer, "_random_generator", None), "_generator", None) for layer in model.layers]
    states = [generator.state for generator in generators if generator is not None]
    return [*model.variables, *model.optimizer.variables, *states]


class Trainer:
    """One compiled model, set back to its first values before each training: tracing is what takes long."""

    def __init__(self, library, dropout):
        self.library = library
        self.dropout = dropout
        self.model = None
        self.rebuild()
        self.whole = None

    def rebuild(self):
        self.model = compiled(self.library, self.dropout)
        self.first = [variable.numpy() for variable in variables(self.model)]

    def train(self, store, data, kill=None, killed=None):
        """Trains like a process of its own; answers with the epochs whose batches it began."""
        for variable, value in zip(variables(self.model), self.first, strict=True):
            variable.assign(value)
        gate = GatedCheckpoint(store, RULES, run="run", every_n_steps=3)
        began = []

        def batch_begins(batch, logs=None):
            began.append(gate._epoch)
            if kill is not None and kill.edge == "begin" and len(began) == kill.batch:
                raise killed

        def batch_ends(batch, logs=None):
            if kill is not None and kill.edge == "end" and len(began) == kill.batch:
                raise killed

        hooks = {"on_train_batch_begin": batch_begins, "on_train_batch_end": batch_ends}
        killer = self.library.callbacks.LambdaCallback(**hooks)
        callbacks = [killer, gate] if kill is None or kill.first else [gate, killer]
        data(self.model, gate, callbacks)
        return began


def arrays(model, gate, callbacks):
    """The data are the same in every epoch."""
    model.fit(
        X, Y, batch_size=SIZE, epochs=EPOCHS, validation_data=VALIDATION, shuffle=False, verbose=0, callbacks=callbacks
    )


def shuffled(model, gate, callbacks):
    """The data are a function of the epoch, by which each is shuffled."""
    epochs = range(gate.resume(model, EPOCHS), EPOCHS)
    order = np.concatenate([np.random.default_rng(epoch).permutation(len(X)) for epoch in epochs])
    data = tf.data.Dataset.from_tensor_slices((X[order], Y[order])).batch(SIZE)
    model.fit(data, steps_per_epoch=BATCHES, epochs=EPOCHS, validation_data=VALIDATION, verbose=0, callbacks=callbacks)


@dataclass(frozen=True)
class Kill:
    """The end of a process.

    Attributes:
      batch: how many it has begun, at the last of which it dies.
      edge: whether that batch was trained.
      first: whether it dies before the gate hears of the batch.
      dropped: whether what it was writing stays half done, from one of the next operations on the disk on; else it is
        done when the process is gone.
    """

    batch: int
    edge: str
    first: bool
    dropped: int | None


def draw(chance, batches=EPOCHS * BATCHES):
    dropped = chance.choice([None, chance.randrange(40)])
    return Kill(chance.randint(1, batches), chance.choice(["begin", "end"]), chance.random() < 0.5, dropped)


@contextlib.contextmanager
def dying(killable, dropped):
    """Nothing of a process that dies in it writes any more: its thread ends with the callback."""
    with joined():
        yield
        if dropped is not None:
            killable.arm(dropped)
    killable.arm(None)


def outcome(model, store):
    """What a training ends with, its model too."""
    return {"weights": [variable.numpy().tobytes() for variable in variables(model)], **trained(store)}


def differing(one, other):
    return [key for key in one if one[key] != other[key]]


@pytest.fixture(
    scope="module", params=[pytest.param((keras, True), id="keras"), pytest.param((tf_keras, False), id="tf-keras")]
)
def trainer(request):
    return Trainer(*request.param)


@pytest.fixture
def whole(trainer, memory_path):
    """What a training that is left alone ends with, by its data."""

    def made(data):
        trainer.train(memory_path / data.__name__, data)
        return outcome(trainer.model, memory_path / data.__name__)

    return made


def test_what_is_compared_says_yes_and_no_and_prunes(whole):
    result = whole(arrays)
    kinds = [(at, save) for at, _, _, _, save, _ in result["records"]]
    assert set(kinds) == {("epoch", True), ("epoch", False), ("step", True), ("step", False)}
    assert len(kinds) == EPOCHS + EPOCHS * BATCHES // 3
    assert 2 <= len(result["checkpoints"]) < sum(save for _, save in kinds) - 2
    assert len(set(map(str, result["checkpoints"].values()))) == len(result["checkpoints"])


@pytest.mark.parametrize("data", [arrays, shuffled])
def test_killed_at_a_random_batch_and_run_again(trainer, whole, memory_path, killable, killed, data):
    expected = whole(data)
    chance = random.Random(f"{trainer.library.__name__} {data.__name__}")
    for number in range(15):
        kill = draw(chance)
        store = memory_path / str(number)
        with dying(killable, kill.dropped), pytest.raises(killed):
            trainer.train(store, data, kill, killed)
        if number % 7 == 0:
            trainer.rebuild()
        began = trainer.train(store, data)
        complete = (kill.batch - 1) // BATCHES
        assert complete - (kill.dropped is not None) <= began[0] <= complete, kill
        assert len(began) == (EPOCHS - began[0]) * BATCHES, kill
        assert not differing(outcome(trainer.model, store), expected), kill


def test_killed_again_after_it_was_run_again(trainer, whole, memory_path, killable, killed):
    expected = whole(arrays)
    chance = random.Random(trainer.library.__name__)
    for number in range(6):
        kills = [draw(chance), draw(chance, BATCHES), draw(chance, 3 * BATCHES)]
        store = memory_path / str(number)
        for kill in kills:
            # The epochs left may be too few to come to it.
            with dying(killable, kill.dropped), contextlib.suppress(killed):
                trainer.train(store, arrays, kill, killed)
        trainer.train(store, arrays)
        assert not differing(outcome(trainer.model, store), expected), kills


def test_run_again_after_the_end_nothing_is_trained_and_nothing_changes(trainer, whole, memory_path):
    expected = whole(arrays)
    assert trainer.train(memory_path / "arrays", arrays) == []
    assert not differing(outcome(trainer.model, memory_path / "arrays"), expected)


@pytest.fixture
def generators():
    """Without them the random operations of tf-keras hold a state that nobody can read."""
    tf_keras.backend.experimental.enable_tf_random_generator()
    yield
    tf_keras.backend.experimental.disable_tf_random_generator()


def test_dropout_of_tf_keras_is_exact_with_its_random_generators(generators, memory_path, killable, killed):
    trainer = Trainer(tf_keras, dropout=True)
    trainer.train(memory_path / "whole", arrays)
    expected = outcome(trainer.model, memory_path / "whole")
    for batch in (5, 16, 33):
        with dying(killable, None), pytest.raises(killed):
            trainer.train(memory_path / str(batch), arrays, Kill(batch, "end", False, None), killed)
        trainer.train(memory_path / str(batch), arrays)
        assert not differing(outcome(trainer.model, memory_path / str(batch)), expected), batch


SCRIPT = '''
    """Trains in the folder argv[2] with the library argv[1]; a third number is the batch at which SIGKILL comes."""
    import os, signal, sys, importlib
    import numpy as np
    from checkpoint_gate import GatedCheckpoint

    library = importlib.import_module(sys.argv[1])
    folder, end = sys.argv[2], int(sys.argv[3])
    library.utils.set_random_seed(7)
    layers = library.layers
    noise = [layers.Dropout(0.2, seed=3)] if library.__name__ == "keras" else []
    model = library.Sequential([layers.Dense(6, activation="relu"), *noise, layers.Dense(1)])
    model.build((None, 4))
    model.compile(library.optimizers.Adam(0.03), "mse")
    x = np.random.default_rng(3).random((28, 4)).astype("float32")

    class Kill(library.callbacks.Callback):
        begun = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.begun += 1
            if self.begun == end:
                os.kill(os.getpid(), signal.SIGKILL)

    rules = "save: {metric: val_loss, moving_average: 2, at_most: 1.0}"
    gate = GatedCheckpoint(folder, rules, run="run", every_n_steps=3)
    model.fit(
        x, x.sum(axis=1), batch_size=4, epochs=5, validation_data=(x, x.mean(axis=1)), shuffle=False, verbose=0,
        callbacks=[Kill(), gate],
    )
'''


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_the_same_program_after_sigkill(library, tmp_path, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def run(folder, end):
        return subprocess.run([sys.executable, script, library, tmp_path / folder, str(end)], env=os.environ)

    monkeypatch.setattr(sys, "argv", ["train.py", library, str(tmp_path / "whole"), "0"])
    whole = runpy.run_path(str(script))["model"]
    expected = outcome(whole, tmp_path / "whole")
    for end in (12, 17):  # within the second epoch; and, run again from there, within the fourth
        assert run("killed", end).returncode == -signal.SIGKILL
    assert run("killed", 0).returncode == 0
    assert not differing(outcome(whole, tmp_path / "killed"), expected)
