"""The reference pipeline: one table, told what to do by a pipeline.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.v1 import components, proto

from checkpoint_gate.champion import Champion
from checkpoint_gate.checkpoint_evaluator import CheckpointEvaluator
from checkpoint_gate.checkpoint_filter import CheckpointFilter
from checkpoint_gate.evaluator import Evaluator
from checkpoint_gate.pusher import Pusher
from checkpoint_gate.rules.filtering import PrunePolicy
from gated_pipelines.beam_args import BEAM_ARGS
from gated_pipelines.config.evaluation import blessing_config, selection_config, selector
from gated_pipelines.config.pipeline_config import PipelineConfig
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.curated_schema.component import ImportSchemaGen
from gated_pipelines.example_validator import ExampleValidator
from gated_pipelines.gated_trainer import Trainer
from gated_pipelines.running.job import Job
from gated_pipelines.tables.spans import SPAN
from gated_pipelines.tables.staging import StagedTable
from gated_pipelines.tabular.run_key import code_digest

STORE = "store"  # below the root


@dataclass(frozen=True)
class Wiring:
    """What differs between runners: constants for LocalDagRunner, mostly runtime parameters in a compiled file.

    Attributes:
      examples: the component that makes examples of the table; its id is CsvExampleGen.
      training_rules, filter_rules: rule text with at least the sections `save`, and `filter`.
      whole_rules: whether both are one text, all rules; Trainer then refuses one that CheckpointFilter would.
      default_prune: of rules without `prune`; None where they always have it.
      epochs: passes over the training split.
      root: a path or a URL; the store is below it, and a relative push folder.
      push_folder: where the blessed model goes.
      push_state: what the push folder looked like when the run started, for TFX's cache.
      store_revision: what was done to the store by hand, for TFX's cache.
      generation: how often training anew was asked for.
      rebaseline: the champion is set aside.
      table_digest: sha256 of the table, in hex; None where it is known only when the pipeline runs.
      on_not_blessed: what Pusher does about a refused challenger; on this machine the run's summary tells of it.
      schema: the text of a curated schema; None infers one.
      compared: ExampleValidator's arguments that say where the rows of the spans are; None where they are beside the
        examples.
      spans: those of the table's rows, in order; none where it has none, or where they are known only then.
      code: for TFX's cache, whether the parameters name the code's digest; a container's image names it elsewhere.
    """

    examples: BaseComponent
    training_rules: str | RuntimeParameter
    filter_rules: str | RuntimeParameter
    epochs: int | RuntimeParameter
    root: str | RuntimeParameter
    push_folder: str | RuntimeParameter
    whole_rules: bool = False
    default_prune: PrunePolicy | None = None
    push_state: str = ""
    store_revision: int = 0
    generation: int = 0
    rebaseline: bool = False
    table_digest: str | None = None
    on_not_blessed: Literal["fail", "keep_champion"] | None = None
    schema: str | None = None
    compared: Mapping[str, Any] | None = None
    spans: tuple[int, ...] = ()
    code: bool = False


def create_pipeline(job: Job) -> Pipeline:
    """The pipeline for LocalDagRunner."""
    return Pipeline(
        pipeline_name=job.config.name,
        pipeline_root=str(job.places.artifacts),
        components=create_components(job.config, job.spec, _wiring(job)),
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(str(job.places.metadata)),
        beam_pipeline_args=list(BEAM_ARGS),
    )


def create_components(config: PipelineConfig, table: TabularSpec, wiring: Wiring) -> list[BaseComponent]:
    """The components in order."""
    examples = wiring.examples
    statistics = components.StatisticsGen(examples=examples.outputs["examples"])
    # No fixed shapes: any value may be missing in a request, whether or not one is missing in the table.
    schema = (
        components.SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=False)
        if wiring.schema is None
        else ImportSchemaGen(schema_text=wiring.schema)
    )
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        **config.validation.model_dump(),
        **(wiring.compared if wiring.compared is not None else {"examples": examples.outputs["examples"]}),
    )
    preprocessing = {"code": code_digest(["config/spec.py", "preprocessing.py"])} if wiring.code else {}
    transform = components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="gated_pipelines.preprocessing.preprocessing_fn",
        splits_config=proto.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"table": table.to_json(), **preprocessing},
    )
    transform.add_upstream_node(validator)  # nothing is trained on data that it refuses
    trainer = Trainer(
        run_fn="gated_pipelines.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=proto.TrainArgs(splits=["train"]),
        eval_args=proto.EvalArgs(splits=["eval"]),
        custom_config=_training(config, table, wiring),
        rules=wiring.training_rules,
        epochs=wiring.epochs,
        root=wiring.root,
        push_folder=wiring.push_folder,
        whole_rules=wiring.whole_rules,
    )
    survivors = CheckpointFilter(
        model_run=trainer.outputs["model_run"],
        rules=wiring.filter_rules,
        default_prune=wiring.default_prune,
        store_revision=wiring.store_revision,
        on_no_survivors=config.on_no_survivors,
    )
    digest = {"table": wiring.table_digest, "spans": list(wiring.spans)} if wiring.table_digest is not None else {}
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
        about={**digest, "classes": list(table.classes)},
    )
    champion = Champion(push_destination=wiring.push_folder, push_state=wiring.push_state, root=wiring.root)
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=best.outputs["model"],
        baseline_model=champion.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=blessing_config(config),
        example_splits=["test"],
        first_run=config.evaluate.first_run,
        rebaseline=wiring.rebaseline,
        against=config.evaluate.champion.against,
    )
    pusher = Pusher(
        model=best.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_folder=wiring.push_folder,
        root=wiring.root,
        store=STORE,
        on_not_blessed=wiring.on_not_blessed,
        custom_config={"push_state": wiring.push_state},  # what is pushed depends on what is there
    )
    return [
        examples, statistics, schema, validator, transform, trainer, survivors, best, champion, evaluator, pusher,
    ]  # fmt: skip


def split_output(config: PipelineConfig) -> proto.Output:
    """How examples are divided."""
    splits = config.data.splits
    buckets = [("train", splits.train), ("eval", splits.eval), ("test", splits.test)]
    return proto.Output(
        split_config=proto.SplitConfig(
            splits=[proto.SplitConfig.Split(name=name, hash_buckets=count) for name, count in buckets]
        )
    )


def _wiring(job: Job) -> Wiring:
    """What goes into the parameters is cut by who needs it, because TFX's cache looks at them."""
    examples = components.CsvExampleGen(
        input_base=str(job.table.folder),
        output_config=split_output(job.config),
        **_input_of(job.table),
    )
    return Wiring(
        examples=examples,
        training_rules=job.rules.cut("save", "keep").to_json(),
        filter_rules=job.rules.cut("filter", "prune").to_json(),
        epochs=job.config.train.epochs,
        root=str(job.places.root),
        push_folder=job.push_folder,
        push_state=job.push_state,
        store_revision=job.store_revision,
        generation=job.state.generation,
        rebaseline=job.rebaseline,
        table_digest=job.table.digest,
        schema=job.schema,
        compared=_compared(job.table),
        spans=job.table.spans,
        code=True,
    )


def _input_of(table: StagedTable) -> dict[str, Any]:
    """ExampleGen's patterns: by `{SPAN}` it learns the number, which it tells of the examples."""
    if table.span is None:
        return {"input_config": proto.Input(splits=[proto.Input.Split(name="table", pattern=table.file)])}
    pattern = table.file.replace(str(table.span), SPAN)
    span = proto.StaticRange(start_span_number=table.span, end_span_number=table.span)
    return {
        "input_config": proto.Input(splits=[proto.Input.Split(name="table", pattern=pattern)]),
        "range_config": proto.RangeConfig(static_range=span),
    }


def _compared(table: StagedTable) -> dict[str, Any]:
    """What ExampleValidator compares."""
    newest, previous = (str(path) if path is not None else None for path in (table.newest, table.previous))
    return {"newest": newest, "previous": previous, "spans": len(table.spans)} if table.spans else {}


def _training(config: PipelineConfig, table: TabularSpec, wiring: Wiring) -> dict[str, Any]:
    """Trainer's custom_config; its executor adds what may be set when a run starts."""
    return {
        "table": table.to_json(),
        "hidden": list(config.model.hidden),
        "dropout": config.model.dropout,
        "learning_rate": config.model.learning_rate,
        "batch_size": config.train.batch_size,
        "seed": config.train.seed,
        "warm_start": config.train.warm_start,
        "generation": wiring.generation,
        **({"code": code_digest()} if wiring.code else {}),
    }
