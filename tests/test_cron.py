"""Cron expressions: what is read, what is refused, and that every scheduler reads what is written alike."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice

import pytest
import robfig
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cron import read_cron
from gated_pipelines.kubeflow.servers.kfp_requests import kfp_cron
from gated_pipelines.kubeflow.servers.vertex_requests import vertex_cron

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "kubeflow", "vertex"),
    [
        pytest.param("0 3 * * *", "0 0 3 * * *", "0 3 * * *", id="five fields: seconds are put before them"),
        pytest.param("0 0 3 * * *", "0 0 3 * * *", "0 3 * * *", id="six fields: seconds are first"),
        pytest.param("  0\t3 * * mon-fri ", "0 0 3 * * MON-FRI", "0 3 * * MON-FRI", id="names, in any case"),
        pytest.param("0 3 ? * ?", "0 0 3 * * *", "0 3 * * *", id="a question mark is a star"),
        pytest.param("0 3 * * 7", "0 0 3 * * 0", "0 3 * * 0", id="day 7 is Sunday"),
        pytest.param("0 3 * * 5-7", "0 0 3 * * 0,5,6", "0 3 * * 0,5,6", id="a range to day 7"),
        pytest.param("5/20 8/6 * * 1/2", "0 5-59/20 8-23/6 * * 1-6/2", "5-59/20 8-23/6 * * 1-6/2", id="from N on"),
        pytest.param("0 3 4-4/2 * 1", "0 0 3 4 * 1", "0 3 4 * 1", id="a step from a day to itself"),
        pytest.param("0 3 2,*/5 * 1", "0 0 3 */5,2 * 1", "0 3 */5,2 * 1", id="a star goes first"),
        pytest.param("0 3 2,* * 1", "0 0 3 * * 1", "0 3 * * 1", id="a star takes all"),
    ],
)
def test_an_expression_is_written_as_each_wants_it(text, kubeflow, vertex):
    assert kfp_cron(read_cron(text)) == kubeflow
    assert vertex_cron(read_cron(text)) == vertex


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("0 3 * *", "must have five fields", id="four fields"),
        pytest.param("0 0 0 3 * * *", "must have five fields", id="seven fields"),
        pytest.param("@daily", "must have five fields", id="a nickname"),
        pytest.param("", "must have five fields", id="nothing"),
        pytest.param("61 3 * * *", "the minute must be", id="minute 61"),
        pytest.param("60 0 3 * * *", "the second must be", id="second 60"),
        pytest.param("0 24 * * *", "the hour must be", id="hour 24"),
        pytest.param("0 3 0 * *", "the day-of-month must be", id="day 0"),
        pytest.param("0 3 L * *", "the day-of-month must be", id="the last day, which no server reads"),
        pytest.param("0 3 * * 5L", "the day-of-week must be", id="the last Friday"),
        pytest.param("0 3 * * 1#2", "the day-of-week must be", id="the second Monday"),
        pytest.param("0 3 * FOO *", "the month must be", id="a month that is none"),
        pytest.param("9-5 3 * * *", "the minute must be", id="a range backwards"),
        pytest.param("*/0 3 * * *", "the minute must be", id="a step of 0"),
        pytest.param(",5 3 * * *", "the minute must be", id="an empty part of a list"),
        pytest.param("? 3 * * *", "the minute must be", id="a question mark for a minute"),
        pytest.param("0 3 31 2 *", "must name a time that comes", id="31 February"),
        pytest.param("0 3 30,31 2 *", "must name a time that comes", id="30 and 31 February"),
        pytest.param("TZ=Mars/Base 0 3 * * *", "must be an IANA name", id="a time zone that is none"),
        pytest.param("TZ=../../etc/passwd 0 3 * * *", "must be an IANA name", id="a path for a time zone"),
    ],
)
def test_a_wrong_expression_is_refused_in_a_sentence(text, why):
    with pytest.raises(ConfigError, match=why):
        read_cron(text)


def test_a_time_zone_is_vertex_s_only():
    cron = read_cron("CRON_TZ=Europe/Paris 0 3 * * *")
    assert vertex_cron(cron) == "TZ=Europe/Paris 0 3 * * *"
    with pytest.raises(ConfigError, match="takes no time zone"):
        kfp_cron(cron)


def test_vertex_has_no_seconds():
    cron = read_cron("30 0 3 * * *")
    assert kfp_cron(cron) == "30 0 3 * * *"
    with pytest.raises(ConfigError, match="the seconds must be 0"):
        vertex_cron(cron)


def test_times_are_of_the_zone():
    first, second = islice(read_cron("TZ=Europe/Paris 30 2 * * *").times(NOW), 2)
    assert [time.isoformat() for time in (first, second)] == ["2026-11-24T02:30:00+01:00", "2026-11-25T02:30:00+01:00"]


def test_times_end_with_the_calendar():
    last = datetime(9999, 12, 31, tzinfo=timezone.utc)
    assert [time.day for time in read_cron("0 3 * * *").times(last)] == [31]
    assert list(read_cron("TZ=Asia/Tokyo 0 3 * * *").times(last.replace(hour=23))) == []


def field(least, most, names=()):
    number = st.integers(least, most)
    single = number.map(str) if not names else st.one_of(number.map(str), st.sampled_from(names))
    ranged = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    begun = st.one_of(st.just("*"), st.integers(least, most - 1).map(str), ranged)
    stepped = st.tuples(begun, st.integers(1, most)).map(lambda parts: f"{parts[0]}/{parts[1]}")
    return st.one_of(st.just("*"), st.lists(st.one_of(single, ranged, stepped), min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(
    st.one_of(st.just("0"), field(0, 59)),
    field(0, 59),
    field(0, 23),
    field(1, 28),
    field(1, 12, ("JAN", "may")),
    field(0, 7, ("SUN", "fri")),
).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(EXPRESSIONS)
def test_kubeflow_runs_at_the_times_that_are_told(text):
    cron = read_cron(text)
    told = list(islice(cron.times(NOW), 3))
    written, time = kfp_cron(cron), NOW
    for wanted in told:
        time = robfig.next_time(written, time)
        assert time == wanted


@settings(deadline=None, max_examples=200)
@given(EXPRESSIONS.filter(lambda text: "7" not in text.split()[5]))
def test_what_is_written_means_what_was_given(text):
    assert robfig.next_time(kfp_cron(read_cron(text)), NOW) == robfig.next_time(text, NOW)
