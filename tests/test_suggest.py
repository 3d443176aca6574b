"""Rules proposed from recorded runs: they save what is claimed, the best is among it, and they read well."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_gate.cli import cli
from checkpoint_gate.cli import suggest as suggest_command
from checkpoint_gate.errors import CheckpointGateError, NoCandidate, RuleError, UnknownMetricError
from checkpoint_gate.reviewing.replaying import replay
from checkpoint_gate.rule_text.rule_set import parse_rules, rules_from_mapping, write_rules
from checkpoint_gate.rules.conditions import Improves, Threshold
from checkpoint_gate.rules.records import Record, dump_json, numbered_objects, read_lines, record_to_json
from checkpoint_gate.rules.schedules import Schedule
from checkpoint_gate.suggesting.candidates import Ranked, candidates
from checkpoint_gate.suggesting.numbers import between, deltas, ladder, looser
from checkpoint_gate.suggesting.suggest import PastRun, suggest
from checkpoint_gate.suggesting.text import scalar

NAN, INF = math.nan, math.inf


def run(*records: Record, name: str = "a run") -> PastRun:
    return PastRun(name, records)


def epochs(count, name="a run", **metrics) -> PastRun:
    """A run of epochs of 10 steps; each metric is a function of the epoch, or its values, None where it is absent."""
    records = []
    for epoch in range(count):
        values = {key: of(epoch) if callable(of) else of[epoch] for key, of in metrics.items()}
        logged = {key: value for key, value in values.items() if value is not None}
        records.append(Record((epoch + 1) * 10, epoch, logged))
    return PastRun(name, tuple(records))


def falling(epoch: int) -> float:
    return 0.3 + 0.8 * math.exp(-epoch / 8)


def training(seed: int, count: int = 40, noise: float = 0.03) -> PastRun:
    """A training as they are: validation falls, wavers and rises again; the loss goes on falling."""
    rng = random.Random(seed)
    turn = count * rng.uniform(0.5, 0.9)
    return epochs(
        count,
        f"training {seed}",
        loss=lambda epoch: falling(epoch) - 0.2 + noise / 3 * rng.gauss(0, 1),
        val_loss=lambda epoch: falling(epoch) + 0.3 * max(0.0, epoch - turn) / count + noise * rng.gauss(0, 1),
    )


def jsonl(past: PastRun) -> str:
    return "".join(dump_json(record_to_json(record)) + "\n" for record in past.records)


def best_step(past: PastRun, metric: str, mode: str) -> int:
    """The step of the best record, told once more: from the worst to the best, the later of equals last."""
    sound = [r for r in past.records if math.isfinite(r.metrics.get("loss", 0.0))]
    ranked = [(r.metrics[metric] * (-1 if mode == "min" else 1), r.step) for r in sound if metric in r.metrics]
    return max(pair for pair in ranked if math.isfinite(pair[0]))[1]


def steps_saved(text: str, past: PastRun) -> list[int]:
    """What the rules in `text` save of the run, by way of a history file and of `replay`."""
    lines, _ = read_lines(numbered_objects(jsonl(past), "history"), "history")
    return [answer.record.step for answer in replay(parse_rules(text), "save", lines) if answer.holds]


def holds(suggestion, runs) -> None:
    """Everything that is promised of any suggestion."""
    told = suggestion.to_json()
    assert write_rules(parse_rules(suggestion.text)) == told["rules"]
    assert parse_rules(suggestion.text) == rules_from_mapping(told["rules"]) == suggestion.rules
    for past, ledger in zip(runs, told["ledgers"], strict=True):
        assert ledger["steps"] == steps_saved(suggestion.text, past)
        assert ledger["saved"] == len(ledger["steps"])
        assert ledger["saved"] + ledger["refused"] == ledger["records"] == len(past.records)
        assert ledger["best"]["saved"] is True
        assert ledger["best"]["step"] == best_step(past, suggestion.metric, suggestion.mode)
        assert ledger["best"]["step"] in ledger["steps"]
    dump_json(told)


# What is proposed


@pytest.mark.parametrize(
    ("runs", "options", "counts"),
    [
        pytest.param([training(1)], {}, [5], id="one training, five checkpoints"),
        pytest.param([training(1)], {"keep": 1}, [1], id="one training, only its best"),
        pytest.param([training(1)], {"keep": 12}, [12], id="one training, twelve checkpoints"),
        pytest.param([epochs(40, val_loss=falling)], {}, [5], id="a training that only gets better"),
        pytest.param([epochs(40, val_loss=lambda e: -falling(e) + 2)], {}, [5], id="a training that only gets worse"),
        pytest.param([epochs(40, loss=falling)], {}, [5], id="no validation: by the training loss"),
        pytest.param(
            [epochs(40, loss=falling, val_loss=lambda e: falling(e) if e % 4 == 3 else None)],
            {},
            [5],
            id="validation every fourth epoch",
        ),
        pytest.param(
            [epochs(40, loss=falling, acc=lambda e: min(1.0, round(0.4 + e / 30, 2)))],
            {"metric": "acc", "mode": "max"},
            [5],
            id="an accuracy that stays at its best: the last of equals is the best",
        ),
        pytest.param([epochs(40, loss=lambda e: 0.5)], {}, [5], id="a loss that never changes"),
        pytest.param([epochs(40, loss=lambda e: 0.0)], {}, [5], id="a loss that is always 0"),
        pytest.param([epochs(40, loss=lambda e: max(0.0, 1 - e / 30))], {}, [5], id="a loss that comes to exactly 0"),
        pytest.param([epochs(40, val_loss=lambda e: falling(e) - 5)], {}, [5], id="negative values"),
        pytest.param(
            [epochs(40, ll=lambda e: -falling(e))], {"metric": "ll", "mode": "max"}, [5], id="a log-likelihood"
        ),
        pytest.param(
            [epochs(40, loss=lambda e: NAN if e % 3 else falling(e), val_loss=falling)],
            {},
            [5],
            id="a training loss that is mostly NaN",
        ),
        pytest.param(
            [epochs(40, val_loss=lambda e: (INF, -INF, NAN, falling(e))[e % 4])], {}, [5], id="hardly any finite value"
        ),
        pytest.param([epochs(40, val_loss=lambda e: falling(e) * 1e300)], {}, [5], id="huge values"),
        pytest.param([epochs(40, val_loss=lambda e: falling(e) * 1e-300)], {}, [5], id="tiny values"),
        pytest.param([epochs(1, val_loss=[0.5])], {"keep": 1}, [1], id="one record"),
        pytest.param([epochs(1, val_loss=[0.0])], {"keep": 1}, [1], id="one record with the value 0"),
        pytest.param([epochs(3, val_loss=[0.5, 0.4, 0.3])], {}, [3], id="fewer records than asked for: all of them"),
        pytest.param(
            [run(*(Record(s, 0, {"loss": falling(s // 5)}, "step") for s in range(1, 200)))],
            {},
            [5],
            id="a training loop of one epoch that records steps",
        ),
        pytest.param([training(1), training(2)], {}, [5, 5], id="two trainings"),
    ],
)
def test_about_so_many_are_saved_and_the_best_is_among_them(runs, options, counts):
    suggestion = suggest(runs, **options)
    holds(suggestion, runs)
    assert [len(kept.saved) for kept in suggestion.runs] == counts
    assert suggestion == suggest(runs, **options)


def test_several_trainings_of_different_length_come_near_on_average():
    runs = [training(3, 40), training(4, 25), training(5, 60), training(6, 40)]
    suggestion = suggest(runs)
    holds(suggestion, runs)
    assert abs(suggestion.mean - 5) < 0.5
    assert suggestion.reached


def test_steps_and_epochs_mixed():
    records = []
    for step in range(1, 201):
        records.append(Record(step, (step - 1) // 10, {"loss": falling(step // 10)}, "step"))
        if step % 10 == 0:
            records.append(Record(step, step // 10 - 1, {"loss": falling(step // 10), "val_loss": falling(step // 10)}))
    runs = [run(*records)]
    suggestion = suggest(runs)
    holds(suggestion, runs)
    assert len(suggestion.runs[0].saved) == 5
    assert {record.at for record in suggestion.runs[0].saved} == {"epoch"}
    holds(suggest(runs, metric="loss"), runs)


def test_all_kinds_of_rules_are_proposed():
    rules = suggest([training(1)]).rules.save.rule.rules
    loss, average, tightening, improves = rules
    assert (loss.metric, loss.average) == ("loss", None)
    assert (average.metric, average.average.window) == ("loss", 5)
    assert isinstance(tightening.limit, Schedule)
    assert tightening.limit.start > tightening.limit.end
    assert isinstance(improves, Improves)


def test_an_accuracy_is_asked_to_rise():
    limit = next(
        rule.at_least
        for rule in suggest(
            [epochs(40, acc=lambda e: 1.3 - falling(e))], metric="acc", mode="max"
        ).rules.save.rule.rules
        if isinstance(getattr(rule, "at_least", None), Schedule)
    )
    assert limit.start < limit.end


def test_a_schedule_ends_with_the_shortest_run():
    suggestion = suggest([training(3, 40), training(4, 25)])
    schedules = [rule.limit for rule in suggestion.rules.save.rule.rules if isinstance(rule, Threshold)]
    assert next(limit.over for limit in schedules if isinstance(limit, Schedule)) in (24, 12)


def test_a_training_loop_that_records_steps_gets_a_schedule_in_steps():
    past = run(*(Record(step, step // 100, {"loss": falling(step // 5)}, "step") for step in range(1, 301)))
    schedules = [rule.limit for rule in suggest([past]).rules.save.rule.rules if isinstance(rule, Threshold)]
    assert {(limit.unit, limit.over > 100) for limit in schedules if isinstance(limit, Schedule)} == {("steps", True)}


def risk(*rules) -> float:
    records = tuple(Record(epoch + 1, epoch, {"acc": epoch / 10}) for epoch in range(11))
    return candidates([Ranked("a run", records, 10)], "acc", "max", 5).risk(rules)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        pytest.param(
            [Improves("acc", "max", 0.01)], [Improves("acc", "max", 0.02)], id="a smaller gain costs less of the best"
        ),
        pytest.param(
            [Threshold("acc", at_least=0.5)],
            [Threshold("acc", at_least=0.9)],
            id="a limit far from the best leaves fewer runs without a checkpoint",
        ),
        pytest.param(
            [Threshold("acc", at_least=Schedule(0.1, 0.5, 10))],
            [Threshold("acc", at_least=Schedule(0.1, 0.9, 10))],
            id="of a schedule its end counts",
        ),
        pytest.param(
            [Threshold("acc", at_least=0.99)], [Threshold("acc", at_least=1.0)], id="a limit on the best itself is last"
        ),
        pytest.param([], [Improves("acc", "max", 0.01)], id="no rule, no risk"),
    ],
)
def test_the_risk_of_rules(less, more):
    assert risk(*less) < risk(*more)
    assert risk(*less, *more) == risk(*less) + risk(*more)


@pytest.mark.parametrize("seed", range(5))
def test_no_limit_lies_on_a_recorded_value_and_all_are_short(seed):
    past = training(seed)
    seen = {value for record in past.records for value in record.metrics.values()}
    best = min(record.metrics["val_loss"] for record in past.records)
    for rule in suggest([past]).rules.save.rule.rules:
        if isinstance(rule, Threshold):
            ends = [rule.limit.start, rule.limit.end] if isinstance(rule.limit, Schedule) else [rule.limit]
            assert not seen & set(ends)
            assert all(len(f"{end:g}".replace("0", "").replace(".", "")) <= 3 for end in ends)
            assert ends[-1] > best


def test_what_is_proposed_serves_trainings_to_come():
    saved, excess = [], []
    for seed in range(0, 30, 3):
        rules = suggest([training(seed + i) for i in range(3)]).rules.save
        for other in range(100, 110):
            records = training(other).records
            values = sorted(record.metrics["val_loss"] for record in records)
            kept = [r.metrics["val_loss"] for r, d in zip(records, rules.replay(records), strict=True) if d.save]
            saved.append(len(kept))
            excess.append((min(kept) - values[0]) / (values[30] - values[0]) if kept else 1.0)
    assert 3 < sum(saved) / len(saved) < 8
    assert saved.count(0) <= 5  # of 100
    assert sum(excess) / len(excess) < 0.1


def test_ten_thousand_records_take_seconds():
    rng = random.Random(0)
    past = epochs(
        10_000, loss=lambda e: math.exp(-e / 2000), val_loss=lambda e: math.exp(-e / 2000) + 0.05 * rng.gauss(0, 1)
    )
    since = time.process_time()
    suggestion = suggest([past])
    assert time.process_time() - since < 10
    assert len(suggestion.runs[0].saved) == 5


# Any history

values = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0, -1.0]) | st.sampled_from(
    [NAN, INF, -INF, 5e-324, -5e-324, 1e308, -1.7e308, 0.1 + 0.2]
)
values |= st.floats(width=64)


@st.composite
def histories(draw):
    records = []
    step = epoch = 0
    for _ in range(draw(st.integers(0, 20))):
        at = draw(st.sampled_from(["epoch", "epoch", "epoch", "step"]))
        metrics = {name: draw(values) for name in ("loss", "val_loss", "x") if draw(st.sampled_from([1, 1, 1, 0]))}
        step += draw(st.sampled_from([0, 1, 7])) if records and records[-1].at == "step" and at == "epoch" else 1
        records.append(Record(step, epoch, metrics, at))
        epoch += at == "epoch"
    return run(*records)


def could_be_best(record, metric) -> bool:
    return math.isfinite(record.metrics.get(metric, NAN)) and math.isfinite(record.metrics.get("loss", 0.0))


@settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(histories(), min_size=1, max_size=3),
    st.integers(1, 8),
    st.sampled_from([(None, None), ("loss", None), ("val_loss", None), ("x", "min"), ("x", "max")]),
)
def test_the_proposed_text_saves_what_is_claimed_of_any_history(runs, keep, ranking):
    try:
        suggestion = suggest(runs, keep, *ranking)
    except (NoCandidate, UnknownMetricError):
        metric = ranking[0] or "val_loss"
        assert not all(any(could_be_best(record, metric) for record in past.records) for past in runs)
        return
    holds(suggestion, runs)


# What cannot be proposed from


@pytest.mark.parametrize(
    ("runs", "options", "error", "message"),
    [
        pytest.param(
            [], {}, RuleError, "Rules are proposed from at least one recorded run. Received: none.", id="none"
        ),
        pytest.param(
            [training(1)],
            {"keep": 0},
            RuleError,
            "keep must be a whole number of checkpoints, at least 1. Received: keep=0.",
            id="no checkpoints",
        ),
        pytest.param(
            [training(1), run(name="empty")],
            {},
            NoCandidate,
            "empty has no records, so there is nothing to propose rules from.",
            id="an empty ledger",
        ),
        pytest.param(
            [epochs(3)],
            {},
            NoCandidate,
            "a run logged no metrics, so there is nothing to propose rules from.",
            id="no metrics",
        ),
        pytest.param(
            [epochs(2, loss=[NAN, INF])],
            {},
            NoCandidate,
            "a run has no record with a finite 'loss' and a finite loss, so none is the best.",
            id="no finite value",
        ),
        pytest.param(
            [epochs(2, loss=[NAN, 1.0], val_loss=[1.0, NAN])],
            {},
            NoCandidate,
            "a run has no record with a finite 'val_loss' and a finite loss, so none is the best.",
            id="no record with both finite",
        ),
        pytest.param(
            [epochs(2, "one", loss=[1, 2], acc=[1, 2]), epochs(2, "two", acc=[1, 2], f1=[1, 2])],
            {},
            UnknownMetricError,
            "Neither val_loss nor loss is logged in every ledger: say with --metric and --mode by what to rank. Logged "
            "in every one: acc.",
            id="nothing to rank by",
        ),
        pytest.param(
            [training(1), epochs(2, "two", loss=[1, 2])],
            {"metric": "val_loss"},
            UnknownMetricError,
            "two has no metric 'val_loss'. Logged were: loss. Name one of these.",
            id="the metric is missing from one ledger",
        ),
        pytest.param(
            [epochs(2, acc=[1, 2])],
            {"metric": "acc"},
            RuleError,
            "Say with --mode min or --mode max which way 'acc' is better: that is never guessed.",
            id="the direction is not guessed",
        ),
        pytest.param(
            [training(1)],
            {"mode": "max"},
            RuleError,
            "--mode max goes with --metric: without it the least val_loss is best.",
            id="the direction of the default is known",
        ),
    ],
)
def test_what_nothing_can_be_proposed_from_is_told_in_one_sentence(runs, options, error, message):
    with pytest.raises(error) as caught:
        suggest(runs, **options)
    assert str(caught.value) == message
    assert isinstance(caught.value, CheckpointGateError)


@pytest.mark.parametrize(
    ("with_validation", "metric"),
    [
        pytest.param([True, True], "val_loss", id="the validation loss where every ledger has it"),
        pytest.param([True, False], "loss", id="else the loss"),
    ],
)
def test_what_ranks_by_default(with_validation, metric):
    logged = [{"loss": falling} | ({"val_loss": falling} if has else {}) for has in with_validation]
    suggestion = suggest([epochs(10, **metrics) for metrics in logged])
    assert (suggestion.metric, suggestion.mode) == (metric, "min")


# Numbers and text


@pytest.mark.parametrize(
    ("low", "high", "number"),
    [
        pytest.param(0.4, 0.6, 0.5, id="one digit where it is enough"),
        pytest.param(0.412, 0.438, 0.42, id="as many as are needed"),
        pytest.param(-0.6, -0.4, -0.5, id="below zero"),
        pytest.param(0.1, 0.1, 0.1, id="no room"),
        pytest.param(0.0, 5e-324, 0.0, id="no number between"),
        pytest.param(1e308, 1.7e308, 1.3e308, id="no overflow of what is rounded"),
        pytest.param(1.7e308, INF, 1.7e308, id="no number at all"),
    ],
)
def test_a_number_between_two_others(low, high, number):
    assert between(low, high) == number


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40, unique=True))
def test_limits_let_the_first_through_and_become_tighter(steps):
    limits = ladder(sorted(steps))
    assert limits == sorted(limits, reverse=True)
    assert all(min(steps) <= limit < max(steps) for limit in limits)
    assert looser(steps[0]) >= steps[0]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param([[0.5]], [0.0], id="a single value"),
        pytest.param([[0.5, 0.6]], [0.0], id="nothing gained"),
        pytest.param([[3.0, 2.0]], [0.0, 1.0], id="one gain"),
        pytest.param([[9.0, 8.0, 5.0]], [0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], id="up to all that was gained"),
        pytest.param([[1e308, -1e308]], [0.0], id="more than a number can hold"),
    ],
)
def test_the_gains_that_tell_values_apart(series, expected):
    assert deltas(series) == expected


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(st.text(min_size=1) | st.sampled_from(["no", "1", "a: b", "# c", "null", "'q'", "é", "a\tb", "😀", "1e5", "}"]))
def test_any_metric_name_is_read_back(name):
    try:
        parse_rules(dump_json({"save": {"metric": name, "at_most": 1.0}}))
    except RuleError:
        return  # no name for a rule: blank, or half of a character
    past = epochs(6, **{name: lambda epoch: 1.0 / (1 + epoch)})
    suggestion = suggest([past], keep=3, metric=name, mode="min")
    assert suggestion.rules.keep.best.metric == name
    assert suggestion.rules.save.rule.metrics() <= {name}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.5, "0.5", id="a short number"),
        pytest.param(5000.0, "5000", id="a whole number"),
        pytest.param(0.1 + 0.2, "0.30000000000000004", id="a number that needs its digits"),
        pytest.param("val_loss", "val_loss", id="a plain name"),
        pytest.param("true", '"true"', id="a name that reads as something else"),
        pytest.param("a\nb", '"a\\nb"', id="a name with a line end"),
    ],
)
def test_a_scalar(value, text):
    assert scalar(value) == text


def test_the_text_is_ready_to_paste():
    text = suggest([training(1)]).text
    assert text.splitlines()[:4] == [
        "# Proposed by checkpoint-gate suggest from one recorded run, to save about 5 checkpoints a run,",
        "# the best by val_loss (min) among them.",
        "save:",
        "  all:",
    ]
    rules = [line for line in text.splitlines()[4:] if line.strip().startswith("-")]
    assert all("  # " in line for line in rules)
    assert text.splitlines()[-3:] == [
        "keep:",
        "  best: {metric: val_loss, mode: min, n: 5}  # of the saved, these stay on the disk",
        "  last: 1                                    # and the newest",
    ]


# The command


@pytest.fixture
def ledger(tmp_path):
    def ledger(past: PastRun, name: str = "ledger.jsonl", end: str = ""):
        path = tmp_path / name
        path.write_text(jsonl(past) + end)
        return path

    return ledger


def call(*args):
    return CliRunner().invoke(cli, ["suggest", *map(str, args)])


def test_its_output_is_a_rules_file(ledger, tmp_path):
    path = ledger(training(1))
    result = call(path)
    assert result.exit_code == 0
    rules = tmp_path / "rules.yaml"
    rules.write_text(result.stdout)
    replayed = CliRunner().invoke(cli, ["replay", "--rules", str(rules), "--history", str(path), "--json"])
    assert sum(json.loads(line)["save"] for line in replayed.stdout.splitlines()) == 5
    told = result.stderr.splitlines()
    assert told[0].startswith(f"{path}: 5 of 40 records saved (epochs ")
    assert "), with the best: val_loss 0." in told[0]
    assert told[1] == "5 saved a run on average, about 5 asked for"


@pytest.fixture
def store(tmp_path):
    """The folder of a store with two runs, and with a hidden folder that is none."""
    for key, text in [("a", jsonl(training(1))), ("b", jsonl(training(2))), (".c", "no ledger")]:
        (tmp_path / "store" / key).mkdir(parents=True)
        (tmp_path / "store" / key / "ledger.jsonl").write_text(text)
    return tmp_path / "store"


def test_a_store_stands_for_the_ledgers_of_all_its_runs_and_a_run_for_its_own(store):
    ledgers = [store / key / "ledger.jsonl" for key in "ab"]
    assert call(store).stdout == call(*ledgers).stdout
    assert call(store / "a").stdout == call(ledgers[0]).stdout


def test_a_ledger_without_records_is_passed_over_beside_others(store):
    (store / "b" / "ledger.jsonl").write_text("")
    result = call(store)
    assert (result.exit_code, result.stdout) == (0, call(store / "a").stdout)
    assert result.stderr.splitlines()[0] == f"{store}/b/ledger.jsonl has no records and is passed over."


def test_where_no_ledger_has_a_record_there_is_nothing_to_propose(store):
    for key in "ab":
        (store / key / "ledger.jsonl").write_text("")
    result = call(store)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {store}/a/ledger.jsonl has no records, so there is nothing to propose rules from.\n"
    )


def test_json_is_one_object(ledger):
    path = ledger(training(1))
    told = json.loads(call(path, "--json").stdout)
    assert set(told) == {"rules", "keep", "metric", "mode", "ledgers"}
    assert set(told["rules"]) == {"save", "keep"}
    assert (told["keep"], told["metric"], told["mode"]) == (5, "val_loss", "min")
    assert told["ledgers"][0]["history"] == str(path)
    assert set(told["ledgers"][0]) == {"history", "records", "saved", "refused", "steps", "best"}
    assert set(told["ledgers"][0]["best"]) == {"step", "epoch", "value", "saved"}


def test_what_cannot_be_reached_is_told(ledger):
    result = call(ledger(epochs(3, val_loss=[0.5, 0.4, 0.3])), "--keep", 5)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith("3 saved a run on average, about 5 asked for: of ")
    assert result.stderr.splitlines()[-1].endswith(" sets of rules that save the best of each, none comes nearer")


def test_steps_are_told_where_steps_were_saved(ledger):
    past = run(*(Record(s, 0, {"loss": 1 / s}, "step") for s in range(1, 9)))
    assert "records saved (steps " in call(ledger(past)).stderr


def test_several_ledgers_and_one_that_was_torn(ledger):
    paths = [ledger(training(1), "a.jsonl"), ledger(training(2), "b.jsonl", '{"event": "started"}\n{"step": 4')]
    result = call(*paths, "--metric", "loss", "--json")
    assert [one["history"] for one in json.loads(result.stdout)["ledgers"]] == list(map(str, paths))
    assert f"The last line of {paths[1]} was torn by a crash and is passed over." in result.stderr


def test_what_a_resumed_training_overtook_does_not_count(ledger):
    path = ledger(epochs(3, val_loss=[0.5, 0.1, 0.3]), end='{"event": "resumed", "after_step": 10}\n')
    assert json.loads(call(path, "--json").stdout)["ledgers"][0]["best"]["step"] == 10


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        pytest.param([], 2, "Missing argument 'LEDGER...'", id="no ledger"),
        pytest.param(["a", "--keep", "0"], 2, "0 is not in the range x>=1", id="no checkpoints"),
        pytest.param(["a", "--mode", "up"], 2, "'up' is not one of 'min', 'max'", id="no direction"),
        pytest.param(["/nowhere"], 1, "Error: The history /nowhere cannot be read: ", id="no file"),
    ],
)
def test_wrong_usage(args, code, message):
    result = call(*args)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_a_long_search_tells_how_far_it_is(ledger, monkeypatch):
    monkeypatch.setattr(sys.modules[suggest_command.callback.__module__], "_PATIENCE", -1.0)
    result = call(ledger(training(1)))
    assert result.stderr.splitlines()[0] == "Trying rules on 40 records: 0 sets so far"
    assert parse_rules(result.stdout).save is not None
    assert sum("Trying" in line for line in result.stderr.splitlines()) == 1


def read_terminal(handle: int) -> str:
    try:
        return os.read(handle, 4096).decode()
    except OSError:  # nobody is left at the other end
        return ""


def test_on_a_terminal_the_progress_is_one_line_that_goes_away(ledger):
    ours, theirs = os.openpty()
    code = (
        "import sys\n"
        "from checkpoint_gate.cli import main, suggest\n"
        "sys.modules[suggest.callback.__module__]._PATIENCE = -1.0\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "suggest", str(ledger(training(1)))]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        told = "".join(iter(lambda: read_terminal(ours), ""))
        rules = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, told
    assert parse_rules(rules).save is not None
    assert "Trying rules on 40 records: " in told
    assert "\x1b[2K" in told  # clears the line
    assert told.splitlines()[-1].startswith("5 saved a run on average")


def test_a_short_search_says_nothing(ledger):
    assert "Trying" not in call(ledger(training(1))).stderr


def test_no_framework_is_imported(ledger):
    command = [sys.executable, "-X", "importtime", "-c", "from checkpoint_gate.cli import main; main()", "suggest"]
    done = subprocess.run([*command, str(ledger(training(1)))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "checkpoint_gate" in imported
    assert not imported & {"tensorflow", "tfx", "keras", "tf_keras", "numpy", "pandas", "apache_beam", "kfp"}
