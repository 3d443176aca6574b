"""What the README shows is what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click import Group

from checkpoint_gate import Store
from gated_pipelines.cli import cli as gated_pipeline

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_pipeline_yaml_is_the_one_of_the_example():
    assert (TOP / "data" / "penguins" / "pipeline.yaml").read_text(encoding="utf-8") in blocks("yaml")


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^(\S+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    named = {
        words[2]
        for block in blocks("console")
        for words in map(str.split, block.splitlines())
        if words[1:2] == ["make"]
    }
    assert {"demo", "test"} <= named <= targets


COMMANDS = [
    line.removeprefix("$ ").partition("  #")[0]
    for block in blocks("console")
    for line in block.splitlines()
    if line.startswith(("$ checkpoint-gate ", "$ gated-pipeline "))
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_it_names_has_these_options(command):
    program, name, *words = shlex.split(command)
    group = gated_pipeline if program == "gated-pipeline" else _group()
    known = {option for parameter in group.commands[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def _group() -> Group:
    from checkpoint_gate import cli

    return next(value for value in vars(cli).values() if isinstance(value, Group))


def test_the_python_that_it_shows_trains_resumes_and_restores(tmp_path, monkeypatch):
    import keras
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    train, restore = blocks("python")
    keras.utils.set_random_seed(1)
    x, vx = np.random.rand(64, 4).astype("float32"), np.random.rand(16, 4).astype("float32")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    names = {"model": model, "x": x, "y": x.sum(axis=1), "vx": vx, "vy": vx.sum(axis=1), "tf": tf}
    exec(train, names)
    run = Store.open("checkpoints").run("first")
    assert len(run.ledger.read().entries) == 40
    last = run.live()[-1]
    before = [v.numpy() for v in model.variables]
    exec(train, names)
    assert len(run.ledger.read().entries) == 40
    assert all((a == v.numpy()).all() for a, v in zip(before, model.variables, strict=True))
    exec(re.sub(r"step-\d+", last.folder.rpartition("/")[2], restore), names)
    assert int(model.optimizer.iterations) == last.step
