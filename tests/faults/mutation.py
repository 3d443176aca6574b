"""Which mutants of the code that saves, prunes and recovers are noticed, by the figures or by the store's tests.

    python -m faults.mutation [--of N] [--json FILE] [MODULE]…     in the folder `tests`; a module as store/pruning.py

Each is tried in a process of its own: first by those tests that go through its line, then by kills at every operation
(B1), errnos (B3), power cuts (B4) and kills in an object store (B11). Prints those that nobody notices.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType

import click

from faults.covering import PRODUCT, QUICK, ROOT, tests_by_line
from faults.mutants import Mutant, mutants_of
from faults.processes import Child, Ready

MODULES = (
    "store/checkpoints.py",
    "store/files.py",
    "store/opened_files.py",
    "store/prune_plan.py",
    "store/pruning.py",
    "store/run.py",
    "store/standing.py",
    "store/sweeping.py",
    "store/trash.py",
    "store/undeleting.py",
    "training/gated_training.py",
    "training/room.py",
)
SEED = 5
CPU_SECONDS = 300  # of one mutant: one that takes longer goes round in circles
# A mutant's process finds them imported. Nothing of the package may be among them.
PRELOADED = ("pytest", "hypothesis", "click", "fsspec", "jsonschema", "numpy", "rich.console", "xxhash", "yaml")


@dataclasses.dataclass(frozen=True, slots=True)
class Tried:
    """A mutant, and who has noticed it.

    Attributes:
      by: tests, B1, B3, B4 or B11; `time` for one that does not end; None for one that nobody notices.
    """

    module: str
    line: int
    what: str
    by: str | None


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module's file with another text."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")


@dataclasses.dataclass(frozen=True)
class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module's mutant in its place."""

    loader: _Loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.loader.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.loader.path, loader=self.loader)


def try_mutant(module: str, mutant: Mutant, tests: Sequence[str]) -> Tried:
    """Tries a mutant in a process of its own; the package must not be imported in this one.

    Args:
      module: its file, below the package's folder.
      tests: names of the tests that may notice it.
    """
    name = "checkpoint_gate." + module.removesuffix(".py").replace("/", ".")
    loader = _Loader(name, str(PRODUCT / module), mutant.source)

    def live(ready: Ready) -> str | None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        os.chdir(ROOT)
        sys.meta_path.insert(0, _Finder(loader))
        noticing = importlib.import_module("faults.noticing")
        return str(by) if (by := noticing.noticed_by(tests)) else None

    ended = Child(live).go()
    if ended.code in (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL):
        return Tried(module, mutant.line, mutant.what, "time")
    # With another code it ends where it cannot even be imported.
    return Tried(module, mutant.line, mutant.what, "tests" if ended.code else ended.answer)


def try_all(modules: Sequence[str], most: int | None) -> Iterator[Tried]:
    """Tries the modules' mutants.

    Args:
      most: how many, drawn at random; all where it is None.

    Raises:
      RuntimeError: if a module without any mutation is noticed: then nothing can be said of the others.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    tests = tests_by_line(modules, *QUICK)
    known = [(module, mutant) for module in modules for mutant in mutants_of((PRODUCT / module).read_text())]
    every = sorted({name for lines in tests.values() for names in lines.values() for name in names})
    right = try_mutant(modules[0], Mutant(0, "nothing", (PRODUCT / modules[0]).read_text()), every)
    if right.by is not None:
        raise RuntimeError(f"{right.by} finds something wrong where nothing was changed.")
    if most is not None and most < len(known):
        known = random.Random(SEED).sample(known, most)
    for module, mutant in known:
        yield try_mutant(module, mutant, tests[module].get(mutant.line, []))


@click.command()
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
@click.option("--of", "most", type=click.IntRange(1), help="So many, drawn at random.")
@click.option("--json", "place", type=click.Path(path_type=Path), help="Write each there, as JSON lines.")
def main(modules: tuple[str, ...], most: int | None, place: Path | None) -> None:
    """Try mutants, and print those that nobody notices."""
    count = noticed = 0
    for tried in try_all(modules or MODULES, most):
        count += 1
        noticed += tried.by is not None
        if place is not None:
            with place.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(tried)) + "\n")
        if tried.by is None:
            print(f"{tried.module}:{tried.line} {tried.what}", flush=True)
    print(f"{noticed} of {count} were noticed ({noticed / count:.0%}).")


if __name__ == "__main__":
    main()
