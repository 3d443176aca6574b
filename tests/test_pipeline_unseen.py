"""Tables that nobody has tuned for: TFMA says of each survivor what numpy computes, and the best by it is pushed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets

from checkpoint_gate.artifact_files.checkpoint_set import read_set
from checkpoint_gate.models.exporting import export_steps
from checkpoint_gate.store import Store
from gated_pipelines.reporting.lineage import last_run
from gated_pipelines.running.local import run_local
from gated_pipelines.running.places import Places
from gated_pipelines.tables.scaffold import write_pipeline
from gated_pipelines.tabular.serving import OUTPUTS


def mean_squared_error(labels, predictions):
    return np.mean((labels - predictions) ** 2)


def binary_crossentropy(labels, predictions):
    clipped = np.clip(predictions, 1e-7, 1 - 1e-7)
    return -np.mean(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped))


TABLES = {
    "regression": (datasets.load_diabetes, "mean_squared_error", mean_squared_error),
    "binary": (datasets.load_breast_cancer, "binary_crossentropy", binary_crossentropy),
}


class Outcome:
    """One run on a table, as `gated-pipeline new` describes it; every survivor exported again."""

    def __init__(self, task: str, folder: Path) -> None:
        load, self.metric, self.formula = TABLES[task]
        self.task = task
        frame = load(as_frame=True).frame
        self.label = frame.columns[-1]
        frame.loc[frame.index % 17 == 3, frame.columns[0]] = np.nan  # any value may be missing
        csv = folder / "table.csv"
        frame.to_csv(csv, index=False)
        file = write_pipeline(csv, self.label, folder / "project")
        only_the_best = "      - {metric: val_loss, improves: min}\n"
        assert only_the_best in file.read_text()
        file.write_text(file.read_text().replace(only_the_best, "").replace("n: 5}", "n: 6}"))  # more survivors
        self.summary = run_local(file, folder / "root")
        steps = last_run(Places(folder / "root").metadata)
        self.examples, self.labels = self._split(Path(steps["CsvExampleGen"].outputs["examples"]) / "Split-eval")
        trained = Path(steps["Trainer"].outputs["model"]) / "Format-Serving"
        survivors = read_set(Path(steps["CheckpointFilter"].outputs["survivors"]))
        pairs = [(s.prefix, str(folder / "exports" / s.name)) for s in survivors]
        self.exports = dict(zip((s.name for s in survivors), export_steps(str(trained), pairs), strict=True))

    def _split(self, folder):
        files = [str(path) for path in folder.iterdir()]
        raw = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
        features = [tf.train.Example.FromString(one).features.feature[self.label] for one in raw]
        return raw, np.array([[*f.float_list.value, *f.int64_list.value][0] for f in features], "float64")

    def value(self, folder) -> float:
        """The metric on the eval split by numpy, from `serving_default` alone."""
        signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
        predictions = signature(tf.constant(self.examples))[OUTPUTS[self.task]].numpy()
        return float(self.formula(self.labels, predictions[:, 0].astype("float64")))


@pytest.fixture(scope="module", params=list(TABLES))
def outcome(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    yield Outcome(request.param, folder)
    shutil.rmtree(folder)


def test_each_survivor_s_metric_is_what_numpy_computes_on_the_same_split(outcome):
    told = {survivor["name"]: survivor["metrics"][outcome.metric] for survivor in outcome.summary.survivors}
    assert len(told) >= 5
    assert told == pytest.approx({name: outcome.value(folder) for name, folder in outcome.exports.items()}, rel=1e-5)


def test_the_best_by_numpy_is_pushed(outcome):
    assert outcome.summary.outcome == "pushed"
    best = min(outcome.exports, key=lambda name: outcome.value(outcome.exports[name]))
    winner = next(s for s in outcome.summary.survivors if s["name"] == best)
    assert outcome.summary.winner["step"] == winner["step"]
    assert outcome.value(outcome.summary.pushed) == outcome.value(outcome.exports[best])


def test_the_pushed_weights_are_those_of_the_winning_checkpoint(outcome):
    winner = outcome.summary.winner
    run = Store.open(outcome.summary.store).run(winner["run"])
    stored = next(stored for stored in run.live() if stored.step == winner["step"])
    saved, pushed = values(run.prefix(stored)), values(f"{outcome.summary.pushed}/variables/variables")
    weights = [name for name in pushed if name.startswith("model/")]
    assert len(weights) >= 4
    assert {pushed[name] for name in weights} <= set(saved.values())


def values(prefix):
    """Name -> bytes of every variable of a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name).tobytes() for name in names}
