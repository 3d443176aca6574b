"""Manifests and what they list: nothing damaged, foreign or torn is ever taken for a checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoint_gate.errors import DamagedCheckpoint, ForeignCheckpoint, RuleError, StoreError
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record, dump_json
from checkpoint_gate.store import manifest as manifests
from checkpoint_gate.store.checkpoints import Stored, folder_name, read_checkpoint, verify_files
from checkpoint_gate.store.manifest import FileEntry, Manifest, parse_manifest

METRICS = {"loss": 0.1 + 0.2, "val_loss": 1e-05, "auc": math.nan}


@pytest.fixture
def run(crowd):
    run = crowd.run([0.5], saved=[])
    crowd.publish(run, Record(7, 6, METRICS, time=1.5))
    return run


@pytest.fixture
def place(run):
    """The manifest's place on the disk."""
    return run.files.local(f"{run.gated.path(7)}/manifest.json")


def damage_of(run, step=7):
    return run.gated.read(folder_name(step)).damage


def signed(value):
    """Bytes of a manifest with this content and a checksum that holds."""
    value = {k: v for k, v in value.items() if k != "self"}
    claim = "sha256:" + hashlib.sha256(dump_json(value).encode()).hexdigest()
    return (dump_json(value | {"self": claim}, indent=1) + "\n").encode()


def test_what_was_written_is_read(run, place, clock):
    manifest = run.gated.read(folder_name(7)).manifest
    assert (manifest.run, manifest.step, manifest.epoch, manifest.kind, manifest.at) == ("run", 7, 6, "gated", "epoch")
    assert (manifest.decision, manifest.rules, manifest.time) == ("as told", "0" * 64, clock.now)
    assert [entry.path for entry in manifest.files] == ["ckpt.data-00000-of-00001", "ckpt.index"]
    assert manifest.size == sum(entry.bytes for entry in manifest.files) == 80 + len(b"index of 7")
    assert manifest.record.metrics["loss"] == 0.1 + 0.2
    assert math.isnan(manifest.record.metrics["auc"])
    assert place.read_bytes() == manifest.to_bytes()
    assert manifests._as_written(place.read_bytes()) == manifest
    assert verify_files(run.files, run.gated.read(folder_name(7))) is None


def test_a_checkpoint_of_an_older_store_has_sha256_and_is_compared_with_it(run, place):
    value = json.loads(place.read_bytes())
    for entry in value["files"]:
        data = place.with_name(entry["path"]).read_bytes()
        entry["checksum"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    place.write_bytes(signed(value))
    stored = run.gated.read(folder_name(7))
    assert verify_files(run.files, stored) is None
    index = place.with_name("ckpt.index")
    index.write_bytes(index.read_bytes().swapcase())
    assert verify_files(run.files, stored) == f"{index} does not match its checksum"


def test_every_flipped_bit_is_detected(run, place):
    whole = place.read_bytes()
    for offset in range(len(whole)):
        for bit in range(8):
            flipped = bytes([*whole[:offset], whole[offset] ^ (1 << bit), *whole[offset + 1 :]])
            with pytest.raises(DamagedCheckpoint, match=r"^The manifest m is damaged: "):
                parse_manifest(flipped, "m")


def test_every_truncation_is_detected(place):
    whole = place.read_bytes()
    for end in range(len(whole)):
        with pytest.raises(DamagedCheckpoint, match=r"^The manifest m is damaged: "):
            parse_manifest(whole[:end], "m")
    with pytest.raises(DamagedCheckpoint, match="it is not as it was written"):
        parse_manifest(whole + b"\n", "m")


@pytest.mark.parametrize("name", ["ckpt.index", "ckpt.data-00000-of-00001"])
def test_every_flipped_bit_and_every_truncation_of_a_file_is_detected(run, name):
    stored = run.gated.read(folder_name(7))
    path = run.files.local(f"{stored.folder}/{name}")
    whole = path.read_bytes()
    for offset in range(len(whole)):
        for bit in range(8):
            path.write_bytes(bytes([*whole[:offset], whole[offset] ^ (1 << bit), *whole[offset + 1 :]]))
            assert verify_files(run.files, stored) == f"{path} does not match its checksum"
        path.write_bytes(whole[:offset])
        assert verify_files(run.files, stored) == f"{path} has {offset} bytes, its manifest says {len(whole)}"
    path.write_bytes(whole)
    assert verify_files(run.files, stored) is None


def test_a_lost_file_is_told(run):
    stored = run.gated.read(folder_name(7))
    path = run.files.local(f"{stored.folder}/ckpt.index")
    path.unlink()
    assert verify_files(run.files, stored) == f"{path} is missing"
    path.symlink_to("/etc/hostname")
    assert verify_files(run.files, stored) == f"{path} is missing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"format": "1"}, "its format is '1'; this version reads format 1", id="a format that is text"),
        pytest.param({"format": None}, "its format is None; this version reads format 1", id="no format"),
        pytest.param({"step": -1}, "step: Expected int >= 0", id="a negative step"),
        pytest.param({"step": 7.0}, "step: Expected int, got float", id="a step with a point"),
        pytest.param({"step": True}, "step: Expected int, got bool", id="a step of yes"),
        pytest.param({"kind": "best"}, "kind: Invalid enum value 'best'", id="an unknown kind"),
        pytest.param({"run": 7}, "run: Expected str, got int", id="a run that is a number"),
        pytest.param({"more": 1}, "Object contains unknown field more", id="an unknown key"),
        pytest.param({"metrics": {"loss": "low"}}, "metric 'loss' must be a number", id="a metric that is text"),
        pytest.param({"metrics": {"loss": True}}, "metrics: Expected float | str, got bool", id="a metric of yes"),
        pytest.param({"metrics": [1]}, "metrics: Expected object, got array", id="metrics in a list"),
        pytest.param({"files": "all"}, "files: Expected array, got str", id="files that are text"),
        pytest.param({"at": "batch"}, "at: Invalid enum value 'batch'", id="at something else"),
    ],
)
def test_a_manifest_that_is_signed_but_wrong_is_refused(place, change, words):
    value = json.loads(place.read_bytes()) | change
    with pytest.raises(DamagedCheckpoint) as error:
        parse_manifest(signed(value), "m")
    assert str(error.value).startswith("The manifest m is damaged: ")
    assert words in str(error.value)


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(lambda value: signed(value), id="signed as ours are"),
        pytest.param(lambda value: json.dumps(value | {"self": "blake3:00"}).encode(), id="signed in another way"),
        pytest.param(
            lambda value: json.dumps({"format": value["format"]}).encode(), id="with nothing else that we know"
        ),
    ],
)
def test_a_manifest_of_another_format_is_foreign_whatever_it_says_of_itself(place, own):
    value = json.loads(place.read_bytes()) | {"format": 2}
    with pytest.raises(ForeignCheckpoint, match=r"^The manifest m cannot be read: its format is 2; this version reads"):
        parse_manifest(own(value), "m")


def test_a_flipped_bit_in_the_format_is_damage(place):
    with pytest.raises(DamagedCheckpoint, match=r"^The manifest m is damaged: its format is 3") as error:
        parse_manifest(place.read_bytes().replace(b'"format": 1', b'"format": 3'), "m")
    assert not isinstance(error.value, ForeignCheckpoint)


@pytest.mark.parametrize(
    "key", ["run", "step", "epoch", "kind", "time", "metrics", "decision", "rules", "files", "writer"]
)
def test_a_manifest_needs_its_keys(place, key):
    value = json.loads(place.read_bytes())
    del value[key]
    with pytest.raises(DamagedCheckpoint, match=rf"The manifest m is damaged: Object missing required field {key}"):
        parse_manifest(signed(value), "m")


HOSTILE_NAMES = [
    *(
        "../ckpt.index",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a\0b",
        "ckpt.index/",
        ".hidden",
        "-rf",
        "gs://b/o",
    ),
    *("a b", "a\n", "é", "~", "$x", "x" * 202, "ckpt.index\n", "\ud800"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_name_in_a_manifest_is_refused(place, name):
    value = json.loads(place.read_bytes())
    value["files"][0]["path"] = name
    try:
        data = signed(value)
    except UnicodeEncodeError:
        data = json.dumps(value).encode()
    with pytest.raises(DamagedCheckpoint, match="The manifest m is damaged: "):
        parse_manifest(data, "m")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"bytes": -1}, r"files\.0\.bytes: Expected int >= 0", id="a negative size"),
        pytest.param({"bytes": "9"}, r"files\.0\.bytes: Expected int, got str", id="a size that is text"),
        pytest.param({"checksum": "md5:0"}, r"files\.0\.checksum: Expected str matching regex", id="another checksum"),
        pytest.param({"checksum": "xxh3-128:" + "0" * 64}, r"files\.0\.checksum", id="as long as one of another kind"),
        pytest.param({"checksum": "xxh3-128:" + "F" * 32}, r"files\.0\.checksum", id="capitals in a short one"),
        pytest.param({"checksum": "sha256:" + "F" * 64}, r"files\.0\.checksum", id="capital digits"),
        pytest.param({"checksum": "sha256:" + "f" * 64 + "\n"}, r"files\.0\.checksum", id="a line break at its end"),
        pytest.param({"mode": 7}, r"files\.0: Object contains unknown field mode", id="an unknown key"),
    ],
)
def test_a_wrong_file_entry_is_refused(place, change, words):
    value = json.loads(place.read_bytes())
    value["files"][0] |= change
    with pytest.raises(DamagedCheckpoint, match=f"The manifest m is damaged: {words}"):
        parse_manifest(signed(value), "m")


@pytest.mark.parametrize("path", ["ckpt.index", "manifest.json"])
def test_two_entries_of_one_file_are_refused(place, path):
    value = json.loads(place.read_bytes())
    value["files"][0]["path"] = path
    with pytest.raises(DamagedCheckpoint, match="it names a file twice"):
        parse_manifest(signed(value), "m")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"[]", "it is not an object", id="a list"),
        pytest.param(b"\xff\xfe", "utf-8", id="not UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "utf-8", id="UTF-16"),
        pytest.param(b'{"format": 1, "format": 1}', "duplicate key 'format'", id="duplicate keys"),
        pytest.param(b'{"format": 1, "step": ' + b"9" * 5000 + b"}", "Exceeds the limit", id="a huge number"),
        pytest.param(b'{"format": 1, "time": 1e999}', "Out of range", id="a number without end"),
        pytest.param(b'{"format": 1, "time": Infinity}', "Infinity is not strict JSON", id="infinity"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="nested too deeply"),
        pytest.param(b'{"format": 1}', "its checksum does not hold", id="without a checksum"),
    ],
)
def test_what_is_no_manifest_is_refused(data, words):
    with pytest.raises(DamagedCheckpoint, match=f"^The manifest m is damaged: .*{words}"):
        parse_manifest(data, "m")


def test_the_same_content_in_other_bytes_is_refused(place):
    whole = place.read_bytes()
    for other in (json.dumps(json.loads(whole), sort_keys=True).encode(), whole.replace(b"1e-05", b"1E-05")):
        assert other != whole
        with pytest.raises(DamagedCheckpoint, match="it is not as it was written"):
            parse_manifest(other, "m")


def test_a_manifest_larger_than_its_limit_is_not_read(run, place):
    place.write_bytes(b" " * (4 * 1024 * 1024 + 1))
    assert damage_of(run).endswith("is larger than the 4194304 bytes that such a file may have.")


def test_a_manifest_of_another_run_is_refused(crowd, run, place):
    other = crowd.run([0.5], "other", saved=[])
    crowd.publish(other, Record(7, 6, METRICS))
    place.write_bytes(other.files.local(f"{other.gated.path(7)}/manifest.json").read_bytes())
    assert damage_of(run).endswith("step-000000007 belongs to the run other, not to run.")


@pytest.mark.parametrize("step", [8, 70, 1_000_000_007])
def test_a_manifest_of_another_step_is_refused(run, step):
    run.files.rename(run.gated.path(7), run.gated.path(step))
    assert damage_of(run, step).endswith(f"{folder_name(step)} holds the manifest of step 7.")


def test_a_step_that_begins_with_another_is_another(crowd):
    run = crowd.run([0.5], saved=[])
    crowd.publish(run, Record(100_000_000, 0, {}))
    run.files.rename(run.gated.path(100_000_000), run.gated.path(1_000_000_000))
    assert damage_of(run, 1_000_000_000).endswith("holds the manifest of step 100000000.")


def test_checkpoints_are_ordered_by_number_and_foreign_names_passed_over(crowd):
    run = crowd.run([0.5], saved=[])
    for step in (1_000_000_000, 999_999_999, 3):
        crowd.publish(run, Record(step, 0, {}))
    for name in ("step-x", "step-0000000005--x", "notes"):
        run.files.make_folder(f"run/checkpoints/{name}")
    assert [stored.step for stored in run.live()] == [3, 999_999_999, 1_000_000_000]
    assert [held.step for held in run.held()] == [3, 999_999_999, 1_000_000_000]


def test_a_folder_without_a_manifest_is_damaged(run, place):
    stored = run.gated.read(folder_name(7))
    place.unlink()
    assert damage_of(run).endswith("step-000000007 has no manifest.")
    place.symlink_to("/etc/hostname")
    assert damage_of(run).endswith("manifest.json is a symbolic link; the store does not follow links.")
    place.unlink()
    place.mkdir()
    assert damage_of(run).endswith("manifest.json is not a plain file.")
    place.rmdir()
    place.parent.rename(place.parent.with_name("elsewhere"))
    place.parent.write_text("no folder")
    assert verify_files(run.files, stored).endswith("is missing")
    assert damage_of(run).endswith("step-000000007 has no manifest.")


def test_a_folder_behind_a_link_is_damaged(run):
    folder = run.files.local(run.gated.path(7))
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))
    assert damage_of(run).endswith("step-000000007 is a symbolic link; the store does not follow links.")


def test_a_checkpoint_without_a_manifest_does_not_verify(run):
    assert verify_files(run.files, Stored("run/checkpoints/x", None, "it is broken")) == "it is broken"
    assert verify_files(run.files, Stored("run/checkpoints/x", None)) == "it has no manifest"
    assert read_checkpoint(run.files, "run/checkpoints/step-000000099", "run").damage.endswith("has no manifest.")


def test_publishing_again_the_same_bytes_changes_nothing(crowd, run, tree):
    before = tree(crowd.root)
    crowd.publish(run, Record(7, 6, METRICS, time=1.5))
    assert tree(crowd.root) == before


def test_publishing_other_bytes_in_the_same_place_is_refused(crowd, run, tree):
    before = tree(crowd.root)
    with pytest.raises(StoreError, match="step-000000007 is there already, with other content"):
        crowd.publish(run, Record(7, 6, METRICS, time=1.5), weight=41)
    assert {k: v for k, v in tree(crowd.root).items() if "/tmp/" not in k} == {
        k: v for k, v in before.items() if "/tmp/" not in k
    }


def test_the_checksum_tells_checkpoints_of_one_step_apart(run):
    manifest = run.gated.read(folder_name(7)).manifest
    entry = FileEntry(path="ckpt.index", bytes=1, checksum="sha256:" + "0" * 64)
    other = Manifest.build(
        record=manifest.record,
        time=manifest.time,
        kind="gated",
        run="run",
        decision="",
        rules="",
        files=[entry],
        writer="",
    )
    assert manifest.checksum != other.checksum
    assert manifest.checksum == parse_manifest(manifest.to_bytes(), "m").checksum


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
MANIFESTS = st.builds(
    Manifest.build,
    record=st.builds(
        Record,
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**63 - 1),
        st.dictionaries(TEXTS, st.floats(), max_size=5),
        st.sampled_from(["epoch", "step"]),
    ),
    time=st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["gated", "resumable"]),
    run=TEXTS,
    decision=TEXTS | st.just('", "self": "sha256:0"'),
    rules=TEXTS,
    files=st.just([FileEntry(path="ckpt.index", bytes=1, checksum="sha256:" + "0" * 64)]),
    writer=TEXTS,
)


@given(MANIFESTS)
def test_the_quick_way_to_read_a_manifest_and_the_thorough_one_agree(manifest):
    data = manifest.to_bytes()
    assert manifests._as_written(data) in (None, manifest)
    assert manifests._examined(data, "m") == parse_manifest(data, "m") == manifest


@pytest.mark.parametrize(
    ("mode", "losses", "damaged", "best"),
    [
        ("min", [0.5, 0.3, 0.4], (), 2),
        ("max", [0.5, 0.3, 0.4], (), 1),
        ("min", [0.3, 0.3, 0.4], (), 2),
        ("min", [0.5, float("nan"), 0.4], (), 3),
        ("min", [0.5, 0.3, 0.4], (2,), 3),
        ("min", [0.5, 0.3, 0.4], (2, 3), 1),
    ],
    ids=["smallest", "largest", "the later of equals", "NaN", "damaged", "the only whole one"],
)
def test_the_best_is_the_best_whole_one(crowd, mode, losses, damaged, best):
    run = crowd.run(losses)
    for step in damaged:
        run.files.local(f"{run.gated.path(step)}/ckpt.index").write_bytes(b"index of 7")
    assert run.best("val_loss", mode).step == best


def test_without_a_best_one_the_metrics_that_there_are_are_named(crowd):
    run = crowd.run([0.5])
    with pytest.raises(StoreError, match=r"finite value of 'f1'\. They have: loss, val_loss"):
        run.best("f1", "max")
    with pytest.raises(RuleError, match="mode must be min or max"):
        run.best("loss", "auto")


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        pytest.param(0, "no record", id="nothing was judged"),
        pytest.param(1, "1 record, all refused", id="one refusal"),
        pytest.param(2, "2 records, all refused", id="only refusals"),
    ],
)
def test_a_run_that_saved_nothing_has_no_best_and_says_why(crowd, refused, words):
    run = crowd.run([])
    for epoch in range(refused):
        run.ledger.append(Record(epoch + 1, epoch, {"val_loss": 0.9}), Decision(False, "too high"))
    with pytest.raises(StoreError) as error:
        run.best("val_loss", "min")
    assert str(error.value) == f"The run {run.key} has saved no checkpoint yet: {words}."


def test_a_run_whose_checkpoints_are_all_gone_is_not_said_to_have_saved_none(crowd):
    run = crowd.run([0.9])
    shutil.rmtree(run.files.local(run.gated.path(1)))
    with pytest.raises(StoreError, match=r"No live checkpoint of the run run that verifies .* They have: none\."):
        run.best("val_loss", "min")
