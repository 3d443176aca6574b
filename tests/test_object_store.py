"""A store without rename: killed at every operation, with errors and late listings, on a test double."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile

import fsspec
import pytest
from faults.bucket import URL, Double, double
from faults.disk import Killed
from fsspec import AbstractFileSystem

from checkpoint_gate.errors import DamagedCheckpoint, LeaseHeld, StoreError
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store, object_calls
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.checkpoints import read_checkpoint, verify_files
from checkpoint_gate.store.documents import JsonLines
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.repairing import repair_store
from checkpoint_gate.store.standing import why_all_stays
from checkpoint_gate.store.trash import tombstones, trash_path, trashed
from checkpoint_gate.training.gated_training import GatedTraining

DAY = 86400.0
RULES = "f" * 64


@pytest.fixture
def bucket(monkeypatch, memory_path):
    """The bucket, empty; pauses between attempts cost no time, and staged files go to a folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(memory_path))
    monkeypatch.setattr("checkpoint_gate.store.object_calls.FIRST_PAUSE", 0.0)
    return double()


@pytest.fixture
def store(bucket, clock):
    return Store(URL, clock)


def prune(run, rejected, survivors, grace):
    with run.lease("pruning") as lease:
        recover(run, lease)
        return execute_prune(run, plan_prune(run, rejected, survivors, PrunePolicy(grace=grace), RULES), lease)


def live_steps(run):
    return [stored.step for stored in run.live()]


def events(run):
    return {mark["step"]: mark["event"] for mark in tombstones(run).values()}


def whole(run, stored):
    return stored.manifest is not None and verify_files(run.files, stored) is None


def leftovers(bucket, run):
    """Objects that belong to nothing, and staged files."""
    folders = [stored.folder for stored in (*run.live(), *run.resumable.stored(), *trashed(run))]
    folders += [f"run/{shelf}/{n}" for shelf in ("superseded", "quarantine") for n in run.files.names(f"run/{shelf}")]
    left = []
    for key in bucket.objects:
        path = key.removeprefix("bucket/store/")
        if path.endswith("unfinished.json") or (path.count("/") > 2 and path.rpartition("/")[0] not in folders):
            left.append(path)
    return left + run.files.staging.names("run/tmp")


# Pruning: in the trash lie one checkpoint beyond its grace and one within, three more are to go.

REJECTED, SURVIVORS = {3: "too high", 4: "too high", 6: "too high"}, [5, 7]


@pytest.fixture
def template(bucket, store, clock, crowd):
    crowd.store = store
    run = crowd.run([0.9, 0.8, 0.7, 0.6, 0.2, 0.5, 0.1])
    prune(run, {1: "too high"}, SURVIVORS, DAY)
    clock.now += DAY - 5
    prune(run, {2: "too high"}, SURVIVORS, DAY)
    clock.now += 10
    return dict(bucket.objects)


def work(run, grace):
    """A pruning and a sweep, as at the end of a pipeline's run."""
    done = prune(run, REJECTED, SURVIVORS, grace)
    with run.lease("pruning") as lease:
        swept = sweep(run, lease)
    return (*done.left, *swept.left)


def outcome(bucket, run):
    kept = [key for key in bucket.objects if "/lease." not in key and "/journal/" not in key]
    return sorted(kept), live_steps(run), events(run), len(run.files.names("run/journal"))


# Training: the gate lets some through, `keep` removes others, and the state to resume from follows.

TRAINING = """
save: {any: [{metric: val_loss, improves: min}, {every: 3}]}
keep: {best: {metric: val_loss, mode: min, n: 1}, last: 1}
"""
LOSSES = [0.9, 0.5, 0.6, 0.4]


def train(store, write, done):
    """Trains to the end, from where it was interrupted; adds the epochs done to `done`."""
    training = GatedTraining(store, parse_rules(TRAINING), "run")
    state = training.begin(len(LOSSES))
    begun = 0 if state is None else state.manifest.epoch + 1
    if state is not None:
        prefix = training.run.prefix(state)
        with open(f"{prefix}.index", "rb") as file:
            assert file.read() == b"index of %d" % state.step
    for epoch in range(begun, len(LOSSES)):
        record = Record(epoch + 1, epoch, {"loss": 0.5, "val_loss": LOSSES[epoch]})
        decision = training.observe(record)
        training.commit(record, decision, lambda prefix, step=record.step: write(prefix, step))
        done.append(epoch)
    training.finish(len(LOSSES))
    return training.run


def result(run):
    records = [(e.record.step, e.decision.save) for e in run.ledger.read().entries]
    return live_steps(run), records, run.resume_state().step, {s.step: s.manifest.files for s in run.live()}


@pytest.mark.parametrize("late", [0, 5], ids=["sure listings", "listings 5 operations late"])
def test_killed_at_any_operation_of_a_training_it_resumes_at_its_last_complete_epoch(bucket, store, write, late):
    expected = result(train(store, write, []))
    assert expected[0] == [4]
    operations = bucket.done
    assert operations > 100
    for at in range(operations):
        bucket.reset()
        bucket.late = late
        bucket.arm(at)
        done = []
        with pytest.raises(Killed):
            train(Store(URL, store.clock), write, done)
        bucket.arm(None)
        if store.keys() and not late:
            run = store.run("run")
            assert [stored.damage for stored in run.live() if not whole(run, stored)] == [], at
        again = []
        run = train(Store(URL, store.clock), write, again)
        assert not set(done) & set(again), at
        if late:  # what a late listing had hidden
            train(Store(URL, store.clock), write, [])
        bucket.late = 0
        assert result(run) == expected, at
        assert leftovers(bucket, run) == [], at


@pytest.mark.parametrize("error", [errno.EBUSY, errno.ETIMEDOUT, errno.ECONNRESET], ids=errno.errorcode.get)
def test_throttling_and_timeouts_that_pass_are_not_noticed(bucket, store, template, error):
    bucket.reset(template)
    work(store.run("run"), 0.0)
    operations, expected = bucket.done, outcome(bucket, store.run("run"))
    for at in range(0, operations, 5):
        bucket.reset(template)
        bucket.arm(at, error, times=4)
        assert work(store.run("run"), 0.0) == (), at
        bucket.arm(None)
        assert outcome(bucket, store.run("run")) == expected, at


def test_throttling_that_does_not_pass_ends_with_the_store_s_answer(bucket, store, template):
    bucket.reset(template)
    bucket.arm(0, errno.EBUSY, sticky=True)
    with pytest.raises(StoreError, match=r"double://bucket/store/run cannot be written to: Device or resource busy\."):
        work(store.run("run"), 0.0)
    assert bucket.done == 6


def test_a_lost_answer_is_no_lost_write(bucket, store, template):
    bucket.reset(template)
    work(store.run("run"), 0.0)
    operations, expected = bucket.done, outcome(bucket, store.run("run"))
    for at in range(0, operations, 2):
        bucket.reset(template)
        real = bucket.change

        def change(key, data, at=at, real=real):
            bucket.lost_answers = int(bucket.done == at)
            real(key, data)

        bucket.change = change
        try:
            assert work(store.run("run"), 0.0) == (), at
        finally:
            del bucket.change
        assert outcome(bucket, store.run("run")) == expected, at
        assert leftovers(bucket, store.run("run")) == [], at


def test_a_create_of_what_somebody_else_made_is_refused_and_one_s_own_is_not(bucket, store):
    files = store.create().files
    files.create("claim", b"mine")
    files.create("claim", b"mine")  # asked again, since the answer was lost
    for other in (b"yours", b"you", b"your"):  # longer, shorter, as long
        with pytest.raises(FileExistsError, match="is there already"):
            files.create("claim", other)
    assert files.read("claim", 100) == b"mine"


def test_a_store_that_says_not_found_of_what_is_there_has_removed_nothing(bucket, store):
    files = store.create().files
    files.create("claim", b"mine")
    bucket.arm(0, errno.ENOENT)
    with pytest.raises(FileNotFoundError, match="is not there"):
        files.remove_file("claim")
    files.remove_file("claim")
    files.remove_file("claim")
    assert not files.is_file("claim")


def test_a_store_that_overwrites_where_it_should_create_is_refused(bucket, store, monkeypatch):
    monkeypatch.setattr(Double, "pipe_file", lambda self, path, value, mode="": self.change(path, value))
    store.create()
    with pytest.raises(StoreError, match=r"double://bucket/store cannot hold a store: it overwrites an object where"):
        store.start("run").lease("training").acquire()
    monkeypatch.setattr(Double, "pipe_file", AbstractFileSystem.pipe_file)  # fsspec's own: looks, and then writes
    with pytest.raises(StoreError, match="so two writers would not notice each other"):
        Store(URL).run("run").lease("training").acquire()


def test_a_checkpoint_that_lost_its_manifest_is_shown_and_kept(bucket, store, template, clock):
    bucket.reset(template)
    del bucket.objects["bucket/store/run/checkpoints/step-000000005/manifest.json"]
    run = store.run("run")
    with run.lease("pruning") as lease:
        sweep(run, lease)
    damaged = [stored for stored in run.live() if stored.manifest is None]
    assert [stored.damage for stored in damaged] == [f"{run.files.place(run.gated.path(5))} has no manifest."]
    run.quarantine(damaged[0], "lost its manifest")
    assert run.files.names("run/quarantine") == ["step-000000005", "step-000000005.reason"]
    assert run.files.names("run/quarantine/step-000000005") == ["ckpt.data-00000-of-00001", "ckpt.index"]
    assert 5 not in live_steps(run)


def test_what_a_user_put_beside_a_checkpoint_is_left_alone(bucket, store, template):
    bucket.reset(template)
    bucket.objects["bucket/store/run/checkpoints/step-000000003/notes.txt"] = b"mine"
    bucket.listed[:] = [frozenset(bucket.objects)]
    left = work(store.run("run"), 0.0)
    assert ["holds files that its manifest does not list; " in words for words in left] == [True, True]
    (key,) = (key for key in bucket.objects if key.endswith("notes.txt"))
    assert key.startswith("bucket/store/run/trash/step-000000003--")


def test_a_writer_that_lost_its_lease_uploads_and_removes_nothing_more(bucket, store, write, crowd, clock):
    crowd.store = store
    run = crowd.run([0.9, 0.5])
    lease = run.lease("training")
    lease.acquire()
    staged, place = run.stage()
    write(str(place / "ckpt"), 3)
    claim = "bucket/store/run/lease.000000001.json"
    bucket.objects[claim] = bucket.objects[claim].replace(b'"released": false', b'"released": true')
    with Lease(store.files, "run/lease.json", "pruning", clock):
        lease._looked -= 60  # stopped for a minute
        before = dict(bucket.objects)
        with pytest.raises(LeaseHeld, match="was taken over by another writer"):
            run.publish(staged, Record(3, 2, {"val_loss": 0.1}), "as told", "0" * 64)
        with pytest.raises(LeaseHeld, match="was taken over by another writer"):
            run.gated.remove(run.live()[0])
        assert bucket.objects == before


@pytest.mark.parametrize("step", ["unfinished.json", "manifest.json", "ckpt.index"])
def test_a_writer_that_loses_its_lease_within_a_removal_stops_there(bucket, store, crowd, clock, monkeypatch, step):
    crowd.store = store
    run = crowd.run([0.9, 0.5])
    lease = run.lease("training")
    lease.acquire()
    later, real = [], bucket.change

    def change(key, data):
        """Stopped after this step for longer than the lease holds."""
        real(key, data)
        if key.endswith(f"step-000000001/{step}") and not later:
            claim = "bucket/store/run/lease.000000001.json"
            bucket.objects[claim] = bucket.objects[claim].replace(b'"released": false', b'"released": true')
            later.append(Lease(store.files, "run/lease.json", "pruning", clock))
            later[0].acquire()
            lease._looked -= 60
            later.append(dict(bucket.objects))

    monkeypatch.setattr(bucket, "change", change)
    with pytest.raises(LeaseHeld, match="was taken over by another writer"):
        run.gated.remove(run.live()[0])
    assert bucket.objects == later[1]
    later[0].release()


def test_what_a_late_listing_leaves_out_is_known_by_the_records(bucket, store, template, clock):
    bucket.reset(template)
    run = store.run("run")
    prune(run, REJECTED, SURVIVORS, DAY)
    expected = live_steps(run), [stored.step for stored in trashed(run)]
    for hidden in ("checkpoints", "trash", "journal"):
        before = frozenset(key for key in bucket.objects if f"/{hidden}/" not in key)
        bucket.late = 5
        bucket.listed[:] = [before] * 6
        assert (live_steps(run), [stored.step for stored in trashed(run)]) == expected, hidden


def test_the_state_to_resume_from_is_found_though_a_listing_leaves_it_out(bucket, store, write):
    run = train(store, write, [])
    bucket.late = 5
    bucket.listed[:] = [frozenset(key for key in bucket.objects if "/resume/" not in key)] * 6
    assert run.resume_state().folder == "run/resume/step-000000004"


def test_what_verified_before_is_downloaded_again_unless_the_store_says_that_it_is_the_same(
    bucket, store, crowd, monkeypatch
):
    crowd.store = store
    run = crowd.run([0.9, 0.3])
    read, tags = [], {}
    measure, info = run.files.measure, run.files._fs.info
    monkeypatch.setattr(run.files, "measure", lambda path, *more: read.append(path) or measure(path, *more))
    monkeypatch.setattr(run.files._fs, "info", lambda key: info(key) | tags)
    for more, times in (({}, 4), ({}, 8), ({"ETag": "a"}, 12), ({"ETag": "a"}, 12), ({"ETag": "b"}, 16)):
        tags.update(more)
        assert (why_all_stays(run), len(read)) == (None, times)
    bucket.objects.pop("bucket/store/run/checkpoints/step-000000002/ckpt.index")
    assert "ckpt.index is missing" in why_all_stays(run)


def test_a_journal_is_not_carried_out_under_an_older_token(bucket, store, template):
    bucket.reset(template)
    run = store.run("run")
    with run.lease("pruning") as lease:
        plan = plan_prune(run, REJECTED, SURVIVORS, PrunePolicy(), RULES)
        plan.write(run, lease.token + 1)
        before = dict(bucket.objects)
        with pytest.raises(LeaseHeld, match="is carried out by another writer, who took the lease over"):
            sweep(run, lease)
        assert bucket.objects == before


def test_a_download_that_differs_is_told(bucket, store, crowd):
    crowd.store = store
    run = crowd.run([0.9])
    bucket.objects["bucket/store/run/checkpoints/step-000000001/ckpt.index"] = b"xndex of 1"
    with pytest.raises(StoreError, match=r"The copy of double://.*step-000000001 is damaged: .*does not match its che"):
        run.prefix(run.live()[0])


@pytest.mark.parametrize("late", [(5, 5), (0, 5), (5, 0)], ids=["always late", "late for others", "late for the owner"])
def test_claims_of_a_late_listing_give_no_second_owner(bucket, store, clock, late):
    files = store.create().files
    for token in range(1, 30):
        bucket.late = late[0]
        with Lease(files, "lease.json", "pinning", clock) as lease:
            assert lease.token == token
            bucket.late = late[1]
            with pytest.raises(LeaseHeld, match="is in use by process"):
                Lease(files, "lease.json", "undeleting", clock).acquire()
    claims = [json.loads(data) for key, data in bucket.objects.items() if "/lease." in key]
    assert max(claim["token"] for claim in claims) == 29
    assert len(claims) <= 12


# What seldom happens.


def test_a_checkpoint_of_an_object_store_is_repaired_too(bucket, store, crowd, template):
    bucket.reset(template)
    run = store.run("run")
    key = "bucket/store/run/checkpoints/step-000000004/ckpt.index"
    bucket.objects[key] = b"x" + bucket.objects[key][1:]
    bucket.pipe_file("bucket/store/run/trash/step-000000009--0123456789ab/unfinished.json", UNFINISHED)
    before = set(bucket.objects.values()) - {UNFINISHED}
    parts = list(repair_store(store))
    assert [finding.remedy for part in parts for finding in part.mended] == [
        "moved to the quarantine, where its bytes stay",
        "cleared away",
    ]
    assert live_steps(run) == [3, 5, 6, 7]
    assert before - set(bucket.objects.values()) <= {bucket.objects["bucket/store/store.json"], *leases_of(template)}
    assert [f for part in repair_store(store) for f in (*part.mended, *part.findings) if f.severity != "note"] == []


UNFINISHED = b'{"files": [], "format": 1}'


def leases_of(objects):
    return {data for key, data in objects.items() if "/lease." in key or key.endswith("store.json")}


def test_killed_anywhere_a_repair_of_an_object_store_is_finished_by_the_next(bucket, store, template):
    key = "bucket/store/run/checkpoints/step-000000004/ckpt.index"
    template[key] = b"x" + template[key][1:]
    bucket.reset(template)
    list(repair_store(store))
    operations = bucket.done
    assert operations > 10
    for at in range(operations):
        bucket.reset(template)
        bucket.arm(at)
        with pytest.raises(Killed):
            list(repair_store(store))
        bucket.arm(None)
        assert template[key] in bucket.objects.values()
        list(repair_store(store))
        assert [f for f in check_store(store) if f.severity != "note" or f.remedy is not None] == [], at
        assert live_steps(store.run("run")) == [3, 5, 6, 7]


@pytest.mark.parametrize("at", range(9))
def test_a_quarantine_that_was_interrupted_goes_on(bucket, store, template, at):
    bucket.reset(template)
    run = store.run("run")
    del bucket.objects["bucket/store/run/checkpoints/step-000000004/manifest.json"]
    bucket.arm(at)
    with contextlib.suppress(Killed):
        run.quarantine(run.gated.read("step-000000004"), "it has lost its manifest")
    bucket.arm(None)
    if run.gated.holds(4):
        run.quarantine(run.gated.read("step-000000004"), "it has lost its manifest")
    with run.lease("training"):
        run.clear_leftovers()
    assert not run.gated.holds(4)
    names = [key.rpartition("/")[2] for key in bucket.objects if "/quarantine/step-000000004" in key]
    assert {"ckpt.data-00000-of-00001", "ckpt.index"} <= set(names)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"{", "is damaged", id="no JSON"),
        pytest.param(b'{"files": [], "format": 2}', "has the format 2; this version reads format 1", id="newer"),
        pytest.param(b"[]", "has the format None", id="no object"),
        pytest.param(b'{"files": ["../../store.json"], "format": 1}', "must be relative and plain", id="climbs"),
        pytest.param(b'{"files": ["a/b"], "format": 1}', "files must be a list of names", id="another folder's"),
        pytest.param(b'{"files": "ckpt", "format": 1}', "files must be a list of names", id="no list"),
        pytest.param(b'{"files": [7], "format": 1}', "files must be a list of names", id="no names"),
    ],
)
def test_a_damaged_list_of_unfinished_files_removes_nothing(bucket, store, template, data, words):
    bucket.reset(template)
    folder = "bucket/store/run/checkpoints/step-000000009"
    bucket.pipe_file(f"{folder}/unfinished.json", data)
    bucket.pipe_file(f"{folder}/ckpt.index", b"x")
    before = dict(bucket.objects)
    run = store.run("run")
    with pytest.raises(StoreError, match=words):
        run.clear_leftovers()
    assert bucket.objects == before


def test_a_plan_goes_on_with_a_move_but_not_with_a_later_checkpoint_of_its_step(bucket, store, template, crowd):
    bucket.reset(template)
    run = store.run("run")
    run.gated.discard("run/tmp")
    before = {key: data for key, data in bucket.objects.items() if "/trash/" in key}
    crowd.store = store
    (mark,) = [mark for (_, step), mark in tombstones(run).items() if step == 2]
    bucket.objects["bucket/store/run/tombstones.jsonl"] = b""  # as if killed before its tombstone
    crowd.publish(run, Record(2, 1, {"loss": 0.1, "val_loss": 0.1}, time=run.clock() + 1), weight=7)
    with run.lease("pruning") as lease:
        recover(run, lease)
    assert 2 in live_steps(run)
    assert {key: data for key, data in bucket.objects.items() if "/trash/" in key} == before
    assert mark["manifest"] not in {stored.manifest.checksum for stored in run.live()}


def test_what_the_ledger_and_the_tombstones_cannot_say_is_taken_from_the_listing(bucket, store, template):
    bucket.reset(template)
    run = store.run("run")
    bucket.objects["bucket/store/run/ledger.jsonl"] = b"[]\n"
    assert live_steps(run) == [3, 4, 5, 6, 7]
    assert run.resumable.stored() == []


def test_an_empty_object_is_a_file_without_bytes(bucket, store, monkeypatch):
    bucket.objects["bucket/store/empty"] = b""

    def no_range(path, start=None, end=None, **kwargs):
        raise OSError(errno.EINVAL, "InvalidRange")

    monkeypatch.setattr(bucket, "cat_file", no_range)
    assert store.files.is_file("empty")
    assert store.files.read("empty", 10) == b""
    assert store.files.ends_with("empty", b"\n")
    bucket.objects["bucket/store/empty"] = b"not any more"
    for look in (lambda: store.files.read("empty", 10), lambda: store.files.ends_with("empty", b"x")):
        with pytest.raises(OSError, match="InvalidRange"):
            look()


def test_an_object_larger_than_it_may_be_is_refused(bucket, store):
    bucket.objects["bucket/store/large"] = b"x" * 11
    with pytest.raises(StoreError, match="is larger than the 10 bytes that such a file may have"):
        store.files.read("large", 10)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        pytest.param(b"{}\n", True, id="a whole line"),
        pytest.param(b'{}\n{"a', False, id="a torn one, brought here from a disk"),
        pytest.param(b"", True, id="none"),
        pytest.param(None, True, id="no object"),
    ],
)
def test_the_end_of_lines_in_a_bucket(bucket, store, monkeypatch, data, whole):
    if data is not None:
        bucket.objects["bucket/store/lines"] = data
    assert store.files.ends_with("lines", b"\n") is whole
    assert JsonLines(store.files, "lines").torn is not whole


def test_lines_beyond_any_limit_of_a_small_file_grow_on(bucket, store):
    before = b'{"a": 1}\n' * (8 << 20)  # 72 MiB
    bucket.objects["bucket/store/lines"] = before
    JsonLines(store.files, "lines").append({"b": 2})
    assert bucket.objects["bucket/store/lines"].startswith(before)
    assert bucket.objects["bucket/store/lines"][len(before) :].startswith(b'{"b": 2, ')


def test_an_object_of_another_size_than_it_should_have_is_not_read(bucket, store, monkeypatch):
    bucket.objects["bucket/store/large"] = b"x" * 11
    assert store.files.measure("large", size=11) == store.files.measure("large")
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", None)
    assert store.files.measure("large", size=10) == (11, "")


def test_a_copy_that_is_not_whole_is_refused(bucket, store, tmp_path, monkeypatch):
    bucket.objects["bucket/store/one"] = b"twelve bytes"
    monkeypatch.setattr(bucket, "get_file", lambda source, target: open(target, "wb").close())
    with pytest.raises(StoreError, match=r"copy .* differs from double://bucket/store/one"):
        store.files.link("one", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").touch()
    with pytest.raises(FileExistsError):
        store.files.link("one", tmp_path / "there")
    monkeypatch.setattr(bucket, "cp_file", lambda source, target: bucket.pipe_file(target, b""))
    with pytest.raises(StoreError, match=r"copy .*two differs from .*one"):
        store.files._copy_file("one", "two")


def test_an_upload_that_is_not_whole_is_refused(bucket, store, crowd, monkeypatch):
    crowd.store = store
    run = crowd.run([0.5])
    monkeypatch.setattr(bucket, "put_file", lambda source, target, **kwargs: bucket.pipe_file(target, b"x"))
    with pytest.raises(StoreError, match="has 1 bytes after 80 were written to it"):
        crowd.publish(run, Record(2, 1, {"loss": 0.5, "val_loss": 0.4}, time=1.0))
    assert live_steps(run) == [1]


def test_an_upload_over_another_ones_object_is_refused(bucket, store, crowd):
    crowd.store = store
    run = crowd.run([0.5])
    run.files.staging.make_folder("run/tmp")
    run.files.staging.create("run/tmp/mine", b"mine")
    bucket.objects["bucket/store/theirs"] = b"theirs"
    with pytest.raises(FileExistsError):
        run.files._upload("run/tmp/mine", "theirs")
    assert bucket.objects["bucket/store/theirs"] == b"theirs"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("no-such-scheme://x/y", "cannot hold a store", id="an unknown scheme"),
        pytest.param("double://bucket/store?version=1", "A store's URL is a plain one", id="a query"),
        pytest.param("double://a::double://b", "A store's URL is a plain one", id="a chain"),
    ],
)
def test_what_is_no_url_of_a_store_is_refused(bucket, url, words):
    with pytest.raises(StoreError, match=words):
        Store(url)


def test_a_driver_that_is_not_installed_is_named(bucket, monkeypatch):
    def missing(url, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(StoreError, match="s3://b/s needs a driver that is not installed: Install s3fs"):
        Store("s3://b/s")


class Answer(Exception):
    """As botocore and gcsfs tell of an answer."""

    def __init__(self, words="", **about):
        super().__init__(words)
        self.__dict__.update(about)


class HTTPClientError(Exception):
    """As botocore tells of a broken connection."""


class NoCredentialsError(Exception):
    """As botocore tells that it knows no user."""


@pytest.mark.parametrize(
    ("error", "attempts", "kind", "number"),
    [
        pytest.param(
            Answer(response={"ResponseMetadata": {"HTTPStatusCode": 503}}), 6, OSError, errno.ETIMEDOUT, id="503"
        ),
        pytest.param(Answer(code="429"), 6, OSError, errno.ETIMEDOUT, id="429 as text"),
        pytest.param(HTTPClientError("reset"), 6, OSError, errno.ETIMEDOUT, id="by its name"),
        pytest.param(ConnectionError(), 6, OSError, errno.ETIMEDOUT, id="a broken connection"),
        pytest.param(OSError(errno.EBUSY, "SlowDown"), 6, OSError, errno.EBUSY, id="SlowDown"),
        pytest.param(
            Answer(response={"Error": {"Code": "PreconditionFailed"}}),
            1,
            FileExistsError,
            errno.EEXIST,
            id="it is there",
        ),
        pytest.param(Answer(status=416), 1, OSError, errno.EINVAL, id="no such range"),
        pytest.param(NoCredentialsError(), 1, PermissionError, errno.EACCES, id="no user"),
        pytest.param(PermissionError(), 1, PermissionError, errno.EACCES, id="denied"),
        pytest.param(ValueError("what?"), 1, OSError, errno.EIO, id="anything else"),
    ],
)
def test_errors_of_drivers_become_errors_with_numbers(monkeypatch, error, attempts, kind, number):
    monkeypatch.setattr(object_calls, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(object_calls.time, "sleep", lambda seconds: None)
    tries = []

    def fails():
        tries.append(1)
        raise error

    with pytest.raises(kind) as told:
        object_calls.call("s3://b/s", fails)
    assert (told.value.errno, told.value.filename, len(tries)) == (number, "s3://b/s", attempts)
    assert told.value.strerror


def test_downloads_of_dead_processes_are_cleared_and_those_of_the_living_stay(store, bucket, memory_path):
    downloads = memory_path / f"checkpoint-gate-{os.getuid()}" / "downloads"
    for name in ("999999999-1-x", f"{os.getpid()}-1-x", "notes"):
        (downloads / name).mkdir(parents=True)
    first, second = store.files.download_folder(), store.files.download_folder()
    assert first != second
    assert first.parent == second.parent
    assert {path.name for path in downloads.iterdir()} == {"notes", first.parent.name}


def test_a_folder_for_temporary_files_that_is_a_link_is_refused(store, bucket, memory_path, tmp_path):
    (memory_path / f"checkpoint-gate-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is no folder of this user: remove it, or set TMPDIR to another one"):
        store.files.download_folder()


def test_a_download_that_is_damaged_is_told(bucket, store, template):
    bucket.reset(template)
    run = store.run("run")
    key = "bucket/store/run/checkpoints/step-000000005/ckpt.index"
    stored = run.gated.read("step-000000005")
    bucket.objects[key] = b"x" + bucket.objects[key][1:]
    with pytest.raises(DamagedCheckpoint, match=r"The copy of double://.*step-000000005 is damaged: .* its checksum"):
        run.prefix(stored)


def test_a_checkpoint_of_an_object_store_is_read_from_a_verified_copy(bucket, store, template):
    bucket.reset(template)
    run = store.run("run")
    with open(run.prefix(run.gated.read("step-000000005")) + ".index", "rb") as file:
        assert file.read() == b"index of 5"


def test_a_failing_look_is_no_proof_of_absence(bucket, store, monkeypatch):
    def fails(path, start=None, end=None, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(bucket, "cat_file", fails)
    with pytest.raises(OSError, match="Input/output error"):
        store.files.is_file("store.json")


def test_removing_what_is_gone_is_fine(bucket, store, monkeypatch):
    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(bucket, "rm_file", gone)
    store.files.remove_file("anything")


def test_the_same_upload_again_is_fine(bucket, store, crowd):
    crowd.store = store
    run = crowd.run([0.5])
    run.files.staging.make_folder("run/tmp")
    run.files.staging.create("run/tmp/mine", b"mine")
    run.files._upload("run/tmp/mine", "mine")
    run.files._upload("run/tmp/mine", "mine")
    assert bucket.objects["bucket/store/mine"] == b"mine"


def test_the_next_process_proves_the_exclusive_create_on_the_same_object(bucket, store):
    store.files.create("first", b"1")
    before = dict(bucket.objects)
    Store(URL).files.create("second", b"2")
    assert {key for key in bucket.objects if key not in before} == {"bucket/store/second"}


def beside(bucket, source, target, names):
    for name in names:
        bucket.pipe_file(f"bucket/store/{target}/{name}", bucket.objects[f"bucket/store/{source}/{name}"])


NAMES = ("ckpt.data-00000-of-00001", "ckpt.index")


def test_a_move_whose_copy_is_whole_only_removes_the_source(bucket, store, template):
    bucket.reset(template)
    source, target = "run/checkpoints/step-000000004", "run/superseded/step-000000004"
    beside(bucket, source, target, (*NAMES, "manifest.json"))
    store.files.move_folder(source, target, "manifest.json", NAMES, lambda: None)
    assert not store.files.holds(source, "manifest.json")
    assert whole(store.run("run"), read_checkpoint(store.files, target, "run"))


def test_a_move_that_was_interrupted_in_removing_the_source_removes_the_rest(bucket, store, template):
    bucket.reset(template)
    source, target = "run/checkpoints/step-000000004", "run/superseded/step-000000004"
    beside(bucket, source, target, (*NAMES, "manifest.json"))
    bucket.pipe_file(f"bucket/store/{source}/unfinished.json", json.dumps({"files": NAMES, "format": 1}).encode())
    bucket.rm_file(f"bucket/store/{source}/manifest.json")
    store.files.move_folder(source, target, "manifest.json", NAMES, lambda: None)
    assert not [key for key in bucket.objects if source in key]


def test_a_list_left_beside_a_marker_goes_alone(bucket, store, template):
    bucket.reset(template)
    folder = "bucket/store/run/checkpoints/step-000000004"
    bucket.pipe_file(f"{folder}/unfinished.json", json.dumps({"files": NAMES, "format": 1}).encode())
    store.run("run").clear_leftovers()
    assert f"{folder}/unfinished.json" not in bucket.objects
    assert whole(store.run("run"), store.run("run").gated.read("step-000000004"))


def test_a_plan_finishes_a_move_that_was_interrupted_between_the_two_places(bucket, store, template):
    bucket.reset(template)
    run = store.run("run")
    plan = plan_prune(run, {4: "too high"}, SURVIVORS, PrunePolicy(grace=DAY), RULES)
    plan.write(run, 0)
    beside(bucket, run.gated.path(4), trash_path(run, plan.digest, 4), (*NAMES, "manifest.json"))
    with run.lease("pruning") as lease:
        recover(run, lease)
    assert live_steps(run) == [3, 5, 6, 7]
    assert events(run)[4] == "trashed"
