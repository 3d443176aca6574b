"""How much of the disk a root holds, and what removing files gives back."""

from __future__ import annotations

import os

import pytest

from gated_pipelines.disk.usage import DiskUsage, bytes_freed, disk_used


def write(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_each_part_counts_what_lies_in_it(tmp_path):
    write(tmp_path / "store" / "run" / "ledger.jsonl", 1)
    write(tmp_path / "artifacts" / "Trainer" / "model" / "5" / "model.pb", 20)
    write(tmp_path / "serving" / "17" / "saved_model.pb", 300)
    write(tmp_path / "data" / "ab" / "table.csv", 4000)
    write(tmp_path / "logs" / "one.log", 50000)
    write(tmp_path / "metadata.sqlite", 600000)
    write(tmp_path / "report.html", 7)
    used = disk_used(tmp_path)
    assert used == DiskUsage(store=1, artifacts=20, pushed=300, data=4000, logs=50000, metadata=600000)
    assert used.total == 654321


def test_a_root_that_is_not_there_holds_nothing(tmp_path):
    assert disk_used(tmp_path / "none").total == 0


def test_a_survivor_counts_once_in_the_store(tmp_path):
    weights = write(tmp_path / "store" / "run" / "checkpoints" / "weights", 1000)
    (tmp_path / "artifacts").mkdir()
    os.link(weights, tmp_path / "artifacts" / "weights")
    used = disk_used(tmp_path)
    assert (used.store, used.artifacts, used.total) == (1000, 0, 1000)


def test_links_are_not_followed_and_cannot_lead_in_circles(tmp_path):
    write(tmp_path / "elsewhere" / "big", 10_000)
    (tmp_path / "root" / "artifacts").mkdir(parents=True)
    (tmp_path / "root" / "artifacts" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "artifacts" / "circle").symlink_to(tmp_path / "root")
    assert disk_used(tmp_path / "root").total < 1000


@pytest.mark.parametrize(
    ("folder", "pushed"),
    [
        pytest.param("elsewhere", 300, id="a push folder elsewhere on the disk counts"),
        pytest.param("s3://bucket/serving", 0, id="one at a URL does not"),
    ],
)
def test_a_push_folder_of_ones_own(tmp_path, folder, pushed):
    write(tmp_path / "elsewhere" / "17" / "saved_model.pb", 300)
    write(tmp_path / "root" / "serving" / "1" / "saved_model.pb", 5)
    folder = folder if "://" in folder else str(tmp_path / folder)
    assert disk_used(tmp_path / "root", folder).pushed == pushed


def test_removing_gives_back_only_what_has_no_other_name(tmp_path):
    alone = write(tmp_path / "going" / "alone", 1)
    shared = write(tmp_path / "going" / "shared", 20)
    twice = write(tmp_path / "going" / "twice", 300)
    os.link(shared, tmp_path / "kept")
    os.link(twice, tmp_path / "going" / "again")
    assert bytes_freed([tmp_path / "going"]) == 301
    assert bytes_freed([alone, twice, tmp_path / "gone"]) == 1
