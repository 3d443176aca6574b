"""The compiled penguins pipeline, rehearsed whole in both modes, beside a run of the same table by LocalDagRunner.

Takes minutes: `make rehearse` runs it, the other tests leave it out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PENGUINS = Path(__file__).parents[1] / "data" / "penguins"
MODES = ("open-source", "vertex")
TASKS = {
    "CsvExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer",
    "CheckpointFilter", "CheckpointEvaluator", "Champion", "Evaluator", "Pusher",
}  # fmt: skip
CLOSE = 1e-4  # Transform's scales differ by 1e-8 from one execution to the next, and 40 epochs build on them

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(1800)]


def gated_pipeline(*words):
    """The last line of what the command prints, as JSON; whatever it tells a person is shown."""
    code = "from gated_pipelines.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, (words, done.stdout)
    return done.stdout.splitlines()[-1] if done.stdout else ""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("rehearsals")


@pytest.fixture(scope="module")
def compiled(home):
    file = home / "penguins.yaml"
    root = "gs://example-bucket/penguins"
    gated_pipeline("compile", PENGUINS / "pipeline.yaml", "--image", "example/image:1", "--root", root, "-o", file)
    gated_pipeline("lint", file)
    return file


@pytest.fixture(scope="module", params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def rehearsed(home, compiled, mode):
    data = PENGUINS / "penguins.csv"
    return json.loads(
        gated_pipeline("rehearse", compiled, "--root", home / mode, "--data", data, "--mode", mode, "--json")
    )


@pytest.fixture(scope="module")
def local(home):
    return json.loads(gated_pipeline("run", PENGUINS / "pipeline.yaml", "--root", home / "local", "--json"))


def test_every_task_is_done_at_once(rehearsed, mode):
    assert {task["name"]: (task["state"], task["attempts"]) for task in rehearsed["tasks"]} == dict.fromkeys(
        TASKS, ("done", 1)
    )
    assert rehearsed["mode"] == mode


def test_it_ends_with_a_pushed_model(rehearsed, home, mode):
    assert rehearsed["outcome"] == "pushed", rehearsed["reason"]
    assert rehearsed["blessed"]
    assert Path(rehearsed["pushed"]).parent == home / mode / "serving"
    assert Path(rehearsed["store"]) == home / mode / "store"


def test_all_lies_below_its_root(rehearsed, home, mode):
    uris = [uri for outputs in rehearsed["outputs"].values() for uri in outputs.values()]
    assert all(Path(uri).is_relative_to(home / mode / "artifacts") for uri in uris)
    assert all(Path(task["log"]).is_relative_to(home / mode / "rehearsal") for task in rehearsed["tasks"])


def test_the_winner_is_that_of_a_local_run(rehearsed, local):
    assert rehearsed["winner"]["step"] == local["winner"]["step"]
    assert (rehearsed["epochs"], rehearsed["saved"]) == (local["epochs"], local["saved"])
    ours, theirs = ({one["step"]: one["metrics"] for one in run["survivors"]} for run in (rehearsed, local))
    assert ours.keys() == theirs.keys()
    for step, metrics in ours.items():
        assert metrics == pytest.approx(theirs[step], abs=CLOSE), step


def test_the_pushed_weights_are_those_of_a_local_run(rehearsed, local):
    ours, theirs = weights(rehearsed["pushed"]), weights(local["pushed"])
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], atol=CLOSE, err_msg=name)


def weights(model):
    """Every variable of a SavedModel that holds numbers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(Path(model) / "variables" / "variables"))
    found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    return {name: value for name, value in found.items() if np.issubdtype(np.asarray(value).dtype, np.floating)}
