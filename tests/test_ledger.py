"""The ledger: torn lines, damaged lines, resuming, and a history that never changes what it said."""

from __future__ import annotations

import errno
import json
import math

import pytest

from checkpoint_gate.errors import StoreError
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store.files import LocalFiles
from checkpoint_gate.store.ledger import Ledger, parse_ledger

YES, NO = Decision(True, "val_loss 0.4 is at most 0.5"), Decision(False, "loss is nan", ("loss not finite",), math.inf)


@pytest.fixture
def place(memory_path):
    return memory_path / "ledger.jsonl"


@pytest.fixture
def ledger(place, clock):
    return Ledger(LocalFiles(place.parent), place.name, clock)


def record(step, loss=0.4):
    return Record(step, step - 1, {"loss": loss, "val_loss": 0.4}, time=100.0 + step)


def fill(ledger, steps=3):
    ledger.append_event("started", epochs=steps)
    for step in range(1, steps + 1):
        ledger.append(record(step), YES)


def test_without_a_file_the_history_is_empty(ledger):
    history = ledger.read()
    assert (history.entries, history.events, history.finished_epochs, ledger.text()) == ((), (), 0, "")


def test_what_was_appended_is_read(ledger, clock):
    ledger.append_event("started", epochs=2)
    ledger.append(record(1), YES)
    ledger.append(record(2, math.nan), NO)
    ledger.append_event("finished", epochs=2)
    history = ledger.read()
    assert [entry.decision.save for entry in history.entries] == [True, False]
    assert history.entries[0].record == record(1)
    assert history.entries[0].decision.reason == "val_loss 0.4 is at most 0.5"
    assert history.entries[1].decision.clauses == ("loss not finite",)
    assert math.isnan(history.records[1].metrics["loss"])
    assert [event["event"] for event in history.events] == ["started", "finished"]
    assert history.events[0]["time"] == clock.now
    assert history.finished_epochs == 2


def test_every_line_is_strict_json_of_its_own(ledger, place):
    ledger.append(
        Record(1, 0, {"lo\u2028ss\n": math.inf}, time=1.0), Decision(False, "a reason\u0085of\u2029two lines")
    )
    ledger.append(record(2), YES)
    lines = place.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert ledger.read().entries[0].record.metrics == {"lo\u2028ss\n": math.inf}


def test_a_torn_last_line_is_passed_over_and_cut_off_at_every_byte(ledger, place, clock):
    fill(ledger)
    whole = place.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(whole)):
        place.write_bytes(whole[:end])
        fresh = Ledger(LocalFiles(place.parent), place.name, clock)
        assert [r.step for r in fresh.read().records] == [1, 2], end
        fresh.append(record(3), YES)
        assert place.read_bytes() == whole, end


def test_a_ledger_torn_anywhere_still_has_what_came_before(ledger, place, clock):
    fill(ledger)
    whole = place.read_bytes()
    for end in range(len(whole)):
        place.write_bytes(whole[:end])
        fresh = Ledger(LocalFiles(place.parent), place.name, clock)
        lines = whole[:end].count(b"\n")
        assert len(fresh.read().records) == max(0, lines - 1)
        fresh.append_event("resumed", after_step=0)
        assert place.read_bytes().startswith(whole[: whole[:end].rfind(b"\n") + 1])
        assert fresh.read().records == []


def test_a_line_torn_in_the_middle_of_a_character_is_cut_off(ledger, place):
    ledger.append(Record(1, 0, {"µ": 0.5}), YES)
    whole = place.read_bytes()
    place.write_bytes(whole + whole[: whole.index("µ".encode()) + 1])
    ledger.append(record(2), YES)
    assert [r.step for r in ledger.read().records] == [1, 2]
    assert place.read_bytes().startswith(whole)


def test_a_line_torn_by_a_full_disk_is_cut_off_by_the_same_writer(ledger, killable, place):
    fill(ledger, 2)
    for at in range(2):
        killable.arm(at, errno.ENOSPC)
        with pytest.raises(OSError, match="No space left on device"):
            ledger.append(record(3), YES)
        killable.arm(None)
        assert [r.step for r in ledger.read().records] == [1, 2]
    assert not place.read_bytes().endswith(b"\n")
    ledger.append(record(3), YES)
    assert [r.step for r in ledger.read().records] == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("{", r"ledger\.jsonl line 3 is damaged: Expecting property name", id="no JSON"),
        pytest.param("17", r"ledger\.jsonl line 3 is damaged: must be an object", id="no object"),
        pytest.param(
            '{"step": 1, "step": 1}', r"ledger\.jsonl line 3 is damaged: duplicate key 'step'", id="a key twice"
        ),
        pytest.param('{"step": NaN}', r"ledger\.jsonl line 3 is damaged: NaN is not strict JSON", id="NaN"),
        pytest.param(
            '{"save": true}', r"ledger\.jsonl line 3 is not a record: a record needs the key 'step'", id="no step"
        ),
        pytest.param(
            '{"step": 1, "epoch": 0, "metrics": {}, "save": 1, "reason": ""}',
            r"ledger\.jsonl line 3 has no decision: save must be true or false and reason a text. Received: save=1",
            id="save that is no yes and no no",
        ),
        pytest.param(
            '{"step": 1, "epoch": 0, "metrics": {}, "save": true}',
            r"ledger\.jsonl line 3 has no decision",
            id="no reason",
        ),
        pytest.param(
            '{"step": 1, "epoch": 0, "metrics": {}, "time": 1e999, "save": true, "reason": ""}',
            r"ledger\.jsonl line 3 is not a record: time must be finite seconds since 1970",
            id="a time without end",
        ),
        pytest.param(
            '{"event": "resumed", "after_step": "1"}',
            r"ledger\.jsonl line 3 is not a record: a resumed line needs a whole number after_step. Received: '1'",
            id="resumed after no step",
        ),
    ],
)
def test_a_damaged_middle_line_is_named(ledger, place, line, words):
    fill(ledger)
    lines = place.read_text().split("\n")
    place.write_text("\n".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(StoreError, match=words):
        ledger.read()


def test_a_middle_line_that_is_not_utf8_is_named_and_kept_as_evidence(ledger, place):
    fill(ledger)
    damaged = place.read_bytes().replace(b"val_loss 0.4", b"val_loss \xff.4", 1) + b'{"torn'
    place.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"ledger\.jsonl line 2 is damaged: .*utf-8"):
        ledger.read()
    ledger.append(record(4), YES)
    assert place.read_bytes().startswith(damaged.removesuffix(b'{"torn'))


def test_a_resumed_line_supersedes_what_came_after_its_step(ledger):
    fill(ledger)
    ledger.append_event("resumed", after_step=1)
    assert [r.step for r in ledger.read().records] == [1]
    ledger.append(record(2, 0.3), NO)
    history = ledger.read()
    assert [(e.record.step, e.decision.save) for e in history.entries] == [(1, True), (2, False)]
    ledger.append_event("resumed", after_step=-1)
    assert ledger.read().records == []


def test_the_last_finished_line_counts(ledger):
    for epochs in (3, None, 5):
        ledger.append_event("finished", epochs=epochs)
        assert ledger.read().finished_epochs == (epochs or 0)
    ledger.append_event("finished")
    assert ledger.read().finished_epochs == 0


def test_a_copy_is_read_as_the_ledger_is(ledger):
    fill(ledger)
    assert parse_ledger(ledger.text() + '{"torn', "copy") == ledger.read()


def test_a_line_whose_keys_somebody_has_put_in_another_order_holds(ledger, place):
    ledger.append(record(1), YES)
    value = json.loads(place.read_text())
    place.write_text(json.dumps(dict(reversed(value.items()))) + "\n")
    assert [r.step for r in ledger.read().records] == [1]


def test_a_number_that_was_changed_in_a_line_is_noticed(ledger, place):
    ledger.append(record(1), YES)
    text = place.read_text()
    for changed in ('"step": 2', '"step": 1.0', '"step":  1'):
        place.write_text(text.replace('"step": 1', changed))
        if changed == '"step":  1':  # says the same
            assert [r.step for r in ledger.read().records] == [1]
            continue
        with pytest.raises(StoreError, match="its checksum does not hold"):
            ledger.read()
