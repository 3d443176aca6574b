"""What several test files share: a clock, small stores on a real disk, and a process that can be killed anywhere."""

from __future__ import annotations

import gc
import re

import pytest
from faults.crowd import Clock, Crowd, write_state
from faults.disk import Disk, Killed
from faults.memory import memory_folder

# Files of minutes, begun first, so that the workers end together.
LONG = ("test_simulated_year", "test_pipeline_flights", "test_pipeline_champion", "test_disk_pipeline")
LONG += ("test_pipeline_rollback", "test_pipeline_penguins", "test_pipeline_on_s3", "test_kubeflow_rehearsal")


def pytest_collection_modifyitems(items):
    order = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="module")
def quick_collection():
    """What is there before is not looked through at every collection of garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def write():
    return write_state


@pytest.fixture
def memory_path():
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def crowd(memory_path, clock):
    return Crowd(memory_path / "store", clock)


@pytest.fixture
def killable(monkeypatch):
    """The disk of the store's files: `killable.arm(n)` lets n operations go well and no more, `arm(None)` all."""
    fake = Disk()
    for module in ("files", "opened_files", "opened_folders"):
        monkeypatch.setattr(f"checkpoint_gate.store.{module}.os", fake)
    return fake


@pytest.fixture
def killed():
    return Killed


def tree_of(root) -> dict[str, bytes]:
    """Every file below `root` with its bytes, and every folder; without the claims on leases, whose numbers rise."""
    paths = sorted(path for path in root.rglob("*") if not re.fullmatch(r"lease\.\d+\.json", path.name))
    return {
        str(p.relative_to(root)) + ("/" if p.is_dir() else ""): b"" if p.is_dir() else p.read_bytes() for p in paths
    }


@pytest.fixture
def tree():
    return tree_of
