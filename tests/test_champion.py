"""Champion brings the newest live version of the push folder into the pipeline, or says that there is none."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx.orchestration import pipeline
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from checkpoint_gate.artifact_files.markers import empty_reason
from checkpoint_gate.champion import Champion
from checkpoint_gate.champion.executor import Executor
from checkpoint_gate.errors import ModelError
from checkpoint_gate.models.weights import weights_digest
from checkpoint_gate.pushed.push_folder import listing_digest
from checkpoint_gate.pushed.push_log import add_to_log, handed_on, withdrawn_from


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """Two SavedModels of different weights."""
    folder = tmp_path_factory.mktemp("models")
    for name, value in (("old", 1.0), ("new", 2.0)):
        module = tf.Module()
        module.model = tf.Module()
        module.model.kernel = tf.Variable([value, value])
        tf.saved_model.save(module, str(folder / name))
    return folder


@pytest.fixture
def push_folder(tmp_path, saved_models):
    """A push folder with the versions 1 (old weights) and 2 (new weights)."""
    folder = tmp_path / "push"
    for version, name in (("1", "old"), ("2", "new")):
        _copy(saved_models / name, folder / version)
    return folder


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    for file in source.rglob("*"):
        if file.is_file():
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / file.relative_to(source)).write_bytes(file.read_bytes())


def run(tmp_path: pathlib.Path, folder: str) -> standard_artifacts.Model:
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "out" / "model")
    os.makedirs(model.uri, exist_ok=True)
    Executor().Do({}, {"model": [model]}, {"push_destination": folder, "push_state": "unused"})
    return model


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_newest_live_version_comes_in_the_layout_of_a_baseline(tmp_path, push_folder, saved_models, scheme):
    (push_folder / "3" / "variables").mkdir(parents=True)  # a version that is still being written
    model = run(tmp_path, f"{scheme}{push_folder}")
    brought = path_utils.serving_model_path(model.uri)
    assert weights_digest(brought) == weights_digest(str(saved_models / "new"))
    assert sorted(os.listdir(brought)) == sorted(os.listdir(push_folder / "2"))
    assert model.get_string_custom_property("pushed_version") == "2"
    assert model.get_string_custom_property("pushed_path") == f"{scheme}{push_folder}/2"
    assert empty_reason(model.uri) is None


def test_a_local_version_is_linked_not_copied(tmp_path, push_folder):
    model = run(tmp_path, str(push_folder))
    brought = os.path.join(path_utils.serving_model_path(model.uri), "saved_model.pb")
    assert os.path.samefile(brought, push_folder / "2" / "saved_model.pb")


def test_where_links_are_impossible_it_is_copied(tmp_path, push_folder, saved_models, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    model = run(tmp_path, str(push_folder))
    assert weights_digest(path_utils.serving_model_path(model.uri)) == weights_digest(str(saved_models / "new"))


@pytest.mark.parametrize("left", ["nothing", "a part"])
def test_a_version_that_vanishes_while_it_is_read_is_a_sentence(tmp_path, push_folder, monkeypatch, left):
    def vanish(target: str) -> None:
        version = push_folder / "2"
        (version / "saved_model.pb").unlink() if left == "a part" else shutil.rmtree(version)

    makedirs = fileio.makedirs
    monkeypatch.setattr(fileio, "makedirs", lambda path: (makedirs(path), vanish(path))[0])
    with pytest.raises(ModelError, match=r"The champion .*/2 vanished while it was read; run again"):
        run(tmp_path, str(push_folder))


def test_a_version_that_vanishes_before_it_is_read_is_a_sentence(tmp_path, push_folder, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.champion.executor.champion_path", lambda folder: f"{folder}/3")
    with pytest.raises(ModelError, match=r"The champion .*/3 vanished while it was read; run again"):
        run(tmp_path, str(push_folder))


def test_without_a_live_version_the_model_is_marked_empty(tmp_path):
    model = run(tmp_path, str(tmp_path / "never pushed"))
    assert empty_reason(model.uri) == f"no champion yet: the push folder {tmp_path}/never pushed holds no live version"
    assert not os.path.exists(path_utils.serving_model_dir(model.uri))


@pytest.mark.parametrize("champion", [True, False])
def test_withdrawn_weights_are_handed_on_with_the_champion_or_without(tmp_path, push_folder, champion):
    add_to_log(str(push_folder), "withdrawn", 3, weights="f" * 64, by=4, reason="wrong prices", time=17.0)
    if not champion:
        shutil.rmtree(push_folder / "1")
        shutil.rmtree(push_folder / "2")
    model = run(tmp_path, str(push_folder))
    assert handed_on(model.uri) == withdrawn_from(str(push_folder))
    assert (empty_reason(model.uri) is None) == champion


def test_without_withdrawals_nothing_is_handed_on(tmp_path, push_folder):
    model = run(tmp_path, str(push_folder))
    assert os.listdir(model.uri) == ["Format-Serving"]
    assert handed_on(model.uri) == ()


def test_what_an_earlier_execution_of_the_same_number_has_left_gives_way(tmp_path, push_folder, saved_models):
    """Numbers begin anew when ML Metadata's database is lost."""
    assert empty_reason(run(tmp_path, str(tmp_path / "nothing was pushed")).uri) is not None
    model = run(tmp_path, str(push_folder))
    assert empty_reason(model.uri) is None
    _copy(saved_models / "old", push_folder / "3")
    weights = weights_digest(path_utils.serving_model_path(run(tmp_path, str(push_folder)).uri))
    assert weights == weights_digest(str(saved_models / "old"))
    assert weights_digest(str(push_folder / "2")) == weights_digest(str(saved_models / "new"))


def test_the_component_takes_the_push_state_as_a_parameter(push_folder):
    component = Champion(push_destination=str(push_folder), push_state=listing_digest(str(push_folder)))
    assert component.id == "Champion"
    assert component.outputs["model"].type is standard_artifacts.Model
    assert component.exec_properties["push_state"] == listing_digest(str(push_folder))
    pipeline.Pipeline("p", "/nowhere", components=[component])
