"""Many candidates through TFMA in one pass over the examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx.components.util import tfxio_utils
from tfx.utils import io_utils
from tfx_bsl.tfxio import tensor_adapter

from checkpoint_gate.checkpoint_evaluator.batchwise.choosing import Choice, choose, say
from checkpoint_gate.checkpoint_evaluator.batchwise.slicing import slicing_extractor
from checkpoint_gate.checkpoint_evaluator.configuring import named_config
from checkpoint_gate.checkpoint_evaluator.examples import split_uris
from checkpoint_gate.checkpoint_evaluator.extracting import STAGE, UNBATCH, before_unbatching, stacked_extractors
from checkpoint_gate.checkpoint_evaluator.measuring import Measuring
from checkpoint_gate.checkpoint_evaluator.observing import CountNotFinite, WriteColumns
from checkpoint_gate.checkpoint_evaluator.stacking import Stack

_TELEMETRY = ["CheckpointEvaluator"]
COUNTED = "CountNotFinite"
_EXAMPLE_BY_EXAMPLE = (UNBATCH, tfma.extractors.SliceKeyExtractor().stage_name)
_SEED = 1  # of the random folds of confidence intervals: the same examples give the same intervals


@dataclass(frozen=True)
class Wiring:
    """What TFMA is given.

    Attributes:
      models: one for each candidate, by name.
      config: with a model spec for each candidate.
      extractors: one of them has the stage name `COUNTED`; there the predictions are counted that are not finite.
      run_after: the last of them that evaluators need; None for TFMA's own.
    """

    models: Any
    config: tfma.EvalConfig
    extractors: Sequence[Any]
    run_after: str | None = None


Wire = Callable[[tensor_adapter.TensorAdapterConfig | None, Measuring], Wiring]


def wire_stack(stack: Stack, adapter: tensor_adapter.TensorAdapterConfig | None, measuring: Measuring) -> Wiring:
    """Two or more candidates as one model."""
    names = [name for name, _ in stack.checkpoints]
    config = named_config(measuring.eval_config, names)
    # They have a name and a place; nobody loads them.
    models = [
        tfma.EvalSharedModel(model_path=prefix, model_name=name, model_type=spec.model_type)
        for spec, (name, prefix) in zip(config.model_specs, stack.checkpoints, strict=True)
    ]
    extractors = stacked_extractors(stack, measuring.eval_config, adapter)
    return Wiring(models, config, _counted(extractors, names, measuring), STAGE)


def wire_separately(
    folders: Mapping[str, str], adapter: tensor_adapter.TensorAdapterConfig | None, measuring: Measuring
) -> Wiring:
    """Candidates as SavedModels of their own (name -> folder), each parsing and transforming for itself."""
    config = named_config(measuring.eval_config, list(folders))
    models = [  # by order: TFMA drops the name of a lone model
        tfma.default_eval_shared_model(eval_saved_model_path=path, model_name=spec.name, eval_config=config)
        for spec, path in zip(config.model_specs, folders.values(), strict=True)
    ]
    one_or_more = models if len(models) > 1 else models[0]
    extractors = tfma.default_extractors(
        eval_shared_model=one_or_more, eval_config=config, tensor_adapter_config=adapter
    )
    return Wiring(one_or_more, config, _counted(extractors, list(folders), measuring))


def evaluate(pipeline: beam.Pipeline, wire: Wire, measuring: Measuring, *, batchwise: bool = True) -> bool:
    """Adds to a Beam pipeline what writes TFMA's results, and what is observed beside them.

    Args:
      batchwise: whether metrics may be computed batch by batch, where that is known for them.

    Returns:
      Whether some are.
    """
    examples, adapter = _read(pipeline, measuring)
    wiring = wire(adapter, measuring)
    choice = Choice(wiring.config)
    if batchwise:
        choice = choose(wiring.config)
        say(choice)
    if choice.takes_batches:
        wiring = sliced_by_batch(wiring, choice.each_alone)
    evaluators = tfma.default_evaluators(
        eval_shared_model=wiring.models, eval_config=choice.config, random_seed_for_testing=_SEED
    )
    if wiring.run_after is not None:
        evaluators = [evaluator._replace(run_after=wiring.run_after) for evaluator in evaluators]
    _ = examples | "WriteColumns" >> WriteColumns(measuring.scratch)
    _ = examples | "ExtractEvaluateAndWriteResults" >> tfma.ExtractEvaluateAndWriteResults(
        eval_shared_model=wiring.models,
        eval_config=wiring.config,
        extractors=list(wiring.extractors),
        evaluators=evaluators,
        output_path=measuring.output,
    )
    return bool(choice.batchwise)


def sliced_by_batch(wiring: Wiring, each_alone: bool) -> Wiring:
    """The wiring with batches to its end, for metrics that take them."""
    kept = [one for one in wiring.extractors if one.stage_name not in _EXAMPLE_BY_EXAMPLE]
    slices = slicing_extractor(wiring.config, each_alone)
    return replace(wiring, extractors=[*kept, slices], run_after=slices.stage_name)


def observe_predictions(pipeline: beam.Pipeline, wire: Wire, measuring: Measuring) -> None:
    """Adds to a Beam pipeline what counts the predictions that are not finite, and no metrics."""
    examples, adapter = _read(pipeline, measuring)
    extracts = examples | tfma.BatchedInputsToExtracts()
    for extractor in wire(adapter, measuring).extractors:
        extracts = extracts | extractor.stage_name >> extractor.ptransform
        if extractor.stage_name == COUNTED:
            break


def _counted(extractors: Sequence[Any], names: Sequence[str], measuring: Measuring) -> list[Any]:
    count = tfma.extractors.Extractor(COUNTED, CountNotFinite(names, measuring.scratch))
    return before_unbatching(extractors, count)


def _read(
    pipeline: beam.Pipeline, measuring: Measuring
) -> tuple[beam.PCollection, tensor_adapter.TensorAdapterConfig | None]:
    """The examples as Arrow RecordBatches, and how tensors are made of their columns."""
    factory = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=measuring.examples,
        telemetry_descriptors=_TELEMETRY,
        schema=measuring.schema,
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    sources = []
    adapter = None
    for place, (split, uri) in enumerate(split_uris(measuring.examples, measuring.splits)):
        source = factory(io_utils.all_files_pattern(uri))
        sources.append(pipeline | f"Read[{split}][{place}]" >> source.BeamSource())
        if measuring.schema is not None:
            adapter = tensor_adapter.TensorAdapterConfig(
                arrow_schema=source.ArrowSchema(), tensor_representations=source.TensorRepresentations()
            )
    return sources | "FlattenExamples" >> beam.Flatten(pipeline=pipeline), adapter
