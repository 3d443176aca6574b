"""Store and push folder on S3, artifacts on the disk: Trainer, CheckpointFilter, Pusher, Champion and a rollback.

S3 is an emulator on loopback, reached by the real driver; TensorFlow knows nothing of it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import fsspec
import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from faults.crowd import Crowd
from loopback_s3 import loopback_s3, new_bucket
from tfx.orchestration import data_types
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts
from tfx.utils import path_utils, proto_utils

from checkpoint_gate import CheckpointFilter, CheckpointSet, GatedCheckpoint, Pusher, Store
from checkpoint_gate.artifact_files.checkpoint_set import read_about, read_set
from checkpoint_gate.artifact_files.markers import empty_reason
from checkpoint_gate.artifact_files.pointer import RunPointer
from checkpoint_gate.champion import Champion
from checkpoint_gate.champion.executor import Executor as ChampionExecutor
from checkpoint_gate.checkpoint_filter.executor import Executor as FilterExecutor
from checkpoint_gate.errors import ConfigError, ModelError, RuleError, StoreError
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.push_folder import listing_digest, live_versions
from checkpoint_gate.pushed.push_log import handed_on, withdrawn_from
from checkpoint_gate.pusher import uploading
from checkpoint_gate.pusher.executor import Executor as PusherExecutor
from checkpoint_gate.store.object_files import ObjectFiles
from checkpoint_gate.store.trash import trashed
from checkpoint_gate.training.saving import Behind
from checkpoint_gate.uri_files import copy_file
from gated_pipelines.cli import cli

NOW = 1_790_002_000
X = np.random.default_rng(0).random((32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
HALF = "{metric: val_loss, at_most: 0.5}"


@pytest.fixture(scope="module", autouse=True)
def server():
    with loopback_s3() as url:
        yield url


@pytest.fixture
def root():
    """A place in a new bucket."""
    return f"s3://{new_bucket()}/penguins"


def driver():
    return fsspec.filesystem("s3", use_listings_cache=False)


# Training


def fit(store: str, epochs: int, stop_at: int | None = None, after: threading.Event | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    model.build((None, 4))
    model.compile(keras.optimizers.Adam(0.01), "mse")

    def interrupt(epoch, logs=None):
        if epoch == stop_at:
            assert after is None or after.wait(10)
            raise KeyboardInterrupt

    gate = GatedCheckpoint(store, "{save: {metric: val_loss, at_most: 100.0}, keep: {last: 2}}", run="first")
    calls = [keras.callbacks.LambdaCallback(on_epoch_begin=interrupt), gate]
    model.fit(X, Y, epochs=epochs, callbacks=calls, validation_data=(X, Y), shuffle=False, verbose=0)
    return model


@pytest.fixture
def still_writing(monkeypatch):
    """Stops the writing of step 3's state in the middle, until the next training clears up or waits for it."""
    copy, clear, settle = ObjectFiles._copy_file, ObjectFiles.clear_unfinished, Behind.settle
    copied, cleared = threading.Event(), threading.Event()

    def stop_after(self, source, target):
        copy(self, source, target)
        if "step-000000003/" in target and not copied.is_set():
            copied.set()
            assert cleared.wait(10)

    def clear_up(self, *arguments):
        clear(self, *arguments)
        if copied.is_set() and arguments[0].endswith("/resume") and not cleared.is_set():
            cleared.set()
            time.sleep(0.5)

    def wait_for(self):
        if copied.is_set():
            cleared.set()
        settle(self)

    monkeypatch.setattr(Behind, "settle", wait_for)
    monkeypatch.setattr(ObjectFiles, "_copy_file", stop_after)
    monkeypatch.setattr(ObjectFiles, "clear_unfinished", clear_up)
    return copied


def test_a_training_into_the_bucket_is_resumed_to_the_same_weights(root, tmp_path, still_writing):
    with pytest.raises(KeyboardInterrupt):
        fit(f"{root}/store", 5, stop_at=3, after=still_writing)
    resumed, whole = fit(f"{root}/store", 5), fit(str(tmp_path / "store"), 5)
    for one, other in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    run = Store.open(f"{root}/store").run("first")
    assert [entry.record.epoch for entry in run.ledger.read().entries] == [0, 1, 2, 3, 4]
    assert [stored.step for stored in run.live()] == [4, 5]


# CheckpointFilter


def model_run(folder: Path, store: str, key: str) -> standard_artifacts.ModelRun:
    artifact = standard_artifacts.ModelRun()
    artifact.uri = str(folder)
    folder.mkdir()
    RunPointer(store, key).write(folder)
    return artifact


def filtered(tmp_path: Path, store: str, rules: str, **properties) -> CheckpointSet:
    survivors = CheckpointSet()
    survivors.uri = str(tmp_path / "survivors")
    FilterExecutor().Do(
        {"model_run": [model_run(tmp_path / "model_run", store, "run")]},
        {"survivors": [survivors]},
        {"rules": rules, "on_no_survivors": "fail"} | properties,
    )
    return survivors


def test_survivors_come_verified_to_the_disk_and_the_rejected_go_from_the_bucket(root, tmp_path, clock):
    run = Crowd(f"{root}/store", clock).run([0.9, 0.4, 0.6, 0.3])
    survivors = filtered(tmp_path, f"{root}/store", f"filter: {HALF}\nprune: {{grace: 1h}}")
    found = read_set(Path(survivors.uri))
    assert [survivor.manifest.step for survivor in found] == [2, 4]
    assert Path(found[0].prefix + ".data-00000-of-00001").read_bytes() == b"2," * 40
    assert [stored.step for stored in run.live()] == [2, 4]
    assert sorted(stored.step for stored in trashed(run)) == [1, 3]
    assert read_about(Path(survivors.uri))["prune_refused"] == ""


def test_the_filter_takes_what_it_needs_of_a_whole_rule_text(root, tmp_path, clock):
    Crowd(f"{root}/store", clock).run([0.9, 0.4])
    rules = f"save: {{metric: loss, at_most: 1}}\nkeep: {{last: 3}}\nfilter: {HALF}\nprune: {{grace: 1h}}"
    about = read_about(Path(filtered(tmp_path, f"{root}/store", rules).uri))
    assert '"save"' not in about["rules"]
    assert (about["kept"], about["rejected"]) == (1, 1)


def test_the_filter_refuses_a_rule_text_without_a_filter_when_it_runs(root, tmp_path, clock):
    Crowd(f"{root}/store", clock).run([0.9, 0.4])
    with pytest.raises(RuleError, match="needs rules with the section `filter`"):
        filtered(tmp_path, f"{root}/store", "save: {metric: loss, at_most: 1}")


def test_a_survivor_that_is_damaged_in_the_bucket_is_none(root, tmp_path, clock):
    run = Crowd(f"{root}/store", clock).run([0.4, 0.3])
    driver().pipe(f"{run.files.place(run.gated.path(2))}/ckpt.index", b"other bytes")
    survivors = filtered(tmp_path, f"{root}/store", f"filter: {HALF}\nprune: {{grace: 1h}}")
    assert [survivor.manifest.step for survivor in read_set(Path(survivors.uri))] == [1]


# The push folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model artifacts of different weights by name, each with examples to ask it."""
    artifacts = {}
    for name, weight in (("first", 1.0), ("second", 2.0), ("not finite", float("nan"))):
        model = artifacts[name] = standard_artifacts.Model()
        model.uri = str(tmp_path_factory.mktemp("model"))
        _export(path_utils.serving_model_dir(model.uri), weight)
    return artifacts


def _export(folder: str, weight: float) -> None:
    module = tf.Module()
    module.model = tf.Module()
    module.model.kernel = tf.Variable([weight])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        return {"y": tf.fill(tf.shape(examples), 1.0) * module.model.kernel}

    tf.saved_model.save(module, folder, signatures={"serving_default": serve})
    os.makedirs(os.path.join(folder, "assets.extra"))
    with tf.io.TFRecordWriter(os.path.join(folder, "assets.extra", "examples.tfrecord")) as writer:
        writer.write(tf.train.Example().SerializeToString())


@pytest.fixture
def push(models, tmp_path, monkeypatch):
    """Runs Pusher's executor; returns the artifact `pushed_model`."""

    def run(name: str, properties: dict, now: int = NOW):
        monkeypatch.setattr("time.time", lambda: now + 0.5)
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed" / str(now))
        PusherExecutor().Do({"model": [models[name]]}, {"pushed_model": [pushed]}, properties)
        return pushed

    return run


def to(folder: str) -> dict:
    """The stock form of a push destination."""
    destination = pusher_pb2.PushDestination()
    destination.filesystem.base_directory = folder
    return {"push_destination": proto_utils.proto_to_json(destination)}


def champion(tmp_path: Path, **properties) -> standard_artifacts.Model:
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "champion")
    os.makedirs(model.uri)
    ChampionExecutor().Do({}, {"model": [model]}, {"push_state": "", **properties})
    return model


def test_what_is_pushed_to_the_bucket_is_the_champion_with_the_same_weights(root, push, models, tmp_path):
    digest = listing_digest(f"{root}/serving")
    pushed = push("first", {"push_folder": "serving", "root": root})
    assert pushed.get_string_custom_property("pushed_destination") == f"{root}/serving/{NOW}"
    assert listing_digest(f"{root}/serving") != digest
    brought = champion(tmp_path, push_destination="serving", root=f"{root}/")
    assert brought.get_string_custom_property("pushed_path") == f"{root}/serving/{NOW}"
    local = path_utils.serving_model_path(brought.uri)
    assert weights_digest(local) == weights_digest(f"{root}/serving/{NOW}")
    assert tf.saved_model.load(local).signatures["serving_default"] is not None


@pytest.mark.parametrize("form", ["stock", "by itself"])
def test_the_same_weights_are_not_pushed_twice_and_others_are(root, push, form):
    properties = to(f"{root}/serving") if form == "stock" else {"push_folder": f"{root}/serving", "root": "/nowhere"}
    push("first", properties)
    push("first", properties, NOW + 1)
    assert live_versions(f"{root}/serving") == (NOW,)
    push("second", properties, NOW + 2)
    assert live_versions(f"{root}/serving") == (NOW, NOW + 2)


def test_before_the_first_push_the_champion_is_marked_empty(root, tmp_path):
    brought = champion(tmp_path, push_destination="serving", root=root)
    assert empty_reason(brought.uri) == f"no champion yet: the push folder {root}/serving holds no live version"


def test_a_model_that_cannot_serve_is_not_uploaded(root, push):
    with pytest.raises(ModelError, match="is not finite on real examples"):
        push("not finite", to(f"{root}/serving"))
    assert driver().find(root) == []


@pytest.mark.parametrize(
    ("spoilt", "left"),
    [
        pytest.param("variables.index", "other files", id="a part that differs"),
        pytest.param("saved_model.pb", "no graph", id="the last file differs"),
    ],
)
def test_a_version_that_did_not_arrive_whole_is_not_live(root, push, monkeypatch, spoilt, left):
    def copy_spoilt(source: str, target: str) -> None:
        copy_file(source, target)
        if target.endswith(spoilt):
            driver().pipe(target, b"?" * driver().size(target))

    with monkeypatch.context() as patch:
        patch.setattr(uploading, "copy_file", copy_spoilt)
        with pytest.raises(
            ConfigError, match=rf"Nothing was pushed: .* \(the copy {root}/serving/{NOW}/.* differs from"
        ):
            push("first", to(f"{root}/serving"))
    assert live_versions(f"{root}/serving") == ()
    assert not driver().exists(f"{root}/serving/{NOW}/saved_model.pb")
    push("first", to(f"{root}/serving"))
    assert live_versions(f"{root}/serving") == (NOW + 1,)


def test_a_champion_that_vanishes_while_it_is_read_is_a_sentence(root, push, tmp_path, monkeypatch):
    push("first", to(f"{root}/serving"))
    monkeypatch.setattr("checkpoint_gate.champion.executor.champion_path", lambda folder: f"{folder}/17")
    with pytest.raises(ModelError, match=r"The champion s3://.*/17 vanished while it was read; run again"):
        champion(tmp_path, push_destination=f"{root}/serving")


def test_a_push_folder_in_a_bucket_that_is_not_there_is_a_sentence(push):
    with pytest.raises(ConfigError, match=r"Nothing was pushed: the push folder s3://no-such-bucket/serving cannot be"):
        push("first", to("s3://no-such-bucket/serving"))


def test_a_rollback_in_the_bucket_publishes_the_version_before_and_withdraws(root, push, tmp_path):
    folder = f"{root}/serving"
    push("first", to(folder))
    push("second", to(folder), NOW + 5)
    done = CliRunner().invoke(cli, ["rollback", folder, "--reason", "wrong prices"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"Version {NOW} is published again as version" in done.output
    *before, newest = live_versions(folder)
    assert before == [NOW, NOW + 5]
    assert weights_digest(f"{folder}/{newest}") == weights_digest(f"{folder}/{NOW}")
    assert [(each.version, each.reason) for each in withdrawn_from(folder)] == [(NOW + 5, "wrong prices")]
    assert handed_on(champion(tmp_path, push_destination=folder).uri) == withdrawn_from(folder)
    push("second", to(folder), newest + 10)
    assert live_versions(folder)[-1] == newest
    undone = CliRunner().invoke(cli, ["rollback", folder, "--undo"], catch_exceptions=False)
    assert undone.exit_code == 0, undone.output
    assert withdrawn_from(folder) == ()


# Wiring


def parameter(name: str) -> data_types.RuntimeParameter:
    return data_types.RuntimeParameter(name=name, ptype=str)


def test_folders_and_rules_can_be_told_when_the_compiled_pipeline_is_run(tmp_path):
    folders = {"root": parameter("root")}
    components = [
        Champion(push_destination=parameter("push_folder"), push_state="", **folders),
        CheckpointFilter(model_run=channel.Channel(type=standard_artifacts.ModelRun), rules=parameter("rules")),
        Pusher(model=channel.Channel(type=standard_artifacts.Model), push_folder=parameter("push_folder"), **folders),
    ]
    given = [sorted(n for n, v in component.exec_properties.items() if v is not None) for component in components]
    assert given == [
        ["push_destination", "push_state", "root"],
        ["on_no_survivors", "rules", "store_revision"],
        ["custom_config", "push_folder", "root"],
    ]
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image="x", use_pipeline_spec_2_1=True)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config, str(tmp_path), "pipeline.yaml")
    pusher = Pusher(model=components[0].outputs["model"], push_folder=parameter("push_folder"), root=parameter("root"))
    runner.run(tfx_pipeline.Pipeline("p", "s3://b/artifacts", components=[components[0], pusher]))
    text = (tmp_path / "pipeline.yaml").read_text()
    assert text.count("componentInputParameter: push_folder") == 2
    assert text.count("componentInputParameter: root") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({}, "exactly one of push_destination and push_folder. Received: neither", id="no folder"),
        pytest.param(
            {"push_folder": "a", "push_destination": pusher_pb2.PushDestination()}, "Received: both", id="two folders"
        ),
        pytest.param(
            {"push_destination": pusher_pb2.PushDestination(), "root": "s3://b"},
            "Pusher's root goes with push_folder",
            id="a root for the stock form",
        ),
    ],
)
def test_a_pusher_with_another_number_of_folders_is_refused_when_it_is_built(arguments, said):
    with pytest.raises(ConfigError, match=said):
        Pusher(model=channel.Channel(type=standard_artifacts.Model), **arguments)


def test_a_driver_that_is_missing_is_a_sentence_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StoreError, match=r"gs://b/serving needs a driver .* it comes with checkpoint-gate\[gs\]\."):
        live_versions("gs://b/serving")
