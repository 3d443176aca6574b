"""The lease: one writer at a time, among processes that live, die and race."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

import checkpoint_gate
from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import UNTIL_FREE, Lease, _keep

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
    """The only claim there is."""
    (path,) = tmp_path.iterdir()
    claim = json.loads(path.read_text())
    assert path.name == f"lease.{claim['token']:09d}.json"
    return claim


def test_a_lease_is_taken_and_given_back(lease, tmp_path, clock):
    with lease() as held:
        held.renew()
        claim = written(tmp_path)
        assert (claim["pid"], claim["host"], claim["purpose"]) == (os.getpid(), socket.gethostname(), "pruning")
        assert (claim["expires"], claim["released"]) == (clock.now + 600, False)
    assert written(tmp_path)["released"]
    assert lease().holder() is None


def test_tokens_rise_for_ever(lease, tmp_path):
    for token in range(1, 6):
        with lease() as held:
            assert (held.token, written(tmp_path)["token"]) == (token, token)
        assert held.token == 0


def test_a_lease_of_a_living_process_is_held_and_its_holder_named(lease, processes, tmp_path):
    other = processes()
    other.start()
    assert other.answer() == "held"
    before = written(tmp_path)
    with pytest.raises(LeaseHeld) as error:
        lease().acquire()
    assert str(error.value) == (
        f"{tmp_path} is in use by process {other.process.pid} on {socket.gethostname()} (training). "
        f"Wait until it has ended, and try again."
    )
    assert written(tmp_path) == before
    assert lease().holder() == "lease.000000001.json"


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


def test_the_lease_of_one_that_died_and_whose_parent_never_asks_is_taken_over(lease, processes):
    other = processes()
    other.start()
    assert other.answer() == "held"
    os.kill(other.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    status = pathlib.Path(f"/proc/{other.process.pid}/status")
    while not {"State:\tZ (zombie)", "Threads:\t1"} <= set(status.read_text().splitlines()):
        assert time.monotonic() < deadline
    with lease():
        pass
    assert status.exists()


def test_a_reused_process_number_is_no_living_owner(lease, tmp_path, clock):
    claim = {"host": socket.gethostname(), "pid": 1, "born": "a time long ago", "purpose": "training", "token": 4}
    (tmp_path / "lease.000000004.json").write_text(json.dumps(claim | {"nonce": "n", "expires": clock.now + 600}))
    with lease():
        assert written(tmp_path)["token"] == 5


def foreign(tmp_path, expires, **more):
    claim = {"host": "elsewhere", "pid": 1, "born": "1", "purpose": "training", "token": 7, "nonce": "n"}
    (tmp_path / "lease.000000007.json").write_text(json.dumps(claim | {"expires": expires} | more))


def test_a_lease_of_another_host_is_held_until_it_expires(lease, tmp_path, clock):
    foreign(tmp_path, clock.now)
    with pytest.raises(LeaseHeld, match=r"in use by process 1 on elsewhere \(training\)"):
        lease().acquire()
    clock.now += 59.0  # the clocks of two hosts differ
    with pytest.raises(LeaseHeld, match=r"in use by process 1 on elsewhere \(training\)"):
        lease().acquire()
    clock.now += 1.5
    with lease():
        assert written(tmp_path)["token"] == 8


@pytest.fixture
def two_hosts(lease, tmp_path, clock, monkeypatch):
    """`pod-1` took the lease and is silent; this is `pod-2`. Time passes only while somebody sleeps."""
    monkeypatch.setattr("socket.gethostname", lambda: "pod-1")
    first = lease("training")
    first.acquire()
    monkeypatch.setattr("socket.gethostname", lambda: "pod-2")
    hosts = TwoHosts(first, clock)
    monkeypatch.setattr("checkpoint_gate.store.lease.time.sleep", hosts.sleep)
    return hosts


class TwoHosts:
    def __init__(self, first, clock):
        self.first, self.clock = first, clock
        self.begun, self.slept = clock.now, []
        self.happens = {}  # seconds after the beginning -> what happens then

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.now += seconds
        for after in [after for after in self.happens if self.clock.now - self.begun >= after]:
            self.happens.pop(after)()


def test_the_lease_of_a_dead_owner_on_another_host_is_waited_for(two_hosts, lease, tmp_path, caplog):
    again = lease("training")
    again.acquire(UNTIL_FREE)
    assert (again.token, sum(two_hosts.slept)) == (2, 670)
    assert min(two_hosts.slept) >= 10
    assert caplog.messages == [
        f"{tmp_path} was last in use by process {os.getpid()} on pod-1 (training), which may be dead: waiting for a "
        "sign of life, or for its lease to end, 670 seconds at most"
    ]


def test_a_lease_that_is_renewed_is_waited_for_no_longer(two_hosts, lease):
    two_hosts.happens[200] = two_hosts.first.renew
    with pytest.raises(LeaseHeld, match=r"in use by process \d+ on pod-1 \(training\)\. Wait until it has ended"):
        lease("training").acquire(UNTIL_FREE)
    assert sum(two_hosts.slept) == 200
    two_hosts.first.renew()


def test_a_lease_that_is_given_back_is_taken_at_once(two_hosts, lease):
    two_hosts.happens[30] = two_hosts.first.release
    lease("training").acquire(UNTIL_FREE)
    assert sum(two_hosts.slept) == 30


def test_a_lease_that_another_one_takes_first_is_waited_for_no_longer(two_hosts, lease, monkeypatch):
    def overtaken():
        monkeypatch.setattr("socket.gethostname", lambda: "pod-3")
        lease("pruning").acquire()
        monkeypatch.setattr("socket.gethostname", lambda: "pod-2")

    two_hosts.happens[665] = overtaken
    with pytest.raises(LeaseHeld, match=r"on pod-3 \(pruning\)"):
        lease("training").acquire(UNTIL_FREE)


def test_nobody_waits_for_longer_than_is_said(two_hosts, lease, caplog):
    with pytest.raises(LeaseHeld, match="on pod-1"):
        lease("training").acquire(25.0)
    assert two_hosts.slept == [10, 10, 5]
    assert caplog.messages[0].endswith("its lease to end, 25 seconds at most")


@pytest.mark.parametrize(
    ("wait", "host"),
    [
        pytest.param(0.0, "pod-2", id="where nobody asked to wait"),
        pytest.param(UNTIL_FREE, "pod-1", id="for a process of this host, which is seen to live"),
    ],
)
def test_nothing_is_waited(two_hosts, lease, monkeypatch, wait, host):
    monkeypatch.setattr("socket.gethostname", lambda: host)
    with pytest.raises(LeaseHeld, match="on pod-1"):
        lease("pruning").acquire(wait)
    assert two_hosts.slept == []


def test_a_free_lease_is_not_waited_for(lease, caplog):
    with lease():
        pass
    lease().acquire(UNTIL_FREE)
    assert caplog.messages == []


def test_who_lost_the_lease_notices_before_it_writes(lease, tmp_path, clock):
    first = lease("training")
    first.acquire()
    claim = written(tmp_path)
    path = tmp_path / "lease.000000001.json"
    path.write_text(json.dumps(claim | {"host": "elsewhere", "expires": clock.now - 61}))
    second = lease()
    second.acquire()
    for proof in (first.renew, first.check, first.renew):
        with pytest.raises(LeaseHeld, match=rf"The lease of {tmp_path} was taken over by another writer\."):
            proof()
    first.release()
    second.renew()
    assert not written(tmp_path)["released"]
    second.release()
    assert (written(tmp_path)["token"], written(tmp_path)["released"]) == (2, True)


def test_an_owner_stopped_while_it_renews_finds_out(lease, tmp_path, clock, monkeypatch):
    first, others = lease("training"), [lease("pruning"), lease("repair")]
    first.acquire()
    replace = LocalFiles.replace

    def overtaken(files, path, data):
        """Stopped between the proof and the write, while two others come and the first of them goes."""
        monkeypatch.setattr(LocalFiles, "replace", replace)
        path_of_first = tmp_path / "lease.000000001.json"
        path_of_first.write_text(json.dumps(json.loads(path_of_first.read_text()) | {"released": True}))
        with others[0]:
            pass
        others[1].acquire()
        assert written(tmp_path)["token"] == 3
        replace(files, path, data)

    monkeypatch.setattr(LocalFiles, "replace", overtaken)
    clock.now += 300
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        first.renew()
    others[1].renew()


def test_a_folder_listed_while_it_changes_gives_no_second_owner(lease, monkeypatch):
    first = lease("training")
    first.acquire()
    names = LocalFiles.names

    def cut_through(files, path=None):
        monkeypatch.setattr(LocalFiles, "names", names)
        return []

    second = lease("pruning")
    for _ in range(2):  # with one claim, then with one of a higher number
        monkeypatch.setattr(LocalFiles, "names", cut_through)
        with pytest.raises(LeaseHeld):
            second.acquire()
        first.renew()
        first.release()
        first.acquire()
    assert first.token == 3


def test_a_lease_that_is_gone_cannot_be_renewed(lease, tmp_path):
    held = lease()
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        held.renew()
    held.acquire()
    (tmp_path / "lease.000000001.json").unlink()
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        held.renew()
    held.release()


def test_renewing_puts_the_end_off(lease, tmp_path, clock):
    with lease() as held:
        clock.now += 500
        held.renew()
        assert written(tmp_path)["expires"] == clock.now + 600


def test_a_held_lease_is_renewed_while_its_owner_is_busy(tmp_path):
    lease = Lease(LocalFiles(tmp_path), "lease.json", "training", time.time, seconds=0.3)
    with lease:
        first = written(tmp_path)["expires"]
        time.sleep(1.0)  # an epoch of three times that length
        (path,) = tmp_path.glob("lease.*.json")
        assert json.loads(path.read_text())["expires"] > first + 0.5
    given_back = written(tmp_path)
    time.sleep(0.4)
    assert written(tmp_path) == given_back


def test_a_check_looks_again_only_after_a_while(lease, tmp_path, monkeypatch):
    with lease() as held:
        (tmp_path / "lease.000000002.json").write_text("{}")
        held.check()
        monkeypatch.setattr("checkpoint_gate.store.lease._now", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 6)
        with pytest.raises(LeaseHeld):
            held.check()
    lease().check()  # one that was never taken has nothing to lose


def test_an_owner_to_whom_a_file_is_gone_is_told_that_it_was_overtaken(lease):
    def read():
        lease("training").acquire()  # the same work begun again
        raise FileNotFoundError("taken away")

    with pytest.raises(LeaseHeld, match="was taken over by another writer") as told, lease("training"):
        read()
    assert isinstance(told.value.__context__, FileNotFoundError)


def test_a_file_that_is_gone_although_the_lease_is_ours_is_told_as_it_is(lease, tmp_path):
    with pytest.raises(FileNotFoundError, match="taken away"), lease():
        raise FileNotFoundError("taken away")
    assert written(tmp_path)["released"]


def test_a_proof_asks_nothing_of_a_lease_that_was_never_taken(lease):
    lease().prove()


def test_a_claim_of_a_newer_format_is_refused_by_name(lease, tmp_path):
    (tmp_path / "lease.000000001.json").write_text('{"format": 2}')
    with pytest.raises(StoreError, match=r"lease\.000000001\.json has the format 2; this version reads format 1"):
        lease().acquire()


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
    (tmp_path / "lease.000000001.json").write_bytes(content)
    with lease() as held:
        held.renew()
        assert written(tmp_path)["pid"] == os.getpid()


def test_a_lease_is_never_seen_half_written(lease, killable, killed, tmp_path):
    for at in range(2):
        killable.arm(at)
        with pytest.raises(killed):
            lease().acquire()
        assert not list(tmp_path.glob("lease.*"))
    killable.arm(None)
    lease().acquire()
    (claim,) = tmp_path.glob("lease.*")
    assert json.loads(claim.read_text())["token"] == 1


def test_of_two_that_take_over_a_stale_lease_one_wins(lease, tmp_path, clock, monkeypatch):
    foreign(tmp_path, clock.now - 61)
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


def test_an_older_claim_that_goes_and_comes_back_as_it_is_cleared_keeps_nobody(lease, tmp_path, clock, monkeypatch):
    foreign(tmp_path, clock.now - 61)

    def gone_for_a_moment(files, path):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(LocalFiles, "remove_file", gone_for_a_moment)
    with lease() as held:
        held.renew()


def test_of_many_processes_that_race_exactly_one_wins(processes, tmp_path):
    foreign(tmp_path, 0.0)
    racers = [processes() for _ in range(6)]
    for racer in racers:
        racer.start()
    answers = sorted(racer.answer() for racer in racers)
    assert answers == ["LeaseHeld"] * 5 + ["held"]


def test_the_next_owner_removes_older_claims_and_nothing_else(lease, tmp_path):
    for token in (1, 2, 3):
        (tmp_path / f"lease.{token:09d}.json").write_text('{"token": 1, "pid": 1, "expires": 0.0}')
    (tmp_path / "lease.json.bak").write_text("mine")
    (tmp_path / "lease.5.json").write_text("mine")
    with lease():
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "lease.000000004.json",
            "lease.5.json",
            "lease.json.bak",
        ]


STOPPED = """
import sys, time
sys.path.insert(0, sys.argv[1])
import socket
socket.gethostname = lambda: "elsewhere"
from checkpoint_gate.errors import LeaseHeld
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.lease import Lease
files = LocalFiles(sys.argv[2])
lease = Lease(files, "lease.json", "pruning", time.time, seconds=0.5)
lease.acquire()
print("held", flush=True)
try:
    for n in range(10_000):
        lease.renew()
        files.remove_file(f"checkpoint-{n:05d}")
        time.sleep(0.005)
except LeaseHeld as error:
    print(error, flush=True)
"""


def test_an_owner_that_was_stopped_and_goes_on_removes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.store.lease._SKEW", 0.0)
    for n in range(10_000):
        (tmp_path / f"checkpoint-{n:05d}").touch()
    source = pathlib.Path(checkpoint_gate.__file__).parents[1]
    owner = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(source), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout.readline() == "held\n"
        time.sleep(1.0)  # longer than it holds: a living owner keeps it
        with pytest.raises(LeaseHeld, match="in use by process"):
            Lease(LocalFiles(tmp_path), "lease.json", "training", time.time).acquire()
        owner.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        with Lease(LocalFiles(tmp_path), "lease.json", "training", time.time):
            before = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
            assert 1_000 < len(before) < 10_000
            owner.send_signal(signal.SIGCONT)
            assert "was taken over by another writer" in owner.stdout.readline()
            assert owner.wait(10) == 0
            after = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
            assert len(before) - len(after) <= 1  # the one that it had proved its right to when it was stopped
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


def test_a_folder_that_cannot_be_written_to_is_told(clock, tmp_path):
    with pytest.raises(StoreError, match=rf"{tmp_path}/gone cannot be written to: No such file or directory\."):
        Lease(LocalFiles(tmp_path), "gone/lease.json", "pruning", clock).acquire()


def test_where_claims_come_and_go_nobody_takes_the_lease(tmp_path, clock, monkeypatch):
    lease = Lease(LocalFiles(tmp_path), "lease.json", "pruning", clock)
    monkeypatch.setattr(lease, "_tokens", lambda: [3])  # listed each time, gone when it is read
    with pytest.raises(LeaseHeld, match="was just taken by another writer"):
        lease.acquire()
    assert list(tmp_path.iterdir()) == []


class Renewals:
    """A lease whose renewals end as they are told to, one after the other."""

    def __init__(self, *ends):
        self.ends = list(ends)

    def renew(self):
        end = self.ends.pop(0)
        if end is not None:
            raise end


def test_the_thread_that_renews_goes_on_after_an_error_and_ends_when_the_lease_is_lost():
    held = Renewals(None, OSError(5, "Input/output error"), StoreError("damaged"), LeaseHeld("lost"), None)
    _keep(weakref.ref(held), threading.Event(), 0.0)
    assert held.ends == [None]


def test_the_thread_that_renews_ends_with_its_owner():
    held = Renewals(None)
    gone = weakref.ref(held)
    del held
    _keep(gone, threading.Event(), 0.0)
    assert gone() is None


def test_a_lease_that_cannot_be_given_back_is_told_unless_worse_is_told(tmp_path, clock, monkeypatch, caplog):
    files = LocalFiles(tmp_path)

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", full)
    with pytest.raises(StoreError, match="could not be given back: No space left on device"):  # noqa: SIM117
        with Lease(files, "lease.json", "pruning", clock):
            pass
    with pytest.raises(ValueError, match="worse"):  # noqa: SIM117
        with Lease(files, "lease.json", "pruning", clock):
            raise ValueError("worse")
    assert "could not be given back: No space left on device" in caplog.text


def test_the_same_work_begun_again_in_this_process_takes_over_unless_it_may_not(tmp_path, clock):
    def lease(again):
        return Lease(LocalFiles(tmp_path), "run.lease", "running", clock, again=again)

    with lease(again=False) as held:
        with pytest.raises(LeaseHeld, match=rf"is in use by process {os.getpid()} .*\(running\)"):
            lease(again=False).acquire()
        held.check()
    with lease(again=True) as held:
        lease(again=True).acquire()
        with pytest.raises(LeaseHeld):
            held.prove()
