"""A flipped bit or a cut end, in every kind of file; then a pruning and a sweep.

What a checksum covers is noticed. Whatever is damaged, the pruning and the sweep refuse, or take nothing but what they
would have taken of the undamaged store: every other byte is where it was, or lies in quarantine. While a live
checkpoint is damaged they take nothing at all: what lies in the trash beyond its grace may be the best there is. To
save time, of the damage that a look at the store notices every fifth is pruned over; of what it does not notice, all.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError
from checkpoint_gate.reviewing.judging import judge_runs
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.store import Run, Store
from checkpoint_gate.store.champion import ChampionNote, note_champion, read_champion
from checkpoint_gate.store.checkpoints import verify_files
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune, recover, sweep
from checkpoint_gate.store.trash import journals, read_journal, tombstones, trashed
from faults.crowd import Clock, Crowd
from faults.figure import Measured
from faults.memory import memory_folder
from faults.recording import Changes, as_os, contents, copied

FIGURE = "B6"
WHAT = "a flipped bit or a cut end in each kind of file, then a pruning and a sweep: unnoticed, or more taken"

DAY = 86400.0
RULES = parse_rules("filter: {metric: val_loss, at_most: 0.5}\nprune: {grace: 24h, max_fraction: 0.9}")
LOSSES = [0.9, 0.8, 0.7, 0.6, 0.55, 0.2]  # 1 is past its grace, 2 within; 3 goes; 4 is pinned, 5 the champion
KEPT = (4, 5, 6)
HELD = (2, 3, *KEPT)
EVERY = 5
CUTS = (0.0, 0.25, 0.5, 0.9)
KINDS = {
    "data shard": r"run/(checkpoints|trash)/step-00000000[2-6].*/ckpt\.data.*",
    "index": r"run/(checkpoints|trash)/step-00000000[2-6].*/ckpt\.index",
    "manifest": r"run/(checkpoints|trash)/step-00000000[2-6].*/manifest\.json",
    "ledger": r"run/ledger\.jsonl",
    "tombstones": r"run/tombstones\.jsonl",
    "journal": r"run/journal/.*",
    "run.json": r"run/run\.json",
    "pins.json": r"run/pins\.json",
    "store.json": r"store\.json",
    "champion.json": r"champion\.json",
    "lease claim": r"run/lease\.\d+\.json",
}
COVERED = ("data shard", "index", "manifest")  # by a digest that is proved before anything counts
LIVE = re.compile(r"run/checkpoints/")


@dataclass(frozen=True, slots=True)
class Damage:
    """One file, with one bit flipped or its end cut off."""

    kind: str
    path: str
    data: bytes
    what: str


def measure(long: bool) -> Measured:
    measured = Measured()
    noticed = dict.fromkeys(KINDS, 0)
    with memory_folder() as folder:
        bench = _Bench(folder)
        with as_os(bench.changes):
            for kind in KINDS:
                for damage in _damages(bench.template, kind, 9100 if long else 1000):
                    seen, broken = bench.try_one(damage)
                    noticed[kind] += seen
                    measured.case(*broken)
    told = ", ".join(f"{kind} {count:,}" for kind, count in noticed.items())
    measured.detail = f"{bench.pruned:,} pruned over; noticed: {told}"
    return measured


def is_broken(kind: str, bits: int) -> bool:
    """Whether a few flipped bits of a kind of file break a promise; for bugs that are put in."""
    with memory_folder() as folder:
        bench = _Bench(folder)
        with as_os(bench.changes):
            return any(bench.try_one(damage)[1] for damage in _damages(bench.template, kind, bits))


def _damages(template: dict[str, bytes | str | None], kind: str, bits: int) -> Iterator[Damage]:
    """As many flipped bits as are asked for, or all there are, and cut ends."""
    draw = random.Random(kind)
    whole = [(p, d) for p, d in sorted(template.items()) if isinstance(d, bytes) and re.fullmatch(KINDS[kind], p)]
    places = [(path, data, bit) for path, data in whole for bit in range(8 * len(data))]
    for path, data, bit in draw.sample(places, min(bits, len(places))):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield Damage(kind, path, bytes(flipped), f"bit {bit % 8} of byte {bit // 8}")
    path, data = whole[draw.randrange(len(whole))]
    for length in sorted({*(int(part * len(data)) for part in CUTS), 1, len(data) - 1}):
        yield Damage(kind, path, data[:length], f"cut to {length} bytes")


class _Bench:
    """A store that is damaged, pruned, looked at, and put right again."""

    def __init__(self, folder: Path) -> None:
        self.pruned = 0
        self._tried = 0
        self._clock = Clock()
        self._source = _store(folder / "template", self._clock)
        self._root = folder / "store"
        self.template = contents(self._source)
        self.changes = Changes()
        self.changes.seen = True

    def try_one(self, damage: Damage) -> tuple[bool, list[str]]:
        """Whether it was noticed, and what it broke."""
        if self.changes.seen:
            copied(self._source, self._root)
            self.changes.seen = False
        place = self._root / damage.path
        place.write_bytes(damage.data)
        run = Run(Store(self._root, self._clock).files, "run", self._clock)
        broken: list[str] = []
        seen = self._guarded(broken, lambda: _noticed(run))
        self._tried += 1
        if not seen or self._tried % EVERY == 0:
            self.pruned += 1
            seen |= self._guarded(broken, lambda: _prune_and_sweep(run))
        if damage.kind in COVERED and not seen:
            broken.append("not noticed")
        if self.changes.seen:
            broken += self._taken(damage)
        else:
            original = self.template[damage.path]
            assert isinstance(original, bytes)
            place.write_bytes(original)
        return seen, [f"{damage.kind}, {damage.path}, {damage.what}: {each}" for each in broken]

    def _guarded(self, broken: list[str], work: Callable[[], bool]) -> bool:
        """Whether it answers yes or raises on purpose; another error breaks the promise."""
        try:
            return work()
        except CheckpointGateError:
            return True
        except Exception as error:
            broken.append(f"{type(error).__name__}: {error}")
            return False

    def _taken(self, damage: Damage) -> Iterator[str]:
        """What is not where it was, and should be."""
        now = contents(self._root)
        for step in (1, *HELD) if LIVE.match(damage.path) else HELD:
            folders = {path.rpartition("/")[0] for path in now if re.match(rf"run/\w+/step-00000000{step}.*/", path)}
            before = [path for path in self.template if re.match(rf"run/\w+/step-00000000{step}.*/", path)]
            for path in before:
                data = damage.data if path == damage.path else self.template[path]
                name = path.rpartition("/")[2]
                if not any(now.get(f"{folder}/{name}") == data for folder in folders):
                    yield f"{path} is gone"
            shelves = {folder.split("/")[1] for folder in folders}
            if step in KEPT and "trash" in shelves:
                yield f"step {step} is in the trash"


def _store(root: Path, clock: Clock) -> Path:
    crowd = Crowd(root, clock)
    run = crowd.run(LOSSES)
    for rejected in ([1], [2]):
        with run.lease("pruning") as lease:
            words = dict.fromkeys(rejected, "too high")
            assert RULES.prune is not None
            execute_prune(run, plan_prune(run, words, [6], RULES.prune, RULES.digest()), lease)
        clock.now += DAY - 60
    clock.now += 120 - (DAY - 60)
    run.pin(4, "the report of this spring cites it, see the third table on its second page")
    note_champion(crowd.store.files, ChampionNote("run", 5, "1790000000"))
    claim = next((root / "run").glob("lease.*.json"))
    other = json.loads(claim.read_text()) | {"host": "elsewhere", "released": False, "expires": clock.now - 3600.0}
    claim.write_text(json.dumps(other, sort_keys=True))
    return root


def _noticed(run: Run) -> bool:
    """Whether a look at everything tells of damage; raises where a file cannot be read."""
    Store.open(run.files.root)
    run.about(), run.pins(), run.ledger.read(), tombstones(run), read_champion(run.files)
    for digest in journals(run):
        read_journal(run, digest)
    return any(verify_files(run.files, stored) is not None for stored in (*run.live(), *trashed(run)))


def _prune_and_sweep(run: Run) -> bool:
    """What CheckpointFilter does, and the sweep at a run's end, which also comes where the pruning was refused."""
    assert RULES.filter is not None
    assert RULES.prune is not None
    with run.lease("pruning") as lease:
        try:
            recover(run, lease)
            judged = judge_runs([run], RULES.filter)
            survivors = judged.of_run("run", "keep")
            plan = plan_prune(run, judged.removable("run"), survivors, RULES.prune, RULES.digest())
            execute_prune(run, plan, lease)
        finally:
            sweep(run, lease)
    return False
