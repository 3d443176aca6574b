"""A store without rename: killed at every operation, with errors and late listings, on a test double."""

from __future__ import annotations

import errno
import json
import tempfile

import pytest
from faults.bucket import URL, Double, double
from faults.disk import Killed
from fsspec import AbstractFileSystem

from checkpoint_gate.errors import LeaseHeld, StoreError
from checkpoint_gate.filtering import PrunePolicy
from checkpoint_gate.records import Record
from checkpoint_gate.rule_text import parse_rules
from checkpoint_gate.store import Store
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.lease import Lease
from checkpoint_gate.store.pruning import execute_prune, plan_prune, recover, sweep, tombstones, trashed
from checkpoint_gate.training import GatedTraining

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
    assert [words.endswith("holds files that its manifest does not list") for words in left] == [True, True]
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
