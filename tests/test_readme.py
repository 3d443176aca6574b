"""What the README shows is what there is."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click import Group

from checkpoint_gate import GatedCheckpoint, Store, parse_rules
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
    program, *words = shlex.split(command)
    named = gated_pipeline if program == "gated-pipeline" else _group()
    while isinstance(named, Group):
        named = named.commands[words.pop(0)]
    known = {option for parameter in named.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def _group() -> Group:
    from checkpoint_gate import cli

    return next(value for value in vars(cli).values() if isinstance(value, Group))


def test_the_demo_ends_with_the_line_that_it_shows():
    """The commands are on nobody's PATH after the demo; its last line is one that works."""
    (demo,) = re.findall(r"^demo:.*\n((?:\t.*\n)+)", (TOP / "Makefile").read_text(), re.MULTILINE)
    (transcript,) = [block for block in blocks("console") if block.startswith("$ make demo\n")]
    assert demo.splitlines()[-1] == f'\t@echo "{transcript.splitlines()[-1]}"'


def test_the_first_command_about_the_demo_puts_the_commands_on_the_path():
    first = next(block for block in blocks("console") if "checkpoint-gate" in block and "make demo" not in block)
    assert first.startswith("$ source .venv/bin/activate\n")


def python(words):
    """The Python block that holds `words`."""
    (block,) = [block for block in blocks("python") if words in block]
    return block


def test_the_python_that_it_shows_trains_resumes_and_restores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train, restore = python("GatedCheckpoint("), python("tf.train.Checkpoint(")
    names = {}  # as a reader has it who pastes the blocks: nothing is there before the first
    exec(train, names)
    run = Store.open("checkpoints").run("first")
    assert len(run.ledger.read().entries) == 40
    before = [v.numpy() for v in names["model"].variables]
    exec(train, names)
    assert len(run.ledger.read().entries) == 40
    model = names["model"]  # another one, as in another process
    assert all((a == v.numpy()).all() for a, v in zip(before, model.variables, strict=True))
    exec(restore, names)
    best = min((entry.record for entry in run.ledger.read().saved), key=lambda record: record.metrics["val_loss"])
    assert model.evaluate(names["vx"], names["vy"], verbose=0) == pytest.approx(best.metrics["val_loss"], rel=1e-5)


RECIPES = [
    (name, rules, callback)
    for rules, callback, name in re.findall(
        r"^```yaml\n(.*?)^```\n\n^```python\n(class (\w+).*?)^```",
        README.partition("## Three classic recipes\n")[2],
        re.DOTALL | re.MULTILINE,
    )
]


def coming_from():
    """The rows of the table, each with the name of the library."""
    table = README.partition("\n| there | here | what differs |\n")[2].partition("\n\n")[0]
    library = ""
    for line in table.splitlines()[1:]:
        there, here, differs = (cell.strip() for cell in line.strip("|").split("|"))
        if not here:
            library = there.replace("*", "")
        else:
            yield library, there, here, differs


TEXTS = [
    pytest.param(text, id=f"{library}, {there}: {text}")
    for library, there, here, _ in coming_from()
    for text in re.findall(r"`([^`]+)`", here)
    if ":" in text
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_rule_text_of_the_table_is_read_and_written_back(text):
    rules = parse_rules(text)
    assert parse_rules(rules.to_json()) == rules


def test_every_cell_of_the_table_is_a_rule_text_or_says_what_else():
    others = {code for _, _, here, _ in coming_from() for code in re.findall(r"`([^`]+)`", here) if ":" not in code}
    assert others == {"every_n_steps=100", "checkpoint-gate pin", "unpin", "checkpoint_gate", "INFO"}
    assert len(TEXTS) > 18
    assert {library.split()[0] for library, *_ in coming_from()} == {"Keras", "Orbax", "Lightning", "tf.estimator"}


KERAS = {  # option of ModelCheckpoint in the table -> the arguments that make it
    "save_best_only=True": {"save_best_only": True},
    "save_best_only=False": {},
    "initial_value_threshold": {"save_best_only": True, "initial_value_threshold": 0.4},
}


def beside(option):
    """The rule texts beside an option of Keras, by the first row that has it."""
    cell = next(here for library, there, here, _ in coming_from() if library.startswith("Keras") and option in there)
    return "\n".join(text for text in re.findall(r"`([^`]+)`", cell) if ":" in text)


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    """Name -> the epochs (or steps) at which the rules saved, and at which what they replace did, all in one training.

    Its losses go down, but not at every epoch: the learning rate is too high.
    """
    import keras

    folder = tmp_path_factory.mktemp("fit")
    names, callbacks = {"keras": keras, "math": math, "np": np}, []
    for name, rules, callback in RECIPES:
        exec(callback.replace('f"', f'f"{folder}/{name}-'), names)
        callbacks += [names[name](), GatedCheckpoint(folder / "store", rules, run=name)]
    for option, arguments in KERAS.items():
        path = f"{folder}/{option}-by-{{epoch}}.weights.h5"
        theirs = keras.callbacks.ModelCheckpoint(path, "val_loss", mode="min", save_weights_only=True, **arguments)
        callbacks += [theirs, GatedCheckpoint(folder / "store", beside(option), run=option.replace("=", "-"))]
    path = f"{folder}/steps-{{epoch}}-{{batch}}.weights.h5"
    rules = beside("save_freq=100").replace("100", "5")
    callbacks += [keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=5)]
    callbacks += [GatedCheckpoint(folder / "store", rules, run="steps", every_n_steps=5)]

    keras.utils.set_random_seed(4)
    x = np.random.rand(48, 4).astype("float32")
    y = x.sum(axis=1, keepdims=True) + 0.3 * np.random.randn(48, 1).astype("float32")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.08), "mse")
    data = {"validation_data": (x[32:], y[32:]), "batch_size": 4}
    model.fit(x[:32], y[:32], epochs=20, verbose=0, callbacks=callbacks, **data)

    def rules_saved(name):
        entries = Store.open(folder / "store").run(name.replace("=", "-")).ledger.read().entries
        return [entry.record.epoch for entry in entries if entry.decision.save]

    def callback_saved(name, first):
        return sorted(int(re.findall(r"-(\d+)\.", path.name)[0]) - first for path in folder.glob(f"{name}-*"))

    steps = [e.record.step for e in Store.open(folder / "store").run("steps").ledger.read().entries if e.decision.save]
    batches = [map(int, re.findall(r"\d+", path.name)[:2]) for path in folder.glob("steps-*")]
    recipes = {"steps": (steps, sorted(8 * (epoch - 1) + batch for epoch, batch in batches))}
    recipes |= {name: (rules_saved(name), callback_saved(name, 0)) for name, _, _ in RECIPES}
    return recipes | {option: (rules_saved(option), callback_saved(option, 1)) for option in KERAS}


@pytest.mark.parametrize("name", ["SaveLowestLoss", "SaveLowestOfBoth", "SaveLowMean"])
def test_each_recipe_saves_at_the_epochs_of_the_callback_that_it_replaces(name, epochs):
    by_rules, by_hand = epochs[name]
    assert by_rules == by_hand
    assert 2 < len(by_rules) < 18


def test_no_two_recipes_save_at_the_same_epochs(epochs):
    assert len({tuple(epochs[name][0]) for name, _, _ in RECIPES}) == len(RECIPES) == 3


@pytest.mark.parametrize("option", KERAS)
def test_the_rules_beside_an_option_of_model_checkpoint_save_at_its_epochs(option, epochs):
    by_rules, by_keras = epochs[option]
    assert by_rules == by_keras
    assert 2 < len(by_rules) < 18 or (option, len(by_rules)) == ("save_best_only=False", 20)


def test_the_rules_beside_save_freq_save_at_its_steps(epochs):
    by_rules, by_keras = epochs["steps"]
    assert by_rules == by_keras == [*range(5, 161, 5)]


def test_every_heading_of_its_own_that_it_links_is_there():
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert len(links) > 5
    assert set(links) <= anchors(README)


def test_every_page_that_it_links_is_there():
    links = re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", README)
    assert len(links) > 5
    for path, heading in links:
        assert (TOP / path).exists(), path
        if heading:
            assert heading in anchors((TOP / path).read_text(encoding="utf-8")), heading


@pytest.mark.parametrize("page", sorted((TOP / "components" / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for path, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
        assert not path or (page.parent / path).exists(), path
        assert not heading or path or heading in anchors(text), heading


def anchors(text):
    """Headings as GitHub links them: lower case, spaces as hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
