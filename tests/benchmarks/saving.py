"""What saving costs training, and what resuming costs, beside TensorFlow's own checkpoints and Orbax.

    save_stall_…          how long training stands still when a background save begins, the one before being done
    save_sync_…           a synchronous save, durable when it returns: state, checksums, manifest and record; against
                          tf.train.CheckpointManager, which syncs nothing and keeps only the newest. `epoch_end` is
                          what GatedCheckpoint's epoch takes, with the state to resume from, and one that goes
    restore_400mb         resuming: lease, ledger, checksums and all; against tf.train.Checkpoint.read
    save_lost_time_50mb   what a save takes from training on one core in all, however far behind it goes on
    growth_save           the synchronous save over the size of what is saved

The model is eight dense layers with Adam; the sizes are those of its checkpoint. Peers of the same size take turns with
us within one process, but for `save_lost_time_50mb`, for which each side has a process of its own on a core of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from compared.sides import in_turn, line

LAYERS = 8
GOALS = ("1mb", "50mb", "400mb")
SIZES = {"1mb": 1, "10mb": 10, "50mb": 50, "150mb": 150, "400mb": 400}  # MB, of 1e6 bytes
QUICK_SIZES = {"1mb": 0.05, "10mb": 0.1, "50mb": 0.2, "150mb": 0.3, "400mb": 0.4}
LOST = {"n": 3, "pairs": 10, "seconds": 0.6, "mb": 50.0}  # runs of a side; pieces of training in each, and their length
QUICK_LOST = {"n": 1, "pairs": 1, "seconds": 0.01, "mb": 0.2}
RULES = "save: {every: 1}\nkeep: {last: 1}"
PEERS = Path(__file__).parents[2] / ".venv-peers/bin/python"
Seconds = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=7, help="how often each side is run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: only to see that it runs")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)  # a process of its own: what, its folder, its input
    arguments = parser.parse_args()
    if arguments.side is not None:
        what, folder, given = arguments.side
        print(json.dumps(_SIDES[what](Path(folder), **json.loads(given))))
        return
    more = {"quick": True} if arguments.quick else {}
    with tempfile.TemporaryDirectory(prefix="saving-") as folder:
        for text in lines(Path(folder), 1 if arguments.quick else arguments.n, arguments.quick, more):
            print(text, flush=True)


def lines(folder: Path, n: int, quick: bool, more: dict[str, Any]) -> Iterator[str]:
    taken = {}
    for name, size in (QUICK_SIZES if quick else SIZES).items():
        rounds = n if name in GOALS else min(n, 3)
        taken[name] = side("one_size", folder / name, {"mb": size, "n": rounds})
        words = {"variables": taken[name]["variables"], "bytes": taken[name]["bytes"], **more}
        if name in GOALS:
            yield _line(f"save_stall_{name}", taken[name], "stall", "tf", **words)
            yield _line(
                f"save_sync_{name}", taken[name], "sync", "tf", epoch_end=_ms(taken[name]["epoch_end"]), **words
            )
        if name == "400mb":
            yield _line(f"restore_{name}", taken[name], "restore", "tf_read", **words)
    yield _growth(taken, more)
    lost = QUICK_LOST if quick else LOST | {"n": min(n, LOST["n"])}
    yield _lost(folder, lost, more)


def _line(name: str, taken: dict[str, Any], ours: str, peer: str, **detail: Any) -> str:
    return line(name, "ms", _ms(taken[ours]), _ms(taken[peer]), **detail)


def _growth(taken: dict[str, Any], more: dict[str, Any]) -> str:
    def curve(side: str) -> list[list[float]]:
        return [[each["bytes"] / 1e6, statistics.median(_ms(each[side]))] for each in taken.values()]

    words = {"over": "MB in a checkpoint", "ours": curve("sync"), "peer": curve("tf")}
    largest = list(taken.values())[-1]
    return _line("growth_save", largest, "sync", "tf", curve=words, stalls=curve("stall"), **more)


def _lost(folder: Path, lost: dict[str, Any], more: dict[str, Any]) -> str:
    given = {key: value for key, value in lost.items() if key != "n"}

    def run(name: str, number: int) -> dict[str, float]:
        return side(f"lost_{name}", folder / f"lost-{name}-{number}", given, PEERS if name == "orbax" else None)

    names = ["ours", "tf", *(["orbax"] if PEERS.exists() else [])]
    taken = in_turn(lost["n"], {name: partial(run, name) for name in names})
    ours, peer = ([run["lost"] * 1e3 for run in taken[name]] for name in ("ours", "tf"))
    orbax = [run["lost"] * 1e3 for run in taken.get("orbax", ())]
    against = {"orbax": orbax, "to_orbax": statistics.median(ours) / statistics.median(orbax)} if orbax else {}
    return line("save_lost_time_50mb", "ms", ours, peer, **against, processes=taken, **more)


def _ms(seconds: list[float]) -> list[float]:
    return [round(1e3 * each, 4) for each in seconds]


def side(what: str, folder: Path, given: dict[str, Any], python: Path | None = None) -> dict[str, Any]:
    """What a process of its own says."""
    folder.mkdir()
    command = [str(python or sys.executable), __file__, "--side", what, str(folder), json.dumps(given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# In processes of their own.


def one_size(folder: Path, mb: float, n: int) -> dict[str, Any]:
    """Seconds that training stood still, n times for each way to save; and to restore."""
    import tensorflow as tf

    from checkpoint_gate import GatedCheckpoint, Store, TensorFlowState, parse_rules
    from checkpoint_gate.rules.records import Record
    from checkpoint_gate.training.gated_training import GatedTraining

    model, train = keras_model(mb)
    own = {saving: GatedCheckpoint(folder / saving, RULES, "run", saving=saving) for saving in _KINDS}
    for gate in own.values():
        gate.set_model(model)
        gate.set_params({"epochs": None, "steps": 1})
        gate.on_train_begin()
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "tf"), max_to_keep=1)
    state = TensorFlowState(checkpoint)
    plain = GatedTraining(Store(folder / "sync"), parse_rules("save: {every: 1}"), "run", saving="synchronous")
    plain.begin(None)

    def save(epoch: int) -> None:
        record = Record(epoch, epoch, {"loss": 0.5})
        plain.commit(record, plain.observe(record), state, resumable=False)

    taken: dict[str, list[float]] = {kind: [] for kind in ("stall", "epoch_end", "sync", "tf", "restore", "tf_read")}
    for epoch in range(n + 2):  # names are learnt at the first
        for kind, gate in own.items():
            gate.on_epoch_begin(epoch)
            gate.on_train_batch_begin(0)
            logs = {"loss": train()}
            taken[_KINDS[kind]].append(_seconds(partial(gate.on_epoch_end, epoch, logs)))
            _until_written(folder / kind, epoch)
        train()
        taken["sync"].append(_seconds(partial(save, epoch)))
        train()
        taken["tf"].append(_seconds(manager.save))
        os.sync()  # what the peer has left to the kernel is no burden on the next round
    plain.finish(None)
    for gate in own.values():
        gate.on_train_end()
    newest = manager.latest_checkpoint

    def read(prefix: str) -> None:
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).read(prefix).expect_partial()

    for _ in range(n + 1):
        again = GatedCheckpoint(folder / "background", RULES, "run")
        taken["restore"].append(_seconds(partial(again.resume, model, None)))
        again.close()
        taken["tf_read"].append(_seconds(partial(read, newest)))
    size = sum(path.stat().st_size for path in Path(newest).parent.glob(f"{Path(newest).name}.data*"))
    count = len(model.variables) + len(model.optimizer.variables)
    return {name: each[-n:] for name, each in taken.items()} | {"bytes": size, "variables": count}


_KINDS = {"background": "stall", "synchronous": "epoch_end"}


def _until_written(store: Path, epoch: int) -> None:
    """Waits for what goes on behind training: the state, its record, and what it takes the place of."""
    while True:
        states = [each.name for each in store.glob("run/*/step-*")]
        if len(states) == 2 and len(set(states)) == 1 and int(states[0][5:]) > epoch:
            time.sleep(0.05)
            return
        time.sleep(0.005)


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def keras_model(mb: float) -> tuple[Any, Callable[[], float]]:
    """A model whose checkpoint has so many megabytes, and what trains it by a step and answers with the loss."""
    import keras
    import numpy as np

    width = _width(mb)
    model = keras.Sequential([keras.Input((width,)), *(keras.layers.Dense(width) for _ in range(LAYERS))])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    x = np.random.default_rng(0).standard_normal((_BATCH, width)).astype("float32")
    return model, lambda: float(model.train_on_batch(x, x))


_BATCH = 64


def _width(mb: float) -> int:
    return max(4, int((mb * 1e6 / (3 * 4 * LAYERS)) ** 0.5))  # weights and two slots, of float32


def lost_ours(folder: Path, **given: Any) -> Seconds:
    """GatedLoop."""
    _on_one_core()
    import tensorflow as tf

    from checkpoint_gate import GatedLoop, TensorFlowState

    model, train = keras_model(given["mb"])
    state = TensorFlowState(tf.train.Checkpoint(model=model, optimizer=model.optimizer))
    with GatedLoop(folder, RULES, "run") as gate:
        gate.resume(state.read)

        def save(number: int) -> None:
            gate.observe(number, {"loss": 0.5}, epoch=number, at="epoch")
            gate.save(state)

        return _lost_by(train, save, **given)


def lost_tf(folder: Path, **given: Any) -> Seconds:
    """tf.train.CheckpointManager, which syncs nothing to the disk."""
    _on_one_core()
    import tensorflow as tf

    model, train = keras_model(given["mb"])
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model, optimizer=model.optimizer), str(folder), max_to_keep=1
    )
    return _lost_by(train, lambda number: manager.save(), **given)


def lost_orbax(folder: Path, **given: Any) -> Seconds:
    """Orbax's CheckpointManager as it comes, asynchronous, with the same layers and Adam in jax."""
    _on_one_core()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp
    import numpy as np
    import orbax.checkpoint as ocp

    width = _width(given["mb"])
    x = np.random.default_rng(0).standard_normal((_BATCH, width)).astype("float32")
    weights = [(np.eye(width, dtype="float32"), np.zeros(width, "float32")) for _ in range(LAYERS)]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    held = [(jax.tree.map(jnp.asarray, weights), zeros, jax.tree.map(jnp.copy, zeros), jnp.ones(()))]

    def loss(weights: Any, x: Any) -> Any:
        y = x
        for kernel, bias in weights:
            y = y @ kernel + bias
        return jnp.mean((y - x) ** 2)

    @jax.jit
    def step(state: Any, x: Any) -> Any:
        weights, mean, square, count = state
        gradient = jax.grad(loss)(weights, x)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradient)
        weights = jax.tree.map(lambda w, m, v: w - 1e-3 * m / (jnp.sqrt(v) + 1e-7), weights, mean, square)
        return weights, mean, square, count + 1

    def train() -> None:
        held[0] = jax.block_until_ready(step(held[0], x))

    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)
    with ocp.CheckpointManager(folder / "orbax", options=options) as manager:

        def save(number: int) -> None:
            manager.save(number, args=ocp.args.StandardSave(dict(enumerate(held[0]))))

        return _lost_by(train, save, **given)


def _on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _lost_by(train: Callable[[], Any], save: Callable[[int], Any], mb: float, pairs: int, seconds: float) -> Seconds:
    """What a save takes away: pieces of training with one at their beginning, minus the same without, in turn.

    A piece is long enough for what goes on behind training to end within it. The median of the pairs is taken, and of
    the processor's time too, which others at work on the machine disturb less.
    """
    train()
    steps = max(2, round(seconds / min(_seconds(train) for _ in range(3))))
    for number in range(2):  # the first saves are not like the others
        save(number + 1)
        for _ in range(steps):
            train()
    lost, worked, plain = [], [], []
    for number in range(pairs):
        began = time.perf_counter(), time.process_time()
        save(number + 3)
        for _ in range(steps):
            train()
        saved = time.perf_counter(), time.process_time()
        for _ in range(steps):
            train()
        ended = time.perf_counter(), time.process_time()
        lost.append((saved[0] - began[0]) - (ended[0] - saved[0]))
        worked.append((saved[1] - began[1]) - (ended[1] - saved[1]))
        plain.append((ended[0] - saved[0]) / steps)
    medians = [statistics.median(each) for each in (lost, worked, plain)]
    return {"lost": medians[0], "cpu": medians[1], "step": medians[2], "steps": steps}


_SIDES: dict[str, Callable[..., dict[str, Any]]] = {
    "one_size": one_size,
    "lost_ours": lost_ours,
    "lost_tf": lost_tf,
    "lost_orbax": lost_orbax,
}


if __name__ == "__main__":
    main()
