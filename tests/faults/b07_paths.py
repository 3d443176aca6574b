"""Hostile names in manifests, journals, folders of the trash and run keys, links put in the place of what was just
looked at, and files too large: no operation leaves the store's root, and what lies beside it stays as it is.

Every call that the store makes of the operating system is recorded, reads included, and so is every file that this
process opens or changes by whatever library; a folder outside is compared, inode by inode. The link is put there right
before a call, so that whatever the store has looked at before is another thing now.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError
from checkpoint_gate.reviewing.catalog import catalog
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.rules.records import dump_json
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.checking import check_store
from checkpoint_gate.store.manifest import NAME, _to_bytes
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.trash import body_digest
from checkpoint_gate.store.undeleting import undelete
from faults.crowd import Clock, Crowd
from faults.figure import Measured
from faults.memory import memory_folder
from faults.recording import Audit, Recorder, as_os, copied, states

FIGURE = "B7"
WHAT = "hostile names, links and sizes: operations outside the store's root, changes beside it, untyped errors"

# What Python itself reads: its own files, this package's, and what the birth of a process takes.
_HOMES = (sys.prefix, sys.base_prefix, Path(__file__).parents[2])
_PYTHON = (
    "/proc/",
    "/usr/",
    "/etc/ld",
    "/dev/null",
    *(f"{place}/" for home in _HOMES for place in (home, Path(home).resolve())),
)

HOSTILE = [
    "../../../outside/secret",
    "../outside/secret",
    "../../trash",
    "../step-000000004/ckpt.index",
    "../../../other/run.json",
    "..",
    ".",
    "./",
    "/",
    "//",
    "/etc/passwd",
    "//etc/passwd",
    "ckpt.index/",
    "ckpt.index/.",
    "./ckpt.index",
    "ckpt.index/../ckpt.index",
    "a//b",
    "a/./b",
    "a/../b",
    "gs://bucket/key",
    "s3://bucket/key",
    "file:///etc/passwd",
    "C:\\a",
    "..\\outside\\secret",
    "a\\b",
    "%2e%2e/outside",
    "~",
    "~root",
    "$HOME",
    "-rf",
    "--help",
    "*",
    "?",
    "[a]",
    "{a,b}",
    ";",
    "|",
    "&",
    "`",
    "'",
    '"',
    "#",
    "!",
    "...",
    ".hidden",
    "ckpt.index~",
    "CKPT.INDEX",
    "manifest.json",
    "unfinished.json",
    "link",
]
HOSTILE += [  # and with blanks and characters of other kinds
    "",
    " ",
    "ckpt index",
    "ckpt.index\n",
    "\nckpt.index",
    "line\nbreak",
    "tab\tname",
    "ckpt.index\0",
    "\0",
    "\0/../../../outside/secret",
    "\u00e9",
    "e\u0301",
    "\u202ereversed",
    "\ufeffckpt.index",
    "\ud800",
    "x" * 255,
    "x" * 256,
    "x" * 4096,
    "a/" * 100 + "b",
    "../" * 50 + "etc/passwd",
]
_ALPHABET = (
    "..",
    ".",
    "/",
    "//",
    "\\",
    "\0",
    "\n",
    "-",
    "~",
    "gs://",
    "outside",
    "secret",
    "ckpt",
    "run",
    "\u00e9",
    "x" * 60,
)
DAY = 86400.0


def measure(long: bool) -> Measured:
    measured = Measured()
    draw = random.Random(7)
    made = ("".join(draw.choices(_ALPHABET, k=draw.randint(1, 9))) for _ in range(10_000 if long else 80))
    with memory_folder() as folder:
        guard = _Guard(folder)
        everywhere = itertools.product(HOSTILE, PLACES)
        for name, where in itertools.chain(everywhere, zip(made, itertools.cycle(PLACES))):
            measured.case(*(f"{where} {name[:80]!r}: {each}" for each in guard.broken(PLACES[where], name)))
        for what, plant in ODD.items():
            measured.case(*(f"{what}: {each}" for each in guard.broken(plant, what)))
        for number in range(0, guard.calls, 1 if long else guard.calls // 150):
            for victim in VICTIMS if long else (VICTIMS[number % len(VICTIMS)],):
                broken = guard.swapped(number, victim)
                measured.case(*(f"a link for {victim} before call {number}: {each}" for each in broken))
    measured.detail = (
        f"{len(HOSTILE)} names in {len(PLACES)} places, {len(ODD)} odd stores, made-up names, swapped links"
    )
    return measured


class _Guard:
    """A store, a folder beside it, and everything recorded that happens while the store is worked on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = _store(folder / "template")
        self._outside = folder / "outside"
        for name in ("", "checkpoints", "trash", "checkpoints/step-000000001"):  # all that a link may stand for
            shutil.copytree(self._template / "run" / name, self._outside, dirs_exist_ok=True)
        (self._outside / "secret").write_text("secret")
        self._root = folder / "store"
        self._audit = Audit()
        self._astray: list[str] = []
        self._swap_at: int | None = None
        self._victim = ""
        self.calls = self._count()

    def broken(self, plant: Callable[[Run, str, Path], object], name: str) -> list[str]:
        """Plants something hostile, works on the store, and tells of what happened outside."""
        copied(self._template, self._root)
        run = Run(Store(self._root, Clock()).files, "run", Clock())
        try:
            plant(run, name, self._outside)
        except (OSError, ValueError):  # no such name can be made here
            return []
        return self._work(run)

    def swapped(self, number: int, victim: str) -> list[str]:
        """Puts a link in the place of a folder right before the call of this number."""
        copied(self._template, self._root)
        self._swap_at, self._victim = number, victim
        try:
            return self._work(Run(Store(self._root, Clock()).files, "run", Clock()))
        finally:
            self._swap_at = None

    def _count(self) -> int:
        copied(self._template, self._root)
        self._work(Run(Store(self._root, Clock()).files, "run", Clock()))
        return self._called

    def _work(self, run: Run) -> list[str]:
        before = states(self._outside)
        self._astray = []
        self._called = 0
        with self._audit.listening(self._heard), as_os(Recorder(self._told)):
            for act in ACTS:
                try:
                    act(run)
                except CheckpointGateError:
                    pass
                except OSError as error:
                    if self._swap_at is None:
                        self._astray.append(f"{type(error).__name__}: {error}")
                except Exception as error:
                    self._astray.append(f"{type(error).__name__}: {error}")
        if states(self._outside) != before:
            self._astray.append("something outside was changed")
        return self._astray

    def _told(self, operation: str, places: tuple[str, ...]) -> None:
        if self._called == self._swap_at:
            self._swap()
        self._called += 1
        for place in places:
            self._judge(operation, place)

    def _heard(self, event: str, place: str) -> None:
        if place.startswith(_PYTHON):
            return
        self._judge(event, place)

    def _judge(self, operation: str, place: str) -> None:
        """A place counts as it is written: links are the store's own business to refuse."""
        if not place or not os.path.isabs(place):
            return
        written = os.path.normpath(place)
        if written != str(self._root) and not written.startswith(f"{self._root}/"):
            self._astray.append(f"{operation} {place}")

    def _swap(self) -> None:
        """The victim becomes a link to the folder outside."""
        tell, self._audit.tell = self._audit.tell, None
        for victim in self._root.glob(self._victim):
            if victim.is_dir() and not victim.is_symlink():
                victim.rename(self._root / "taken")
                victim.symlink_to(self._outside)
        self._audit.tell = tell


def _store(root: Path) -> Path:
    """A run with a checkpoint to go, one past its grace in the trash, one within it, and a second run."""
    clock = Clock()
    clock.now -= 2 * DAY
    crowd = Crowd(root, clock)
    run = crowd.run([0.9, 0.8, 0.7, 0.3, 0.2])
    crowd.run([0.5], "run2")
    for step, wait in ((2, 1.5 * DAY), (3, 0.5 * DAY)):
        with run.lease("pruning") as lease:
            execute_prune(run, plan_prune(run, {step: "too high"}, [4, 5], PrunePolicy(), "f" * 64), lease)
        clock.now += wait
    return root


# What is done to the store.


def _prune(run: Run) -> None:
    with run.lease("pruning") as lease:
        recover(run, lease)
        execute_prune(run, plan_prune(run, {1: "too high"}, [4, 5], PrunePolicy(0.0), "f" * 64), lease)


def _sweep(run: Run) -> None:
    with run.lease("sweeping") as lease:
        sweep(run, lease)


def _undelete(run: Run) -> None:
    with run.lease("undeleting") as lease:
        undelete(run, 3, lease)


def _look(run: Run) -> None:
    store = Store(run.files.root, run.clock)
    list(check_store(store))
    list(catalog(map(store.run, store.keys())))


ACTS: tuple[Callable[[Run], None], ...] = (_look, _undelete, _sweep, _prune, _look)


# Which folder becomes a link: the rejected checkpoint, one that is swept, one that is brought back, and all of them.

VICTIMS = (
    "run/checkpoints/step-000000001",
    "run/trash/step-000000001--*",
    "run/trash/step-000000002--*",
    "run/trash/step-000000003--*",
    "run/checkpoints",
    "run/trash",
    "run",
)


# Where a hostile name is planted.


def _restate(folder: Path, change: Callable[[dict], object]) -> None:
    """Changes a manifest, whose checksum holds afterwards."""
    path = folder / NAME
    value = json.loads(path.read_text())
    del value["self"]
    change(value)
    path.write_bytes(_to_bytes(value))


def _in_manifest(run: Run, name: str, outside: Path) -> None:
    _restate(run.files.local(run.gated.path(1)), lambda value: value["files"][0].update(path=name))


def _in_trashed_manifest(run: Run, name: str, outside: Path) -> None:
    for folder in run.files.local("run/trash").iterdir():
        _restate(folder, lambda value: value["files"][0].update(path=name))


def _as_run_of_manifest(run: Run, name: str, outside: Path) -> None:
    _restate(run.files.local(run.gated.path(1)), lambda value: value.update(run=name))


def _in_journal(run: Run, name: str, outside: Path) -> None:
    """A journal whose digest holds, of a plan that names this as its step and as its run."""
    item = {"step": name, "epoch": 0, "metrics": {}, "bytes": 1, "reason": name, "manifest": name, "returned": 0}
    body = {"run": name, "rules": name, "grace": 0.0, "by": name, "going": [item]}
    digest = body_digest(body)
    value = {"format": 1, "plan": digest, "created": 0.0, "token": 0, **body}
    run.files.local(f"run/journal/{digest}.json").write_text(dump_json(value))


def _in_tombstone(run: Run, name: str, outside: Path) -> None:
    with run.files.local("run/tombstones.jsonl").open("a") as file:
        file.write(dump_json({"plan": name, "step": 3, "event": "undeleted", "time": 0.0}) + "\n")


def _as_trash_name(run: Run, name: str, outside: Path) -> None:
    _one_name(name)
    os.mkdir(run.files.local("run/trash") / name)


def _as_folder_name(run: Run, name: str, outside: Path) -> None:
    _one_name(name)
    (run.files.local("run/checkpoints") / name).symlink_to(outside)


def _as_run_key(run: Run, name: str, outside: Path) -> None:
    """Asked for by name: each must be refused, or be a folder of the store."""
    store = Store(run.files.root, run.clock)
    for ask in (store.run, store.start):
        try:
            ask(name)
        except CheckpointGateError:
            continue


def _one_name(name: str) -> None:
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(name)


PLACES: dict[str, Callable[[Run, str, Path], object]] = {
    "in a manifest": _in_manifest,
    "in a manifest in the trash": _in_trashed_manifest,
    "as a manifest's run": _as_run_of_manifest,
    "in a journal": _in_journal,
    "in a tombstone": _in_tombstone,
    "as a name in the trash": _as_trash_name,
    "as a link's name": _as_folder_name,
    "as a run's key": _as_run_key,
}


# Stores that are odd in another way.


def _linked(place: str) -> Callable[[Run, str, Path], object]:
    def plant(run: Run, name: str, outside: Path) -> None:
        path = run.files.local(place)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(outside if "." not in path.name else outside / "secret")

    return plant


def _many_files(run: Run, name: str, outside: Path) -> None:
    entry = {"bytes": 1, "checksum": "sha256:" + "0" * 64}
    files = [{"path": f"../../../outside/{n}", **entry} for n in range(10_000)]
    _restate(run.files.local(run.gated.path(1)), lambda value: value.update(files=files))


def _many_plain_files(run: Run, name: str, outside: Path) -> None:
    entry = {"bytes": 1, "checksum": "sha256:" + "0" * 64}
    files = [{"path": f"f{n}", **entry} for n in range(10_000)]
    _restate(run.files.local(run.gated.path(1)), lambda value: value.update(files=files))


def _huge_manifest(run: Run, name: str, outside: Path) -> None:
    os.truncate(run.files.local(f"{run.gated.path(1)}/{NAME}"), 1 << 30)


def _huge_pins(run: Run, name: str, outside: Path) -> None:
    path = run.files.local("run/pins.json")
    path.touch()
    os.truncate(path, 1 << 30)


def _anothers_files(run: Run, name: str, outside: Path) -> None:
    shutil.copy(run.files.local(f"{run.gated.path(4)}/{NAME}"), run.files.local(f"{run.gated.path(1)}/{NAME}"))


def _another_runs_files(run: Run, name: str, outside: Path) -> None:
    other = run.files.local(f"run2/checkpoints/step-000000001/{NAME}")
    shutil.copy(other, run.files.local(f"{run.gated.path(1)}/{NAME}"))


ODD: dict[str, Callable[[Run, str, Path], object]] = {
    **{
        f"{place} is a link": _linked(place)
        for place in (
            "run/checkpoints",
            "run/trash",
            "run/journal",
            "run/resume",
            "run/tmp",
            "run/quarantine",
            "run/ledger.jsonl",
            "run/tombstones.jsonl",
            "run/pins.json",
            "run/run.json",
            "store.json",
            "champion.json",
            "run/checkpoints/step-000000001",
            "run/checkpoints/step-000000001/ckpt.index",
            "run/checkpoints/step-000000001/manifest.json",
            "run2",
        )
    },
    "10,000 hostile files": _many_files,
    "10,000 files": _many_plain_files,
    "a manifest of 1 GB": _huge_manifest,
    "pins of 1 GB": _huge_pins,
    "the manifest of another step": _anothers_files,
    "the manifest of another run": _another_runs_files,
}
