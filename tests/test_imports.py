"""What an import brings with it: nothing is loaded before it is needed, and frameworks only where they are used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import checkpoint_gate

FRAMEWORKS = {
    "apache_beam",
    "keras",
    "kfp",
    "matplotlib",
    "numpy",
    "pandas",
    "tensorflow",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tf_keras",
    "tfx",
}
PARSERS = {"msgspec", "pydantic", "ruamel"}
LIGHT = {"checkpoint_gate", "msgspec", "ruamel", "typing_extensions", "xxhash"}  # what the light layers need


def brought(statement):
    """The top-level packages that a fresh interpreter has loaded after `statement`, the standard library's left out."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return set(done.stdout.splitlines()[-1].split()) - sys.stdlib_module_names


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        pytest.param("import checkpoint_gate", FRAMEWORKS | PARSERS | {"click"}, id="the package: nothing at all"),
        pytest.param(
            "from checkpoint_gate import Decision, Record, Gate, parse_rules",
            FRAMEWORKS | {"click"},
            id="the rules: no framework",
        ),
        pytest.param("from checkpoint_gate import Store", FRAMEWORKS | {"click"}, id="the store: no framework"),
        pytest.param(
            "import checkpoint_gate.training.gated_training",
            FRAMEWORKS | {"click"},
            id="a gated training: no framework",
        ),
        pytest.param("from checkpoint_gate import GatedLoop", FRAMEWORKS | {"click"}, id="the loop: no framework"),
        pytest.param(
            "import checkpoint_gate.pushed.papers, checkpoint_gate.pusher.pruning, checkpoint_gate.pusher.rollback",
            FRAMEWORKS | {"click"},
            id="what is done to pushed versions: no framework",
        ),
        pytest.param(
            "import gated_pipelines.running.rollback", FRAMEWORKS, id="the command that goes back: no framework"
        ),
        pytest.param(
            "import gated_pipelines.cli",
            FRAMEWORKS | PARSERS | {"cronsim", "kfp_server_api", "kubernetes", "yaml"},
            id="the pipelines' command line: click and rich only",
        ),
        pytest.param("import checkpoint_gate.cli", FRAMEWORKS | PARSERS, id="the command line: click only"),
        pytest.param(
            "import pkgutil, importlib, checkpoint_gate.cli as cli\n"
            "[importlib.import_module(f'checkpoint_gate.cli.{m.name}') for m in pkgutil.iter_modules(cli.__path__)]",
            FRAMEWORKS,
            id="its commands: no framework",
        ),
    ],
)
def test_a_light_import_brings_no_framework(statement, never):
    packages = brought(statement)
    assert "checkpoint_gate" in packages
    assert not packages & never


def test_a_loop_is_run_without_any_framework(tmp_path):
    packages = brought(
        "import pathlib; from checkpoint_gate import GatedLoop\n"
        f"with GatedLoop({str(tmp_path)!r}, 'save: {{every: 1}}', run='r') as gate:\n"
        "    gate.observe(1, {'loss': 0.5}); gate.save(lambda prefix: pathlib.Path(prefix).write_text('state'))\n"
    )
    assert not packages & FRAMEWORKS


def test_the_callback_brings_keras_and_tensorflow_and_nothing_of_its_own():
    packages = brought("from checkpoint_gate import GatedCheckpoint, TensorFlowState")
    assert packages >= {"keras", "tensorflow", "checkpoint_gate"}
    assert not packages & {"apache_beam", "click", "kfp", "tensorflow_model_analysis", "tensorflow_transform", "tfx"}
    assert packages - brought("import keras, tensorflow") <= LIGHT


# From the ground up: each imports only what stands before it, or beside it on its line.
LAYERS = [
    {"errors", "quantities", "spelling", "brief_errors", "folder_lock", "artifacts"},
    {"rules"},
    {"rule_text", "store"},
    {"suggesting", "training", "uri_files"},
    {"pushed", "models"},
    {"reviewing"},
    {"artifact_files", "report"},
    {"champion", "checkpoint_filter", "cli", "evaluator"},
    {"checkpoint_evaluator", "pusher"},
]
GATE = Path(checkpoint_gate.__file__).parent


def imported(path):
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def parts(names, package):
    """The parts of `package`, its own modules and folders, that are among the names."""
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


def test_each_part_of_the_library_stands_in_one_layer():
    there = {path.stem for path in GATE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(part for layer in LAYERS for part in layer) == sorted(there - {"__init__"})


@pytest.mark.parametrize("layer", range(len(LAYERS)), ids=lambda n: ", ".join(sorted(LAYERS[n])))
def test_imports_lead_downwards_only(layer):
    allowed = set().union(*LAYERS[: layer + 1])
    for part in LAYERS[layer]:
        for path in [GATE / f"{part}.py", *GATE.glob(f"{part}/**/*.py")]:
            names = set(imported(path)) if path.exists() else set()
            public = {f"checkpoint_gate.{name}" for name in checkpoint_gate.__all__} | {"checkpoint_gate.__version__"}
            assert parts(names - public, "checkpoint_gate") <= allowed, path
            assert not parts(names, "gated_pipelines"), path
