"""Papers as CheckpointEvaluator writes them, in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoint_gate.pushed.papers import Data, Examples, Origin, Papers, Push, Slice, Survivor, write_papers


def papers_of(step: int = 20, run: str = "demo", **changes: Any) -> Papers:
    """The papers of the checkpoint of a step; `changes` are other values of their attributes."""
    said: dict[str, Any] = {
        "run": run,
        "step": step,
        "origins": [origin_of(step, run)],
        "reason": "lowest loss of 2: 0.31",
        "metrics": {"loss": 0.31},
        "slices": [Slice(columns={"island": "Dream"}, metrics={"loss": 0.4})],
        "survivors": [
            Survivor(name=f"step-{step:09d}", run=run, step=step, metrics={"loss": 0.31}),
            Survivor(name="step-000000030", run=run, step=30, metrics={"loss": "nan"}, excluded="loss is nan"),
        ],
        "rules_digest": "a1" * 32,
        "data": Data(
            examples=[Examples(span="0", version=None, fingerprint="table:9 bytes", splits=["eval", "test", "train"])],
            chosen_on=["eval"],
            table="7e" * 32,
        ),
        "classes": ["cat", "dog"],
        "versions": {"python": "3.10.13", "tensorflow": "2.16.2"},
        "time": 1790000000.0,
        "writer": "checkpoint-gate 0.1.0",
    }
    return Papers(**(said | changes))


def origin_of(step: int = 20, run: str = "demo") -> Origin:
    """A record that let a checkpoint through."""
    return Origin(
        run=run,
        step=step,
        epoch=1,
        metrics={"val_loss": 0.4},
        decision="val_loss 0.4 is at most 0.5",
        gate="b2" * 32,
        verdict="val_loss 0.4 is at most 0.45",
    )


def pushed_papers(version: int, weights: str, time: float | None = None, **changes: Any) -> Papers:
    """Papers of a pushed version."""
    push = Push(
        version=version,
        time=float(version) if time is None else time,
        weights=weights,
        replaces=None,
        blessing={"outcome": "blessed", "reason": "every threshold holds", "first_run": True},
    )
    return papers_of(push=push, **changes)


def write_version(folder: Path, version: int, weights: str, papers: Papers | str | None = "pushed") -> Path:
    """A version of a push folder in small, whose weights have this name; `papers` None leaves them out."""
    model = folder / str(version)
    (model / "variables").mkdir(parents=True)
    (model / "variables" / "variables.index").write_bytes(b"index of " + weights.encode())
    (model / "fingerprint.pb").write_bytes(b"fingerprint of " + weights.encode())
    (model / "saved_model.pb").write_bytes(b"graph")
    if isinstance(papers, str):
        papers = pushed_papers(version, weights)
    if papers is not None:
        write_papers(model, papers)
    return model
