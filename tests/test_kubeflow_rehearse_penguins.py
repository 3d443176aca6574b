"""The compiled penguins pipeline, rehearsed whole in both modes, beside a run of the same table by LocalDagRunner.

Like open source below a root in a bucket, on a server on loopback. Like Vertex AI below a folder, from a file whose
defaults would give another model, or none: the run's parameters say what the local run's pipeline.yaml says.

Takes minutes: `make rehearse` runs it, the other tests leave it out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from loopback_s3 import loopback_s3, new_bucket
from ruamel.yaml import YAML

from checkpoint_gate.uri_files import copy_below

PENGUINS = Path(__file__).parents[1] / "data" / "penguins"
MODES = ("open-source", "vertex")
TASKS = {
    "CsvExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer",
    "CheckpointFilter", "CheckpointEvaluator", "Champion", "Evaluator", "Pusher",
}  # fmt: skip
CLOSE = 1e-4  # Transform's scales differ by 1e-8 from one execution to the next, and 40 epochs build on them

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(1800)]


class Place(NamedTuple):
    """Where a rehearsal is.

    Attributes:
      root: what takes the place of the compiled root.
      push: what the models are pushed to, as this process reaches it.
      logs: a folder that they are in.
    """

    root: str
    push: str
    logs: Path


def gated_pipeline(folder, *words):
    """The last line of what the command prints, as JSON; whatever it tells a person is shown."""
    code = "from gated_pipelines.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert done.returncode == 0, (words, done.stdout)
    return done.stdout.splitlines()[-1] if done.stdout else ""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("rehearsals")


def compiled(folder, pipeline):
    """A pipeline.yaml, compiled and without fault."""
    file = folder / f"{pipeline.parent.name}.yaml"
    root = "gs://example-bucket/penguins"
    gated_pipeline(folder, "compile", pipeline, "--image", "example/image:1", "--root", root, "-o", file)
    gated_pipeline(folder, "lint", file)
    return file


@pytest.fixture(scope="module", params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def place(home, mode):
    if mode == "vertex":
        root = str(home / mode)
        yield Place(root, f"{root}/models", home / mode / "rehearsal")
        return
    with loopback_s3():
        bucket = new_bucket()
        logs = home / "runs" / "rehearsals" / "penguins"
        yield Place(f"minio://{bucket}/penguins", f"s3://{bucket}/penguins/serving", logs)


def other_defaults(home):
    """The pipeline.yaml with other values wherever a run's parameters have theirs, and tables by span beside it."""
    folder = home / "other"
    folder.mkdir()
    text = (PENGUINS / "pipeline.yaml").read_text()
    for old, new in (
        ("csv: penguins.csv", 'csv: "penguins-{SPAN}.csv"'),
        ("epochs: 40,", "epochs: 1,"),
        ("at_most: 0.40}", "at_most: 0.0001}"),
        ("{folder: serving}", "{folder: elsewhere}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "pipeline.yaml").write_text(text)
    head, *rows = (PENGUINS / "penguins.csv").read_text().splitlines(True)
    (folder / "penguins-1.csv").write_text("".join([head, *rows]))
    (folder / "penguins-2.csv").write_text("".join([head, *rows[::2]]))
    return folder / "pipeline.yaml"


@pytest.fixture(scope="module")
def rehearsed(home, mode, place):
    words = ["--root", place.root, "--mode", mode, "--json"]
    if mode == "open-source":
        file, data = compiled(home, PENGUINS / "pipeline.yaml"), PENGUINS / "penguins.csv"
    else:
        pipeline = other_defaults(home)
        file, data = compiled(home, pipeline), pipeline.parent / "penguins-{SPAN}.csv"
        rules = YAML(typ="safe").load(PENGUINS / "pipeline.yaml")["rules"]
        for given in ("epochs=40", "span=1", "push_folder=models", f"rules={json.dumps(rules)}"):
            words += ["-p", given]
    return json.loads(gated_pipeline(home, "rehearse", file, "--data", data, *words))


@pytest.fixture(scope="module")
def local(home):
    return json.loads(gated_pipeline(home, "run", PENGUINS / "pipeline.yaml", "--root", home / "local", "--json"))


def test_every_task_is_done_at_once(rehearsed, mode):
    assert {task["name"]: (task["state"], task["attempts"]) for task in rehearsed["tasks"]} == dict.fromkeys(
        TASKS, ("done", 1)
    )
    assert rehearsed["mode"] == mode


def test_it_ends_with_a_pushed_model(rehearsed, place):
    assert rehearsed["outcome"] == "pushed", rehearsed["reason"]
    assert rehearsed["blessed"]
    assert rehearsed["pushed"].rpartition("/")[0] == place.push
    assert rehearsed["store"] == f"{place.root}/store"


def test_all_lies_below_its_root(rehearsed, place):
    uris = [uri for outputs in rehearsed["outputs"].values() for uri in outputs.values()]
    assert all(uri.startswith(f"{place.root}/artifacts/") for uri in uris)
    assert all(Path(task["log"]).is_relative_to(place.logs) for task in rehearsed["tasks"])


def test_the_winner_is_that_of_a_local_run(rehearsed, local):
    assert rehearsed["winner"]["step"] == local["winner"]["step"]
    assert (rehearsed["epochs"], rehearsed["saved"]) == (local["epochs"], local["saved"])
    ours, theirs = ({one["step"]: one["metrics"] for one in run["survivors"]} for run in (rehearsed, local))
    assert ours.keys() == theirs.keys()
    for step, metrics in ours.items():
        assert metrics == pytest.approx(theirs[step], abs=CLOSE), step


def test_the_pushed_weights_are_those_of_a_local_run(rehearsed, local, tmp_path):
    copy_below(rehearsed["pushed"], str(tmp_path / "model"))
    ours, theirs = weights(tmp_path / "model"), weights(local["pushed"])
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
