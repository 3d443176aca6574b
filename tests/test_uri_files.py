"""Files on a disk and behind URLs, by one set of functions."""

from __future__ import annotations

import fsspec
import pytest

from checkpoint_gate.errors import StoreError
from checkpoint_gate.uri_files import below, copy_below, copy_file, files_below, read_file, write_file


def test_a_bare_name_lies_where_the_process_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_file("bare", b"x")
    copy_file("bare", "copy")
    assert read_file("copy") == b"x"


@pytest.mark.parametrize("key", ["/uri/model/../../x", "/uri/model/sub/../../../x", "/uri/model/./x"])
def test_a_key_that_leads_out_of_its_folder_is_refused_and_nothing_is_copied(tmp_path, monkeypatch, key):
    disk = fsspec.filesystem("memory")
    disk.pipe_file("/uri/model/file", b"right")
    # Object stores take any text for a key.
    monkeypatch.setattr(
        type(disk), "find", lambda self, root, detail: {key: {"size": 1}, "/uri/model/file": {"size": 5}}
    )
    with pytest.raises(StoreError, match="which leads elsewhere on a disk"):
        files_below("memory://uri/model")
    with pytest.raises(StoreError, match="which leads elsewhere on a disk"):
        copy_below("memory://uri/model", str(tmp_path / "a" / "b" / "c"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("root", "place", "expected"),
    [
        pytest.param("gs://b/x", "store", "gs://b/x/store", id="below a bucket"),
        pytest.param("gs://b/x/", "store", "gs://b/x/store", id="one slash between them"),
        pytest.param("/srv/x", "a/b", "/srv/x/a/b", id="below a folder"),
        pytest.param("gs://b/x", "s3://c/y", "s3://c/y", id="a URL is itself"),
        pytest.param("gs://b/x", "/srv", "/srv", id="an absolute path is itself"),
        pytest.param(None, "a", "a", id="without a root"),
    ],
)
def test_a_place_below_a_root(root, place, expected):
    assert below(root, place) == expected
