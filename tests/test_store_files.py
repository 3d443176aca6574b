"""The one way to the disk: hostile paths, exclusive and atomic writes, links, and what lies beside."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
import xxhash

from checkpoint_gate.errors import DamagedCheckpoint, RunMissing, StoreError
from checkpoint_gate.store import Store
from checkpoint_gate.store.checking import bytes_to_check, check_store
from checkpoint_gate.store.checkpoints import copy_out
from checkpoint_gate.store.documents import write_object
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.trash import tombstones


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    (root / "a").mkdir()
    (root / "a" / "b").write_bytes(b"content")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_bytes(b"secret")
    return LocalFiles(root)


HOSTILE = [
    pytest.param("/etc/passwd", id="absolute"),
    pytest.param("//a/b", id="two slashes"),
    pytest.param("../outside/b", id="climbing"),
    pytest.param("a/../../outside/b", id="climbing later"),
    pytest.param("a/..", id="climbing at the end"),
    pytest.param("..", id="the parent"),
    pytest.param(".", id="the root itself"),
    pytest.param("a/./b", id="a dot within"),
    pytest.param("./a", id="a dot before"),
    pytest.param("a/b/.", id="a dot after"),
    pytest.param("", id="empty"),
    pytest.param("/", id="a slash"),
    pytest.param("a/", id="a trailing slash"),
    pytest.param("a//b", id="an empty name within"),
    pytest.param("a\\b", id="a backslash"),
    pytest.param("..\\outside\\b", id="climbing with backslashes"),
    pytest.param("a/b\0", id="a NUL"),
    pytest.param("\0", id="nothing but a NUL"),
    pytest.param("C:\\a", id="a drive"),
]

OPERATIONS = {
    "exists": lambda files, path: files.exists(path),
    "is_file": lambda files, path: files.is_file(path),
    "is_folder": lambda files, path: files.is_folder(path),
    "names": lambda files, path: files.names(path),
    "size": lambda files, path: files.size(path),
    "read": lambda files, path: files.read(path, 100),
    "ends_with": lambda files, path: files.ends_with(path, b"x"),
    "checksum": lambda files, path: files.checksum(path),
    "measure": lambda files, path: files.measure(path),
    "local": lambda files, path: files.local(path),
    "make_folder": lambda files, path: files.make_folder(path),
    "create": lambda files, path: files.create(path, b"x"),
    "replace": lambda files, path: files.replace(path, b"x"),
    "append": lambda files, path: files.append(path, b"x"),
    "sync_file": lambda files, path: files.sync_file(path),
    "sync_folder": lambda files, path: files.sync_folder(path),
    "rename from": lambda files, path: files.rename(path, "free"),
    "rename to": lambda files, path: files.rename("a", path),
    "link from": lambda files, path: files.link(path, "free"),
    "link to": lambda files, path: files.link("a/b", path),
    "remove_file": lambda files, path: files.remove_file(path),
    "remove_folder": lambda files, path: files.remove_folder(path),
    "remove_temporary": lambda files, path: files.remove_temporary(path),
}


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_is_refused_by_every_operation(files, tmp_path, tree, path):
    before = tree(tmp_path)
    for name, operation in OPERATIONS.items():
        with pytest.raises(StoreError, match="A path in the store must be relative and plain") as error:
            operation(files, path)
        assert repr(path) in str(error.value), name
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_no_operation_passes_through_a_linked_folder(files, tmp_path, tree, name):
    (files.root / "link").symlink_to(tmp_path / "outside")
    before = tree(tmp_path)
    with pytest.raises(StoreError, match="link is a symbolic link; the store does not follow links"):
        OPERATIONS[name](files, "link/b")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["read", "checksum", "measure", "ends_with"])
def test_a_linked_file_is_not_read(files, tmp_path, name):
    (files.root / "link").symlink_to(tmp_path / "outside" / "b")
    with pytest.raises(StoreError, match="link is a symbolic link; the store does not follow links"):
        OPERATIONS[name](files, "link")
    assert (files.exists("link"), files.is_file("link"), files.is_folder("link")) == (True, False, False)


def test_a_linked_folder_is_not_listed(files, tmp_path):
    (files.root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="link is a symbolic link"):
        files.names("link")
    assert not files.is_folder("link")


@pytest.mark.parametrize("name", ["append", "sync_file"])
def test_a_linked_file_is_not_written_to(files, tmp_path, name):
    (files.root / "link").symlink_to(tmp_path / "outside" / "b")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        OPERATIONS[name](files, "link")
    assert (tmp_path / "outside" / "b").read_bytes() == b"secret"


@pytest.mark.parametrize("name", ["create", "replace", "remove_file", "rename from"])
def test_a_link_itself_is_replaced_moved_or_removed_never_its_target(files, tmp_path, name):
    (files.root / "link").symlink_to(tmp_path / "outside" / "b")
    if name == "create":
        with pytest.raises(FileExistsError):
            files.create("link", b"x")
    else:
        OPERATIONS[name](files, "link")
        assert not (files.root / "link").is_symlink()
    assert (tmp_path / "outside" / "b").read_bytes() == b"secret"


class Swapping:
    """Stands in for `os`: right before the call of the number `at`, a folder becomes a link."""

    def __init__(self, at: int, swap) -> None:
        self._left = at
        self._swap = swap

    @property
    def swapped(self) -> bool:
        return self._left < 0

    def __getattr__(self, name: str):
        value = getattr(os, name)
        if name not in ("open", "stat", "lstat", "listdir", "mkdir", "link", "rename", "replace", "unlink", "rmdir"):
            return value

        def call(*args, **kwargs):
            if self._left == 0:
                self._swap()
            self._left -= 1
            return value(*args, **kwargs)

        return call


SWAPPED = {
    "names": lambda files: files.names("a"),
    "read": lambda files: files.read("a/b", 100),
    "checksum": lambda files: files.checksum("a/b"),
    "ends_with": lambda files: files.ends_with("a/b", b"x"),
    "make_folder": lambda files: files.make_folder("a/new/newer"),
    "make_staged": lambda files: files.make_staged("a/new"),
    "create": lambda files: files.create("a/new", b"x"),
    "replace": lambda files: files.replace("a/b", b"x"),
    "append": lambda files: files.append("a/b", b"x"),
    "rename from": lambda files: files.rename("a/b", "free"),
    "rename to": lambda files: files.rename("c", "a/new"),
    "link from": lambda files: files.link("a/b", "free"),
    "link to": lambda files: files.link("c", "a/new"),
    "remove_file": lambda files: files.remove_file("a/b"),
    "remove_folder": lambda files: files.remove_folder("a/empty"),
    "empty_folder": lambda files: files.empty_folder("a"),
    "discard_folder": lambda files: files.discard_folder("a", "manifest", ["b"], lambda: None),
    "publish_folder": lambda files: files.publish_folder("a", "shelf/there", "marker", b"x", lambda: None),
    "publish_copy": lambda files: files.publish_copy(
        "a", ["b"], "tmp/new", "shelf/there", "marker", b"x", lambda: None
    ),
}


@pytest.mark.parametrize("name", sorted(SWAPPED))
@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without hard links"])
def test_a_link_put_in_at_any_instant_leads_nowhere(tmp_path, tree, monkeypatch, name, links):
    for at in range(100):
        home = tmp_path / str(at)
        for folder in ("store/a", "outside"):
            for below in ("empty", "full"):
                (home / folder / below).mkdir(parents=True)
            for file in ("b", "c", "manifest", "full/b"):
                (home / folder / file).write_text(f"{folder} {file}")
        (home / "store" / "c").write_text("content")
        before = tree(home / "outside")

        def swap(home=home):
            (home / "store" / "a").rename(home / "store" / "taken")
            (home / "store" / "a").symlink_to(home / "outside")

        files = LocalFiles(home / "store")
        with monkeypatch.context() as patch:
            if not links:
                patch.setattr("checkpoint_gate.store.files.os.link", refuse_links)
            double = Swapping(at, swap)
            for module in ("files", "opened_files", "opened_folders"):
                patch.setattr(f"checkpoint_gate.store.{module}.os", double)
            with contextlib.suppress(StoreError, OSError):
                said = SWAPPED[name](files)
                assert "outside" not in str(said)
        assert tree(home / "outside") == before, at
        if not double.swapped:
            break
    assert at > 1


def test_a_root_behind_a_link_is_taken_for_what_it_is(files, tmp_path):
    (tmp_path / "alias").symlink_to(files.root)
    through = LocalFiles(tmp_path / "alias")
    (tmp_path / "alias").unlink()
    (tmp_path / "alias").symlink_to(tmp_path / "outside")
    assert through.read("a/b", 100) == b"content"


@pytest.mark.parametrize(
    "name", ["é", "e\u0301", " ", "a b", "-rf", "line\nbreak", "x" * 200, "~", "$HOME", "*", "'", "..."], ids=ascii
)
def test_an_odd_name_is_just_a_name(files, name):
    files.create(name, b"x")
    files.append(name, b"y")
    assert files.read(name, 10) == b"xy"
    assert name in files.names()
    files.remove_file(name)
    assert files.names() == ["a"]


def test_names_are_sorted_and_none_where_there_is_no_folder(files):
    for name in ("c", "B", "a2"):
        files.create(name, b"")
    assert files.names() == ["B", "a", "a2", "c"]
    assert files.names("a") == ["b"]
    assert files.names("a/b") == files.names("missing/folder") == []


def test_a_file_larger_than_its_limit_is_not_read(files):
    assert files.read("a/b", 7) == b"content"
    with pytest.raises(StoreError, match="is larger than the 6 bytes that such a file may have"):
        files.read("a/b", 6)


def test_what_is_no_file_is_not_read(files):
    os.mkfifo(files.root / "pipe")
    for name in ("a", "pipe"):
        with pytest.raises(StoreError, match=f"{name} is not a plain file"):
            files.read(name, 100)
    with pytest.raises(FileNotFoundError):
        files.read("missing", 100)


@pytest.mark.parametrize("size", [0, 1, 240, 241, (1 << 18) - 1, 1 << 18, 3 * 1024 * 1024 + 17])
def test_checksums_are_those_of_the_bytes(files, size):
    data = os.urandom(size)
    files.create("large", data)
    assert files.checksum("large") == f"xxh3-128:{xxhash.xxh3_128_hexdigest(data)}"
    assert files.checksum("large", "sha256") == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_create_is_exclusive(files):
    files.create("new", b"first")
    with pytest.raises(FileExistsError):
        files.create("new", b"second")
    assert files.read("new", 100) == b"first"
    assert files.names() == ["a", "new"]


def test_create_is_exclusive_where_links_cannot_be_made(files, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.store.files.os.link", refuse_links)
    files.create("new", b"first")
    with pytest.raises(FileExistsError):
        files.create("new", b"second")
    assert files.read("new", 100) == b"first"
    assert files.names() == ["a", "new"]


def refuse_links(*args, **kwargs):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_replace_is_all_or_nothing(files, monkeypatch):
    files.replace("a/b", b"new")
    assert files.read("a/b", 100) == b"new"

    def broken(source, target, **folders):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("checkpoint_gate.store.files.os.replace", broken)
    with pytest.raises(OSError, match="Input/output error"):
        files.replace("a/b", b"newer")
    assert files.read("a/b", 100) == b"new"
    assert files.names("a") == ["b"]


@pytest.mark.parametrize(("name", "call"), [("replace", "replace"), ("create", "link")])
def test_a_file_that_a_recovery_clears_while_it_is_written_is_written_again(files, monkeypatch, name, call):
    real, cleared = getattr(os, call), []

    def late(source, target, **folders):
        if not cleared:
            files.remove_temporary("a")
            cleared.append(source)
        real(source, target, **folders)

    monkeypatch.setattr(f"checkpoint_gate.store.files.os.{call}", late)
    getattr(files, name)("a/new", b"content")
    assert cleared
    assert files.names("a") == ["b", "new"]
    assert files.read("a/new", 100) == b"content"


def test_what_is_cleared_away_again_and_again_is_given_up_and_told(files, monkeypatch):
    tries = []

    def gone(source, target, **folders):
        tries.append(source)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("checkpoint_gate.store.files.os.replace", gone)
    with pytest.raises(FileNotFoundError, match="a/b"):
        files.replace("a/b", b"new")
    assert len(tries) == 4
    assert files.read("a/b", 100) == b"content"


def test_a_disk_that_does_not_remove_what_is_temporary_is_not_believed(files, killable):
    killable.arm(3, errno.ENOENT)
    with pytest.raises(FileExistsError):  # the second try finds the file of the first
        files.create("a/new", b"content")
    killable.arm(None)
    assert files.read("a/new", 100) == b"content"


def test_two_that_make_a_run_at_once_both_have_it(tmp_path, clock):
    run = Store(tmp_path / "s", clock).start("run", epochs=3)
    run.create(epochs=4)
    assert run.about()["epochs"] == 3


def test_replace_leaves_the_old_when_the_disk_is_full(files, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("checkpoint_gate.store.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.replace("a/b", b"new")
    assert files.read("a/b", 100) == b"content"
    assert files.names("a") == ["b"]


def test_what_killed_writers_left_is_removed_and_nothing_else(files, killable, killed):
    killable.arm(2)
    with pytest.raises(killed):
        files.replace("a/b", b"new")
    killable.arm(None)
    left = files.names("a")
    assert len(left) == 2
    for name in (".hidden", "b.tmp", ".b.tmp", ".b.0123.tmp"):
        files.create(f"a/{name}", b"mine")
    files.remove_temporary("a")
    assert files.names("a") == sorted([".hidden", "b.tmp", ".b.tmp", ".b.0123.tmp", "b"])
    assert files.read("a/b", 100) == b"content"


def test_a_disk_that_says_not_found_of_what_is_there_has_removed_nothing(files, killable):
    files.make_folder("c")
    for remove, path in ((files.remove_file, "a/b"), (files.remove_folder, "c")):
        killable.arm(0, errno.ENOENT)
        with pytest.raises(FileNotFoundError):
            remove(path)
        killable.arm(None)
        remove(path)
        remove(path)
        assert not files.exists(path)


def test_a_new_root_is_on_the_disk_with_all_the_folders_above_it(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def watched(handle):
        synced.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    LocalFiles(tmp_path / "new" / "models" / "store").make_root()
    assert synced == [str(tmp_path), str(tmp_path / "new"), str(tmp_path / "new" / "models")]


def test_what_was_left_by_a_store_s_making_that_was_killed_is_cleared_by_the_next(tmp_path, killable, killed):
    for at in range(1, 4):
        killable.arm(at)
        with pytest.raises(killed):
            Store(tmp_path / "store").create()
    killable.arm(None)
    store = Store(tmp_path / "store").create()
    assert store.files.names() == ["store.json"]


def test_a_name_that_is_taken_is_not_renamed_over(files):
    files.make_folder("c")
    with pytest.raises(FileExistsError, match="is there already"):
        files.rename("a", "c")
    files.rename("a", "d")
    assert files.names() == ["c", "d"]
    assert files.read("d/b", 100) == b"content"


def test_a_link_shares_the_bytes_and_outlives_the_first_name(files, tmp_path):
    files.link("a/b", "second")
    files.link("a/b", tmp_path / "outside" / "third")
    files.remove_file("a/b")
    assert files.read("second", 100) == b"content"
    assert (tmp_path / "outside" / "third").read_bytes() == b"content"
    assert (files.root / "second").stat().st_ino == (tmp_path / "outside" / "third").stat().st_ino


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP], ids=errno.errorcode.get)
def test_where_links_cannot_be_made_a_verified_copy_serves(files, tmp_path, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("checkpoint_gate.store.files.os.link", refuse)
    files.link("a/b", tmp_path / "outside" / "copy")
    assert (tmp_path / "outside" / "copy").read_bytes() == b"content"
    assert (tmp_path / "outside" / "copy").stat().st_ino != (files.root / "a" / "b").stat().st_ino


def test_a_copy_that_differs_is_removed_and_told(files, monkeypatch):
    monkeypatch.setattr("checkpoint_gate.store.files.os.link", refuse_links)
    monkeypatch.setattr(shutil, "copyfileobj", lambda source, target, length: target.write(b"contemt"))
    with pytest.raises(StoreError, match=r"The copy .*copy differs from .*a/b"):
        files.link("a/b", "copy")
    assert not files.exists("copy")


def test_nothing_is_linked_or_copied_over(files, tmp_path, monkeypatch):
    files.create("taken", b"mine")
    with pytest.raises(FileExistsError):
        files.link("a/b", "taken")
    monkeypatch.setattr("checkpoint_gate.store.files.os.link", refuse_links)
    with pytest.raises(FileExistsError):
        files.link("a/b", "taken")
    assert files.read("taken", 100) == b"mine"


def test_a_folder_goes_only_when_it_is_empty(files):
    assert files.remove_folder("a") is False
    files.remove_file("a/b")
    assert files.remove_folder("a") is True
    assert files.remove_folder("a") is True
    files.create("file", b"")
    with pytest.raises(NotADirectoryError):
        files.remove_folder("file")


def test_removing_what_is_gone_is_fine(files):
    files.remove_file("a/b")
    files.remove_file("a/b")
    assert files.names("a") == []


def test_folders_are_made_with_their_parents(files):
    files.make_folder("x/y/z")
    files.make_folder("x/y/z")
    assert files.is_folder("x/y/z")


@pytest.mark.parametrize(
    ("content", "end"),
    [
        pytest.param(b"a\n", True, id="a whole line"),
        pytest.param(b"a\nb", False, id="half a line"),
        pytest.param(b"", True, id="nothing"),
        pytest.param(None, True, id="no file"),
    ],
)
def test_the_end_of_a_file(files, content, end):
    if content is not None:
        files.create("lines", content)
    assert files.ends_with("lines", b"\n") is end


def test_everything_written_is_synced_with_its_folder(files, monkeypatch):
    synced = []
    real = os.fsync

    def remember(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr("checkpoint_gate.store.files.os.fsync", remember)
    root, inner = str(files.root), str(files.root / "a")
    for work, expected in [
        (lambda: files.create("c", b"x"), [root]),
        (lambda: files.replace("c", b"y"), [root]),
        (lambda: files.append("new", b"y"), [f"{root}/new", root]),
        (lambda: files.append("new", b"y"), [f"{root}/new"]),
        (lambda: files.make_folder("f"), [root]),
        (lambda: files.rename("c", "a/c"), [inner, root]),
        (lambda: files.link("a/c", "again"), [root]),
        (lambda: files.remove_folder("f"), [root]),
    ]:
        synced.clear()
        work()
        assert [path for path in synced if ".tmp" not in path] == expected


# The folder of runs.


def test_a_store_is_made_once_and_opened(tmp_path, clock):
    with pytest.raises(StoreError, match=r"There is no checkpoint store at .*/s\."):
        Store.open(tmp_path / "s")
    Store(tmp_path / "s", clock).create()
    before = (tmp_path / "s" / "store.json").read_bytes()
    Store(tmp_path / "s", clock).create()
    assert (tmp_path / "s" / "store.json").read_bytes() == before
    assert Store.open(tmp_path / "s").keys() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param('{"format": 2}', "store.json has the format 2; this version reads format 1", id="a newer format"),
        pytest.param("{", "store.json is damaged: Expecting", id="half a file"),
        pytest.param("[]", "store.json has the format None", id="no object"),
    ],
)
def test_a_store_of_another_format_is_neither_read_nor_written(tmp_path, clock, tree, content, words):
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(StoreError, match=words):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match=words):
        Store(tmp_path, clock).start("run")
    assert tree(tmp_path) == {"store.json": content.encode()}


def test_a_store_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"The store .*/file/store cannot be made: Not a directory\. Choose another"):
        Store(tmp_path / "file" / "store").create()


@pytest.mark.parametrize(
    ("root", "words"),
    [
        pytest.param("nosuch://bucket/store", r"nosuch://bucket/store cannot hold a store: .*nosuch", id="unknown"),
        pytest.param(Path("s3://bucket/store"), r"as text, not as a pathlib\.Path\. Received", id="a Path"),
        pytest.param("simplecache::s3://bucket/store", r"A store's URL is a plain one", id="a chain of drivers"),
    ],
)
def test_a_place_that_cannot_hold_a_store_is_told_and_no_folder_of_that_name_made(root, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=words):
        Store(root).create()
    assert list(tmp_path.iterdir()) == []


def test_a_url_of_the_disk_is_the_disk(tmp_path):
    store = Store(f"file://{tmp_path}/a%20store").create()
    assert (store.root, store.files.atomic) == (tmp_path / "a store", True)


@pytest.mark.parametrize("key", ["../run", "/run", "", ".run", "-run", "a/b", "a b", "a\n", "x" * 121, "é", "run\0"])
def test_a_hostile_key_is_no_run(tmp_path, clock, key):
    store = Store(tmp_path / "s", clock).create()
    with pytest.raises(StoreError, match="A run's name has letters, digits"):
        store.start(key)
    with pytest.raises(RunMissing, match="has no run"):
        store.run(key)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["s", "store.json"]


def test_what_is_no_run_is_passed_over(tmp_path, clock):
    store = Store(tmp_path, clock)
    store.start("b", about="it")
    store.start("a")
    (tmp_path / "notes").mkdir()
    (tmp_path / "odd\\name").mkdir()
    (tmp_path / "file").write_text("")
    assert store.keys() == ["a", "b"]
    assert store.run("b").about()["about"] == "it"
    with pytest.raises(RunMissing, match=r"has no run 'notes'\. It has: a, b\."):
        store.run("notes")


def test_a_url_is_no_folder():
    with pytest.raises(StoreError, match=r"A folder on a disk has no URL\. Received: 's3://bucket'"):
        LocalFiles("s3://bucket")


def test_folders_for_downloads_are_new(files):
    first, second = files.download_folder(), files.download_folder()
    assert first != second
    assert list(first.iterdir()) == []
    first.rmdir()
    second.rmdir()


@pytest.mark.parametrize("revision", [-1, True, "3", 1.5])
def test_a_damaged_revision_is_told(tmp_path, clock, revision):
    store = Store(tmp_path, clock).create()
    write_object(store.files, "store.json", revision=revision)
    with pytest.raises(StoreError, match="revision must be a whole number of at least 0"):
        store.revision()


def test_a_store_that_cannot_be_read_is_told(tmp_path, clock, monkeypatch):
    Store(tmp_path, clock).create()

    def broken(files, path, limit):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(LocalFiles, "read", broken)
    with pytest.raises(StoreError, match="cannot be read: Input/output error"):
        Store.open(tmp_path, clock)


def test_a_file_of_the_store_that_is_gone_is_told(tmp_path, clock):
    store = Store(tmp_path, clock).create()
    (tmp_path / "store.json").unlink()
    with pytest.raises(StoreError, match=r"store\.json is missing"):
        store.revision()


def test_lines_of_a_newer_format_are_refused(crowd):
    run = crowd.run([0.5])
    path = run.files.local("run/ledger.jsonl")
    path.write_text(path.read_text() + '{"format": 2}\n')
    with pytest.raises(StoreError, match="line 2 has the format 2; this version reads format 1"):
        run.ledger.read()


@pytest.mark.parametrize(
    "line", ['{"plan": 1}', '{"plan": "p", "step": true, "event": "pruned", "time": 1}', '{"event": "pruned"}']
)
def test_a_line_that_is_no_tombstone_is_told(crowd, line):
    run = crowd.run([0.5])
    run.files.append("run/tombstones.jsonl", f"{line}\n".encode())
    with pytest.raises(StoreError, match="a tombstone needs plan, step, event and time"):
        tombstones(run)


def test_without_a_manifest_nothing_is_copied(crowd, tmp_path):
    run = crowd.run([0.5])
    record = run.live()[0].manifest.record
    run.files.remove_file(f"{run.gated.path(1)}/manifest.json")
    damaged = run.gated.read("step-000000001")
    with pytest.raises(DamagedCheckpoint, match="has no manifest"):
        copy_out(run.files, damaged, tmp_path / "copy")
    with pytest.raises(StoreError, match="has no manifest"):
        run.resumable.publish_copy(damaged, record, "resumable", "as told", "0" * 64, "me")
    assert run.resumable.stored() == []
    assert not (tmp_path / "copy").exists()


def test_publishing_a_copy_again_changes_nothing(crowd, tree):
    run = crowd.run([0.5])
    stored = run.live()[0]
    arguments = (stored, stored.manifest.record, "resumable", "as told", "0" * 64, "me")
    run.resumable.publish_copy(*arguments)
    before = tree(run.files.root)
    run.resumable.publish_copy(*arguments)
    assert tree(run.files.root) == before


def test_what_is_checked_is_told_in_bytes(crowd):
    run = crowd.run([0.5, 0.4])
    told = []
    assert all(finding.severity == "note" for finding in check_store(crowd.store, told.append))
    assert sum(told) == bytes_to_check(crowd.store) == sum(stored.manifest.size for stored in run.live())


@pytest.mark.parametrize("name", ["create", "replace"])
def test_a_folder_that_is_not_there_is_told_after_some_attempts(files, name):
    with pytest.raises(FileNotFoundError):
        getattr(files, name)("nowhere/file", b"data")
