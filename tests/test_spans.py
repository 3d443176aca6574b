"""Which file a place with {SPAN} stands for."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from checkpoint_gate.errors import ConfigError
from gated_pipelines.tables.spans import SpanFile, find_window, read_time, require_span, spans_in_words


@pytest.mark.parametrize(
    ("files", "name", "span", "expected"),
    [
        pytest.param([], "table.csv", "", ("table.csv", None), id="a place without a span is itself"),
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
    assert find_window(f"{tmp_path}/{name}", span, 1) == (SpanFile(f"{tmp_path}/{expected[0]}", expected[1]),)


def test_a_place_without_a_folder_is_looked_for_where_the_process_is(tmp_path, monkeypatch):
    (tmp_path / "m-3.csv").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert find_window("m-{SPAN}.csv", "", 1) == (SpanFile("m-3.csv", 3),)


def test_spans_in_a_bucket(tmp_path):
    import fsspec

    with fsspec.open("memory://spans/m-4.csv", "wb") as file:
        file.write(b"x")
    found = find_window("memory://spans/m-{SPAN}.csv", "", 1)
    assert found == (SpanFile("memory://spans/m-4.csv", 4),)


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
        find_window(f"{tmp_path}/{name}", span, 1)


def test_a_file_with_a_number_beyond_a_span_is_refused_and_not_skipped(tmp_path):
    (tmp_path / f"m-{'9' * 19}.csv").write_text("x")
    with pytest.raises(ConfigError, match=r"at most 18 digits\. Received: m-9{19}\.csv"):
        find_window(f"{tmp_path}/m-{{SPAN}}.csv", "", 1)


def test_many_spans_are_told_briefly(tmp_path):
    for each in range(12):
        (tmp_path / f"m-{each}.csv").write_text("x")
    with pytest.raises(ConfigError, match="there are 0 to 11, 12 of them"):
        find_window(f"{tmp_path}/m-{{SPAN}}.csv", "99", 1)


@pytest.mark.parametrize(
    ("there", "span", "count", "expected"),
    [
        pytest.param([1, 2, 3, 4], "", 3, [2, 3, 4], id="the last three, oldest first"),
        pytest.param([1, 2, 3, 4], "3", 2, [2, 3], id="up to the one that is asked for, and no later one"),
        pytest.param([1, 2], "", 3, [1, 2], id="fewer at the beginning"),
        pytest.param([1, 2, 3], "1", 3, [1], id="the first alone"),
        pytest.param([201211, 201212, 201301, 201303], "", 3, [201212, 201301, 201303], id="not in a row"),
        pytest.param([9, 10, 11], "", 2, [10, 11], id="by number and not by letter"),
    ],
)
def test_a_window(tmp_path, there, span, count, expected):
    for each in there:
        (tmp_path / f"m-{each}.csv").write_text("x")
    found = find_window(f"{tmp_path}/m-{{SPAN}}.csv", span, count)
    assert found == tuple(SpanFile(f"{tmp_path}/m-{each}.csv", each) for each in expected)


def test_a_span_in_a_gap_is_not_there(tmp_path):
    for each in (1, 2, 4):
        (tmp_path / f"m-{each}.csv").write_text("x")
    with pytest.raises(ConfigError, match=r"for the span 3; there are 1, 2, 4\."):
        find_window(f"{tmp_path}/m-{{SPAN}}.csv", "3", 2)


@pytest.mark.parametrize(
    ("spans", "words"), [([7], "the span 7"), ([1, 2], "the spans 1 and 2"), ([1, 2, 3], "the spans 1, 2 and 3")]
)
def test_spans_in_words(spans, words):
    assert spans_in_words(spans) == words


AT = datetime(2013, 3, 1, 3, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("span", "there", "expected"),
    [
        pytest.param("%Y%m", (201301, 201302, 201303, 201304), 201303, id="the month of the run"),
        pytest.param("%Y%m", (201301, 201302), 201302, id="the newest there is, where that one has not come yet"),
        pytest.param("%Y%m", (201204, 201304), 201204, id="however old"),
        pytest.param("%Y%m%d%H", (2013030102, 2013030103, 2013030104), 2013030103, id="an hour"),
        pytest.param("%G%V", (201308, 201309, 201310), 201309, id="a week by ISO 8601"),
        pytest.param("%Y%m-1", (201301, 201302, 201303), 201302, id="the month before that of the run"),
        pytest.param("%Y%m-3", (201211, 201212, 201301), 201212, id="three months before, over the turn of the year"),
        pytest.param("%Y%m%d-1", (20130227, 20130228, 20130301), 20130228, id="the day before"),
        pytest.param("%Y%j-1", (2013058, 2013059, 2013060), 2013059, id="the day before, by the day of the year"),
        pytest.param("%G%V-9", (201251, 201252, 201301), 201252, id="nine weeks before, over the turn of the year"),
        pytest.param("%Y%m%d%H-4", (2013022822, 2013022823, 2013030100), 2013022823, id="four hours before"),
        pytest.param("%Y-1", (2011, 2012, 2013), 2012, id="the year before"),
    ],
)
def test_a_span_by_the_time_of_the_run(tmp_path, span, there, expected):
    for number in there:
        (tmp_path / f"m-{number}.csv").touch()
    (found,) = find_window(f"{tmp_path}/m-{{SPAN}}.csv", span, 1, AT)
    assert found.span == expected


def test_a_run_made_again_reads_what_it_read_where_tables_come_after_their_month(tmp_path):
    """January's table comes in February: what was scheduled for 1 February never reads February's."""
    scheduled = datetime(2013, 2, 1, 3, tzinfo=timezone.utc)
    found = []
    for number in (201301, 201302, 201303):
        (tmp_path / f"m-{number}.csv").touch()
        found += [each.span for each in find_window(f"{tmp_path}/m-{{SPAN}}.csv", "%Y%m-1", 1, scheduled)]
    assert found == [201301] * 3


def test_a_run_before_the_first_span_is_refused(tmp_path):
    (tmp_path / "m-201304.csv").touch()
    with pytest.raises(ConfigError, match=r"There is no file .* for a span up to 201303, which is the time as %Y%m\."):
        find_window(f"{tmp_path}/m-{{SPAN}}.csv", "%Y%m", 1, AT)


@pytest.mark.parametrize(
    "span", ["%B", "%Y-%m", "%", "%Y%m%d%H%j%j%j%j", "%-m", "%Y%m-", "%Y%m-x", "%Y%m+1", "201303-1"]
)
def test_a_time_that_is_not_written_as_a_number_is_refused(span):
    with pytest.raises(ConfigError, match="span must be a whole number of at most 18 digits, a time as %Y%m, or empty"):
        require_span(span)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2013-03-01T03:00:00Z", AT, id="in UTC"),
        pytest.param("2013-03-01T05:00:00+02:00", AT, id="in another zone"),
        pytest.param("2013-03-01T03:00:00.000000+00:00", AT, id="with a fraction"),
    ],
)
def test_the_time_of_a_run(text, expected):
    assert read_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{{$.pipeline_job_schedule_time_utc}}", id="a placeholder that is left as it is"),
        pytest.param("", id="nothing in the place of the placeholder"),
    ],
)
def test_where_the_backend_does_not_tell_the_time_it_is_now(text):
    before = datetime.now(timezone.utc)
    assert before <= read_time(text) <= datetime.now(timezone.utc)
