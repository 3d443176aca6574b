"""Pusher makes a version visible whole, checked and once; or leaves the push folder as it was."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import shutil
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from faults.papers import papers_of
from tfx import types
from tfx.orchestration import pipeline
from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts
from tfx.utils import path_utils, proto_utils

from checkpoint_gate.artifact_files.markers import mark_empty
from checkpoint_gate.errors import ConfigError, ModelError, NotBlessed, StoreError
from checkpoint_gate.models.exporting import write_sample
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.papers import read_papers, write_papers
from checkpoint_gate.pushed.push_folder import live_versions
from checkpoint_gate.pusher import Pusher, uploading
from checkpoint_gate.pusher.executor import Executor
from checkpoint_gate.pusher.publish import exclusive
from checkpoint_gate.pusher.rollback import plan_rollback, plan_undo, roll_back, undo_rollback
from checkpoint_gate.pusher.servable import require_servable
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import ChampionNote, read_champion
from checkpoint_gate.uri_files import copy_file

NOW = 1_760_000_000


def example(x: float) -> bytes:
    feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[x]))}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def export(folder: str, weight: float, signature: str = "serving_default", examples: int = 3, fails: bool = False):
    """Exports a Keras 3 model x -> weight * x, with real examples where the exporter puts them."""
    inputs = keras.Input((1,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    model.set_weights([np.array([[weight]])])
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        if fails:
            tf.debugging.assert_equal(tf.size(examples), -1, message="the vocabulary is missing")
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        return {"y": module.model(parsed["x"]), "name": tf.fill(tf.shape(examples), "linear")}

    tf.saved_model.save(module, folder, signatures={signature: serve})
    if examples:
        os.makedirs(os.path.join(folder, "assets.extra"))
        with tf.io.TFRecordWriter(os.path.join(folder, "assets.extra", "examples.tfrecord")) as writer:
            for x in range(examples):
                writer.write(example(x))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Model artifacts by name."""
    folder = tmp_path_factory.mktemp("models")
    exports = {
        "first": {"weight": 1.0},
        "second": {"weight": 2.0},
        "nan": {"weight": float("nan")},
        "nan without examples": {"weight": float("nan"), "examples": 0},
        "raises": {"weight": 3.0, "fails": True},
        "no signature": {"weight": 3.0, "signature": "other"},
    }
    artifacts = {name: standard_artifacts.Model() for name in [*exports, "damaged", "empty"]}
    for name, model in artifacts.items():
        model.uri = str(folder / name)
    for name, arguments in exports.items():
        export(path_utils.serving_model_dir(artifacts[name].uri), **arguments)
    shutil.copytree(artifacts["first"].uri, artifacts["damaged"].uri)
    with open(os.path.join(path_utils.serving_model_dir(artifacts["damaged"].uri), "saved_model.pb"), "r+b") as file:
        file.truncate(100)
    mark_empty(artifacts["empty"].uri, "every checkpoint was rejected")
    return artifacts


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "push" / "penguins"


@pytest.fixture
def push(models, folder, tmp_path, monkeypatch):
    """Runs the executor at a given time; returns the artifact `pushed_model`."""

    def run(
        name: str,
        now: int = NOW,
        blessed: types.Artifact | bool | None = True,
        to: str | None = None,
        **more: str,
    ) -> types.Artifact:
        monkeypatch.setattr(time, "time", lambda: now + 0.5)
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "out" / str(len(os.listdir(tmp_path))))
        inputs = {"model": [models[name]]}
        if isinstance(blessed, types.Artifact):
            inputs["model_blessing"] = [blessed]
        elif blessed is not None:
            blessing = standard_artifacts.ModelBlessing()
            blessing.set_int_custom_property("blessed", int(blessed))
            inputs["model_blessing"] = [blessing]
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(folder) if to is None else to
        properties = {"push_destination": proto_utils.proto_to_json(destination), **more}
        Executor().Do(inputs, {"pushed_model": [pushed]}, properties)
        return pushed

    return run


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def names(folder: pathlib.Path) -> list[str]:
    return sorted(os.listdir(folder))


def is_pushed(pushed: types.Artifact) -> bool:
    assert pushed.has_custom_property("pushed")
    return bool(pushed.get_int_custom_property("pushed"))


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["by rename", "where there is no rename"])
def test_a_blessed_model_becomes_a_version_that_plain_tensorflow_serves(push, folder, models, scheme):
    pushed = push("first", to=f"{scheme}{folder}")
    assert names(folder) == [str(NOW)]
    serve = tf.saved_model.load(str(folder / str(NOW))).signatures["serving_default"]
    np.testing.assert_array_equal(serve(examples=tf.constant([example(4.0)]))["y"], [[4.0]])
    exported = pathlib.Path(path_utils.serving_model_dir(models["first"].uri))
    assert tree(folder / str(NOW)) == tree(exported) == tree(pathlib.Path(pushed.uri))
    assert is_pushed(pushed)
    assert pushed.get_string_custom_property("pushed_destination") == f"{scheme}{folder}/{NOW}"
    assert pushed.get_string_custom_property("pushed_version") == str(NOW)


@pytest.mark.parametrize(
    ("name", "blessed", "reason"),
    [
        pytest.param("first", False, "the model is not blessed", id="not blessed"),
        pytest.param("empty", True, "every checkpoint was rejected", id="empty though blessed"),
        pytest.param("empty", None, "every checkpoint was rejected", id="empty without any blessing"),
    ],
)
def test_not_pushed(push, folder, name, blessed, reason, caplog):
    caplog.set_level(logging.INFO, logger="checkpoint_gate")
    pushed = push(name, blessed=blessed)
    assert not is_pushed(pushed)
    assert pushed.get_string_custom_property("not_pushed") == reason
    assert not folder.exists()
    assert f"Not pushed: {reason}." in caplog.messages


REFUSED = {"blessed": False, "outcome": "not_blessed", "reason": "loss is 0.5, and may be at most 0.4"}


@pytest.mark.parametrize("wished", ["keep_champion", None], ids=["asked for", "by default"])
def test_a_refused_challenger_leaves_the_run_green(push, folder, tmp_path, wished):
    pushed = push("first", blessed=verdict(tmp_path, **REFUSED), on_not_blessed=wished)
    assert not is_pushed(pushed)
    assert pushed.get_string_custom_property("not_pushed") == "the model is not blessed"


def test_a_refused_challenger_fails_the_run_where_that_is_wished(push, folder, tmp_path):
    words = r"^The model was not blessed, and the champion stays: loss is 0\.5, and may be at most 0\.4\.$"
    with pytest.raises(NotBlessed, match=words):
        push("first", blessed=verdict(tmp_path, **REFUSED), on_not_blessed="fail")
    assert not folder.exists()


@pytest.mark.parametrize("outcome", ["already_champion", "no_candidate"])
def test_where_nobody_was_refused_the_run_does_not_fail(push, tmp_path, outcome):
    blessing = verdict(tmp_path, **REFUSED | {"outcome": outcome})
    assert not is_pushed(push("first", blessed=blessing, on_not_blessed="fail"))


def test_the_store_is_told_what_is_in_production(push, folder, with_papers, tmp_path):
    store = Store(tmp_path / "runs" / "store").create()
    push(with_papers("first").uri, root=str(tmp_path / "runs"), store="store")
    papers = read_papers(folder / str(NOW))
    assert read_champion(store.files) == ChampionNote(papers.run, papers.step, str(NOW))


def test_a_store_that_cannot_be_told_takes_no_push_back(push, folder, tmp_path, caplog):
    store = Store(tmp_path / "runs" / "store").create()
    (tmp_path / "runs" / "store" / "champion.json").write_text("{")
    assert is_pushed(push("first", root=str(tmp_path / "runs"), store="store"))
    assert names(folder) == [str(NOW)]
    assert f"The store {store.root} was not told" in caplog.text


def test_where_there_is_no_store_nobody_is_told(push, tmp_path, caplog):
    assert is_pushed(push("first", root=str(tmp_path / "runs"), store="store"))
    assert "not told" not in caplog.text


def test_without_a_blessing_channel_the_model_is_pushed_as_stock_does(push, folder):
    assert is_pushed(push("first", blessed=None))
    assert live_versions(str(folder)) == (NOW,)


def test_the_same_weights_are_not_pushed_twice(push, folder, caplog):
    caplog.set_level(logging.INFO, logger="checkpoint_gate")
    push("first")
    assert not is_pushed(push("first", now=NOW + 60))
    assert names(folder) == [str(NOW)]
    assert f"Not pushed: {folder}/{NOW} has the same weights." in caplog.messages


def test_a_damaged_champion_is_replaced(push, folder, caplog):
    push("first")
    (folder / str(NOW) / "variables" / "variables.index").write_bytes(b"damaged")
    assert is_pushed(push("first", now=NOW + 60))
    assert live_versions(str(folder)) == (NOW, NOW + 60)
    assert any(message.startswith("The champion is damaged: ") for message in caplog.messages)


@pytest.mark.parametrize(
    ("hiccup", "words"),
    [
        pytest.param(PermissionError(13, "Access Denied"), "Access Denied", id="a right that is missing"),
        pytest.param(OSError(110, "Connection timed out"), "Connection timed out", id="no answer in time"),
        pytest.param(OSError(28, "No space left on device"), "No space left on device", id="no room for a copy"),
        pytest.param(OSError(None, "the copy has 3 bytes, and k 4"), "the copy has 3 bytes", id="a copy cut short"),
    ],
)
def test_a_champion_that_cannot_be_reached_is_not_pushed_again(push, folder, monkeypatch, hiccup, words):
    def fails(source, target):
        raise hiccup

    bucket = f"file://{folder}"
    push("first", to=bucket)
    with monkeypatch.context() as patch:
        patch.setattr("checkpoint_gate.uri_files.copy_file", fails)
        with pytest.raises(
            StoreError, match=rf"The weights of the SavedModel in {bucket}/{NOW} cannot be reached.*{words}"
        ):
            push("first", now=NOW + 60, to=bucket)
    assert not is_pushed(push("first", now=NOW + 120, to=bucket))
    assert live_versions(bucket) == (NOW,)


def test_a_champion_of_which_a_file_is_gone_is_replaced(push, folder):
    push("first")
    (folder / str(NOW) / "variables" / "variables.index").unlink()
    assert is_pushed(push("first", now=NOW + 60))


def test_a_local_champion_that_may_not_be_read_is_not_pushed_again(push, folder, monkeypatch):
    def refused(path, *arguments, **options):
        if str(path).startswith(f"{folder}/{NOW}/variables/"):
            raise PermissionError(13, "Permission denied", path)
        return open(path, *arguments, **options)

    push("first")
    monkeypatch.setattr("checkpoint_gate.models.weights.open", refused, raising=False)
    with pytest.raises(StoreError, match=r"cannot be reached \(Permission denied\)"):
        push("first", now=NOW + 60)
    assert live_versions(str(folder)) == (NOW,)


def test_weights_of_an_older_version_can_be_pushed_again(push, folder):
    for seconds, name in enumerate(["first", "second", "first"]):
        assert is_pushed(push(name, now=NOW + seconds))
    assert live_versions(str(folder)) == (NOW, NOW + 1, NOW + 2)


@pytest.mark.parametrize(
    ("now", "version"),
    [
        pytest.param(NOW + 5, NOW + 5, id="the clock names the version"),
        pytest.param(NOW, NOW + 1, id="a push in the same second takes the next integer"),
        pytest.param(NOW - 3600, NOW + 1, id="a clock that is behind never hides a push"),
    ],
)
def test_version(push, folder, now, version):
    push("first")
    push("second", now=now)
    assert live_versions(str(folder)) == (NOW, version)


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["by rename", "where there is no rename"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("nan", r"output y of serving_default is not finite on real examples", id="NaN"),
        pytest.param("raises", r"serving_default fails on real examples.*the vocabulary is missing", id="raises"),
        pytest.param("no signature", r"has no signature serving_default", id="no signature"),
        pytest.param("damaged", r"The model does not load, so it is not pushed", id="damaged graph"),
    ],
)
def test_a_model_that_cannot_serve_leaves_the_push_folder_as_it_was(push, folder, name, message, scheme):
    push("second")
    before = tree(folder)
    with pytest.raises(ModelError, match=message) as raised:
        push(name, now=NOW + 1, to=f"{scheme}{folder}")
    assert "\n" not in str(raised.value)
    assert tree(folder) == before
    assert names(folder) == [str(NOW)]


def test_without_examples_the_model_only_has_to_load(push, folder):
    assert is_pushed(push("nan without examples"))


@pytest.mark.parametrize("below", ["", "models"])
def test_a_push_folder_that_cannot_be_written_is_a_sentence(push, tmp_path, below):
    (tmp_path / "file").write_text("precious")
    target = os.path.join(tmp_path, "file", below)
    with pytest.raises(ConfigError, match=r"Nothing was pushed: the push folder .*file.* cannot be made or written"):
        push("first", to=target)
    assert (tmp_path / "file").read_text() == "precious"


def verdict(tmp_path: pathlib.Path, **more: object) -> types.Artifact:
    """A blessing with a verdict."""
    blessing = standard_artifacts.ModelBlessing()
    blessing.uri = str(tmp_path / "blessing")
    os.makedirs(blessing.uri, exist_ok=True)
    said = {"blessed": True, "outcome": "blessed", "reason": "every threshold holds", "first_run": True, **more}
    (tmp_path / "blessing" / "verdict.json").write_text(json.dumps(said))
    blessing.set_int_custom_property("blessed", int(said["blessed"]))
    return blessing


@pytest.fixture
def with_papers(models, tmp_path):
    """Model artifacts with papers, made of others."""

    def make(name: str, content: bytes | None = None) -> types.Artifact:
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / f"{name} with papers")
        shutil.copytree(models[name].uri, model.uri)
        serving = path_utils.serving_model_dir(model.uri)
        write_papers(serving, papers_of())
        if content is not None:
            pathlib.Path(serving, "assets.extra", "checkpoint_gate.json").write_bytes(content)
        models[model.uri] = model
        return model

    yield make
    for uri in [key for key in models if key.startswith(str(tmp_path))]:
        del models[uri]


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["by rename", "where there is no rename"])
def test_the_pushed_copy_s_papers_say_how_it_was_pushed(push, folder, with_papers, tmp_path, scheme):
    push("second")
    held = {"best": f"{folder}/{NOW}", "improves_on_best": False}
    blessing = verdict(tmp_path, candidate_metrics={"auc": 0.9}, champion_metrics={"auc": 0.8}, **held)
    pushed = push(with_papers("first").uri, now=NOW + 60, blessed=blessing, to=f"{scheme}{folder}")
    papers = read_papers(folder / str(NOW + 60))
    assert papers.model_copy(update={"push": None}) == papers_of()
    assert papers.push.model_dump() == {
        "version": NOW + 60,
        "time": NOW + 60.5,
        "weights": weights_digest(str(folder / str(NOW + 60))),
        "replaces": NOW,
        "blessing": {
            "blessed": True,
            "outcome": "blessed",
            "reason": "every threshold holds",
            "first_run": True,
            "candidate_metrics": {"auc": 0.9},
            "champion_metrics": {"auc": 0.8},
            **held,
        },
        "rollback": None,
        "best": NOW,
    }
    assert tree(folder / str(NOW + 60)) == tree(pathlib.Path(pushed.uri))


def test_the_artifact_that_was_handed_in_stays_as_it_was(push, with_papers):
    model = with_papers("first")
    before = tree(pathlib.Path(model.uri))
    push(model.uri)
    assert tree(pathlib.Path(model.uri)) == before


@pytest.mark.parametrize(
    ("blessed", "blessing"),
    [pytest.param(True, None, id="blessed by another Evaluator"), pytest.param(None, None, id="pushed unblessed")],
)
def test_without_a_verdict_the_papers_have_none(push, folder, with_papers, tmp_path, monkeypatch, blessed, blessing):
    monkeypatch.chdir(tmp_path)
    push(with_papers("first").uri, blessed=blessed)
    papers = read_papers(folder / str(NOW))
    assert (papers.push.blessing, papers.push.replaces) == (blessing, None)


def test_papers_of_an_earlier_version_are_pushed_as_they_are(push, folder, with_papers, caplog):
    push(with_papers("first", b'{"format": 1}').uri)
    assert (folder / str(NOW) / "assets.extra" / "checkpoint_gate.json").read_bytes() == b'{"format": 1}'
    assert "They are pushed as they are." in caplog.text


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["by rename", "where there is no rename"])
def test_after_a_rollback_the_withdrawn_weights_are_not_pushed_again(push, folder, models, caplog, scheme):
    caplog.set_level(logging.INFO, logger="checkpoint_gate")
    for seconds, name in enumerate(["first", "second"]):
        push(name, now=NOW + seconds)
    target = f"{scheme}{folder}"
    with exclusive(target):
        plan = plan_rollback(target, None, NOW + 60)
        roll_back(plan, "wrong prices", NOW + 60.0, require_servable)
    assert weights_digest(str(folder / str(NOW + 60))) == weights_digest(
        path_utils.serving_model_dir(models["first"].uri)
    )
    assert not is_pushed(push("second", now=NOW + 120, to=target))
    words = f"Not pushed: version {NOW + 1} with the same weights was withdrawn on 2025-10-09 08:54 UTC: wrong prices."
    assert words in caplog.messages
    with exclusive(target):
        assert undo_rollback(plan_undo(target, NOW + 180), "it was fine", NOW + 180.0, require_servable)
    assert live_versions(str(folder)) == (NOW, NOW + 1, NOW + 60, NOW + 180)
    assert not is_pushed(push("second", now=NOW + 240, to=target))
    assert f"Not pushed: {target}/{NOW + 180} has the same weights." in caplog.messages


def test_a_damaged_log_of_the_push_folder_stops_a_push(push, folder):
    (folder / ".checkpoint-gate").mkdir(parents=True)
    (folder / ".checkpoint-gate" / "log.jsonl").write_text("[]\n")
    with pytest.raises(StoreError, match=r"log\.jsonl line 1"):
        push("first")
    assert live_versions(str(folder)) == ()


OUTPUTS = {
    "regression": lambda x: {"prediction": x},
    "binary": lambda x: {"probability": tf.sigmoid(x)},
    "multiclass": lambda x: {"probabilities": tf.nn.softmax(tf.concat([x, -x, x], 1)), "class": tf.cast(x, tf.int64)},
}


def export_outputs(folder: str, outputs, examples: int | None = 3) -> None:
    """Exports a model that answers with `outputs` of x; without the file of examples where it is None."""
    module = tf.Module()
    module.scale = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        return outputs(module.scale * parsed["x"])

    tf.saved_model.save(module, folder, signatures={"serving_default": serve})
    if examples is not None:
        write_sample(folder, [example(float(x)) for x in range(examples)])


@pytest.mark.parametrize("task", OUTPUTS)
def test_models_of_every_task_are_asked(task, tmp_path):
    export_outputs(str(tmp_path / "fine"), OUTPUTS[task])
    require_servable(str(tmp_path / "fine"))

    def broken(x):
        return {name: value / tf.zeros_like(value) for name, value in OUTPUTS[task](x).items() if name != "class"}

    export_outputs(str(tmp_path / "broken"), broken)
    with pytest.raises(ModelError, match=r"is not finite on real examples, so it is not pushed"):
        require_servable(str(tmp_path / "broken"))


@pytest.mark.parametrize(
    ("outputs", "shape"),
    [
        pytest.param(lambda x: {"y": tf.reduce_mean(x)}, r"\(\)", id="one number for all examples"),
        pytest.param(lambda x: {"y": x[:1]}, r"\(1, 1\)", id="one row for all examples"),
    ],
)
def test_an_answer_that_is_not_one_row_an_example_is_refused(outputs, shape, tmp_path):
    export_outputs(str(tmp_path), outputs)
    with pytest.raises(ModelError, match=rf"must have one row an example.* Received: shape {shape} for 3 examples"):
        require_servable(str(tmp_path))


@pytest.mark.parametrize("examples", [pytest.param(None, id="no file"), pytest.param(0, id="an empty file")])
def test_without_examples_to_ask_a_model_only_has_to_load_and_that_is_told(examples, tmp_path, caplog):
    export_outputs(str(tmp_path), OUTPUTS["regression"], examples)
    require_servable(str(tmp_path))
    assert "carries no examples: it loads, but was not asked for a prediction" in caplog.text


def test_a_destination_that_names_no_folder_is_a_sentence(models):
    pushed = standard_artifacts.PushedModel()
    with pytest.raises(ConfigError, match=r"must name a filesystem\.base_directory\. Received: nothing"):
        Executor().Do({"model": [models["first"]]}, {"pushed_model": [pushed]}, {"push_destination": None})


@pytest.mark.parametrize("broken", ["rename", "fsync"])
def test_a_failure_in_the_middle_leaves_nothing(push, folder, monkeypatch, broken):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(ConfigError, match=r"\(No space left on device\)"):
            push("first")
    assert not folder.exists() or names(folder) == []
    assert is_pushed(push("first"))


def test_a_push_that_was_killed_is_invisible_and_the_next_one_cleans_up(push, folder, monkeypatch):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process tidies nothing
        with pytest.raises(KeyboardInterrupt):
            push("first")
    assert names(folder) == [f".tmp-{NOW}-{os.getpid()}"]
    assert live_versions(str(folder)) == ()
    for name in (".tmp-99-1", ".tmp-mine", "tmp-99-1", "README"):
        (folder / name).mkdir()
    push("first")
    assert names(folder) == sorted([str(NOW), ".tmp-mine", "tmp-99-1", "README"])


def test_where_there_is_no_rename_a_killed_push_is_not_live_and_its_number_is_not_used_again(push, folder, monkeypatch):
    def killed_at_the_graph(source: str, target: str) -> None:
        if target.endswith("saved_model.pb"):
            raise KeyboardInterrupt
        copy_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(uploading, "copy_file", killed_at_the_graph)
        with pytest.raises(KeyboardInterrupt):
            push("first", to=f"file://{folder}")
    assert (folder / str(NOW) / "variables" / "variables.index").exists()
    assert live_versions(str(folder)) == ()
    push("first", to=f"file://{folder}")
    assert live_versions(str(folder)) == (NOW + 1,)


def test_every_file_and_folder_is_on_disk_before_the_version_is_visible(push, folder, monkeypatch):
    synced: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(handle: int) -> None:
        synced.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def record_rename(source: str, target: str) -> None:
        expected = {os.path.join(parent, name) for parent, _, files in os.walk(source) for name in ["", *files]}
        assert {os.path.normpath(path) for path in expected} <= set(synced)
        synced.clear()
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    push("first")
    assert synced == [str(folder)]


def test_a_new_push_folder_is_on_disk_with_all_the_folders_above_it(folder, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.path.realpath(f"/proc/self/fd/{handle}")))
    place = folder / "new" / "models"
    with exclusive(str(place)):
        assert synced[-2:] == [str(folder), str(folder / "new")]


def test_pushes_of_one_machine_wait_for_each_other(folder):
    with exclusive(str(folder)):
        started = os.fork()
        if started == 0:  # the child reports in its exit code whether it got in
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(started, 0)[1]) == 7


def test_what_is_pushed_has_the_winners_weights(push, folder, models):
    push("second")
    winner = path_utils.serving_model_dir(models["second"].uri)
    assert weights_digest(str(folder / str(NOW))) == weights_digest(winner)


def test_weights_that_cannot_be_read_are_a_sentence(models, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(path_utils.serving_model_dir(models["first"].uri), model)
    data = next((model / "variables").glob("variables.data*"))
    data.write_bytes(data.read_bytes()[:1])
    for broken in (model, tmp_path / "none"):
        with pytest.raises(ModelError, match=rf"The weights of the SavedModel in {broken} cannot be read"):
            weights_digest(str(broken))


def test_the_component_keeps_its_id(folder):
    component = Pusher(
        model=channel.Channel(type=standard_artifacts.Model),
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder))
        ),
    )
    assert component.id == "Pusher"
    assert component.executor_spec.executor_class is Executor
    pipeline.Pipeline("p", "/nowhere", components=[component])
