"""Files that a store did not expect: odd names, hard links to files outside, folders that are mounts of other disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.disk import placed

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Run
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.checkpoints import PREFIX, verify_files
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, sweep
from checkpoint_gate.store.undeleting import undelete
from checkpoint_gate.training.gated_training import GatedTraining

DAY = 86400.0
RULES = "f" * 64
LONGEST = "x" * (201 - len(PREFIX))

# What follows the prefix in a file's name, and whether a checkpoint takes it.
NAMES = [
    pytest.param(LONGEST, True, id="as long as a name may be"),
    pytest.param(".data-00000-of-00001", True, id="as TensorFlow names its own"),
    pytest.param(".npy", True, id="as numpy names its own"),
    pytest.param("A_b-9..", True, id="each kind of character that there may be"),
    pytest.param(f"{LONGEST}x", False, id="a letter more"),
    pytest.param("x" * (255 - len(PREFIX)), False, id="as long as a disk allows"),
    pytest.param("\u00e9", False, id="composed, as most systems write it (NFC)"),
    pytest.param("e\u0301", False, id="decomposed, as macOS writes it (NFD)"),
    pytest.param(" weights", False, id="a space"),
    pytest.param("\n", False, id="a line break"),
    pytest.param("\\weights", False, id="a backslash"),
    pytest.param("\udcff", False, id="bytes that are no text"),
]


def train(crowd, write: Callable[[str], None]) -> Run:
    training = GatedTraining(crowd.store, parse_rules("save: {every: 1}"), "run")
    training.begin(1)
    record = Record(1, 0, {"val_loss": 0.9})
    try:
        training.commit(record, training.observe(record), write)
        training.finish(1)
    finally:
        training.abandon()
    return training.run


@pytest.mark.parametrize(("suffix", "taken"), NAMES)
def test_a_file_of_an_odd_name_is_kept_whole_all_the_way_or_refused_when_it_is_saved(crowd, suffix, taken):
    def write(prefix: str) -> None:
        Path(prefix + suffix).write_bytes(b"weights")

    if not taken:
        with pytest.raises(StoreError, match="A checkpoint's files are named by letters, digits") as error:
            train(crowd, write)
        assert repr(PREFIX + suffix) in str(error.value)
        run = crowd.store.run("run")
        assert (run.live(), run.resumable.stored(), run.files.names("run/tmp")) == ([], [], [])
        assert run.ledger.read().records == []
        return
    run = train(crowd, write)
    crowd.publish(run, Record(2, 1, {"val_loss": 0.1}))
    with run.lease("pruning") as lease:
        plan = plan_prune(run, {1: "too high"}, [2], PrunePolicy(grace=DAY), RULES)
        assert execute_prune(run, plan, lease).left == ()
        undelete(run, 1, lease)
    assert [verify_files(run.files, stored) for stored in run.live()] == [None, None]
    assert (run.files.local(run.gated.path(1)) / (PREFIX + suffix)).read_bytes() == b"weights"
    with run.lease("pruning") as lease:
        execute_prune(run, plan_prune(run, {1: "too high"}, [2], PrunePolicy(grace=0.0), RULES), lease)
    assert run.files.names("run/trash") == []


@pytest.mark.parametrize("name", ["-rf", "manifest.json", "unfinished.json"])
def test_a_file_that_does_not_begin_with_the_prefix_may_not_be_a_trap_either(crowd, name):
    def write(prefix: str) -> None:
        Path(prefix).with_name(name).write_bytes(b"weights")

    with pytest.raises(StoreError, match=f"Received: '{name}'"):
        train(crowd, write)
    assert crowd.store.run("run").live() == []


def test_all_that_a_failing_save_left_goes_and_a_link_goes_itself(crowd, memory_path):
    outside = memory_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")

    def write(prefix: str) -> None:
        folder = Path(prefix + "_temp")
        (folder / "part").mkdir(parents=True)
        (folder / "part" / "-rf \\").write_bytes(b"half")
        (folder / "to a file").symlink_to(outside / "file")
        (folder / "to a folder").symlink_to(outside)
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StoreError, match="The state of epoch 1 could not be written"):
        train(crowd, write)
    assert crowd.store.run("run").files.names("run/tmp") == []
    assert (outside / "file").read_text() == "mine"


def test_a_hard_link_to_a_file_outside_loses_its_name_and_no_byte(crowd, memory_path):
    run = crowd.run([0.9, 0.8, 0.3])
    outside = memory_path / "outside"
    outside.mkdir()
    for step in (1, 2, 3):
        for path in run.files.local(run.gated.path(step)).iterdir():
            os.link(path, outside / f"{step} {path.name}")
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    with run.lease("pruning") as lease:
        plan = plan_prune(run, {1: "too high", 2: "too high"}, [3], PrunePolicy(grace=0.0), RULES)
        assert execute_prune(run, plan, lease).left == ()
        sweep(run, lease)
        run.gated.restate(run.live()[0].manifest.changed(decision="another"))
    assert [stored.step for stored in run.live()] == [3]
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before
    assert {path.stat().st_nlink for path in outside.iterdir() if not path.name.startswith("3")} == {1}


# A folder that is a mount.


class Mounted:
    """Stands in for `os`: the folder `mount` is on another disk, so that nothing is renamed into it or out of it."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount

    def __getattr__(self, name: str):
        return getattr(os, name)

    def _within(self, path: str, folder: int | None) -> bool:
        return Path(placed(path, folder)).is_relative_to(self._mount)

    def stat(self, path, *, dir_fd=None, follow_symlinks=True):
        state = list(os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks))
        state[2] += self._within(path, dir_fd)  # st_dev
        return os.stat_result(state)

    def rename(self, source, target, *, src_dir_fd, dst_dir_fd):
        if self._within(source, src_dir_fd) != self._within(target, dst_dir_fd):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


@pytest.mark.parametrize("folder", ["tmp", "checkpoints", "resume", "trash", "quarantine", "superseded"])
def test_parts_of_a_run_on_another_disk_are_refused_before_anything_moves(crowd, monkeypatch, tree, folder):
    run = crowd.run([0.9, 0.8, 0.3])
    run.files.make_folder(f"run/{folder}")
    plan = plan_prune(run, {1: "too high"}, [3], PrunePolicy(), RULES)
    with run.lease("pruning") as lease:
        execute_prune(run, plan, lease)
    monkeypatch.setattr("checkpoint_gate.store.files.os", Mounted(run.files.local(f"run/{folder}")))
    before = tree(crowd.root)
    words = f"/run/{folder} is on another device than .*/run, so nothing can be moved there"
    with pytest.raises(StoreError, match=words):
        train(crowd, lambda prefix: Path(prefix).write_bytes(b"weights"))
    with run.lease("pruning") as lease, pytest.raises(StoreError, match=words):
        sweep(run, lease)
    with run.lease("undeleting") as lease, pytest.raises(StoreError, match=words):
        undelete(run, 1, lease)
    assert tree(crowd.root) == before
    (fault,) = (finding for finding in check_store(crowd.store) if finding.severity == "fault")
    assert f"/run/{folder} is on another device" in fault.what


def test_a_file_larger_than_its_manifest_says_is_not_read(crowd):
    run = crowd.run([0.9, 0.3])
    os.truncate(run.files.local(f"{run.gated.path(1)}/{PREFIX}.index"), 1 << 40)  # reading it would take hours
    (fault,) = (finding for finding in check_store(crowd.store) if finding.severity == "fault")
    assert fault.what.endswith(f"{PREFIX}.index has 1099511627776 bytes, its manifest says 10")
