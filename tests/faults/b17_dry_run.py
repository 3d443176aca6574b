"""A plan is only looked at: the store has the same files, bytes, inodes and times afterwards, and execution takes what
was printed.

By the command line, and by the function behind it; then with --execute, the steps that went are compared with those
that the plan named, and what was freed with what it said. Times of access are no part of it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from checkpoint_gate.cli import cli
from checkpoint_gate.errors import CheckpointGateError
from checkpoint_gate.reviewing.catalog import chosen_runs
from checkpoint_gate.reviewing.joint_pruning import plan_runs
from checkpoint_gate.rule_text.rule_set import load_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import ChampionNote, note_champion
from checkpoint_gate.store.prune_plan import plan_prune
from checkpoint_gate.store.pruning import execute_prune
from faults.crowd import Clock, Crowd
from faults.figure import Measured
from faults.memory import memory_folder
from faults.recording import contents, copied, states, without_fsync

FIGURE = "B17"
WHAT = "plans that were only looked at: something changed, or another thing was done than they said"

LOSSES = [0.9, 0.8, 0.45, 0.7, 0.3, 0.6, 0.2, 0.5]
RULES = {
    "a limit": "filter: {metric: val_loss, at_most: 0.5}",
    "a strict limit, freed at once": "filter: {metric: val_loss, at_most: 0.25}\nprune: {grace: 0s}",
    "an average": "filter: {metric: val_loss, moving_average: 3, at_most: 0.55}\nprune: {grace: 1h}",
    "the best two": "filter:\n  top: {metric: val_loss, mode: min, n: 2}",
    "a limit and the best": (
        "filter:\n  all: [{metric: val_loss, at_most: 0.6}]\n  top: {metric: val_loss, mode: min, n: 3}"
    ),
    "all stay": "filter: {metric: val_loss, at_most: 1.0}",
    "too much would go": "filter: {metric: val_loss, at_most: 0.25}\nprune: {max_fraction: 0.1}",
    "nothing would be left": "filter: {metric: val_loss, at_most: 0.01}",
    "a metric that nobody logged": "filter: {metric: accuracy, at_least: 0.5}",
    "the last three stay": "filter: {metric: val_loss, at_most: 0.25}\nprune: {keep_last: 3, grace: 0s}",
    "young ones stay": "filter: {metric: val_loss, at_most: 0.25}\nprune: {within: 1d}",
    "a budget": "filter: {metric: val_loss, at_most: 0.25}\nprune: {budget: 500B, grace: 0s}",
}


def measure(long: bool) -> Measured:
    measured = Measured()
    with memory_folder() as folder, without_fsync():
        for (store, make), (rules, text) in itertools.product(STORES.items(), RULES.items()):
            template = make(folder / f"{store}, {rules}")
            path = folder / "rules.yaml"
            path.write_text(text)
            for key in (None, "run") if long else (None,):
                case = _Case(copied(template, folder / "store"), path, key)
                measured.case(*(f"{store}, {rules}: {broken}" for broken in case.broken()))
    measured.detail = f"{len(STORES)} stores by {len(RULES)} sets of rules"
    return measured


class _Case:
    """One store and one set of rules."""

    def __init__(self, root: Path, rules: Path, key: str | None) -> None:
        self._root = root
        self._rules = rules
        self._key = key

    def broken(self) -> list[str]:
        before, bytes_before = states(self._root), contents(self._root)
        printed = self._call()
        self._plan()
        if (states(self._root), contents(self._root)) != (before, bytes_before):
            return ["looking at the plan changed the store"]
        digest = json.loads(printed)["digest"] if printed else None
        return self._executed(json.loads(printed), digest) if digest else []

    def _call(self, *more: str) -> str:
        """What the command prints, "" where it refuses as a whole."""
        only = ["--run", self._key] if self._key is not None else []
        result = CliRunner().invoke(
            cli, ["prune", str(self._root), "--rules", str(self._rules), *only, "--json", *more]
        )
        if result.exit_code not in (0, 1):
            raise RuntimeError(f"prune ended with {result.exit_code}: {result.output}")
        return result.stdout

    def _plan(self) -> None:
        with contextlib.suppress(CheckpointGateError):
            plan_runs(chosen_runs(Store.open(self._root), self._key), load_rules(self._rules))

    def _executed(self, plan: dict, digest: str) -> list[str]:
        live, trash = self._steps("checkpoints"), self._steps("trash")
        going = {(run["run"], item["step"]) for run in plan["runs"] for item in run["going"]}
        done = json.loads(self._call("--execute", digest))
        gone = live - self._steps("checkpoints")
        broken = []
        if gone != going:
            broken.append(f"went {sorted(gone)}, named {sorted(going)}")
        at_once = plan["grace"] == 0
        freed = sum(run["sweepable_bytes"] for run in plan["runs"]) + (plan["bytes"] if at_once else 0)
        if done["swept_bytes"] != freed:
            broken.append(f"freed {done['swept_bytes']} bytes, said {freed}")
        fresh = self._steps("trash") - trash
        if fresh != (set() if at_once else going):
            broken.append(f"in the trash {sorted(fresh)}, named {sorted(going)}")
        return broken

    def _steps(self, shelf: str) -> set[tuple[str, int]]:
        return {
            (folder.parent.parent.name, int(folder.name[5:14]))
            for folder in self._root.glob(f"*/{shelf}/step-*")
            if (folder / "manifest.json").exists()
        }


def _plain(root: Path) -> Path:
    Crowd(root, _now()).run(LOSSES)
    return root


def _two_runs(root: Path) -> Path:
    crowd = Crowd(root, _now())
    crowd.run(LOSSES)
    crowd.run([0.95, 0.4, 0.85, 0.15], "other")
    return root


def _pinned(root: Path) -> Path:
    crowd = Crowd(root, _now())
    crowd.run(LOSSES).pin(1, "cited")
    note_champion(crowd.store.files, ChampionNote("run", 2, "17"))
    return root


def _with_trash(root: Path) -> Path:
    clock = _now()
    run = Crowd(root, clock).run(LOSSES)
    for step, grace in ((1, 60.0), (2, 1e7)):
        with run.lease("pruning") as lease:
            plan = plan_prune(run, {step: "too high"}, [7], PrunePolicy(grace=grace), "f" * 64)
            execute_prune(run, plan, lease)
    return root


def _damaged(root: Path) -> Path:
    run = Crowd(root, _now()).run(LOSSES)
    run.files.local(f"{run.gated.path(2)}/ckpt.index").write_bytes(b"spoilt")
    return root


def _strange(root: Path) -> Path:
    run = Crowd(root, _now()).run(LOSSES)
    run.files.local("run/checkpoints/notes.txt").write_text("mine")
    run.files.local("run/tmp").mkdir(exist_ok=True)
    run.files.local("run/.pins.json.0123456789ab.tmp").write_text("torn")
    return root


def _now() -> Clock:
    """An hour ago: the command has the system's clock."""
    clock = Clock()
    clock.now = time.time() - 3600
    return clock


STORES: dict[str, Callable[[Path], Path]] = {
    "one run": _plain,
    "two runs": _two_runs,
    "a pin and a champion": _pinned,
    "trash": _with_trash,
    "a damaged checkpoint": _damaged,
    "leftovers": _strange,
}
