"""A table of several files: which rows a run takes, and what it says of those that are wrong."""

from __future__ import annotations

import csv

import pytest
from click.testing import CliRunner

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cli import cli
from gated_pipelines.config.pipeline_config import load_config, parse_config
from gated_pipelines.running.job import prepare
from gated_pipelines.tables.staging import stage_table

FILE = """
name: months
data: {{csv: "m-{{SPAN}}.csv", window: {window}}}
label: y
task: regression
features: {{numeric: [x], categorical: [kind]}}
rules: {{save: {{metric: loss, at_most: 1}}, filter: {{metric: loss, at_most: 1}}}}
"""


@pytest.fixture
def months(tmp_path):
    """Writes m-N.csv of 30 rows, whose y counts from 100 N; replaces cells by (row, column)."""

    def write(number, cells=(), columns=("x", "kind", "y"), rows=30):
        with open(tmp_path / f"m-{number}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in range(rows):
                values = {"x": 2 * row, "kind": "ab"[row % 2], "y": 100 * number + row} | dict(cells).get(row + 1, {})
                writer.writerow([values.get(name, "") for name in columns])

    return write


@pytest.fixture
def stage(tmp_path):
    def stage(window=1, span=""):
        config = parse_config(FILE.format(window=window), tmp_path / "pipeline.yaml")
        return stage_table(config, tmp_path / "staged", span=span)

    return stage


def labels(path):
    with open(path, newline="") as file:
        return [int(float(row["y"])) for row in csv.DictReader(file)]


def of(*numbers):
    return [100 * number + row for number in numbers for row in range(30)]


@pytest.mark.parametrize(
    ("window", "span", "spans", "previous"),
    [
        pytest.param(1, "", (4,), 3, id="one span is the newest"),
        pytest.param(3, "", (2, 3, 4), 3, id="the last three, oldest first"),
        pytest.param(3, "2", (1, 2), 1, id="fewer at the beginning, and none after the one asked for"),
        pytest.param(2, "1", (1,), None, id="before the first there is none to compare with"),
    ],
)
def test_the_rows_of_a_window(months, stage, window, span, spans, previous):
    for number in (1, 2, 3, 4):
        months(number)
    table = stage(window, span)
    assert (table.spans, table.span) == (spans, spans[-1])
    assert labels(table.folder / table.file) == of(*spans)
    assert table.file == f"table-{spans[-1]}.csv"
    assert labels(table.newest) == of(spans[-1])
    assert (table.previous and labels(table.previous)) == (of(previous) if previous else None)


def test_the_same_rows_have_the_same_name_whatever_their_span(months, stage, tmp_path):
    months(1)
    first = stage()
    (tmp_path / "m-2.csv").write_bytes((tmp_path / "m-1.csv").read_bytes())
    second = stage()
    assert (first.digest, first.folder) == (second.digest, second.folder)
    assert (first.file, second.file) == ("table-1.csv", "table-2.csv")


def test_numbers_in_one_span_and_words_in_another_are_spelled_as_one_column(months, stage):
    months(1, [(row, {"kind": str(row)}) for row in range(1, 31)])
    months(2)
    table = stage(2)
    with open(table.previous, newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == [str(row) for row in range(1, 31)]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        pytest.param({7: {"x": "warm"}}, "m-2.csv: the numeric feature 'x' must hold numbers", id="a feature"),
        pytest.param({7: {"y": "late"}}, "m-2.csv: the label 'y' must be a number for task", id="the label"),
        pytest.param({7: {"y": "inf"}}, "m-2.csv: the label 'y' must be a finite 32-bit number", id="infinite"),
    ],
)
def test_a_bad_cell_is_told_by_its_file_and_its_row_there(months, stage, cells, words):
    months(1)
    months(2, cells.items())
    months(3)
    with pytest.raises(ConfigError) as refused:
        stage(3)
    assert words in str(refused.value)
    assert "; row 7 has " in str(refused.value)


def test_a_column_that_the_newest_lacks_is_told_by_its_file(months, stage):
    months(1)
    months(2, columns=("x", "y"))
    with pytest.raises(ConfigError, match=r"names 'kind', which is no column of .*m-2\.csv"):
        stage(2)


def test_a_column_that_an_earlier_span_lacks_is_missing_there(months, stage, caplog):
    months(1, columns=("x", "y"))
    months(2)
    table = stage(2)
    with open(table.previous, newline="") as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {""}
    assert "m-1.csv has no column 'kind': its values count as missing." in caplog.text


def test_a_span_before_that_cannot_be_read_is_left_out_of_the_comparison(months, stage, caplog):
    months(1, [(3, {"x": "warm"})])
    months(2)
    assert stage().previous is None
    assert "The span before, 1, is not compared with: " in caplog.text


@pytest.mark.parametrize(
    ("there", "span", "words"),
    [
        pytest.param([], None, "There is no file", id="no span at all"),
        pytest.param([1, 2], 7, "for the span 7; there are 1, 2.", id="no such span"),
        pytest.param([1, 3], 2, "for the span 2; there are 1, 3.", id="in a gap"),
    ],
)
def test_what_is_not_there_is_one_sentence(months, tmp_path, there, span, words):
    for number in there:
        months(number)
    (tmp_path / "pipeline.yaml").write_text(FILE.format(window=2))
    arguments = ["run", str(tmp_path / "pipeline.yaml"), "--root", str(tmp_path / "root")]
    result = CliRunner().invoke(cli, arguments + ([] if span is None else ["--span", str(span)]))
    assert result.exit_code == 1
    assert words in result.output.replace("\n", " ")


def test_a_span_for_a_table_that_has_none_is_refused(months, tmp_path):
    months(1)
    text = FILE.format(window=1).replace("m-{SPAN}", "m-1")
    (tmp_path / "pipeline.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"span is 3, but .*m-1\.csv has no \{SPAN\} for it to stand in"):
        prepare(tmp_path / "pipeline.yaml", tmp_path / "root", 3)


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        pytest.param("{csv: m.csv, window: 3}", "", "data.window is 3, but data.csv has no {SPAN}", id="a window"),
        pytest.param("{csv: m.csv}", "validate: {drift: 0.1}", "validate.drift compares spans", id="drift"),
        pytest.param("{csv: m.csv}", "validate: {skew: 0.1}", "validate.skew compares spans", id="skew"),
        pytest.param('{csv: "m-{SPAN}.csv", window: 0}', "", "data.window must be greater than or", id="none"),
        pytest.param("{csv: m.csv, shema: x}", "", "did you mean schema?", id="the schema misspelt"),
        pytest.param("{csv: m.csv}", "validate: {on_anomalies: stop}", "must be warn or fail", id="unknown word"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, data, more, words):
    text = f"name: t\ndata: {data}\nlabel: y\ntask: regression\nrules: {{save: {{}}, filter: {{}}}}\n{more}\n"
    with pytest.raises(ConfigError) as refused:
        parse_config(text, tmp_path / "pipeline.yaml")
    assert words in str(refused.value)


def test_new_describes_the_latest_of_several_tables(months, tmp_path):
    months(1, columns=("kind", "y"))
    months(2)
    arguments = ["new", str(tmp_path / "mine"), "--data", str(tmp_path / "m-{SPAN}.csv"), "--label", "y"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    config = load_config(tmp_path / "mine" / "pipeline.yaml")
    assert config.csv == tmp_path / "m-{SPAN}.csv"
    assert config.features.numeric == ("x",)
