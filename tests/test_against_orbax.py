"""Retention against Orbax's CheckpointManager: what both can express keeps the same steps.

Orbax numbers steps, so each step is an epoch here, and a milestone is a multiple of the step for both. Ties need no
exception: Orbax, too, prefers the later step, because its sort is stable and the end of the order stays.
"""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import random
import subprocess

import pytest

from checkpoint_gate.rule_text.rule_set import RuleSet, rules_from_mapping
from checkpoint_gate.rules.records import Record
from checkpoint_gate.rules.retention import Held
from checkpoint_gate.store import Store
from checkpoint_gate.training.gated_training import GatedTraining

ROOT = pathlib.Path(__file__).parents[1]
PYTHON = ROOT / ".venv-peers/bin/python"
CHANGED = "Orbax does something else than it did: say so wherever this project compares itself with it"
EACH = 30  # histories for each way to retain
GRID = [0.1, 0.2, 0.3, 0.5, 0.5, -1.0]  # few values, so that there are ties


def best(mode):
    return lambda draw: {"best": {"mode": mode, "n": draw.randint(1, 4)}}


def last(draw):
    return {"last": draw.randint(1, 4)}


def milestone(draw):
    return {"milestone": draw.randint(2, 4)}


WAYS = {
    "the latest n": ("options", None, [last]),
    "the n smallest": ("options", None, [best("min")]),
    "the n largest": ("options", None, [best("max")]),
    "the latest n, and every kth": ("options", None, [last, milestone]),
    "the n smallest, and every kth": ("options", None, [best("min"), milestone]),
    "only every kth saved, of these the latest n": ("options", 3, [last]),
    "only every kth saved, of these the n largest": ("options", 2, [best("max")]),
    "a union of the n smallest, the latest m and every kth": ("policies", None, [best("min"), last, milestone]),
    "a union of the n largest and the latest m, of every kth saved": ("policies", 2, [best("max"), last]),
}


def scenario_of(by, interval, parts, draw):
    """Random: a dozen steps at most, one manager or, as after a crash, two."""
    keep = {key: value for part in parts for key, value in part(draw).items()}
    first = 1 if interval is None or by == "policies" else interval  # Orbax's options save the first step in any case
    steps = range(first, first + draw.randint(1, 12))
    grid = draw.random() < 0.7
    values = [[step, draw.choice(GRID) if grid else draw.uniform(-1e3, 1e3)] for step in steps]
    reopened = draw.randint(1, len(values) - 1) if len(values) > 1 and draw.random() < 0.3 else None
    return {"keep": keep, "interval": interval, "by": by, "values": values, "reopened": reopened}


SCENARIOS = {
    way: [scenario_of(*how, random.Random(f"{way} {number}")) for number in range(EACH)] for way, how in WAYS.items()
}


def asked(scenarios):
    """The steps that Orbax keeps in each of `scenarios`."""
    assert PYTHON.exists(), "Orbax is not there to compare with: run `make test`, which makes .venv-peers."
    lines = "".join(json.dumps(scenario) + "\n" for scenario in scenarios)
    command = [str(PYTHON), str(ROOT / "tests/peers/orbax_retention.py")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def kept_by_orbax():
    """Scenario -> the steps that Orbax keeps, for all scenarios of this file; one process answers them."""
    every = [*itertools.chain(*SCENARIOS.values()), *(parting.values[0] for parting in PARTINGS), BEST_FIRST]
    answers = {json.dumps(scenario): kept for scenario, kept in zip(every, asked(every), strict=True)}
    return lambda scenario: answers[json.dumps(scenario)]


def rules_of(scenario) -> RuleSet:
    keep = dict(scenario["keep"])
    if "best" in keep:
        keep["best"] = keep["best"] | {"metric": "value"}
    every = 1 if scenario["interval"] is None else {"steps": scenario["interval"]}
    return rules_from_mapping({"save": {"every": every}, "keep": keep})


def records_of(scenario):
    for step, value in scenario["values"]:
        yield Record(step, step - 1, {} if value is None else {"value": value})


def ours(scenario):
    """The steps that our rules keep."""
    rules, held = rules_of(scenario), []
    running = rules.save.start()
    for record in records_of(scenario):
        if running.decide(record).save:
            held.append(Held(record.step, record.epoch, record.metrics, time=0.0, size=1))
            surplus = rules.keep.surplus(held, now=0.0)
            held = [checkpoint for checkpoint in held if checkpoint.step not in surplus]
    return [checkpoint.step for checkpoint in held]


def trained(scenario, root, write):
    """The run in a real store, trained in one go or, as after a crash, in two."""
    training = None
    for place, record in enumerate(records_of(scenario)):
        if training is None or place == scenario["reopened"]:
            if training is not None:
                training.abandon()
            training = GatedTraining(Store(root), rules_of(scenario), "run")
            training.begin(None)
        training.commit(record, training.observe(record), lambda prefix, step=record.step: write(prefix, step))
    training.finish(None)
    return training.run


@pytest.mark.parametrize("way", WAYS)
def test_the_same_steps_are_kept_as_by_orbax(kept_by_orbax, way):
    for scenario in SCENARIOS[way]:
        assert ours(scenario) == kept_by_orbax(scenario), scenario


@pytest.mark.parametrize("way", WAYS)
def test_the_same_steps_are_in_a_store_as_in_orbax_folder(kept_by_orbax, memory_path, write, way):
    for number, scenario in enumerate(SCENARIOS[way][:12]):
        run = trained(scenario, memory_path / str(number), write)
        assert [stored.step for stored in run.live()] == kept_by_orbax(scenario), scenario


def test_enough_histories_have_ties_lose_a_checkpoint_and_are_interrupted(kept_by_orbax):
    every = list(itertools.chain(*SCENARIOS.values()))
    tied = [s for s in every if len({value for _, value in s["values"]}) < len(s["values"])]
    pruned = [s for s in every if len(kept_by_orbax(s)) < len(s["values"])]
    reopened = [s for s in every if s["reopened"] is not None]
    assert len(every) >= 250
    assert min(len(tied), len(pruned), len(reopened)) >= len(every) // 6


def scenario_with(keep, values, by="options", interval=None):
    numbered = [[step, value] for step, value in enumerate(values, 1)]
    return {"keep": keep, "interval": interval, "by": by, "values": numbered, "reopened": None}


def case(keep, values, theirs, mine, id, **more):
    return pytest.param(scenario_with(keep, values, **more), theirs, mine, id=id)


SMALLEST = {"best": {"mode": "min", "n": 1}}
BEST_FIRST = scenario_with(SMALLEST, [0.1, 0.5, 0.6])
THIRD = {"milestone": 3}
PARTINGS = [
    case(SMALLEST, [0.5, math.nan], [2], [1], "a NaN ranks as the best with Orbax, never here"),
    case(SMALLEST, [0.5, -math.inf], [2], [1], "an infinity may be the best with Orbax, never here"),
    case(SMALLEST, [0.5, None, 0.4], [2, 3], [3], "what has no metric stays for ever with Orbax, not here"),
    case({"last": 9}, [0.1] * 6, [1, 3, 6], [3, 6], "told an interval, Orbax saves the first step as well", interval=3),
    case(THIRD, [0.1] * 4, [1, 2, 3, 4], [3], "keep_period alone removes nothing with Orbax"),
    case(THIRD, [0.1] * 2, [], [2], "a policy of Orbax removes even the only checkpoint", by="policies"),
]


@pytest.mark.parametrize(("scenario", "theirs", "mine"), PARTINGS)
def test_where_the_two_part_it_is_on_purpose(kept_by_orbax, scenario, theirs, mine):
    assert kept_by_orbax(scenario) == theirs, CHANGED
    assert ours(scenario) == mine


def test_where_only_the_best_is_kept_the_last_state_is_there_to_resume_from(kept_by_orbax, memory_path, write):
    run = trained(BEST_FIRST, memory_path / "store", write)
    assert [stored.step for stored in run.live()] == [1]
    assert run.resume_state().step == 3
    assert kept_by_orbax(BEST_FIRST) == [1], CHANGED  # which is its latest step: training would go on from there
