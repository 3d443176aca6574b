"""A store on S3, as far as an emulator on loopback is S3: moto's server, by the real driver, with faults on the way."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import unquote

import fsspec
import pytest
from click.testing import CliRunner

import checkpoint_gate
from checkpoint_gate.artifact_files.checkpoint_set import copy_out
from checkpoint_gate.cli import cli
from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.object_files import ObjectFiles
from checkpoint_gate.store.trash import trashed

werkzeug_app = pytest.importorskip("moto.moto_server.werkzeug_app")
pytest.importorskip("s3fs")

BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'


class Server:
    """moto's S3, one request at a time as the real one's exclusive creates are, with faults on the way to it.

    Attributes:
      busy: so many requests are answered with 503 SlowDown.
      slow, deaf: so many requests are answered too late, after, or without, having been carried out.
      late: so many of the objects that were written last are left out of every listing.
      kill: (n, pid): the process is killed when its request number n arrives.
    """

    def __init__(self) -> None:
        from werkzeug.serving import make_server

        self._app = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
        self._one_at_a_time = threading.Lock()
        self.calm()
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def calm(self) -> None:
        self.requests: list[str] = []
        self.busy = self.slow = self.deaf = self.late = 0
        self.written: list[str] = []
        self.only = ""
        self.kill: tuple[int, int] | None = None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, environ, start_response):
        with self._one_at_a_time:
            method = environ["REQUEST_METHOD"]
            self.requests.append(f"{method} {environ['PATH_INFO']}")
            if self.kill is not None and len(self.requests) > self.kill[0]:
                os.kill(self.kill[1], signal.SIGKILL)
                self.kill = None
            fault = self._fault(method)
            if fault == "busy":
                start_response("503 Slow Down", [("Content-Type", "application/xml")])
                return [BUSY]
            data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) if fault == "deaf" else b""
            answer = [data[:0]] if fault == "deaf" else self._answer(environ, start_response)
        if fault == "slow":
            time.sleep(0.7)
        if fault == "deaf":
            time.sleep(0.7)
            start_response("500 Internal Server Error", [])
        return answer

    def _answer(self, environ, start_response):
        """What moto says; of a listing without what is late in it."""
        place = environ["PATH_INFO"].strip("/")
        if environ["REQUEST_METHOD"] == "PUT" and "/" in place:
            self.written = [*(key for key in self.written if key != place), place]
        if not (self.late and environ["REQUEST_METHOD"] == "GET" and "list-type=2" in environ["QUERY_STRING"]):
            return list(self._app(environ, start_response))
        said = []
        text = b"".join(self._app(environ, lambda *answer: said.append(answer))).decode()
        shown = self.written[: -self.late]

        def listed(match):
            name = f"{place}/{unquote(match[2])}"
            return match[0] if any(key == name or (key.startswith(name) and name[-1] == "/") for key in shown) else ""

        kinds = {"Contents": "Key", "CommonPrefixes": "Prefix"}
        for outer, inner in kinds.items():
            pattern = rf"<({outer})>(?:(?!</{outer}>).)*?<{inner}>([^<]*)</{inner}>.*?</{outer}>"
            text = re.sub(pattern, listed, text, flags=re.DOTALL)
        ((status, headers, *_),) = said
        start_response(
            status, [(k, str(len(text.encode())) if k.lower() == "content-length" else v) for k, v in headers]
        )
        return [text.encode()]

    def _fault(self, method):
        for name in ("busy", "slow", "deaf"):
            if getattr(self, name) and method.startswith(self.only):
                setattr(self, name, getattr(self, name) - 1)
                return name
        return None


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def url(server, monkeypatch, memory_path, request):
    """A new bucket's place for a store; the driver finds the emulator by the environment, as a user's would."""
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TMPDIR": str(memory_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(memory_path))
    monkeypatch.setattr("checkpoint_gate.store.object_calls.FIRST_PAUSE", 0.01)
    server.calm()
    bucket = f"bucket-{abs(hash(request.node.name))}"
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.mkdir(bucket)
    yield f"s3://{bucket}/store"
    server.calm()
    fs.rm(bucket, recursive=True)


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("filter: {metric: val_loss, at_most: 0.5}\nprune: {grace: 24h}\n")
    return path


@pytest.fixture
def impatient(monkeypatch):
    """A driver that waits for no answer longer than half a second."""
    settings = {"connect_timeout": 1, "read_timeout": 0.5, "retries": {"total_max_attempts": 1}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": settings})


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.output


def test_the_command_line_does_everything_with_a_store_on_s3(url, crowd, clock, rules):
    crowd.store = Store(url, clock)
    run = crowd.run([0.9, 0.8, 0.3, 0.4])
    rows = call("list", url, "--json")
    assert [(row["step"], row["state"]) for row in rows] == [(1, "kept"), (2, "kept"), (3, "kept"), (4, "kept")]
    assert rows[0]["path"] == f"{url}/run/checkpoints/step-000000001"
    checked = call("check", url, "--json")
    assert (checked["ok"], checked["findings"][0]["place"]) == (True, url)
    protocol = "an object store (s3://): checkpoints are published by writing the manifest last"
    assert checked["findings"][0]["what"] == protocol
    call("pin", url, "--step", 1, "--note", "for the report")
    plan = call("prune", url, "--rules", rules, "--json")
    assert [item["step"] for item in plan["runs"][0]["going"]] == [2]
    assert call("list", url, "--json") == [row | {"pinned": row["step"] == 1} for row in rows]
    call("prune", url, "--rules", rules, "--execute", plan["digest"])
    assert [row["state"] for row in call("list", url, "--json")] == ["kept", "trashed", "kept", "kept"]
    (said,) = call("why", url, "--step", 2, "--json")
    assert (said["state"], said["pruned"]["by"]) == ("trashed", "checkpoint-gate prune")
    assert said["path"].startswith(f"{url}/run/trash/step-000000002--")
    back = call("undelete", url, "--step", 2, "--json")
    assert back["path"] == f"{url}/run/checkpoints/step-000000002"
    assert [row["state"] for row in call("list", url, "--json")] == ["kept"] * 4
    assert [verify_files(run.files, stored) for stored in run.live()] == [None] * 4
    assert call("check", url, "--json")["ok"]


def test_a_damaged_and_a_missing_checkpoint_are_found(url, crowd, clock):
    crowd.store = Store(url, clock)
    run = crowd.run([0.9, 0.8])
    run.files.replace(f"{run.gated.path(1)}/ckpt.index", b"xndex of 1")
    for name in ("manifest.json", "ckpt.index", "ckpt.data-00000-of-00001"):
        run.files.remove_file(f"{run.gated.path(2)}/{name}")
    checked = call("check", url, "--json", code=1)
    faults = [finding["what"] for finding in checked["findings"] if finding["severity"] == "fault"]
    assert faults == [
        f"{url}/run/checkpoints/step-000000001/ckpt.index does not match its checksum",
        "saved at epoch 2, but gone, and no tombstone tells why; bring its folder back from a copy, if there is one, "
        "before a repair takes it for lost",
    ]


@pytest.mark.parametrize("command", [["list"], ["check"], ["why"]])
def test_a_store_that_is_not_there_is_told_in_one_sentence(url, command):
    assert call(*command, url, code=1) == f"Error: There is no checkpoint store at {url}.\n"
    nowhere = "s3://no-such-bucket-at-all/store"
    assert call(*command, nowhere, code=1) == f"Error: There is no checkpoint store at {nowhere}.\n"


def test_the_installed_command_works_with_the_environment_only(url, crowd, clock):
    crowd.store = Store(url, clock)
    crowd.run([0.9])
    done = run_python("from checkpoint_gate.cli import main; main()", "list", url, "--json")
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in json.loads(done.stdout)] == [1]


def test_a_survivor_is_copied_to_the_disk_and_verified(url, crowd, clock, tmp_path):
    crowd.store = Store(url, clock)
    run = crowd.run([0.9])
    copy_out(run.files, run.live()[0], tmp_path / "survivor")
    assert (tmp_path / "survivor" / "ckpt.index").read_bytes() == b"index of 1"
    with open(run.prefix(run.live()[0]) + ".index", "rb") as file:
        assert file.read() == b"index of 1"


def test_large_files_go_up_and_down_in_parts(url, crowd, clock, tmp_path):
    """Two parts of a multipart upload, whose completion is the exclusive create."""
    files = Store(url, clock).create().files
    data = os.urandom(1 << 20) * 101
    files.staging.make_folder("run/tmp/x")
    files.staging.local("run/tmp/x/ckpt.data").write_bytes(data)
    files.publish_folder("run/tmp/x", "run/checkpoints/large", "manifest.json", b"{}", lambda: None)
    assert files.names("run/checkpoints/large") == ["ckpt.data", "manifest.json"]
    files.link("run/checkpoints/large/ckpt.data", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert files.checksum("run/checkpoints/large/ckpt.data") == files.staging.checksum("run/tmp/x/ckpt.data")
    files.staging.local("run/tmp/x/ckpt.data").write_bytes(data[1:])
    with pytest.raises(FileExistsError):
        files.publish_folder("run/tmp/x", "run/checkpoints/large", "manifest.json", b"{}", lambda: None)


# Faults on the way.


@pytest.mark.parametrize(
    ("fault", "method"),
    [(fault, method) for fault in ("busy", "slow", "deaf") for method in ("GET", "PUT", "DELETE")],
)
def test_throttling_and_timeouts_are_not_noticed(impatient, url, crowd, clock, server, rules, fault, method):
    crowd.store = Store(url, clock)
    run = crowd.run([0.9, 0.3])
    digest = call("prune", url, "--rules", rules, "--json")["digest"]
    server.only = method
    setattr(server, fault, 2)
    call("prune", url, "--rules", rules, "--execute", digest)
    assert getattr(server, fault) == 0
    assert [stored.step for stored in run.live()] == [2]
    assert [verify_files(run.files, stored) for stored in (*run.live(), *trashed(run))] == [None, None]


def test_what_a_late_listing_leaves_out_is_asked_for_by_name(url, crowd, clock, server, rules):
    crowd.store = Store(url, clock)
    run = crowd.run([0.9, 0.3, 0.2])
    server.late = 8
    assert run.files.names("run/checkpoints") == ["step-000000001", "step-000000002"]
    assert [stored.step for stored in run.live()] == [1, 2, 3]
    assert [row["state"] for row in call("list", url, "--json")] == ["kept"] * 3
    assert call("check", url, "--json")["ok"]
    digest = call("prune", url, "--rules", rules, "--json")["digest"]
    call("prune", url, "--rules", rules, "--execute", digest)
    assert run.files.names("run/trash") == []
    assert ([stored.step for stored in run.live()], [stored.step for stored in trashed(run)]) == ([2, 3], [1])
    call("undelete", url, "--step", 1)
    assert [stored.step for stored in run.live()] == [1, 2, 3]
    assert [verify_files(run.files, stored) for stored in run.live()] == [None] * 3


def test_throttling_without_end_is_told_in_one_sentence(url, crowd, clock, server, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.store.object_calls.ATTEMPTS", 2)
    crowd.store = Store(url, clock)
    crowd.run([0.9])
    server.busy = 1000
    output = call("list", url, code=1)
    assert output.startswith(f"Error: The store {url} cannot be read: ")
    assert output.count("\n") == 1
    assert len(server.requests) < 50


def test_of_two_processes_that_race_for_a_lease_one_wins(url, clock):
    Store(url).start("run")
    source = """
import sys
from checkpoint_gate.errors import LeaseHeld
from checkpoint_gate.store import Store
lease = Store(sys.argv[1]).run("run").lease("training")
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire()
    print("held", flush=True)
except LeaseHeld:
    print("refused", flush=True)
sys.stdin.readline()
"""
    racers = [start_python(source, url) for _ in range(3)]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("\n")
            racer.stdin.flush()
        assert sorted(racer.stdout.readline() for racer in racers) == ["held\n", "refused\n", "refused\n"]
        with pytest.raises(LeaseHeld, match="is in use by process"):
            Store(url).run("run").lease("pruning").acquire()
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    with Store(url).run("run").lease("pruning") as lease:  # its owner is dead
        assert lease.token == 2


TRAINING = """
import sys
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.store import Store
from checkpoint_gate.training.gated_training import GatedTraining

LOSSES = [0.9, 0.5, 0.6]
rules = "save: {metric: val_loss, improves: min}\\nkeep: {best: {metric: val_loss, mode: min, n: 1}}"
training = GatedTraining(Store(sys.argv[1]), parse_rules(rules), "run")
state = training.begin(len(LOSSES))
if state is not None:
    assert open(training.run.prefix(state) + ".index", "rb").read() == b"index of %d" % state.step

def write(prefix):
    open(prefix + ".index", "wb").write(b"index of %d" % record.step)
    open(prefix + ".data-00000-of-00001", "wb").write(b"%d," % record.step * 40)

for epoch in range(0 if state is None else state.manifest.epoch + 1, len(LOSSES)):
    record = Record(epoch + 1, epoch, {"loss": 0.5, "val_loss": LOSSES[epoch]})
    training.commit(record, training.observe(record), write)
training.finish(len(LOSSES))
"""


def test_a_killed_training_goes_on(url, server):
    done = run_python(TRAINING, url)
    assert done.returncode == 0, done.stderr
    run = Store(url).run("run")
    expected = result(run)
    assert expected[0] == [2]
    requests = len(server.requests)
    for at in (requests // 3, 3 * requests // 4):
        run.files._fs.rm(url.removeprefix("s3://"), recursive=True)
        process = start_python(TRAINING, url)
        server.calm()
        server.kill = (at, process.pid)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        if run.files.is_file("run/run.json"):
            assert [verify_files(run.files, stored) for stored in run.live()] == [None] * len(run.live())
        again = run_python(TRAINING, url)
        assert again.returncode == 0, again.stderr
        assert result(run) == expected, at
        left = [key for key in run.files._fs.find(url.removeprefix("s3://")) if key.endswith("unfinished.json")]
        assert left == [], at


def result(run):
    records = [(e.record.step, e.decision.save) for e in run.ledger.read().entries]
    return [s.step for s in run.live()], records, run.resume_state().step, [s.manifest.files for s in run.live()]


def test_a_store_on_s3_that_nobody_may_write_to_is_told(url, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nowhere")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"The store s3://.* cannot be made: Unable to locate credentials"):
        Store(url).create()
    fsspec.filesystem("s3").clear_instance_cache()


def test_publishing_writes_the_manifest_last_and_removing_takes_it_first(url, crowd, clock, server):
    crowd.store = Store(url, clock)
    run = crowd.run([0.9], saved=[])
    assert isinstance(run.files, ObjectFiles)
    server.calm()
    crowd.publish(run, Record(1, 0, {"val_loss": 0.9}))
    assert changes(server) == [
        "PUT unfinished.json",
        "PUT ckpt.data-00000-of-00001",
        "PUT ckpt.index",
        "PUT manifest.json",
        "DELETE unfinished.json",
    ]
    server.calm()
    run.gated.remove(run.live()[0])
    assert changes(server) == [
        "PUT unfinished.json",
        "DELETE manifest.json",
        "DELETE ckpt.data-00000-of-00001",
        "DELETE ckpt.index",
        "DELETE unfinished.json",
    ]


def changes(server):
    made = (request.split(" ") for request in server.requests if request.startswith(("PUT", "DELETE")))
    return [f"{method} {path.rpartition('/')[2]}" for method, path in made if "/checkpoints/" in path]


def start_python(source, *arguments):
    paths = [str(pathlib.Path(checkpoint_gate.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def run_python(source, *arguments):
    process = start_python(source, *arguments)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
