"""A captured state: the file is TensorFlow's own, to the byte, and holds what was there at the call."""

from __future__ import annotations

import functools
import gc
import os
import pathlib
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import checkpoint_gate
from checkpoint_gate.training.saving import saver
from checkpoint_gate.training.tensorflow_state import TensorFlowState

K3, TFK = keras, tf_keras
X = np.random.default_rng(0).random((16, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def content(prefix):
    """Name -> dtype, shape and bytes of all that a checkpoint holds."""
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    return {name: (dtypes[name], *_bytes(reader.get_tensor(name))) for name in sorted(dtypes)}


def _bytes(value):
    array = np.asarray(value)
    return array.shape, array.tolist() if array.dtype == object else array.tobytes()


def plain(variable):
    """The variable of TensorFlow within one of Keras 3."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def variables(model):
    """All that `model` and its optimizer hold, tables excepted."""
    optimizer = getattr(model.optimizer, "variables", ())
    held = (*model.variables, *(optimizer() if callable(optimizer) else optimizer))
    return [plain(v) for v in held if isinstance(v, (tf.Variable, K3.Variable))]


def values(model):
    return [_bytes(variable.numpy()) for variable in variables(model)]


def checkpoint(model):
    """What plain TensorFlow would make, with the seeds of Keras 3, which a model does not track."""
    weights = set(map(id, model.weights))
    random = [variable for variable in model.variables if id(variable) not in weights]
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer, random=random)


def scramble(model, seed):
    """Puts other values into every variable."""
    generator = np.random.default_rng(seed)
    for variable in variables(model):
        if variable.dtype == tf.string:
            continue
        value = generator.integers(0, 100, variable.shape) / (1 if variable.dtype.is_integer else 64)
        variable.assign(tf.cast(tf.constant(value), variable.dtype))


# What models hold.


def sequential(k):
    layers = [k.layers.Dense(3), k.layers.BatchNormalization(), k.layers.Dense(1)]
    return k.Sequential(layers)


def functional(k):
    inputs = k.Input((4,))
    left, right = k.layers.Dense(3, name="left")(inputs), k.layers.Dense(3, name="right")(inputs)
    return k.Model(inputs, k.layers.Dense(1)(k.layers.Add()([left, right])))


def shared(k):
    inputs = k.Input((4,))
    layer = k.layers.Dense(4)
    return k.Model(inputs, k.layers.Dense(1)(layer(layer(inputs))))


def nested(k):
    class Block(k.layers.Layer):
        def __init__(self, n):
            super().__init__()
            self.parts = [k.layers.Dense(4) for _ in range(n)]
            self.by_name = {"last": k.layers.Dense(4), "norm": k.layers.LayerNormalization()}

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return self.by_name["norm"](self.by_name["last"](x))

    class Nested(k.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(1), Block(2)]
            self.also_first = self.blocks[0]
            self.head = k.Sequential([k.layers.Dense(2), k.layers.Dense(1)])

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    return Nested()


def recurrent(k):
    layers = [
        k.layers.Embedding(5, 3),
        k.layers.LSTM(2, return_sequences=True),
        k.layers.Bidirectional(k.layers.GRU(2)),
    ]
    return k.Sequential([*layers, k.layers.Dense(1)])


def random(k):
    layers = [k.layers.Dense(3), k.layers.Dropout(0.5, seed=3), k.layers.GaussianNoise(0.1), k.layers.Dense(1)]
    return k.Sequential(layers)


def dtypes(k):
    class Weights(k.layers.Layer):
        def build(self, shape):
            for dtype in ("float16", "bfloat16", "float64", "int8", "int32", "int64", "uint8", "bool"):
                more = {"initializer": "zeros", "trainable": False}
                setattr(self, f"w_{dtype}", self.add_weight(shape=(3,), dtype=dtype, name=f"w_{dtype}", **more))
            self.scalar = self.add_weight(shape=(), dtype="float32", name="scalar", initializer="ones")
            self.empty = self.add_weight(shape=(0, 2), dtype="float32", name="empty", initializer="ones")

        def call(self, x):
            return x * self.scalar

    return k.Sequential([Weights(), k.layers.Dense(1)])


def mixed(k):
    dtype = k.mixed_precision.Policy("mixed_float16") if k is TFK else "mixed_float16"
    return k.Sequential([k.layers.Dense(3, dtype=dtype), k.layers.Dense(1, dtype="float32")])


def plain_variables(k):
    class Own(k.layers.Layer):
        """Holds variables of TensorFlow, not of Keras, and a module."""

        def __init__(self):
            super().__init__()
            self.counter = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.words = tf.Variable(["a", "b"], trainable=False)
            self.generator = tf.random.Generator.from_seed(1)

        def call(self, x):
            return x

    return k.Sequential([Own(), k.layers.Dense(1)])


def normalization(k):
    layer = k.layers.Normalization()
    layer.build((None, 4))
    return k.Sequential([layer, k.layers.Dense(1)])


def lookup(k):
    layer = k.layers.StringLookup()
    layer.set_vocabulary(["a", "b"])
    return _words(k, layer)


def fixed_lookup(k):
    return _words(k, k.layers.StringLookup(vocabulary=["a", "b"]))


def text(k):
    layer = k.layers.TextVectorization(output_sequence_length=2)
    layer.set_vocabulary(["a", "b"])
    return _words(k, layer)


def _words(k, layer):
    class Words(k.Model):
        def __init__(self):
            super().__init__()
            self.index = layer
            self.embedding = k.layers.Embedding(9, 2)
            self.head = k.layers.Dense(1)

        def call(self, x):
            return self.head(self.embedding(x))

    return Words()


def made(k, make, optimizer):
    """A compiled model with all of its variables."""
    k.utils.set_random_seed(1)
    model = make(k)
    model(np.zeros((2, 4), "int32") if make in (recurrent, lookup, fixed_lookup, text) else X[:2])
    model.compile(optimizer(k), "mse")
    if hasattr(model.optimizer, "build"):
        model.optimizer.build(model.trainable_variables)
    else:
        model.optimizer.apply_gradients([(tf.ones_like(v), v) for v in model.trainable_variables])
    return model


def adam(k):
    return k.optimizers.Adam(0.01)


def scaled(k):
    kind = k.optimizers.LossScaleOptimizer if k is K3 else k.mixed_precision.LossScaleOptimizer
    return kind(k.optimizers.Adam(0.01))


def legacy(name, **more):
    return lambda k: getattr(k.optimizers.legacy, name)(0.01, **more)


MODELS = [sequential, functional, shared, nested, recurrent, random, dtypes, mixed, plain_variables, normalization]
OPTIMIZERS = [
    pytest.param(lambda k: k.optimizers.SGD(0.01, momentum=0.9), id="SGD with momentum"),
    pytest.param(lambda k: k.optimizers.AdamW(0.01, use_ema=True), id="AdamW with an average of the weights"),
    pytest.param(lambda k: k.optimizers.Lion(0.01), id="Lion"),
    pytest.param(lambda k: k.optimizers.Ftrl(0.01), id="Ftrl"),
    pytest.param(lambda k: k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.01, 9, 0.9)), id="a schedule"),
    pytest.param(scaled, id="a scaled loss"),
]
LIBRARIES = [pytest.param(K3, id="keras"), pytest.param(TFK, id="tf-keras")]
CAPTURED = [
    pytest.param(k.values[0], model, adam, id=f"{k.id}: {model.__name__}") for k in LIBRARIES for model in MODELS
]
CAPTURED += [
    pytest.param(k.values[0], sequential, o.values[0], id=f"{k.id}: {o.id}") for k in LIBRARIES for o in OPTIMIZERS
]
CAPTURED += [
    pytest.param(
        K3, sequential, lambda k: k.optimizers.Adam(gradient_accumulation_steps=2), id="keras: accumulated gradients"
    ),
    pytest.param(TFK, sequential, legacy("SGD"), id="tf-keras: a legacy optimizer without slots"),
    pytest.param(K3, fixed_lookup, adam, id="keras: a vocabulary that is given"),
    pytest.param(TFK, fixed_lookup, adam, id="tf-keras: a vocabulary that is given"),
]
AT_ONCE = [
    pytest.param(K3, lookup, adam, id="keras: a table of words"),
    pytest.param(K3, text, adam, id="keras: a table of words within a layer"),
    pytest.param(TFK, sequential, legacy("Adam"), id="tf-keras: the slots of a legacy optimizer"),
    pytest.param(TFK, sequential, legacy("SGD", momentum=0.9), id="tf-keras: the momenta of a legacy optimizer"),
    pytest.param(TFK, lookup, adam, id="tf-keras: a table of words"),
    pytest.param(TFK, text, adam, id="tf-keras: a table of words within a layer"),
]


def read_back(fresh, prefix):
    """What plain TensorFlow restores into the weights of a fresh model, and then, with its seeds, into all of it."""
    scramble(fresh, 99)
    plainly = tf.train.Checkpoint(model=fresh, optimizer=fresh.optimizer)
    plainly.read(str(prefix)).assert_existing_objects_matched()
    weights = weights_of(fresh)
    scramble(fresh, 98)
    TensorFlowState(checkpoint(fresh)).read(str(prefix))
    return weights, values(fresh)


def weights_of(model):
    held = {id(plain(weight)) for weight in model.weights if isinstance(weight, (tf.Variable, K3.Variable))}
    return [_bytes(variable.numpy()) for variable in variables(model) if id(variable) in held]


@pytest.mark.parametrize(("k", "make", "optimizer"), CAPTURED)
def test_what_is_captured_is_written_as_tensorflow_writes_it(tmp_path, k, make, optimizer):
    model, fresh = made(k, make, optimizer), made(k, make, optimizer)
    state = TensorFlowState(checkpoint(model))
    assert state.capture() is None  # nothing is learnt yet
    for save in range(3):
        scramble(model, save)
        checkpoint(model).write(str(tmp_path / f"truth-{save}"))
        expected = weights_of(model), values(model)
        if save == 0:
            state.write(str(tmp_path / "0"))
        else:
            write = state.capture()
            assert write is not None
            scramble(model, 50 + save)  # training goes on at once
            write(str(tmp_path / f"{save}"))
        assert content(tmp_path / f"{save}") == content(tmp_path / f"truth-{save}")
        assert read_back(fresh, tmp_path / f"{save}") == expected


@pytest.mark.parametrize(("k", "make", "optimizer"), AT_ONCE)
def test_what_holds_more_than_variables_is_written_at_once(tmp_path, k, make, optimizer):
    model, fresh = made(k, make, optimizer), made(k, make, optimizer)
    state = TensorFlowState(checkpoint(model))
    for save in range(2):
        scramble(model, save)
        checkpoint(model).write(str(tmp_path / "truth"))
        expected = weights_of(model), values(model)
        assert state.capture() is None
        state.write(str(tmp_path / f"{save}"))
        assert content(tmp_path / f"{save}") == content(tmp_path / "truth")
        assert read_back(fresh, tmp_path / f"{save}") == expected


def test_a_later_write_captures_by_itself(tmp_path, monkeypatch):
    model = made(K3, sequential, adam)
    state = TensorFlowState(lambda: checkpoint(model))
    state.write(str(tmp_path / "0"))
    scramble(model, 1)
    checkpoint(model).write(str(tmp_path / "truth"))
    monkeypatch.setattr(tf.train.Checkpoint, "write", None)
    state.write(str(tmp_path / "1"))
    assert content(tmp_path / "1") == content(tmp_path / "truth")


def test_the_files_are_equal_too(tmp_path):
    model = made(K3, sequential, adam)
    state = TensorFlowState(checkpoint(model))
    state.write(str(tmp_path / "0"))
    checkpoint(model).write(str(tmp_path / "truth"))
    state.capture()(str(tmp_path / "1"))
    for end in (".index", ".data-00000-of-00001"):
        assert (tmp_path / f"1{end}").read_bytes() == (tmp_path / f"truth{end}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("1")) == [
        "1.data-00000-of-00001",
        "1.index",
    ]


def test_what_is_not_there_when_it_is_read_is_an_error(tmp_path):
    variable = tf.Variable(1.0)
    TensorFlowState(tf.train.Checkpoint(one=variable)).write(str(tmp_path / "0"))
    with pytest.raises(AssertionError, match="matched"):
        TensorFlowState(tf.train.Checkpoint(one=variable, two=tf.Variable(2.0))).read(str(tmp_path / "0"))


@pytest.mark.parametrize("k", LIBRARIES)
def test_plain_variables_are_read_without_tensorflows_own_reader(tmp_path, monkeypatch, k):
    model, fresh = made(k, sequential, adam), made(k, sequential, adam)
    scramble(model, 1)
    checkpoint(model).write(str(tmp_path / "0"))
    scramble(fresh, 2)
    monkeypatch.setattr(tf.train.Checkpoint, "read", None)
    TensorFlowState(checkpoint(fresh)).read(str(tmp_path / "0"))
    assert values(fresh) == values(model)


def _two(one, two):
    return tf.train.Checkpoint(one=tf.Variable(one), two=tf.Variable(two))


@pytest.mark.parametrize(
    ("into", "error"),
    [
        pytest.param(lambda: _two([0.0] * 3, [0.0] * 2), ValueError, id="another shape"),
        pytest.param(lambda: _two([0] * 2, [0.0] * 2), tf.errors.InvalidArgumentError, id="another dtype"),
        pytest.param(
            lambda: tf.train.Checkpoint(one=tf.Variable([0.0] * 2), other=tf.Variable([0.0] * 2)),
            AssertionError,
            id="another name",
        ),
    ],
)
def test_what_does_not_fit_is_told_by_tensorflow(tmp_path, into, error):
    _two([1.0, 2.0], [3.0, 4.0]).write(str(tmp_path / "0"))
    with pytest.raises(error) as truth:
        into().read(str(tmp_path / "0")).assert_existing_objects_matched()
    with pytest.raises(error) as told:
        TensorFlowState(into()).read(str(tmp_path / "0"))
    assert str(told.value).partition("0x")[0] == str(truth.value).partition("0x")[0]


def test_a_part_of_what_was_written_can_be_read(tmp_path):
    _two([1.0, 2.0], [3.0, 4.0]).write(str(tmp_path / "0"))
    one = tf.Variable([0.0, 0.0])
    TensorFlowState(tf.train.Checkpoint(one=one)).read(str(tmp_path / "0"))
    assert one.numpy().tolist() == [1.0, 2.0]


def test_a_variable_of_an_open_shape_is_read(tmp_path):
    tf.train.Checkpoint(one=tf.Variable([1.0, 2.0])).write(str(tmp_path / "0"))
    one = tf.Variable([0.0], shape=tf.TensorShape([None]))
    TensorFlowState(tf.train.Checkpoint(one=one)).read(str(tmp_path / "0"))
    assert one.numpy().tolist() == [1.0, 2.0]


# What was captured is the state at the call.


def by_fit(jit_compile):
    def train(k, model):
        model.train_step = tf.autograph.experimental.do_not_convert(type(model).train_step.__get__(model))  # is slow
        model.compile(model.optimizer, "mse", jit_compile=jit_compile)
        model.fit(X, Y, epochs=1, batch_size=4, verbose=0)

    return train


def by_a_loop(k, model):
    @tf.function(autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        model.optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    for _ in range(3):
        step(X, Y)


TRAINED = [
    pytest.param(by_fit(False), id="fit"),
    pytest.param(by_fit(True), id="fit, compiled by XLA"),
    pytest.param(by_a_loop, id="a loop of one's own in a tf.function"),
]


@pytest.mark.parametrize("train", TRAINED)
@pytest.mark.parametrize("k", LIBRARIES)
def test_training_that_goes_on_changes_nothing_that_was_captured(tmp_path, k, train):
    model = made(k, random if k is K3 else sequential, adam)
    state = TensorFlowState(lambda: checkpoint(model))
    train(k, model)
    state.write(str(tmp_path / "0"))
    train(k, model)
    checkpoint(model).write(str(tmp_path / "truth"))
    before = values(model)
    write = state.capture()
    train(k, model)
    assert sum(a != b for a, b in zip(before, values(model), strict=True)) > 6  # training did go on
    write(str(tmp_path / "1"))
    assert content(tmp_path / "1") == content(tmp_path / "truth")


class Descent(tf.Module):
    """A model without Keras, and the step that trains it."""

    def __init__(self, size=50):
        super().__init__()
        start = tf.random.Generator.from_seed(1).normal
        self.weights = [tf.Variable(start((size, size)), name=f"w{n}") for n in range(4)]
        self.momenta = [tf.Variable(tf.zeros_like(weight)) for weight in self.weights]

    def step(self, x):
        with tf.GradientTape() as tape:
            y = x
            for weight in self.weights:
                y = tf.tanh(tf.matmul(y, weight))
            loss = tf.reduce_mean((y - x) ** 2)
        for weight, momentum, slope in zip(self.weights, self.momenta, tape.gradient(loss, self.weights), strict=True):
            momentum.assign(0.9 * momentum + slope)
            weight.assign_sub(0.1 * momentum)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_module_trained_while_it_is_written_is_written_as_it_was(tmp_path, jit_compile):
    module = Descent()
    step = tf.function(module.step, jit_compile=jit_compile, autograph=False)
    x = tf.random.Generator.from_seed(2).normal((8, 50))
    held = tf.train.Checkpoint(module=module)
    state = TensorFlowState(held)
    step(x)
    state.write(str(tmp_path / "names"))
    for number in range(5):
        held.write(str(tmp_path / f"truth {number}"))
        write = state.capture()
        writer = threading.Thread(target=write, args=(str(tmp_path / f"{number}"),))
        writer.start()
        for _ in range(10):
            step(x)
        writer.join()
        assert content(tmp_path / f"{number}") == content(tmp_path / f"truth {number}")
    assert content(tmp_path / "4") != content(tmp_path / "3")  # training did go on


def peak_of(work):
    """Bytes by which the largest resident set is above that at the beginning."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(name):
    (line,) = (each for each in pathlib.Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
    return int(line.split()[1]) * 1024


def test_training_on_while_states_are_written_takes_the_memory_of_one_more(tmp_path):
    size = 128 << 20
    variables = [tf.Variable(tf.random.normal((size // 16 // 4,))) for _ in range(16)]
    state = TensorFlowState(tf.train.Checkpoint(all=variables))
    state.write(str(tmp_path / "0"))
    behind = saver("background")

    def train_on():
        for number in range(1, 5):
            behind.ready()
            behind.add(functools.partial(state.capture(), str(tmp_path / str(number))), lambda: None)
            for _ in range(3):
                for variable in variables:
                    variable.assign_add(tf.ones_like(variable))
        behind.wait()

    train_on()  # what TensorFlow keeps for the next time is there then
    peak = peak_of(train_on)
    behind.close()
    assert peak < 1.5 * size


def rows(variable):
    return tf.IndexedSlices(tf.fill((1, 3), 7.0), tf.constant([1]))


RAW = tf.raw_ops
CHANGES = [
    pytest.param(lambda v, s: v.assign(v + 1), id="assign"),
    pytest.param(lambda v, s: v.assign_add(tf.ones_like(v)), id="assign_add"),
    pytest.param(lambda v, s: v.assign_sub(tf.ones_like(v)), id="assign_sub"),
    pytest.param(lambda v, s: v[0].assign(v[0] + 1), id="assign to a slice"),
    pytest.param(lambda v, s: v.scatter_update(rows(v)), id="scatter_update"),
    pytest.param(lambda v, s: v.scatter_add(rows(v)), id="scatter_add"),
    pytest.param(lambda v, s: v.scatter_nd_update([[0, 1]], [7.0]), id="scatter_nd_update"),
    pytest.param(lambda v, s: v.batch_scatter_update(rows(v)), id="batch_scatter_update"),
    pytest.param(
        lambda v, s: RAW.ResourceApplyGradientDescent(var=v.handle, alpha=0.1, delta=tf.ones_like(v)),
        id="a fused step of gradient descent",
    ),
    pytest.param(
        lambda v, s: RAW.ResourceApplyMomentum(
            var=v.handle, accum=s.handle, lr=0.1, grad=tf.ones_like(v), momentum=0.9, use_locking=True
        ),
        id="a fused step with momentum, locked",
    ),
    pytest.param(
        lambda v, s: RAW.ResourceApplyAdam(
            var=v.handle,
            m=s.handle,
            v=s.handle,
            beta1_power=0.9,
            beta2_power=0.9,
            lr=0.1,
            beta1=0.9,
            beta2=0.9,
            epsilon=0.1,
            grad=tf.ones_like(v),
        ),
        id="a fused step of Adam",
    ),
    pytest.param(
        lambda v, s: RAW.ResourceSparseApplyAdagrad(
            var=v.handle, accum=s.handle, lr=0.1, grad=tf.ones((1, 3)), indices=[0]
        ),
        id="a fused sparse step",
    ),
]


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "in a tf.function"])
@pytest.mark.parametrize("change", CHANGES)
def test_no_operation_in_place_changes_what_was_captured(tmp_path, change, graph):
    variable, slot = tf.Variable(tf.ones((3, 3))), tf.Variable(tf.ones((3, 3)))
    state = TensorFlowState(tf.train.Checkpoint(variable=variable, slot=slot))
    state.write(str(tmp_path / "0"))

    def step():
        change(variable, slot)

    step = tf.function(step, autograph=False) if graph else step
    for save in range(1, 4):  # some operations change how the variable is read from then on
        before = variable.numpy().tobytes(), slot.numpy().tobytes()
        write = state.capture()
        step()
        step()
        assert (variable.numpy().tobytes(), slot.numpy().tobytes()) != before or save > 1
        write(str(tmp_path / f"{save}"))
        held = content(tmp_path / f"{save}")
        names = [f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("variable", "slot")]
        assert tuple(held[name][2] for name in names) == before


def test_writing_in_another_thread_while_training_goes_on(tmp_path):
    variable = tf.Variable(tf.zeros((1 << 20,)))
    state = TensorFlowState(tf.train.Checkpoint(variable=variable))
    state.write(str(tmp_path / "0"))

    @tf.function
    def train():
        variable.assign_add(tf.ones_like(variable))

    for save in range(1, 6):
        write = state.capture()
        thread = threading.Thread(target=write, args=(str(tmp_path / f"{save}"),))
        thread.start()
        for _ in range(10):
            train()
        thread.join()
        held = tf.train.load_checkpoint(str(tmp_path / f"{save}")).get_tensor("variable/.ATTRIBUTES/VARIABLE_VALUE")
        assert set(held) == {10.0 * (save - 1)}


# Models that change.


def a_layer_more(k, model):
    model.add(k.layers.Dense(1))
    model(X[:2])


def recompiled(k, model):
    model.layers[0].trainable = not model.layers[0].trainable
    model.compile(adam(k), "mse")
    model.optimizer.build(model.trainable_variables)


def another_variable(k, model):
    model.layers[0].more = model.layers[0].add_weight("more", (2,))


@pytest.mark.parametrize(
    ("k", "change"),
    [
        pytest.param(K3, a_layer_more, id="keras: a layer more"),
        pytest.param(K3, recompiled, id="keras: a layer frozen, then thawed, with a new optimizer each time"),
        pytest.param(TFK, a_layer_more, id="tf-keras: a layer more"),
        pytest.param(TFK, recompiled, id="tf-keras: a layer frozen, then thawed, with a new optimizer each time"),
        pytest.param(TFK, another_variable, id="tf-keras: a layer with another variable"),
    ],
)
def test_a_model_that_gets_other_variables_is_learnt_anew(tmp_path, k, change):
    model = made(k, sequential, adam)
    state = TensorFlowState(lambda: checkpoint(model))
    state.write(str(tmp_path / "0"))
    for number in range(3):
        change(k, model)
        gc.collect()
        assert state.capture() is None
        scramble(model, number)
        state.write(str(tmp_path / f"{number}-at-once"))
        scramble(model, 10 + number)
        checkpoint(model).write(str(tmp_path / "truth"))
        write = state.capture()
        scramble(model, 20 + number)
        write(str(tmp_path / f"{number}"))
        assert content(tmp_path / f"{number}") == content(tmp_path / "truth")


def test_a_layer_that_is_built_late_is_noticed(tmp_path):
    model = tf_keras.Sequential([tf_keras.layers.Dense(3), tf_keras.layers.Dense(1)])
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    state = TensorFlowState(tf.train.Checkpoint(model=model, optimizer=model.optimizer))
    state.write(str(tmp_path / "0"))  # the optimizer's few
    assert state.capture() is not None
    model.build((None, 4))
    assert state.capture() is None
    state.write(str(tmp_path / "1"))
    assert "model/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE" in content(tmp_path / "1")
    assert state.capture() is not None


def test_a_shape_of_ones_own_decides_when_names_are_learnt_anew(tmp_path):
    variable, shape = tf.Variable(1.0), [0]
    state = TensorFlowState(lambda: tf.train.Checkpoint(variable=variable), lambda: shape[0])
    state.write(str(tmp_path / "0"))
    assert state.capture() is not None
    shape[0] = 1
    assert state.capture() is None
    state.write(str(tmp_path / "1"))
    assert state.capture() is not None


MIRRORED = """
import sys
import tensorflow as tf
import tf_keras
sys.path.insert(0, sys.argv[1])
from checkpoint_gate.training.tensorflow_state import TensorFlowState

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = tf_keras.Sequential([tf_keras.layers.BatchNormalization(), tf_keras.layers.Dense(1)])
    model.build((None, 4))
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    model.optimizer.build(model.trainable_variables)
assert strategy.num_replicas_in_sync == 2
state = TensorFlowState(tf.train.Checkpoint(model=model, optimizer=model.optimizer))
for prefix in sys.argv[2:]:
    write = state.capture()
    print("captured" if write else "at once")
    (write or state.write)(prefix)
    print(tf.train.load_checkpoint(prefix).get_tensor("optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"))
    model.optimizer.iterations.assign_add(1)
"""


def test_under_a_distribution_strategy_the_state_is_written_at_once(tmp_path):
    source = pathlib.Path(checkpoint_gate.__file__).parents[1]
    program = [sys.executable, "-c", MIRRORED, str(source), str(tmp_path / "0"), str(tmp_path / "1")]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(program, capture_output=True, text=True, timeout=300, env=quiet)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.split("\n")[:-1] == ["at once", "0", "at once", "1"]
