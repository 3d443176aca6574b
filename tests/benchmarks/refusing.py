"""What refusing costs the training thread, beside Keras' own callbacks, and that it does not grow with the history.

refused_epoch    GatedCheckpoint's part of an epoch's end at which three rules over 1,000 records refuse, and the
                 state to resume from is not due; against ModelCheckpoint(save_best_only=True) that does not save
step_hook        the hook at a batch's end at which nothing is due; against that of an empty callback of Keras
growth_records   microseconds that deciding about a record takes after so many step records; against the same after
                 the fewest
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from compared.sides import line

RULES = """
save:
  all:
    - {metric: val_loss, at_most: 0.1}
    - {metric: loss, moving_average: 5, at_most: 0.1}
    - {metric: val_loss, improves: min, min_delta: 0.001}
"""
HISTORY = 1_000
CALLS = 200  # in a run, of which the median is taken
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
PIECES, PIECE = 51, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=5, help="how often each side is run")
    parser.add_argument("--quick", action="store_true", help="short histories, once: only to see that it runs")
    arguments = parser.parse_args()
    more = {"quick": True} if arguments.quick else {}
    for text in lines(1 if arguments.quick else arguments.n, arguments.quick, more):
        print(text, flush=True)


def lines(n: int, quick: bool, more: dict[str, Any]) -> Iterator[str]:
    history = 10 if quick else HISTORY
    yield _growth((10, 20) if quick else LENGTHS, more)
    with tempfile.TemporaryDirectory(prefix="refusing-") as folder:
        yield from _hooks(Path(folder), n, history, more)


def _growth(lengths: tuple[int, ...], more: dict[str, Any]) -> str:
    curve = [[length, each] for length, each in _records(lengths)]
    first, last = curve[0][1], curve[-1][1]
    words = {"over": "records in the ledger", "ours": curve, "peer": [[length, first] for length in lengths]}
    return line("growth_records", "us", [last], [first], curve=words, beside="the smallest ledger", **more)


def _records(lengths: tuple[int, ...]) -> Iterator[tuple[int, float]]:
    """So many step records decided about, and the microseconds that the next ones take each: the median of pieces."""
    from checkpoint_gate.rule_text.rule_set import parse_rules
    from checkpoint_gate.rules.records import Record

    gate = parse_rules(RULES).save
    assert gate is not None
    running = gate.start()
    draw = random.Random(0)
    step = 0

    def decide() -> None:
        nonlocal step
        step += 1
        running.decide(Record(step, 0, {"loss": draw.uniform(0.2, 1), "val_loss": draw.uniform(0.2, 1)}, "step"))

    for length in lengths:
        while step < length:
            decide()
        taken = []
        for _ in range(PIECES):
            began = time.perf_counter()
            for _ in range(PIECE):
                decide()
            taken.append(1e6 * (time.perf_counter() - began) / PIECE)
        yield length, statistics.median(taken)


def _hooks(folder: Path, n: int, history: int, more: dict[str, Any]) -> Iterator[str]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from checkpoint_gate import GatedCheckpoint
    from checkpoint_gate.rules.records import Record
    from checkpoint_gate.training.gated_training import GatedTraining

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    gate = GatedCheckpoint(folder / "store", RULES, "run", every_n_steps=10**9)
    peer = keras.callbacks.ModelCheckpoint(str(folder / "peer.keras"), monitor="val_loss", save_best_only=True)
    empty = keras.callbacks.Callback()
    for callback in (gate, peer, empty):
        callback.set_model(model)
        callback.set_params({"epochs": None, "steps": 1, "verbose": 0})
    gate.on_train_begin()
    logs = {"loss": 0.5, "val_loss": 0.5}
    peer.on_epoch_end(0, {"loss": 0.1, "val_loss": 0.1})  # saves; nothing after it does
    gate.on_epoch_begin(0)
    hooks = {
        "ours": _per_call(lambda batch: gate.on_train_batch_end(batch, logs)),
        "peer": _per_call(lambda batch: empty.on_train_batch_end(batch, logs)),
        "begin": _per_call(lambda batch: gate.on_train_batch_begin(batch, logs)),
        "checkpoint": _per_call(lambda batch: peer.on_train_batch_end(batch, logs)),
    }
    hook = {name: [measure() for _ in range(n)] for name, measure in hooks.items()}
    words = {
        "beside": "an empty callback",
        "on_train_batch_begin": hook["begin"],
        "ModelCheckpoint": hook["checkpoint"],
    }
    yield line("step_hook", "us", hook["ours"], hook["peer"], **words, **more)
    gate.close()

    training: GatedTraining = GatedCheckpoint(folder / "store", RULES, "epochs").training
    training.begin(None)
    step = 0

    def refused() -> None:
        nonlocal step
        step += 1
        record = Record(step, step, dict(logs), "epoch", time.time())
        decision = training.observe(record)
        training.note(record, decision)

    for _ in range(history):
        refused()
    taken: dict[str, list[float]] = {"ours": [], "peer": [], "decision": []}
    running = training._gate.start()
    for _ in range(n):
        taken["ours"].append(_median_of(refused))
        taken["peer"].append(_median_of(lambda: peer.on_epoch_end(1, logs)))
        record = Record(step, step, logs)
        taken["decision"].append(_median_of(lambda record=record: running.decide(record)))
    training.finish(None)
    said = {
        "history": history,
        "rules": 3,
        "decision": taken["decision"],
        "ledger": "written behind, fsynced, in order",
    }
    yield line("refused_epoch", "us", taken["ours"], taken["peer"], **said, **more)


def _per_call(hook: Callable[[int], Any]) -> Callable[[], float]:
    """Microseconds of a call, the loop's own included."""

    def measure() -> float:
        began = time.perf_counter()
        for batch in range(10_000):
            hook(batch)
        return (time.perf_counter() - began) * 100

    return measure


def _median_of(call: Callable[[], Any]) -> float:
    """The median of many calls, in microseconds, with a moment between them as there is between epochs."""
    taken = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        taken.append(1e6 * (time.perf_counter() - began))
        time.sleep(0.002)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
