"""The papers that a model carries: read back as written, refused in one sentence when they are not what they were."""

from __future__ import annotations

import json
import math

import pytest
from faults.papers import origin_of, papers_of, pushed_papers

from checkpoint_gate.errors import ModelError
from checkpoint_gate.pushed.papers import MAX_BYTES, Rollback, Slice, read_papers, write_papers
from checkpoint_gate.rules.records import dump_json, encode_metrics

PLACE = "assets.extra/checkpoint_gate.json"
FIRST_FORMAT = {"format": 1, "run": "r", "step": 2, "reason": "", "metrics": {}, "rules_digest": "", "writer": ""}


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["a path", "a URL"])
@pytest.mark.parametrize(
    "papers",
    [
        pytest.param(papers_of(), id="of a model that was chosen"),
        pytest.param(papers_of(origins=[origin_of(10), origin_of(20)]), id="of an average"),
        pytest.param(pushed_papers(17, "w"), id="of one that was pushed"),
        pytest.param(
            papers_of(metrics=encode_metrics({"loss": math.nan, "n": 3})), id="with numbers that are not finite"
        ),
    ],
)
def test_papers_are_read_as_they_were_written(tmp_path, papers, scheme):
    model = f"{scheme}{tmp_path}/model"
    assert read_papers(model) is None
    write_papers(model, papers)
    assert read_papers(model) == papers
    assert dump_json(json.loads((tmp_path / "model" / PLACE).read_text()))  # strict JSON


def test_a_rollback_is_told(tmp_path):
    pushed = pushed_papers(17, "w")
    back = pushed.push.model_copy(update={"rollback": Rollback(withdrew=16, restored=15, reason="wrong prices")})
    write_papers(tmp_path, pushed.model_copy(update={"push": back}))
    assert read_papers(tmp_path).push.rollback.reason == "wrong prices"


def changed(**values):
    text = papers_of().to_bytes().decode()
    for old, new in values.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("{", "cannot be read: ", id="torn"),
        pytest.param(b"\xff", "cannot be read: ", id="not UTF-8"),
        pytest.param("[]", "cannot be read: they are not an object", id="no object"),
        pytest.param('{"run": "r"}', "cannot be read: their checksum does not hold", id="something else"),
        pytest.param(
            changed(lowest="highest"), "cannot be read: their checksum does not hold", id="a word was changed by hand"
        ),
        pytest.param(b" " * (MAX_BYTES + 1), f"cannot be read: they are larger than the {MAX_BYTES}", id="too large"),
        pytest.param(
            json.dumps(FIRST_FORMAT),
            "are of format 1, which an earlier version wrote; this version reads format 2, and its next push writes",
            id="of an earlier version",
        ),
        pytest.param(
            '{"format": 3}', "are of format 3, which a newer version wrote; this version reads format 2: ", id="newer"
        ),
    ],
)
def test_papers_that_cannot_be_read_are_one_sentence(tmp_path, content, words):
    write_papers(tmp_path, papers_of())
    (tmp_path / PLACE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError) as error:
        read_papers(tmp_path)
    assert str(error.value).startswith(f"The papers {tmp_path}/{PLACE} {words}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"step": "x"}, "step: Input should be a valid integer", id="a step that is no number"),
        pytest.param({"extra": 1}, "extra: Extra inputs are not permitted", id="a key that is not known"),
        pytest.param({"metrics": {"loss": "low"}}, "metric 'loss' must be a number", id="a metric that is no number"),
        pytest.param({"push": {"version": 1}}, "push.time: Field required", id="half a push"),
    ],
)
def test_papers_of_another_shape_are_refused_though_their_checksum_holds(tmp_path, change, words):
    from checkpoint_gate.pushed.papers import _to_bytes

    write_papers(tmp_path, papers_of())
    (tmp_path / PLACE).write_bytes(_to_bytes(papers_of().model_dump() | change))
    with pytest.raises(ModelError, match=r"cannot be read: ") as error:
        read_papers(tmp_path)
    assert words in str(error.value)


def test_slices_that_do_not_fit_are_left_out_and_counted(tmp_path):
    many = [Slice(columns={"station": f"{n:040d}"}, metrics={f"m{i}": 0.125 for i in range(40)}) for n in range(6000)]
    write_papers(tmp_path, papers_of(slices=many))
    papers = read_papers(tmp_path)
    assert (papers.slices, papers.slices_left_out) == ([], 6000)


def test_what_does_not_fit_even_so_is_told():
    with pytest.raises(ModelError, match=rf"would take \d+ bytes; they may have {MAX_BYTES}"):
        papers_of(reason="x" * MAX_BYTES).to_bytes()
