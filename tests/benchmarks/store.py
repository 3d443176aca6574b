"""What a store with many checkpoints costs.

    open_store_10k      opening a store of 10,000 checkpoints and listing what it keeps; against Orbax' manager
                        opened on a folder of as many steps, and asked for all of them. Imports left out
    plan_100k           100,000 checkpoints listed, judged, verified and a pruning of half of them planned; against
                        reading the names, the manifests and every byte and nothing else
    link_survivors      a checkpoint of 400 MB handed on as a survivor; against copying its folder with shutil
    growth_checkpoints  opening and listing over the number of checkpoints

Orbax is measured where .venv-peers is; without it, the peer of the opening is listing the folder and its manifests.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from compared.sides import in_turn, line

TESTS = Path(__file__).parents[1]
PEERS = TESTS.parent / ".venv-peers/bin/python"
RULES = "filter: {metric: val_loss, at_most: 0.5}\nprune: {grace: 24h, keep_last: 1, max_fraction: 0.95}\n"
COUNTS, QUICK_COUNTS = (1_000, 3_000, 10_000, 30_000), (2, 3, 10, 12)
MB, QUICK_MB = (1, 400), (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=3, help="how often each side is run")
    parser.add_argument("--quick", action="store_true", help="few checkpoints, once: only to see that it runs")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)  # a process of its own: what, and its folder
    arguments = parser.parse_args()
    if arguments.side is not None:
        print(json.dumps(_SIDES[arguments.side[0]](Path(arguments.side[1]))))
        return
    sys.path.insert(0, str(TESTS))
    more = {"quick": True} if arguments.quick else {}
    for text in lines(1 if arguments.quick else arguments.n, arguments.quick, more):
        print(text, flush=True)


def lines(n: int, quick: bool, more: dict[str, Any]) -> Iterator[str]:
    from faults.b15_scale import make_run
    from faults.memory import memory_folder

    counts = QUICK_COUNTS if quick else COUNTS
    taken = {}
    for count in counts:
        with memory_folder(names=10 * count) as folder:
            make_run(folder / "store", count)
            make_orbax(folder / "orbax", count)
            rounds = n if count == counts[2] else 1
            taken[count] = in_turn(rounds, _openings(folder))
    tenth = taken[counts[2]]
    yield _opening("open_store_10k", tenth, more)
    curve = {
        side: [[count, each[side][0]["seconds"]] for count, each in taken.items()] for side in ("ours", "peer")
    } | {"over": "checkpoints in the store"}
    yield _opening("growth_checkpoints", taken[counts[-1]], more, curve=curve)
    with memory_folder(names=500_000) as folder:
        make_run(folder, 100 if quick else 100_000)
        planned = in_turn(1, {"plan": lambda _: side("plan", folder), "read": lambda _: side("read", folder)})
    plan, read = planned["plan"][0], planned["read"][0]
    words = {"mib": plan["mib"], "going": plan["going"], "beside": "reading names, manifests and bytes"}
    yield line("plan_100k", "s", [plan["seconds"]], [read["seconds"]], **words, **more)
    yield _links(n, QUICK_MB if quick else MB, more)


def _openings(folder: Path) -> dict[str, Callable[[int], dict[str, Any]]]:
    python = PEERS if PEERS.exists() else None
    return {
        "ours": lambda _: side("open", folder / "store"),
        "peer": lambda _: side("orbax", folder / "orbax", python),
    }


def _opening(name: str, taken: dict[str, list[dict[str, Any]]], more: dict[str, Any], **detail: Any) -> str:
    found = {run["found"] for runs in taken.values() for run in runs}
    if len(found) != 1:
        raise SystemExit(f"the two sides found different numbers of checkpoints: {found}")
    ours, peer = ([run["seconds"] for run in taken[each]] for each in ("ours", "peer"))
    words = {"checkpoints": found.pop(), "beside": "Orbax" if PEERS.exists() else "names and sizes"}
    return line(name, "s", ours, peer, **words, **detail, **more)


def _links(n: int, sizes: tuple[int, int], more: dict[str, Any]) -> str:
    from checkpoint_gate.rules.records import Record
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.checkpoints import copy_out

    with tempfile.TemporaryDirectory(prefix="link_survivors-") as folder:
        run = Store(Path(folder, "store")).start("run")
        for step, mb in enumerate(sizes):
            staged, place = run.stage()
            with open(place / "ckpt.data-00000-of-00001", "wb") as file:
                for _ in range(mb):
                    file.write(os.urandom(1_000_000))
            run.publish(staged, Record(step, step), "as told", "0" * 64)
        stored = run.live()

        def link(step: int, number: int) -> float:
            return _seconds(partial(copy_out, run.files, stored[step], Path(folder, f"linked-{step}-{number}")))

        def copy(step: int, number: int) -> float:
            target = Path(folder, f"copied-{step}-{number}")
            took = _seconds(partial(shutil.copytree, run.files.place(stored[step].folder), target))
            shutil.rmtree(target)
            return took

        sides = {f"{act.__name__} {mb}": partial(act, step) for step, mb in enumerate(sizes) for act in (link, copy)}
        taken = in_turn(n, sides)
    small, large = sizes
    smaller = {"mb": small, "ours": taken[f"link {small}"], "peer": taken[f"copy {small}"]}
    return line("link_survivors", "s", taken[f"link {large}"], taken[f"copy {large}"], smaller=smaller, **more)


def make_orbax(root: Path, count: int) -> None:
    """A folder of so many steps as Orbax' CheckpointManager leaves them: it looks at names and at one file in each."""
    for step in range(count):
        place = root / str(step) / "default"
        place.mkdir(parents=True)
        (place.parent / "_CHECKPOINT_METADATA").write_text(
            json.dumps({"item_handlers": {}, "metrics": {}, "init_timestamp_nsecs": 1, "commit_timestamp_nsecs": 2})
        )


def side(what: str, folder: Path, python: Path | None = None) -> dict[str, Any]:
    """What a process of its own says."""
    command = [str(python or sys.executable), __file__, "--side", what, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


# In processes of their own.


def open_store(folder: Path) -> dict[str, Any]:
    """Seconds from the imports on until every kept checkpoint is listed with its metrics."""
    from checkpoint_gate.reviewing.catalog import catalog
    from checkpoint_gate.store import Store

    began = time.perf_counter()
    store = Store.open(folder)
    rows = list(catalog(map(store.run, store.keys())))
    return {"seconds": time.perf_counter() - began, "found": sum(row.state == "kept" for row in rows)}


def open_orbax(folder: Path) -> dict[str, Any]:
    """The same of Orbax, where it is installed."""
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        return _seconds_of_names(folder)
    began = time.perf_counter()
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        steps = manager.all_steps()
        return {"seconds": time.perf_counter() - began, "found": len(steps)}


def _seconds_of_names(folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    found = sum(1 for each in os.scandir(folder) if os.stat(each).st_size >= 0)
    return {"seconds": time.perf_counter() - began, "found": found}


def plan(folder: Path) -> dict[str, Any]:
    """Plans a pruning; with the memory that this took."""
    from checkpoint_gate.reviewing.joint_pruning import plan_runs
    from checkpoint_gate.rule_text.rule_set import parse_rules
    from checkpoint_gate.store import Store

    began = time.perf_counter()
    (planned,) = plan_runs([Store.open(folder).run("run")], parse_rules(RULES)).runs
    seconds = time.perf_counter() - began
    assert planned.plan is not None, planned.refused
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mib": round(peak), "going": len(planned.plan.going)}


def read(folder: Path) -> dict[str, Any]:
    """Reads all that a plan has to read."""
    began = time.perf_counter()
    for each in os.scandir(folder / "run/checkpoints"):
        for file in os.scandir(each):
            Path(file).read_bytes()
    return {"seconds": time.perf_counter() - began}


_SIDES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "open": open_store,
    "orbax": open_orbax,
    "plan": plan,
    "read": read,
}


if __name__ == "__main__":
    main()
