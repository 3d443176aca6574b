"""`check --repair`: what it does about each kind of damage, what it leaves alone, and that it converges."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from checkpoint_gate.errors import LeaseHeld
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.checkpoints import PREFIX, verify_files
from checkpoint_gate.store.prune_plan import make_plan
from checkpoint_gate.store.pruning import execute_prune
from checkpoint_gate.store.repairing import _Repair, repair_store
from checkpoint_gate.store.trash import bury, journals, stones, tombstones

DAY = 86400.0
RULES = "f" * 64


def place(run, *parts):
    return run.files.root.joinpath(run.key, *parts)


def live(run, step, name=""):
    return place(run, "checkpoints", f"step-{step:09d}", name)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # another checkpoint may share the bytes
    path.write_bytes(bytes(data))


def prune(run, *steps, grace=DAY):
    with run.lease("pruning") as lease:
        execute_prune(run, make_plan(run, dict.fromkeys(steps, "bad"), {}, grace, RULES, "CheckpointFilter"), lease)


def in_trash(run, step):
    (folder,) = place(run, "trash").glob(f"step-{step:09d}--*")
    return folder


def repair(store):
    """What was mended (place, what was done), and the faults and warnings that are left."""
    parts = list(repair_store(store))
    mended = [(f.place.removeprefix(f"{store.root}/"), f.remedy) for part in parts for f in part.mended]
    left = [f for part in parts for f in part.findings if f.severity != "note"]
    return mended, left


def wrong(store):
    return [finding for finding in check_store(store) if finding.severity != "note" or finding.remedy is not None]


# What was broken; what the repair did; what the check finds afterwards; by how much the revision rose.


def torn_ledger(run):
    with place(run, "ledger.jsonl").open("a") as file:
        file.write('{"step": 9')


def torn_tombstones(run):
    prune(run, 1)
    with place(run, "tombstones.jsonl").open("a") as file:
        file.write('{"step": 9')


def half_written(run):
    folder = run.stage()[1]
    (folder / "ckpt.index").write_text("half")


def temporary_files(run):
    for folder in (run.files.root, place(run), live(run, 1)):
        (folder / f".some.json.{'0' * 12}.tmp").write_text("{")


def dead_writers(run):
    claim = {"host": "elsewhere", "pid": 7, "born": "1", "purpose": "training", "token": 900, "nonce": "n"}
    text = json.dumps(claim | {"expires": run.clock() - DAY})
    place(run, "lease.000000900.json").write_text(text)
    (run.files.root / "lease.000000900.json").write_text(text)


def marked_only(run):
    make_plan(run, {1: "bad"}, {}, DAY, RULES, "CheckpointFilter").write(run, 0)


def moved_without_a_tombstone(run):
    prune(run, 1)
    place(run, "tombstones.jsonl").unlink()


def half_undeleted(run):
    prune(run, 1)
    bury(run, "undeleted", journals(run)[0], {"step": 1})


def half_swept(run):
    prune(run, 1)
    run.clock.now += DAY
    (in_trash(run, 1) / "ckpt.data-00000-of-00001").unlink()


def half_superseded(run):
    run.ledger.append_event("resumed", after_step=4)


def half_removed_state(run):
    for step in (1, 2):
        staged, folder = run.stage()
        (folder / f"{PREFIX}.data").write_bytes(b"%d" % step)
        (folder / f"{PREFIX}.index").write_bytes(b"%d" % step)
        record = run.live()[step - 1].manifest.record
        run.resumable.publish(staged, run.resumable.describe(staged, record, "resumable", "", RULES, "me"))
    (place(run, "resume", "step-000000001") / f"{PREFIX}.data").unlink()


def emptied_state(run):
    half_removed_state(run)
    for path in place(run, "resume", "step-000000001").iterdir():
        path.unlink()


def unknown_in_the_trash(run):
    lost_journal(run)
    place(run, "tombstones.jsonl").unlink()


def temporary_in_quarantine(run):
    place(run, "quarantine").mkdir()
    place(run, "quarantine", f".x.reason.{'0' * 12}.tmp").write_text("half")


def damaged_state(run):
    half_removed_state(run)
    place(run, "resume", "step-000000001", f"{PREFIX}.data").write_bytes(b"1")
    flip(place(run, "resume", "step-000000002", f"{PREFIX}.data"))


def flipped_live(run):
    flip(live(run, 2, "ckpt.index"))


def flipped_manifest(run):
    flip(live(run, 2, "manifest.json"))


def no_manifest(run):
    live(run, 2, "manifest.json").unlink()


def manifest_of_another_step(run):
    live(run, 2, "manifest.json").write_bytes(live(run, 3, "manifest.json").read_bytes())


def truncated_live(run):
    path = live(run, 2, "ckpt.index")
    path.write_bytes(path.read_bytes()[:-1])


def damaged_trash(run):
    prune(run, 1)
    flip(in_trash(run, 1) / "ckpt.index")


def damaged_journal(run):
    prune(run, 1, 2)
    (path,) = place(run, "journal").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"step": 1', b'"step": 3'))


def lost_journal(run):
    prune(run, 1)
    (path,) = place(run, "journal").iterdir()
    path.unlink()


def no_reason(run):
    run.quarantine(run.live()[0], "damaged")
    place(run, "quarantine", "step-000000001.reason").unlink()


def moved_back_by_hand(run):
    prune(run, 1)
    in_trash(run, 1).rename(live(run, 1))


def removed_by_others(run):
    shutil.rmtree(live(run, 2))


TO_QUARANTINE = "moved to the quarantine, where its bytes stay"
MENDED = [
    pytest.param(torn_ledger, [("run/ledger.jsonl", "cut off")], 0, id="a torn line of the ledger"),
    pytest.param(torn_tombstones, [("run/tombstones.jsonl", "cut off")], 0, id="a torn line of the tombstones"),
    pytest.param(half_written, [("run/tmp/*", "cleared away")], 0, id="a half-written checkpoint"),
    pytest.param(
        temporary_files,
        [
            (".some.json.*", "cleared away"),
            ("run/.some.json.*", "cleared away"),
            ("run/checkpoints/step-000000001/.some.json.*", "cleared away"),
        ],
        0,
        id="temporary files",
    ),
    pytest.param(
        dead_writers,
        [
            (name, "given back for a process that is gone")
            for name in ("lease.000000900.json", "run/lease.000000900.json")
        ],
        0,
        id="leases of the dead",
    ),
    pytest.param(marked_only, [("run/journal/*", "finished")], 0, id="a pruning that was only marked"),
    pytest.param(
        moved_without_a_tombstone,
        [("run/journal/*", "finished"), ("run/trash/*", "finished")],
        0,
        id="a pruning without its tombstone",
    ),
    pytest.param(half_undeleted, [("run/trash/*", "finished")], 0, id="a half-done undelete"),
    pytest.param(half_swept, [("run/trash/*", "finished")], 0, id="a half-done sweep"),
    pytest.param(
        half_superseded,
        [("run/checkpoints/step-000000005", "set aside, as superseded")],
        1,
        id="overtaken, but not set aside",
    ),
    pytest.param(
        half_removed_state, [("run/resume/step-000000001", "cleared away")], 0, id="a half-removed state to resume from"
    ),
    pytest.param(
        emptied_state, [("run/resume/step-000000001", "cleared away")], 0, id="an emptied state to resume from"
    ),
    pytest.param(temporary_in_quarantine, [("run/quarantine/.x.*", "cleared away")], 0, id="a half-written reason"),
    pytest.param(
        unknown_in_the_trash,
        [("run/trash/*", "brought back among the live ones")],
        1,
        id="in the trash, and nothing tells why",
    ),
    pytest.param(damaged_state, [("run/resume/step-000000002", TO_QUARANTINE)], 0, id="a damaged state to resume from"),
    *(
        pytest.param(change, [("run/checkpoints/step-000000002", TO_QUARANTINE)], 1, id=words)
        for change, words in (
            (flipped_live, "a flipped bit"),
            (truncated_live, "a cut file"),
            (flipped_manifest, "a damaged manifest"),
            (no_manifest, "a lost manifest"),
            (manifest_of_another_step, "a manifest of another step"),
        )
    ),
    pytest.param(damaged_trash, [("run/trash/*", TO_QUARANTINE)], 0, id="damaged in the trash"),
    pytest.param(
        damaged_journal,
        [("run/journal/*", "moved to the quarantine, and what it had moved to the trash was brought back")],
        1,
        id="a damaged journal",
    ),
    pytest.param(lost_journal, [("run/trash/*", "brought back among the live ones")], 1, id="a lost journal"),
    pytest.param(
        no_reason,
        [("run/quarantine/step-000000001", "looked at again, and the reason written")],
        0,
        id="in quarantine without the reason",
    ),
    pytest.param(
        moved_back_by_hand,
        [("run/checkpoints/step-000000001", "told in the tombstones, as undeleted")],
        1,
        id="moved back from the trash by hand",
    ),
    pytest.param(
        removed_by_others,
        [("run/checkpoints/step-000000002", "taken for lost, and told so in the tombstones")],
        1,
        id="removed by others",
    ),
]


@pytest.fixture
def run(crowd):
    run = crowd.run([0.9, 0.8, 0.3, 0.4, 0.2])
    crowd.run([0.5], "other")
    return run


def bytes_of(run, tree):
    """The bytes of every checkpoint's files, wherever they lie."""
    return {data for name, data in tree(run.files.root / run.key).items() if "ckpt." in name}


@pytest.mark.parametrize(("change", "mended", "raised"), MENDED)
def test_what_a_repair_mends(run, crowd, tree, change, mended, raised):
    change(run)
    before = bytes_of(run, tree)
    assert wrong(crowd.store)
    told, left = repair(crowd.store)
    assert len(told) == len(mended)
    for (at, done), (pattern, remedy) in zip(sorted(told), sorted(mended), strict=True):
        assert (run.files.root / at).match(pattern)
        assert done == remedy
    assert left == []
    assert wrong(crowd.store) == []
    assert crowd.store.revision() == raised
    if change not in (half_swept, half_removed_state, emptied_state, half_written):
        assert before <= bytes_of(run, tree)
    again = tree(run.files.root)
    assert repair(crowd.store) == ([], [])
    assert tree(run.files.root) == again


def test_a_sound_store_is_not_touched(run, crowd, tree):
    prune(run, 1)
    names = [str(path) for path in run.files.root.rglob("*")]
    before = tree(run.files.root)
    assert repair(crowd.store) == ([], [])
    assert tree(run.files.root) == before
    assert [str(path) for path in run.files.root.rglob("*")] == names


# What it must not touch, or cannot mend.


def strangers(run):
    for path in (run.files.root, place(run), place(run, "checkpoints"), live(run, 1), place(run, "tmp")):
        (path / "notes.txt").write_text("mine")
    place(run, "journal").mkdir()
    place(run, "journal", "notes.json").write_text("mine")


def of_another_run(run):
    shutil.copytree(run.files.root / "other" / "checkpoints" / "step-000000001", live(run, 7))


def of_a_newer_format(run):
    path = live(run, 2, "manifest.json")
    value = json.loads(path.read_text()) | {"format": 2}
    del value["self"]
    path.write_bytes(manifests._to_bytes(value))


def journal_of_a_newer_format(run):
    marked_only(run)
    (path,) = place(run, "journal").iterdir()
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


def a_link(run):
    folder = live(run, 2)
    folder.rename(place(run, "elsewhere"))
    folder.symlink_to(place(run, "elsewhere"))


def damaged_ledger(run):
    path = place(run, "ledger.jsonl")
    path.write_text(path.read_text().replace('"step": 2', '"step": 2O'))


def damaged_tombstones(run):
    place(run, "tombstones.jsonl").write_text("[]\n")


def damaged_pins(run):
    place(run, "pins.json").write_text("{}")


def damaged_about(run):
    place(run, "run.json").write_text("{}")


def damaged_champion(run):
    (run.files.root / "champion.json").write_text("{}")


def no_record(run):
    path = place(run, "ledger.jsonl")
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"step": 5' not in line))


def other_metrics(run):
    path = place(run, "ledger.jsonl")
    text = re.sub(r'"crc": "[0-9a-f]{8}", ', "", path.read_text())
    path.write_text(text.replace('"val_loss": 0.8', '"val_loss": 0.7'))


def both_live_and_in_the_trash(run):
    prune(run, 1)
    shutil.copytree(in_trash(run, 1), live(run, 1))


def stranded_beside_a_live_one(run):
    both_live_and_in_the_trash(run)
    shutil.rmtree(place(run, "journal"))


def undeleted_beside_a_live_one(run):
    both_live_and_in_the_trash(run)
    bury(run, "undeleted", journals(run)[0], {"step": 1})


def a_folder_that_is_a_link(run):
    place(run, "elsewhere").mkdir()
    place(run, "trash").symlink_to(place(run, "elsewhere"))


LEFT = [
    pytest.param(strangers, "move it out of the store, unless it is to stay here", id="files of others"),
    pytest.param(of_another_run, "move it out of the store, to where it belongs", id="a checkpoint of another run"),
    pytest.param(of_a_newer_format, "move it out of the store, to where it belongs", id="a newer manifest"),
    pytest.param(journal_of_a_newer_format, "use the version that wrote it", id="a newer journal"),
    pytest.param(a_link, "put the folder of the checkpoint itself in its place", id="a link in a checkpoint's place"),
    pytest.param(damaged_ledger, "such as the one in Trainer's model_run", id="a damaged ledger"),
    pytest.param(damaged_tombstones, "correct the line by hand", id="damaged tombstones"),
    pytest.param(damaged_pins, "or move it away, and pin again", id="damaged pins"),
    pytest.param(damaged_about, "or use the version that wrote it", id="a damaged run.json"),
    pytest.param(damaged_champion, "the next push writes it anew", id="a damaged champion.json"),
    pytest.param(no_record, "train on; or pin it, to keep it", id="a checkpoint without a record"),
    pytest.param(other_metrics, "find out which of the two was changed", id="metrics that differ"),
    pytest.param(both_live_and_in_the_trash, "compare the two, and move one out", id="live, and in the trash too"),
    pytest.param(stranded_beside_a_live_one, "another checkpoint of step 1 is live", id="stranded in the trash"),
    pytest.param(undeleted_beside_a_live_one, "another checkpoint of step 1 is live", id="undeleted, and live too"),
    pytest.param(a_folder_that_is_a_link, "make it a folder or file that can be read", id="a folder that is a link"),
]


@pytest.mark.parametrize(("change", "advice"), LEFT)
def test_what_only_a_person_can_decide_is_left_alone_and_says_what_to_do(run, crowd, tree, change, advice):
    change(run)
    before = tree(run.files.root)
    mended, left = repair(crowd.store)
    assert mended == []
    assert any(advice in (finding.advice or "") for finding in left)
    assert tree(run.files.root) == before


@pytest.mark.parametrize(("change", "expected"), [(p.values[0], p.id) for p in (*MENDED, *LEFT)])
def test_every_fault_and_warning_says_what_becomes_of_it(run, crowd, change, expected):
    change(run)
    for finding in wrong(crowd.store):
        assert (finding.remedy is None) != (finding.advice is None), finding


def test_what_cannot_be_read_is_not_moved(run, crowd, monkeypatch):
    def broken(path):
        raise OSError(5, "Input/output error")

    flipped_live(run)
    measure = type(run.files).measure
    monkeypatch.setattr(
        type(run.files),
        "measure",
        lambda files, path, *how: broken(path) if "/step-" in path else measure(files, path, *how),
    )
    mended, left = repair(crowd.store)
    assert mended == []
    assert {finding.advice for finding in left} == {"see to the disk, or to who may read it"}


def test_a_part_that_fails_is_told_and_does_not_keep_the_others(run, crowd):
    damaged_pins(run)
    marked_only(run)
    half_written(run)
    damaged_state(run)
    mended, left = repair(crowd.store)
    assert sorted(done for _, done in mended) == ["cleared away", TO_QUARANTINE]
    failures = [finding.what for finding in left if finding.what.startswith("could not be repaired: ")]
    assert len(failures) == 1
    assert "pins.json" in failures[0]


def test_the_bytes_of_a_damaged_journal_stay_as_evidence(run, crowd):
    damaged_journal(run)
    (journal,) = place(run, "journal").iterdir()
    data = journal.read_bytes()
    repair(crowd.store)
    assert place(run, "quarantine", f"{journal.stem}.journal.json").read_bytes() == data
    assert not journal.exists()


def test_what_was_taken_from_a_pinned_one_in_the_trash_by_hand_is_no_sweep(run, crowd):
    half_swept(run)
    run.pin(1, "a paper cites it")
    mended, _ = repair(crowd.store)
    assert [done for _, done in mended] == [TO_QUARANTINE]
    assert any(place(run, "quarantine").glob("step-000000001--*/ckpt.index"))


def test_the_clock_alone_makes_no_sweep_of_what_is_damaged_in_the_trash(run, crowd, monkeypatch):
    half_swept(run)
    monkeypatch.setattr("checkpoint_gate.store.trash.is_over", lambda mark, journal, now: False)
    mended, _ = repair(crowd.store)
    assert [done for _, done in mended] == [TO_QUARANTINE]


@pytest.mark.parametrize(
    ("spoil", "words", "live_steps"),
    [
        pytest.param(flipped_live, "step 2 is damaged", [1, 3, 4, 5], id="damaged"),
        pytest.param(removed_by_others, "step 2 is gone", [1, 3, 4, 5], id="removed by others"),
    ],
)
def test_a_repair_gives_an_interrupted_pruning_up_where_what_was_to_stay_is_not_there(
    run, crowd, spoil, words, live_steps
):
    marked_only(run)
    spoil(run)
    repair(crowd.store)
    assert [stored.step for stored in run.live()] == live_steps
    assert [(m["step"], m["event"], m["why"]) for m in tombstones(run).values() if m["event"] == "spared"] == [
        (1, "spared", words)
    ]


def test_a_plan_that_cannot_be_read_is_given_up_by_nobody(run, crowd):
    journal_of_a_newer_format(run)
    flipped_live(run)
    mended, left = repair(crowd.store)
    assert [done for _, done in mended] == [TO_QUARANTINE]
    assert "use the version that wrote it" in [finding.advice for finding in left]


def pinned_and_overtaken(run):
    run.pin(5, "a paper cites it")
    run.resume_after(4)


def pinned_and_removed(run):
    run.pin(7, "a paper cites it")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            pinned_and_overtaken,
            "step 5 is pinned (a paper cites it), but lies in superseded/, since a resumed training has overtaken it",
            id="overtaken",
        ),
        pytest.param(pinned_and_removed, "step 7 is pinned (a paper cites it), but is gone", id="never there"),
        pytest.param(lambda run: run.pin(1, "live"), None, id="one that is live"),
        pytest.param(lambda run: (prune(run, 1), run.pin(1, "in the trash")), None, id="one in the trash"),
    ],
)
def test_a_pin_without_a_checkpoint_is_told(run, crowd, change, words):
    change(run)
    told = [finding.what for finding in wrong(crowd.store) if finding.place.endswith("pins.json")]
    assert told == ([] if words is None else [words])


def test_a_run_in_use_is_told_and_the_others_are_repaired(run, crowd, tree):
    other = crowd.store.run("other")
    half_written(run)
    half_written(other)
    with run.lease("training"):
        before = tree(place(run))
        mended, left = repair(crowd.store)
        assert tree(place(run)) == before
    assert [at.split("/")[0] for at, _ in mended] == ["other"]
    assert [finding.run for finding in left] == ["run"]
    assert left[0].severity == "fault"
    assert left[0].what.startswith(f"could not be repaired: {place(run)} is in use by process ")


def test_what_was_saved_after_a_resume_is_not_taken_for_overtaken(run, crowd, clock):
    run.ledger.append_event("resumed", after_step=4)
    clock.now += 1
    shutil.rmtree(live(run, 5))
    crowd.publish(run, Record(5, 4, {"loss": 0.1, "val_loss": 0.1}, time=clock()))
    _, left = repair(crowd.store)
    assert [finding.advice for finding in left] == ["train on; or pin it, to keep it"]
    assert live(run, 5).exists()


# Killed anywhere.


@pytest.fixture
def broken(run):
    """All at once, as far as one thing does not hide another."""
    half_removed_state(run)
    prune(run, 1)
    half_written(run)
    torn_ledger(run)
    temporary_files_of(run)
    flip(in_trash(run, 1) / "ckpt.index")
    flipped_live(run)
    make_plan(run, {3: "bad"}, {}, DAY, RULES, "CheckpointFilter").write(run, 0)
    return run.files.root


def temporary_files_of(run):
    place(run, f".run.json.{'0' * 12}.tmp").write_text("{")
    (run.files.root / f".store.json.{'0' * 12}.tmp").write_text("{")


@pytest.fixture
def fresh(broken, memory_path, clock):
    def make(change=None):
        target = memory_path / "copy"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(broken, target)
        store = Store(target, clock)
        if change is not None:
            change(store.run("run"))
        return store

    return make


def outcome(store, tree):
    """All but the revision, and the times and names that differ from one repair to the next."""
    names = {name for name in tree(store.root) if not name.startswith("run/journal/")}
    return names | {(step, mark["event"]) for (_, step), mark in tombstones(store.run("run")).items()}


def no_more(run):
    pass


def spoil_journals(run):
    for path in place(run, "journal").iterdir():
        path.write_bytes(path.read_bytes().replace(b'"grace"', b'"grxce"'))


@pytest.mark.parametrize("change", [no_more, spoil_journals], ids=["the journals are whole", "no journal is"])
def test_killed_anywhere_a_repair_loses_nothing_and_is_finished_by_the_next(fresh, killable, killed, tree, change):
    store = fresh(change)
    kept = bytes_of(store.run("run"), tree) - {b"half", b"1"}
    killable.arm(None)
    repair(store)
    operations, expected = killable.done, outcome(store, tree)
    assert operations >= 25
    for at in range(operations):
        store = fresh(change)
        killable.arm(at)
        with pytest.raises(killed):
            repair(store)
        killable.arm(None)
        run = store.run("run")
        assert kept <= bytes_of(run, tree), at
        for step in (4, 5):
            assert verify_files(run.files, run.gated.read(f"step-{step:09d}")) is None
        repair(store)
        assert wrong(store) == [], at
        assert outcome(store, tree) ^ expected == set(), at
        assert repair(store) == ([], []), at
        assert store.revision() >= 1


def test_a_checkpoint_that_goes_while_it_is_checked_is_no_fault(run, crowd, monkeypatch):
    prune(run, 1)
    remove = shutil.rmtree

    def gone(files, stored, progress):
        remove(files.local(stored.folder))
        return "it is missing"

    monkeypatch.setattr("checkpoint_gate.store.run_check.verify_files", gone)
    told = [f for f in check_store(crowd.store) if "missing" in f.what]
    assert told == []


def test_a_lease_that_is_lost_ends_the_repair(run, crowd, monkeypatch):
    flipped_live(run)
    half_written(run)

    def lost(self):
        raise LeaseHeld("The lease was taken over by another writer.")

    monkeypatch.setattr("checkpoint_gate.store.repairing._Repair._live", lost)
    _, left = repair(crowd.store)
    assert [f.what for f in left if f.run == "run" and f.what.startswith("could")] == [
        "could not be repaired: The lease was taken over by another writer"
    ]
    assert live(run, 2).exists()


def test_several_changes_of_one_repair_raise_the_revision_once(run, crowd):
    flipped_live(run)
    flip(live(run, 3, "ckpt.index"))
    assert len(repair(crowd.store)[0]) == 2
    assert crowd.store.revision() == 1


def test_what_became_whole_again_is_not_moved(run, crowd, monkeypatch):
    flipped_live(run)
    (finding,) = [f for f in check_store(crowd.store) if f.severity == "fault"]
    flipped_live(run)
    with run.lease("repairing") as lease:
        assert list(_Repair(run, lease, frozenset([finding.place])).failures()) == []
    assert live(run, 2).exists()


def test_a_damaged_checkpoint_whose_burial_was_told_is_not_told_again(run, crowd):
    damaged_trash(run)
    bury(run, "spared", journals(run)[0], {"step": 1})
    repair(crowd.store)
    assert [line["event"] for line in stones(run).read()] == ["trashed", "spared"]


def test_damaged_in_the_trash_without_a_journal_is_set_aside(run, crowd):
    damaged_trash(run)
    (path,) = place(run, "journal").iterdir()
    path.unlink()
    (in_trash(run, 1) / "ckpt.data-00000-of-00001").unlink()
    mended, left = repair(crowd.store)
    assert [done for _, done in mended] == [TO_QUARANTINE]
    assert left == []


@pytest.mark.parametrize("change", [journal_of_a_newer_format, both_live_and_in_the_trash, undeleted_beside_a_live_one])
def test_what_is_left_alone_is_so_beside_what_is_mended(run, crowd, change):
    change(run)
    before = {path: path.read_bytes() for name in ("journal", "trash") for path in place(run, name).rglob("*.*")}
    flipped_live(run)
    mended, left = repair(crowd.store)
    assert mended == [("run/checkpoints/step-000000002", TO_QUARANTINE)]
    assert left != []
    assert {path: path.read_bytes() for path in before if path.is_file()} == before


def test_a_second_damaged_checkpoint_of_a_step_gets_a_place_of_its_own(run, crowd):
    flipped_live(run)
    repair(crowd.store)
    crowd.publish(run, Record(2, 1, {"loss": 0.5, "val_loss": 0.8}, time=run.clock()))
    flipped_live(run)
    repair(crowd.store)
    names = {"step-000000002", "step-000000002.1", "step-000000002.reason", "step-000000002.1.reason"}
    assert {path.name for path in place(run, "quarantine").iterdir()} == names


@pytest.mark.parametrize("change", [of_another_run, a_link])
def test_what_became_another_ones_since_the_check_is_not_moved(run, crowd, tree, change):
    change(run)
    places = frozenset(f.place for f in check_store(crowd.store) if f.severity == "fault")
    before = tree(run.files.root)
    with run.lease("repairing") as lease:
        list(_Repair(run, lease, places).failures())
    assert tree(run.files.root) == before


def test_what_was_overtaken_before_it_was_written_is_not_missed(crowd, clock):
    run = crowd.run([0.5, 0.4, 0.3], saved=[1, 3])
    clock.now += 1
    run.ledger.append(Record(4, 3, {"loss": 0.5, "val_loss": 0.2}, time=clock()), Decision(True, "as told"))
    assert [finding.severity for finding in wrong(crowd.store)] == ["fault"]
    run.ledger.append_event("overtaken", step=4, at="step")  # another state of that step
    assert [finding.severity for finding in wrong(crowd.store)] == ["fault"]
    run.ledger.append_event("overtaken", step=4, at="epoch")
    assert wrong(crowd.store) == []
    clock.now += 1
    run.ledger.append_event("resumed", after_step=3)
    run.ledger.append(Record(4, 3, {"loss": 0.5, "val_loss": 0.2}, time=clock()), Decision(True, "as told"))
    assert [finding.severity for finding in wrong(crowd.store)] == ["fault"]
