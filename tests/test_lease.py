"""The lease: one writer at a time, among processes that live, die and race."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

import checkpoint_gate
from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease

HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease
lease = Lease(LocalFiles(sys.argv[2]), "lease.json", "training", time.time)
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire()
except Exception as error:
    print(type(error).__name__, flush=True)
else:
    print("held", flush=True)
sys.stdin.readline()
"""


class Process:
    """Another process that takes the lease when told to, and holds it until it is told to end, or dies."""

    def __init__(self, folder: pathlib.Path) -> None:
        source = pathlib.Path(checkpoint_gate.__file__).parents[1]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(source), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def start(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        return self.process.stdout.readline().strip()

    def die(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def processes(tmp_path):
    begun = []

    def begin():
        begun.append(Process(tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        process.die()


@pytest.fixture
def lease(tmp_path, clock):
    return lambda purpose="pruning": Lease(LocalFiles(tmp_path), "lease.json", purpose, clock)


def written(tmp_path):
    return json.loads((tmp_path / "lease.json").read_text())


def test_a_lease_is_taken_and_given_back(lease, tmp_path, clock):
    with lease() as held:
        held.renew()
        claim = written(tmp_path)
        assert (claim["pid"], claim["host"], claim["purpose"]) == (os.getpid(), socket.gethostname(), "pruning")
        assert claim["expires"] == clock.now + 600
    assert list(tmp_path.iterdir()) == []


def test_a_lease_of_a_living_process_is_held_and_its_holder_named(lease, processes, tmp_path):
    other = processes()
    other.start()
    assert other.answer() == "held"
    before = (tmp_path / "lease.json").read_bytes()
    with pytest.raises(LeaseHeld) as error:
        lease().acquire()
    assert str(error.value) == (
        f"{tmp_path} is in use by process {other.process.pid} on {socket.gethostname()} (training). "
        f"Wait until it has ended, and try again."
    )
    assert (tmp_path / "lease.json").read_bytes() == before


def test_a_living_process_keeps_its_lease_however_late_it_is(lease, processes, clock):
    other = processes()
    other.start()
    assert other.answer() == "held"
    clock.now += 10 * 365 * 86400
    with pytest.raises(LeaseHeld, match="is in use by process"):
        lease().acquire()


def test_the_lease_of_a_dead_process_is_taken_over_at_once(lease, processes, tmp_path):
    other = processes()
    other.start()
    assert other.answer() == "held"
    before = written(tmp_path)
    other.die()
    with lease():
        assert (written(tmp_path)["pid"], written(tmp_path)["token"]) == (os.getpid(), before["token"] + 1)
        assert [path.name for path in tmp_path.iterdir()] == ["lease.json"]


def test_a_reused_process_number_is_no_living_owner(lease, tmp_path, clock):
    claim = {"host": socket.gethostname(), "pid": 1, "born": "a time long ago", "purpose": "training", "token": 4}
    (tmp_path / "lease.json").write_text(json.dumps(claim | {"nonce": "n", "expires": clock.now + 600}))
    with lease():
        assert written(tmp_path)["token"] == 5


def foreign(tmp_path, expires, **more):
    claim = {"host": "elsewhere", "pid": 1, "born": "1", "purpose": "training", "token": 7, "nonce": "n"}
    (tmp_path / "lease.json").write_text(json.dumps(claim | {"expires": expires} | more))


def test_a_lease_of_another_host_is_held_until_it_expires(lease, tmp_path, clock):
    foreign(tmp_path, clock.now)
    with pytest.raises(LeaseHeld, match=r"in use by process 1 on elsewhere \(training\)"):
        lease().acquire()
    clock.now += 0.5
    with lease():
        assert written(tmp_path)["token"] == 8


def test_who_lost_the_lease_notices_before_it_writes(lease, tmp_path, clock):
    first = lease("training")
    first.acquire()
    claim = written(tmp_path)
    (tmp_path / "lease.json").write_text(json.dumps(claim | {"host": "elsewhere", "expires": clock.now - 1}))
    second = lease()
    second.acquire()
    with pytest.raises(LeaseHeld, match=rf"The lease of {tmp_path} was taken over by another writer\."):
        first.renew()
    first.release()
    second.renew()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_is_gone_cannot_be_renewed(lease, tmp_path):
    held = lease()
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        held.renew()
    held.acquire()
    (tmp_path / "lease.json").unlink()
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        held.renew()
    held.release()


def test_renewing_puts_the_end_off(lease, tmp_path, clock):
    with lease() as held:
        clock.now += 500
        held.renew()
        assert written(tmp_path)["expires"] == clock.now + 600


def test_the_same_work_begun_again_takes_the_lease_other_work_does_not(lease):
    first = lease("training")
    first.acquire()
    with pytest.raises(LeaseHeld, match=rf"process {os.getpid()} on .* \(training\)"):
        lease("pruning").acquire()
    again = lease("training")
    again.acquire()
    with pytest.raises(LeaseHeld, match="was taken over"):
        first.renew()
    again.renew()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"{}", b'{"token": "x"}', b'{"token": 1}', b'{"token": 1, "pid": "x", "expires": 1.0}'],
)
def test_a_torn_lease_is_nobodys(lease, tmp_path, content):
    (tmp_path / "lease.json").write_bytes(content)
    with lease() as held:
        held.renew()
        assert written(tmp_path)["pid"] == os.getpid()


def test_a_lease_is_never_seen_half_written(lease, killable, killed, tmp_path):
    for at in range(2):
        killable.arm(at)
        with pytest.raises(killed):
            lease().acquire()
        assert not (tmp_path / "lease.json").exists()
    killable.arm(None)
    lease().acquire()
    assert written(tmp_path)["token"] == 1


def test_of_two_that_take_over_a_stale_lease_one_wins(lease, tmp_path, clock, monkeypatch):
    foreign(tmp_path, clock.now - 1)
    slow, quick = lease("pruning"), lease("training")
    rename = LocalFiles.rename

    def overtaken(files, source, target):
        monkeypatch.setattr(LocalFiles, "rename", rename)
        quick.acquire()
        rename(files, source, target)

    monkeypatch.setattr(LocalFiles, "rename", overtaken)
    with pytest.raises(LeaseHeld, match=rf"{tmp_path} was just taken by another writer\."):
        slow.acquire()
    quick.renew()
    assert [path.name for path in tmp_path.iterdir()] == ["lease.json"]


def test_of_two_that_find_the_stale_lease_gone_one_wins(lease, tmp_path, clock, monkeypatch):
    foreign(tmp_path, clock.now - 1)
    slow, quick = lease("pruning"), lease("training")
    create = LocalFiles.create

    def overtaken(files, path, data):
        monkeypatch.setattr(LocalFiles, "create", create)
        quick.acquire()
        create(files, path, data)

    monkeypatch.setattr(LocalFiles, "create", overtaken)
    with pytest.raises(LeaseHeld, match="was just taken by another writer"):
        slow.acquire()
    quick.renew()


def test_of_many_processes_that_race_exactly_one_wins(processes, tmp_path):
    foreign(tmp_path, 0.0)
    racers = [processes() for _ in range(6)]
    for racer in racers:
        racer.start()
    answers = sorted(racer.answer() for racer in racers)
    assert answers == ["LeaseHeld"] * 5 + ["held"]


def test_what_killed_takers_left_is_removed_by_the_holder(lease, tmp_path):
    (tmp_path / "lease.json.stale-0123").write_text("{}")
    (tmp_path / "lease.json.bak").write_text("mine")
    with lease() as held:
        held.clear_stale()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.json", "lease.json.bak"]


def test_a_folder_that_cannot_be_written_to_is_told(clock, tmp_path):
    with pytest.raises(StoreError, match=rf"{tmp_path}/gone cannot be written to: No such file or directory\."):
        Lease(LocalFiles(tmp_path), "gone/lease.json", "pruning", clock).acquire()
