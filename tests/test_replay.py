"""`checkpoint-gate replay` without rules: whether a ledger agrees with the gates that it records."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_gate.cli import cli
from checkpoint_gate.reviewing.replaying import replay_recorded
from checkpoint_gate.rule_text.rule_set import parse_rules, rules_from_mapping
from checkpoint_gate.rules.records import Record, dump_json, numbered_objects, read_lines, record_to_json
from checkpoint_gate.store import Store
from checkpoint_gate.training.gated_training import GatedTraining

BELOW = {"metric": "val_loss", "at_most": 0.5}
BETTER = {"metric": "val_loss", "improves": "min"}
SMOOTH = {"metric": "val_loss", "moving_average": 2, "at_most": 0.5}


def started(gate=None, **more) -> str:
    return dump_json({"event": "started", "step": 0} | ({"gate": {"save": gate}} if gate is not None else {}) | more)


def resumed(after_step: int) -> str:
    return dump_json({"event": "resumed", "after_step": after_step})


def line(step, save, **metrics) -> str:
    decision = {} if save is None else {"save": save, "reason": "then"}
    return dump_json({"step": step, "epoch": step - 1, "metrics": metrics} | decision)


def val(step, loss, save) -> str:
    return line(step, save, val_loss=loss)


@pytest.fixture
def call(tmp_path):
    def call(lines, *args):
        path = tmp_path / "ledger.jsonl"
        path.write_text("".join(f"{one}\n" for one in lines) if not isinstance(lines, str) else lines)
        return CliRunner().invoke(cli, ["replay", "--history", str(path), *args])

    return call


def answers(result) -> list[bool]:
    return [json.loads(text)["save"] for text in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("lines", "saved"),
    [
        pytest.param(
            [started(BELOW), val(1, 0.6, False), val(2, 0.4, True)],
            [False, True],
            id="each record by its gate",
        ),
        pytest.param(
            [started(BELOW), val(1, 0.4, True), started(BETTER), val(2, 0.45, False), val(3, 0.3, True)],
            [True, False, True],
            id="a changed gate knows what was saved before it",
        ),
        pytest.param(
            [started(BELOW), val(1, 0.9, False), started(SMOOTH), val(2, 0.1, True), val(3, 0.9, True)],
            [False, True, True],
            id="a changed gate knows the values before it",
        ),
        pytest.param(
            [started(BETTER), val(1, 0.5, True), started(BETTER), val(2, 0.6, False)],
            [True, False],
            id="the same gate started again goes on",
        ),
        pytest.param(
            [started(BETTER), val(1, 0.5, True), val(2, 0.1, True), resumed(1), started(BETTER), val(2, 0.4, True)],
            [True, True],
            id="what a resumed training overtook does not count",
        ),
        pytest.param(
            [started(), val(1, 0.5, True), resumed(-1), started(BETTER), val(1, 0.4, True)],
            [True],
            id="a gate is needed only for records that count",
        ),
        pytest.param(
            [started({"any": [BELOW, {"every": 2}], "after": 1}), val(1, 0.1, False), val(2, 0.9, True)],
            [False, True],
            id="the warm-up is part of the gate",
        ),
        pytest.param(
            [started({"metric": "val_loss", "at_most": 0.5}), line(1, False, loss=0.1)],
            [False],
            id="a metric that was never logged refuses as it did then",
        ),
        pytest.param([started(BELOW)], [], id="no record differs where there is none"),
        pytest.param([], [], id="an empty file"),
    ],
)
def test_a_ledger_that_agrees_with_itself(call, lines, saved):
    result = call(lines, "--json")
    assert result.exit_code == 0, result.output
    assert answers(result) == saved
    agreed = [f"The same as recorded, all {len(saved)}"] if saved else []
    count = sum(saved)
    assert result.stderr.splitlines() == [
        f"{len(saved)} records: {count} saved, {len(saved) - count} refused",
        *agreed,
    ]


def test_json_is_one_object_a_record(call):
    result = call([started(BELOW), val(7, 0.6, False)], "--json")
    assert json.loads(result.stdout) == {
        "step": 7,
        "epoch": 6,
        "save": False,
        "reason": "val_loss 0.6 is not at most 0.5 (by 0.1)",
    }


@pytest.mark.parametrize(
    ("lines", "saved", "words"),
    [
        pytest.param(
            [started(BELOW), val(1, 0.4, True), val(2, 0.6, True), val(3, 0.4, False)],
            [True, False, True],
            "2 of 3 differ from what was recorded, the first at epoch 2, step 2: saved then (then), refused now "
            "(val_loss 0.6 is not at most 0.5 (by 0.1))",
            id="the first difference is told",
        ),
        pytest.param(
            [started(BETTER), val(1, 0.5, True), val(2, 0.4, False), val(3, 0.45, False)],
            [True, True, False],
            "1 of 3 differ",
            id="a gate goes on with its own decisions, as in training",
        ),
        pytest.param(
            [started(BETTER), val(1, 0.5, True), val(2, 0.4, False), started(BETTER), val(3, 0.45, True)],
            [True, True, True],
            "1 of 3 differ",
            id="a training started again goes on from what is recorded",
        ),
        pytest.param(
            [started(BELOW), val(1, 0.6, False), started(BETTER), val(2, 0.4, False)],
            [False, True],
            "1 of 2 differ",
            id="each record is judged by the gate that was in force",
        ),
    ],
)
def test_a_ledger_that_does_not_agree_with_itself_exits_with_1(call, lines, saved, words):
    result = call(lines, "--json")
    assert result.exit_code == 1
    assert answers(result) == saved
    assert result.stderr.splitlines()[1].startswith(words)


def test_for_people_it_is_a_table(call):
    result = call([started(BELOW), val(1, 0.4, True)])
    assert result.stdout.splitlines() == [
        "epoch  step  save   why",
        "    1     1  saved  val_loss 0.4 is at most 0.5",
    ]


def test_a_torn_last_line_is_passed_over(call):
    result = call("\n".join([started(BELOW), val(1, 0.4, True), '{"step": 2, "ep']))
    assert result.exit_code == 0
    assert "ledger.jsonl was torn by a crash and is passed over." in result.stderr


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(
            [started(), val(1, 0.4, True)],
            "PATH does not say by which rules its record in line 2 was decided: name them with --rules.",
            id="a ledger that records no gate",
        ),
        pytest.param(
            [line(1, None, val_loss=0.4)],
            "PATH does not say by which rules its record in line 1 was decided: name them with --rules.",
            id="a bare history",
        ),
        pytest.param(
            [started(BELOW), val(1, 0.4, True), started(), val(2, 0.4, True)],
            "PATH does not say by which rules its record in line 4 was decided: name them with --rules.",
            id="a later training that records no gate",
        ),
        pytest.param(
            [started(), started(gate="below"), val(1, 0.4, True)],
            "PATH, the gate recorded before line 3: save must be a rule",
            id="a gate that is no rule",
        ),
        pytest.param(
            [dump_json({"event": "started", "gate": "x"}), val(1, 0.4, True)],
            "PATH, the gate recorded before line 2, must be a mapping with the section `save`. Received: 'x'.",
            id="a gate that is no mapping",
        ),
        pytest.param(
            [dump_json({"event": "started", "gate": {"prune": {"grace": "1h"}}}), val(1, 0.4, True)],
            "PATH, the gate recorded before line 2, has no section `save`. Received: ['prune'].",
            id="a gate without the section save",
        ),
        pytest.param(
            [started(BELOW), line(1, None, val_loss=0.4)],
            "PATH line 2 has no decision to compare with: save must be true or false. Received: save=None.",
            id="a record without a decision",
        ),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_sentence(call, tmp_path, lines, message):
    result = call(lines)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: " + message.replace("PATH", str(tmp_path / "ledger.jsonl")))
    assert len(result.stderr.splitlines()) == 1


def test_the_filter_is_not_in_the_ledger(call):
    result = call([started(BELOW), val(1, 0.4, True)], "--section", "filter")
    assert result.exit_code == 2
    assert "--section filter needs --rules: a ledger records only the rules about saving." in result.stderr


def test_with_rules_a_difference_is_no_fault(call, tmp_path):
    (tmp_path / "rules.yaml").write_text("save: {metric: val_loss, at_most: 0.3}")
    result = call([started(BELOW), val(1, 0.4, True)], "--rules", str(tmp_path / "rules.yaml"))
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "1 records: 0 saved, 1 refused"
    assert result.stderr.splitlines()[1].startswith(
        "1 of 1 differ from what was recorded, the first at epoch 1, step 1"
    )


def test_what_training_writes_agrees_with_itself(tmp_path, write, clock):
    store = Store(tmp_path / "store", clock)
    losses = [0.9, 0.5, 0.7, 0.4, 0.6, 0.3]
    rules = ["save: {metric: val_loss, improves: min}", "save: {metric: val_loss, moving_average: 2, at_most: 0.5}"]
    for part, text in enumerate(rules):
        training = GatedTraining(store, parse_rules(text), "run")
        training.begin(6)
        for epoch in range(3 * part, 3 * part + 3):
            record = Record(epoch + 1, epoch, {"loss": 0.5, "val_loss": losses[epoch]}, time=clock())
            training.commit(record, training.observe(record), lambda prefix, record=record: write(prefix, record.step))
        training.abandon()
    result = CliRunner().invoke(
        cli, ["replay", "--history", str(tmp_path / "store" / "run" / "ledger.jsonl"), "--json"]
    )
    assert result.exit_code == 0, result.output
    assert answers(result) == [True, True, False, False, True, True]
    assert result.stderr.endswith("The same as recorded, all 6\n")


def train(sessions) -> str:
    """The ledger of trainings that were interrupted: each with its gate, its losses, and how many records it redoes."""
    lines: list[str] = []
    entries: list[tuple[Record, bool]] = []
    for save, losses, redone in sessions:
        if redone and entries:
            entries = entries[:-redone]
            lines.append(resumed(len(entries)))
        lines.append(started(save))
        running = rules_from_mapping({"save": save}).save.start(entries)
        for loss in losses:
            record = Record(len(entries) + 1, len(entries), {"val_loss": loss})
            decision = running.decide(record)
            entries.append((record, decision.save))
            lines.append(dump_json(record_to_json(record) | {"save": decision.save, "reason": decision.reason}))
    return "\n".join(lines)


gates = st.sampled_from([BELOW, BETTER, SMOOTH, {"every": 2}, {"any": [SMOOTH, BETTER]}])
losses = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, float("nan")]), max_size=5)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.lists(st.tuples(gates, losses, st.integers(0, 3)), max_size=5))
def test_any_interrupted_and_changed_training_agrees_with_itself(sessions):
    lines, _ = read_lines(numbered_objects(train(sessions), "ledger"), "ledger")
    counting = [line for line in lines if line.superseded is None]
    assert all(answer.holds == answer.recorded for answer in replay_recorded(counting, "ledger"))


def test_a_record_knows_the_training_that_made_it():
    text = "\n".join([val(1, 0.1, True), started(BELOW), val(2, 0.1, True), started(), val(3, 0.1, True)])
    lines, events = read_lines(numbered_objects(text, "ledger"), "ledger")
    assert [line.started for line in lines] == [None, *events]
