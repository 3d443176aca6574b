"""The reference pipeline: one table, told what to do by a pipeline.yaml."""

from __future__ import annotations

from dataclasses import asdict

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.v1 import components, proto

from checkpoint_gate.champion import Champion
from checkpoint_gate.checkpoint_evaluator import CheckpointEvaluator
from checkpoint_gate.checkpoint_filter import CheckpointFilter
from checkpoint_gate.evaluator import Evaluator
from checkpoint_gate.pusher import Pusher
from gated_pipelines.evaluation import blessing_config, selection_config, selector
from gated_pipelines.job import Job
from gated_pipelines.run_key import code_digest
from gated_pipelines.trainer import TrainSettings

# Beam's own choice first tries to download a runner.
BEAM_ARGS = ("--runner=FnApiRunner",)


def create_pipeline(job: Job) -> Pipeline:
    """The pipeline for LocalDagRunner."""
    return Pipeline(
        pipeline_name=job.config.name,
        pipeline_root=str(job.places.artifacts),
        components=create_components(job),
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(str(job.places.metadata)),
        beam_pipeline_args=list(BEAM_ARGS),
    )


def create_components(job: Job) -> list[BaseComponent]:
    """The components in order."""
    config = job.config
    examples = _example_gen(job)
    statistics = components.StatisticsGen(examples=examples.outputs["examples"])
    # No fixed shapes: any value may be missing in a request, whether or not one is missing in the table.
    schema = components.SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=False)
    validator = components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="gated_pipelines.preprocessing.preprocessing_fn",
        splits_config=proto.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"table": job.spec.to_json(), "code": code_digest(["preprocessing.py", "spec.py"])},
    )
    trainer = components.Trainer(
        run_fn="gated_pipelines.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=proto.TrainArgs(splits=["train"]),
        eval_args=proto.EvalArgs(splits=["eval"]),
        custom_config=asdict(_train_settings(job)),
    )
    survivors = CheckpointFilter(
        model_run=trainer.outputs["model_run"],
        rules=job.rules.cut("filter", "prune"),
        store_revision=job.store_revision,
        on_no_survivors=config.on_no_survivors,
    )
    best = CheckpointEvaluator(
        survivors=survivors.outputs["survivors"],
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=selection_config(config),
        select=selector(config),
        example_splits=["eval"],
        average=config.evaluate.select.average,
        on_no_candidate=config.on_no_candidate,
        about={"table": job.table.digest, "classes": list(job.table.classes)},
    )
    champion = Champion(push_destination=job.push_folder, push_state=job.push_state)
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=best.outputs["model"],
        baseline_model=champion.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=blessing_config(config),
        example_splits=["test"],
        first_run=config.evaluate.first_run,
        rebaseline=job.rebaseline,
    )
    pusher = Pusher(
        model=best.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=proto.PushDestination(
            filesystem=proto.PushDestination.Filesystem(base_directory=job.push_folder)
        ),
        custom_config={"push_state": job.push_state},  # what is pushed depends on what is there
    )
    return [
        examples, statistics, schema, validator, transform, trainer, survivors, best, champion, evaluator, pusher,
    ]  # fmt: skip


def _example_gen(job: Job) -> components.CsvExampleGen:
    splits = job.config.data.splits
    buckets = [("train", splits.train), ("eval", splits.eval), ("test", splits.test)]
    return components.CsvExampleGen(
        input_base=str(job.table.folder),
        input_config=proto.Input(splits=[proto.Input.Split(name="table", pattern=job.table.file)]),
        output_config=proto.Output(
            split_config=proto.SplitConfig(
                splits=[proto.SplitConfig.Split(name=name, hash_buckets=count) for name, count in buckets]
            )
        ),
    )


def _train_settings(job: Job) -> TrainSettings:
    config = job.config
    return TrainSettings(
        table=job.spec.to_json(),
        rules=job.rules.cut("save", "keep").to_json(),
        store=str(job.places.store),
        hidden=list(config.model.hidden),
        dropout=config.model.dropout,
        learning_rate=config.model.learning_rate,
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        code=code_digest(),
        generation=job.state.generation,
    )
