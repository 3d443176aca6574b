"""Which versions of a push folder are live, which one is the champion, what its digest notices."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.pushed.push_folder import champion_path, listing_digest, live_versions, next_version
from checkpoint_gate.pushed.push_log import add_to_log


def push(folder: pathlib.Path, version: str, weights: bytes = b"w1", fingerprint: bool = True) -> pathlib.Path:
    """Writes what a pushed version looks like to the reader of the folder."""
    model = folder / version
    (model / "variables").mkdir(parents=True)
    (model / "variables" / "variables.index").write_bytes(b"index of " + weights)
    if fingerprint:
        (model / "fingerprint.pb").write_bytes(b"fingerprint of " + weights)
    (model / "saved_model.pb").write_bytes(b"graph")
    return model


def half_push(folder: pathlib.Path, version: str) -> None:
    (folder / version / "variables").mkdir(parents=True)


@pytest.fixture(params=["local", "through fsspec"])
def uri(request, tmp_path):
    """How the folder is named: as a local path, or as an object store is."""
    return str(tmp_path) if request.param == "local" else f"file://{tmp_path}"


def test_a_folder_that_does_not_exist_has_no_versions(uri):
    assert live_versions(f"{uri}/none") == ()
    assert champion_path(f"{uri}/none") is None
    assert next_version(f"{uri}/none", now=17) == 17


def test_versions_are_ordered_as_numbers_and_the_newest_is_the_champion(uri, tmp_path):
    for version in ("9", "100", "20"):
        push(tmp_path, version)
    assert live_versions(uri) == (9, 20, 100)
    assert champion_path(uri) == f"{uri}/100"


@pytest.mark.parametrize("name", ["0", "-3", "007", "v8", "8.tmp", ".tmp-8-1", "8 ", "²", "9" * 19 + "9"])
def test_only_positive_integers_name_versions(uri, tmp_path, name):
    push(tmp_path, name)
    push(tmp_path, "5")
    assert live_versions(uri) == (5,)


def test_a_half_written_version_is_not_live_but_its_number_is_taken(uri, tmp_path):
    push(tmp_path, "10")
    half_push(tmp_path, "30")
    (tmp_path / "40").write_text("a file, not a version")
    assert champion_path(uri) == f"{uri}/10"
    assert next_version(uri, now=20) == 41


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(200, 200, id="the clock names the version"),
        pytest.param(100, 101, id="a second push in the same second takes the next integer"),
        pytest.param(7, 101, id="a clock that is behind never goes below what is there"),
    ],
)
def test_next_version(uri, tmp_path, now, expected):
    push(tmp_path, "100")
    assert next_version(uri, now) == expected


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: push(folder, "3", b"w3"), id="a push"),
        pytest.param(lambda folder: shutil.rmtree(folder / "2"), id="a rollback"),
        pytest.param(lambda folder: shutil.rmtree(folder / "1"), id="an old version removed"),
        pytest.param(lambda folder: (folder / "2" / "saved_model.pb").unlink(), id="the newest made unreadable"),
        pytest.param(
            lambda folder: (shutil.rmtree(folder / "2"), push(folder, "2", b"w4")), id="the newest replaced in place"
        ),
        pytest.param(
            lambda folder: (shutil.rmtree(folder / "2"), push(folder, "2", b"w4", fingerprint=False)),
            id="replaced by a model without fingerprint",
        ),
    ],
)
def test_the_digest_notices(uri, tmp_path, change):
    push(tmp_path, "1", b"w1")
    push(tmp_path, "2", b"w2")
    before = listing_digest(uri)
    change(tmp_path)
    assert listing_digest(uri) != before


def test_the_digest_notices_withdrawals_and_nothing_else_of_the_log(tmp_path):
    push(tmp_path, "2", b"w2")
    folder = str(tmp_path)
    before = listing_digest(folder)
    add_to_log(folder, "look", 2, time=1.0)
    assert listing_digest(folder) == before
    add_to_log(folder, "withdrawn", 3, weights="f" * 64, by=4, reason="wrong", time=1.0)
    withdrawn = listing_digest(folder)
    assert withdrawn != before
    add_to_log(folder, "withdrawn", 3, weights="f" * 64, by=5, reason="wrong, again", time=2.0)
    assert listing_digest(folder) == withdrawn
    add_to_log(folder, "allowed", 3, weights="f" * 64, time=3.0)
    assert listing_digest(folder) == before


def test_a_number_that_the_log_tells_of_is_taken(uri, tmp_path):
    push(tmp_path, "100")
    add_to_log(str(tmp_path), "withdrawn", 150, weights="f" * 64, by=160, reason="wrong", time=1.0)
    assert next_version(uri, now=20) == 161


def test_the_digest_does_not_notice_times_and_what_is_not_live(uri, tmp_path):
    model = push(tmp_path, "2")
    before = listing_digest(uri)
    os.utime(model / "saved_model.pb", (1, 1))
    half_push(tmp_path, "3")
    (tmp_path / ".tmp-4-77").mkdir()
    assert listing_digest(uri) == before
    assert listing_digest(f"{uri}/none") == listing_digest(f"{uri}/none either")


def test_a_push_folder_below_a_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"The push folder .*/file/models cannot be listed \(Not a directory\)"):
        live_versions(str(tmp_path / "file" / "models"))


def test_a_local_folder_is_read_without_tensorflow(tmp_path):
    push(tmp_path, "1")
    code = (
        "import sys; from checkpoint_gate.pushed.push_folder import listing_digest, champion_path;"
        f"listing_digest({str(tmp_path)!r}); assert champion_path({str(tmp_path)!r}).endswith('/1');"
        "heavy = {'tensorflow', 'tfx', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_object_store_that_cannot_be_listed_is_told(monkeypatch):
    def denied(self, path, **_):
        raise PermissionError("no such right")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.ls", denied)
    with pytest.raises(ConfigError, match=r"The push folder memory://b/models cannot be listed \(no such right\)"):
        live_versions("memory://b/models")
