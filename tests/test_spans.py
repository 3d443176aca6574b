"""Which file a place with {SPAN} stands for."""

from __future__ import annotations

import pytest

from checkpoint_gate.errors import ConfigError
from gated_pipelines.spans import find_span


@pytest.mark.parametrize(
    ("files", "name", "span", "expected"),
    [
        pytest.param([], "table.csv", "", ("table.csv", 0), id="a place without a span is itself"),
        pytest.param(["m-1.csv", "m-9.csv", "m-10.csv"], "m-{SPAN}.csv", "", ("m-10.csv", 10), id="the largest number"),
        pytest.param(["m-1.csv", "m-9.csv"], "m-{SPAN}.csv", "1", ("m-1.csv", 1), id="the one that is asked for"),
        pytest.param(["m-01.csv", "m-12.csv"], "m-{SPAN}.csv", "1", ("m-01.csv", 1), id="padded with zeros"),
        pytest.param(["m-1.csv", "m-01.csv"], "m-{SPAN}.csv", "01", ("m-01.csv", 1), id="the longer of two spellings"),
        pytest.param(
            ["m-1.csv", "m-x.csv", "m-2.csv.tmp"], "m-{SPAN}.csv", "", ("m-1.csv", 1), id="others are ignored"
        ),
        pytest.param(["mx1.csv", "m.1.csv"], "m.{SPAN}.csv", "", ("m.1.csv", 1), id="a dot is a dot"),
    ],
)
def test_the_file(tmp_path, files, name, span, expected):
    for each in files:
        (tmp_path / each).write_text("x")
    file, number = find_span(f"{tmp_path}/{name}", span)
    assert (file, number) == (f"{tmp_path}/{expected[0]}", expected[1])


def test_a_place_without_a_folder_is_looked_for_where_the_process_is(tmp_path, monkeypatch):
    (tmp_path / "m-3.csv").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert find_span("m-{SPAN}.csv", "") == ("m-3.csv", 3)


def test_spans_in_a_bucket(tmp_path):
    import fsspec

    with fsspec.open("memory://spans/m-4.csv", "wb") as file:
        file.write(b"x")
    assert find_span("memory://spans/m-{SPAN}.csv", "") == ("memory://spans/m-4.csv", 4)


@pytest.mark.parametrize(
    ("name", "span", "words"),
    [
        pytest.param("m-{SPAN}.csv", "two", "span must be a whole number", id="no number"),
        pytest.param("m-{SPAN}.csv", "-1", "span must be a whole number", id="below 0"),
        pytest.param("m-{SPAN}.csv", "1" * 19, "at most 18 digits", id="no integer of 64 bits"),
        pytest.param("table.csv", "3", r"span is 3, but .*table.csv has no \{SPAN\}", id="nowhere to stand"),
        pytest.param(
            "m-{SPAN}.csv", "7", "for the span 7; there are 1, 2$|for the span 7; there are 1, 2", id="missing"
        ),
        pytest.param("n-{SPAN}.csv", "", r"There is no file .*n-\{SPAN\}.csv for any", id="none at all"),
        pytest.param("n-{SPAN}.csv", "7", "for the span 7.$", id="none at all, and one is asked for"),
        pytest.param("{SPAN}/{SPAN}.csv", "7", "once, in the name of the file", id="twice"),
        pytest.param("{SPAN}/m.csv", "", "once, in the name of the file", id="in a folder's name"),
    ],
)
def test_what_is_refused(tmp_path, name, span, words):
    for each in ("m-1.csv", "m-2.csv"):
        (tmp_path / each).write_text("x")
    with pytest.raises(ConfigError, match=words):
        find_span(f"{tmp_path}/{name}", span)


def test_a_file_with_a_number_beyond_a_span_is_refused_and_not_skipped(tmp_path):
    (tmp_path / f"m-{'9' * 19}.csv").write_text("x")
    with pytest.raises(ConfigError, match=r"at most 18 digits\. Received: m-9{19}\.csv"):
        find_span(f"{tmp_path}/m-{{SPAN}}.csv", "")


def test_many_spans_are_told_briefly(tmp_path):
    for each in range(12):
        (tmp_path / f"m-{each}.csv").write_text("x")
    with pytest.raises(ConfigError, match="there are 0 to 11, 12 of them"):
        find_span(f"{tmp_path}/m-{{SPAN}}.csv", "99")
