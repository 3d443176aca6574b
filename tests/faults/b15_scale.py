"""Planning over a large run: time, memory, and how often folders are listed."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from faults.figure import Measured
from faults.memory import memory_folder

FIGURE = "B15"
WHAT = "checkpoints of one run that a pruning was planned for, every byte verified"

_RULES = "filter: {metric: val_loss, at_most: 0.5}\nprune: {grace: 24h, keep_last: 1, max_fraction: 0.95}\n"
_SECONDS = 60.0  # of one CPU, for 100,000 checkpoints
_BYTES = 1 << 30  # for 100,000 checkpoints
_LINKS = 30_000  # names that a file has at most
_LISTINGS = 20  # beside one for 1,000 checkpoints


def measure(long: bool) -> Measured:
    """Makes the run, and plans in a process of its own."""
    n = 1_000_000 if long else 100_000
    with memory_folder(names=5 * n) as folder:
        begun = time.monotonic()
        make_run(folder, n)
        made = time.monotonic() - begun
        command = [sys.executable, "-m", "faults.b15_scale", str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return _judge(n, made, json.loads(done.stdout))


def _judge(n: int, made: float, told: dict[str, float]) -> Measured:
    seconds, size, listings, going = (told[key] for key in ("seconds", "bytes", "listings", "going"))
    detail = f"{seconds:.1f} s of one CPU, {size / 2**20:.0f} MiB, {listings} listings; {made:.0f} s to make them"
    measured = Measured(n=n, detail=detail)
    if told["refused"] is not None:
        measured.violations.append(f"The plan was refused: {told['refused']}")
    if going != n // 2:
        measured.violations.append(f"{going} of {n} would go, not every second one.")
    if seconds > _SECONDS * n / 100_000:
        measured.violations.append(f"Planning took {seconds:.1f} s of one CPU.")
    if size > _BYTES * n / 100_000:
        measured.violations.append(f"Planning took {size / 2**20:.0f} MiB.")
    if listings > n / 1000 + _LISTINGS:
        measured.violations.append(f"Planning listed folders {listings} times.")
    return measured


def make_run(root: Path, n: int) -> None:
    """A run of `n` epochs with a checkpoint each, of two small files; every second one would go."""
    from checkpoint_gate.store import Store

    run = Store(root).start("run", gate={"save": {"at_most": 1.0, "metric": "val_loss"}})
    base = f"{run.files.root}/run/checkpoints"
    os.mkdir(base)
    with open(f"{run.files.root}/run/ledger.jsonl", "w") as ledger:
        for step in range(n):
            ledger.write(json.dumps({"step": step, "save": True, "reason": "as told", **_record(step)}) + "\n")
    source = ""
    for step in range(n):
        folder = f"{base}/step-{step:09d}"
        os.mkdir(folder)
        with open(f"{folder}/manifest.json", "wb") as file:
            file.write(_manifest(step))
        for name, data in _FILES.items():
            if step % _LINKS == 0:
                Path(folder, name).write_bytes(data)
                source = folder
            else:
                os.link(f"{source}/{name}", f"{folder}/{name}")


_FILES = {"ckpt.data-00000-of-00001": b"weights " * 8, "ckpt.index": b"index"}


def _record(step: int) -> dict[str, object]:
    return {"epoch": step, "metrics": {"loss": 0.5, "val_loss": 0.4 if step % 2 else 0.6}}


def _manifest(step: int) -> bytes:
    """A manifest; but for its first of each kind no JSON is made, only the step is put in."""
    plain, indented = _templates(step % 2)
    own = hashlib.sha256(plain.replace(_STEP, b"%d" % step)).hexdigest()
    return indented.replace(_STEP, b"%d" % step).replace(b"OWN", own.encode())


_STEP = b"987654321"


@functools.cache
def _templates(odd: int) -> tuple[bytes, bytes]:
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in _FILES.items()}
    files = [{"bytes": len(d), "checksum": f"sha256:{checksums[n]}", "path": n} for n, d in _FILES.items()]
    about = {"at": "epoch", "decision": "as told", "format": 1, "kind": "gated", "rules": "0" * 64, "run": "run"}
    steps = {"step": int(_STEP), "epoch": int(_STEP)}
    value = {**about, **_record(odd), **steps, "files": files, "time": 1.79e9, "writer": "test"}
    plain = json.dumps(value, sort_keys=True)
    return plain.encode(), (json.dumps(value | {"self": "sha256:OWN"}, sort_keys=True, indent=1) + "\n").encode()


def plan(root: Path) -> Iterator[tuple[str, object]]:
    """Plans a pruning of the store's runs, and says what it took."""
    from checkpoint_gate.reviewing.joint_pruning import plan_runs
    from checkpoint_gate.rule_text.rule_set import parse_rules
    from checkpoint_gate.store import Store
    from checkpoint_gate.store.files import LocalFiles

    listings = 0
    names = LocalFiles.names

    def counted(files: LocalFiles, path: str | None = None) -> list[str]:
        nonlocal listings
        listings += 1
        return names(files, path)

    LocalFiles.names = counted
    store = Store.open(root)
    rules = parse_rules(_RULES)
    begun = time.process_time()
    (planned,) = plan_runs([store.run("run")], rules).runs
    yield "seconds", time.process_time() - begun
    yield "bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    yield "listings", listings
    yield "refused", planned.refused
    yield "going", len(planned.plan.going) if planned.plan is not None else 0


if __name__ == "__main__":
    print(json.dumps(dict(plan(Path(sys.argv[1])))))
