"""The whole penguins pipeline against stock TFX on the same data without gating: seconds from start to exit.

The peer trains the same model for the same epochs without saving a checkpoint, and has TFX's own Evaluator and Pusher.
Each run is a process of its own with a fresh root, so that imports count; the two sides take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compared.sides import line, rounded

PIPELINE = Path(__file__).parents[2] / "data" / "penguins" / "pipeline.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=3, help="how often each side is run")
    parser.add_argument("--quick", action="store_true", help="once: only whether it runs")
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)  # the peer's process
    arguments = parser.parse_args()
    if arguments.stock is not None:
        run_stock(json.loads(arguments.stock.read_text(encoding="utf-8")))
        return
    with tempfile.TemporaryDirectory(prefix="pipeline_vs_stock-") as folder:
        print(compare(1 if arguments.quick else arguments.n, Path(folder)))


def compare(n: int, folder: Path) -> str:
    """Runs both sides in turn, n times each."""
    plan = plan_of_the_peer(folder / "data")
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    processor: dict[str, list[float]] = {"ours": [], "peer": []}
    components: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    survivors = []
    held = {}
    for number in range(n):
        for side, start in (("ours", ours), ("peer", peer)):
            root = folder / f"{side}-{number}"
            root.mkdir()
            begun, worked = time.perf_counter(), processor_seconds()
            summary = start(root, plan)
            seconds = time.perf_counter() - begun
            taken[side].append(round(seconds, 2))
            processor[side].append(round(processor_seconds() - worked, 2))
            components[side].append(summary["seconds"])
            if side == "ours":
                survivors.append(len(summary["survivors"]))
                held = bytes_held(summary)
            say(f"{side} {number + 1} of {n}: {seconds:.1f} s, {sum(summary['seconds'].values()):.1f} in components")
    return line(
        "pipeline_vs_stock",
        "s",
        taken["ours"],
        taken["peer"],
        survivors=survivors,
        bytes=held,
        processor=processor,  # depends less than wall time on what else the machine does
        processor_ratio=rounded(statistics.median(processor["ours"]) / statistics.median(processor["peer"])),
        components={side: medians(found) for side, found in components.items()},
    )


def bytes_held(summary: dict[str, Any]) -> dict[str, int]:
    """What the store holds, ledger and state to resume from too, and what checkpoints of every epoch would take."""
    from checkpoint_gate.store import Store

    run = Store.open(summary["store"]).run(summary["survivors"][0]["run"])
    sizes = [stored.manifest.size for stored in run.live() if stored.manifest is not None]
    files = (path for path in Path(summary["store"]).rglob("*") if path.is_file())
    return {"store": sum(path.stat().st_size for path in files), "every_epoch": max(sizes) * summary["epochs"]}


def processor_seconds() -> float:
    """User and system time of the processes that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Component -> the median of its seconds."""
    return {name: round(statistics.median(seconds[name] for seconds in found), 2) for name in found[0]}


def ours(root: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Our pipeline as a person runs it; its summary."""
    program = str(Path(sys.executable).with_name("gated-pipeline"))
    command = [program, "run", str(PIPELINE), "--root", str(root), "--json"]
    summary = last_line(command, root / "run.log")
    if summary["outcome"] != "pushed" or not summary["survivors"]:
        raise SystemExit(f"our pipeline did not push: {summary['reason']}")
    return summary


def peer(root: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Stock TFX; its summary."""
    written = root / "plan.json"
    written.write_text(json.dumps({**plan, "root": str(root)}), encoding="utf-8")
    summary = last_line([sys.executable, __file__, "--stock", str(written)], root / "run.log")
    if not list((root / "serving").glob("*/saved_model.pb")):
        raise SystemExit("the stock pipeline did not push")
    return summary


def last_line(command: Sequence[str], log: Path) -> dict[str, Any]:
    """The JSON object that a process ends with."""
    with open(log, "w", encoding="utf-8") as errors:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    if done.returncode:
        say(log.read_text(encoding="utf-8", errors="replace")[-4000:])
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}")
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def plan_of_the_peer(folder: Path) -> dict[str, Any]:
    """What the peer has to do: its table is staged for it, and its configuration read, outside its time."""
    warnings.simplefilter("ignore")
    from google.protobuf import json_format

    from gated_pipelines.config.evaluation import blessing_config
    from gated_pipelines.config.pipeline_config import load_config
    from gated_pipelines.config.spec import TabularSpec
    from gated_pipelines.tables.staging import stage_table

    config = load_config(PIPELINE)
    table = stage_table(config, folder)
    features = table.features
    spec = TabularSpec(config.label, config.task, features.numeric, features.categorical, table.classes)
    splits = config.data.splits
    return {
        "name": config.name,
        "table": str(table.folder),
        "file": table.file,
        "splits": {"train": splits.train, "eval": splits.eval, "test": splits.test},
        "eval_config": json_format.MessageToJson(blessing_config(config)),
        "train": {
            "table": spec.to_json(),
            "hidden": list(config.model.hidden),
            "dropout": config.model.dropout,
            "learning_rate": config.model.learning_rate,
            "epochs": config.train.epochs,
            "batch_size": config.train.batch_size,
            "seed": config.train.seed,
        },
    }


def run_stock(plan: dict[str, Any]) -> None:
    """Stock TFX from the staged table to the push folder; ends with the seconds of its components as JSON."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format
    from tfx.v1 import components, dsl, orchestration, proto

    root = Path(plan["root"])
    splits = [proto.SplitConfig.Split(name=name, hash_buckets=count) for name, count in plan["splits"].items()]
    examples = components.CsvExampleGen(
        input_base=plan["table"],
        input_config=proto.Input(splits=[proto.Input.Split(name="table", pattern=plan["file"])]),
        output_config=proto.Output(split_config=proto.SplitConfig(splits=splits)),
    )
    statistics_gen = components.StatisticsGen(examples=examples.outputs["examples"])
    schema = components.SchemaGen(statistics=statistics_gen.outputs["statistics"], infer_feature_shape=False)
    validator = components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="gated_pipelines.preprocessing.preprocessing_fn",
        splits_config=proto.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"table": plan["train"]["table"]},
    )
    trainer = components.Trainer(
        run_fn="pipeline_vs_stock.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=proto.TrainArgs(splits=["train"]),
        eval_args=proto.EvalArgs(splits=["eval"]),
        custom_config=plan["train"],
    )
    evaluator = components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=json_format.Parse(plan["eval_config"], tfma.EvalConfig()),
        example_splits=["test"],
    )
    pusher = components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=proto.PushDestination(
            filesystem=proto.PushDestination.Filesystem(base_directory=str(root / "serving"))
        ),
    )
    database = root / "metadata.sqlite"
    pipeline = dsl.Pipeline(
        pipeline_name=plan["name"],
        pipeline_root=str(root / "artifacts"),
        components=[examples, statistics_gen, schema, validator, transform, trainer, evaluator, pusher],
        enable_cache=True,
        metadata_connection_config=orchestration.metadata.sqlite_metadata_connection_config(str(database)),
        beam_pipeline_args=["--runner=FnApiRunner"],
    )
    orchestration.LocalDagRunner().run(pipeline)

    from gated_pipelines.reporting.lineage import last_run

    print(json.dumps({"seconds": {name: step.seconds for name, step in last_run(database).items()}}))


def run_fn(fn_args: Any) -> None:
    """The peer's training: our trainer's model, data and export, without a gate, a store or a checkpoint."""
    import keras
    import tensorflow_transform as tft

    from gated_pipelines.config.spec import TabularSpec
    from gated_pipelines.tabular.datasets import read_split, training_batches, validation_batches
    from gated_pipelines.tabular.model import LabelScale, build_model
    from gated_pipelines.tabular.network import Network
    from gated_pipelines.tabular.serving import export

    settings = fn_args.custom_config
    spec = TabularSpec.from_json(settings["table"])
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    feature_spec = transform.transformed_feature_spec()
    train, validation = (
        read_split([str(p) for pattern in patterns for p in Path(pattern).parent.glob("*")], feature_spec, name)
        for name, patterns in (("train", fn_args.train_files), ("eval", fn_args.eval_files))
    )
    keras.utils.set_random_seed(settings["seed"])
    vocabularies = {name: transform.vocabulary_size_by_name(name) for name in spec.categorical_keys().values()}
    model = build_model(spec, vocabularies, settings, LabelScale())
    batches, steps = training_batches(train, settings["batch_size"], settings["seed"], 0)
    model.fit(
        batches,
        validation_data=validation_batches(validation),
        epochs=settings["epochs"],
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.TensorBoard(log_dir=fn_args.model_run_dir, write_graph=False)],
        verbose=0,
    )
    network = Network.of(spec, settings["hidden"], LabelScale(), transform)
    export(model, transform, network, fn_args.serving_model_dir)


if __name__ == "__main__":
    main()
