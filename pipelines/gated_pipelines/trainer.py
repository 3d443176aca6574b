"""Trainer's run_fn: trains the tabular model behind a gate, resumes what was interrupted, exports."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from checkpoint_gate.artifact_files.pointer import RunPointer
from checkpoint_gate.pushed.known_champion import metrics_of
from checkpoint_gate.rule_text.rule_set import parse_rules, write_rules
from checkpoint_gate.store import Store
from checkpoint_gate.store.retiring import name_to_train
from checkpoint_gate.training.callback import GatedCheckpoint
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.tabular.datasets import Split, read_split, training_batches, validation_batches
from gated_pipelines.tabular.model import LabelScale, build_model
from gated_pipelines.tabular.network import Network
from gated_pipelines.tabular.run_key import files_below, run_key
from gated_pipelines.tabular.serving import export
from gated_pipelines.tabular.starting import look_at_start

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Trainer's custom_config.

    Attributes:
      table: JSON of a TabularSpec.
      rules: JSON of the sections `save` and `keep`; limits that are relative to the champion have no numbers yet.
      store: folder of the checkpoint store.
      push_folder: where the champion is.
      hidden, dropout, learning_rate, epochs, batch_size, seed, warm_start: as in pipeline.yaml.
      code: digest of the training code, so that TFX's cache notices an edit.
      own_rules: digest of the code of rules of one's own; None where there are none.
      generation: how often `--retrain` was asked for.
      wait_for_lease: seconds, >= 0, to wait for a killed Trainer's lease.
    """

    table: str
    rules: str
    store: str
    push_folder: str
    hidden: list[int]
    dropout: float
    learning_rate: float
    epochs: int
    batch_size: int
    seed: int
    code: str
    generation: int
    warm_start: str | None = None
    own_rules: str | None = None
    wait_for_lease: float = 0.0

    def determines(self) -> dict[str, Any]:
        """What the run's key is made of: not `keep`, the number of epochs, where things are, or how long to wait.

        Nor the champion, though rules and initial weights may go by it: the run remembers under which it began, and
        a push in between makes no other run of it.
        """
        left_out = {"rules", "store", "push_folder", "epochs", "generation", "wait_for_lease"}
        left_out |= {"own_rules"} if self.own_rules is None else set()
        gate = write_rules(parse_rules(self.rules).cut("save"))
        return {"gate": gate} | {key: value for key, value in asdict(self).items() if key not in left_out}


def run_fn(fn_args: FnArgs) -> None:
    """Trains or resumes one run, and exports its last state."""
    settings = TrainSettings(**fn_args.custom_config)
    spec = TabularSpec.from_json(settings.table)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    feature_spec = transform.transformed_feature_spec()
    contents = {
        kind: _files(patterns) for kind, patterns in (("train", fn_args.train_files), ("eval", fn_args.eval_files))
    }
    train = read_split([str(f) for f in contents["train"]], feature_spec, "train")
    validation = read_split([str(f) for f in contents["eval"]], feature_spec, "eval")
    graph = files_below(Path(fn_args.transform_graph_path))
    key = run_key({**contents, "graph": graph}, settings.determines(), settings.generation)
    key = name_to_train(Store(settings.store), key)

    keras.utils.set_random_seed(settings.seed)
    network = Network.of(spec, settings.hidden, _scale(train, spec), transform)
    sizes = {name: transform.vocabulary_size_by_name(name) for name in spec.categorical_keys().values()}
    model = build_model(spec, sizes, asdict(settings), network.scale)
    start = look_at_start(settings.store, key, settings.push_folder, settings.warm_start is not None)
    gate = GatedCheckpoint(
        settings.store,
        parse_rules(settings.rules).resolved(metrics_of(start.champion)).cut("save", "keep"),
        run=key,
        about={"determined_by": settings.determines(), **start.begin(model, network)},
        wait_for_lease=settings.wait_for_lease,
    )
    try:
        _fit(model, gate, train, validation, settings, fn_args.model_run_dir)
    finally:
        gate.close()
    export(model, transform, network, fn_args.serving_model_dir)
    folder = Path(fn_args.model_run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    gate.training.copy_ledger(folder)
    # Last: whoever finds the pointer finds the rest.
    RunPointer(str(Store(settings.store).root), key).write(folder)


def _fit(
    model: keras.Model, gate: GatedCheckpoint, train: Split, validation: Split, settings: TrainSettings, logs: str
) -> None:
    first = gate.resume(model, settings.epochs)
    if first >= settings.epochs:
        _LOG.info("all %d epochs were trained before: nothing to train", first)
        gate.training.retain()
        return
    batches, steps = training_batches(train, settings.batch_size, settings.seed, first)
    model.fit(
        batches,
        validation_data=validation_batches(validation),
        initial_epoch=first,
        epochs=settings.epochs,
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.TensorBoard(log_dir=logs, write_graph=False), gate],
        verbose=0,
    )


def _files(patterns: list[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(Path(pattern).parent.glob(Path(pattern).name))]


def _scale(train: Split, spec: TabularSpec) -> LabelScale:
    if spec.task != "regression":
        return LabelScale()
    labels = train.labels.numpy().astype("float64")
    return LabelScale(float(labels.mean()), float(labels.std()) or 1.0)
