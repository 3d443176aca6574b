"""Many models through TFMA in one pass over the examples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.util import tfxio_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.tfxio import tensor_adapter

_TELEMETRY = ["CheckpointEvaluator"]
_SEED = 1  # of the jackknife's random folds: the same examples give the same intervals, and so the same choice


def named_config(eval_config: tfma.EvalConfig, names: Sequence[str]) -> tfma.EvalConfig:
    """The config with its one model spec repeated under each name, and defaults filled in for no baseline."""
    config = tfma.EvalConfig()
    config.CopyFrom(eval_config)
    spec = eval_config.model_specs[0]
    del config.model_specs[:]
    for name in names:
        named = config.model_specs.add()
        named.CopyFrom(spec)
        named.name = name
    utils: Any = tfma.utils if hasattr(tfma, "utils") else tfma
    filled: tfma.EvalConfig = utils.update_eval_config_with_defaults(config, has_baseline=False, rubber_stamp=True)
    utils.verify_eval_config(filled)
    return filled


def evaluate_models(
    pipeline: beam.Pipeline,
    models: Mapping[str, str],
    eval_config: tfma.EvalConfig,
    examples: Sequence[types.Artifact],
    splits: Sequence[str],
    schema: Any,
    output: str,
) -> None:
    """Adds the evaluation of `models` (name -> SavedModel) on the splits of `examples` to a Beam pipeline."""
    config = named_config(eval_config, list(models))
    shared = [  # by order: TFMA drops the name of a lone model
        tfma.default_eval_shared_model(eval_saved_model_path=path, model_name=spec.name, eval_config=config)
        for spec, path in zip(config.model_specs, models.values(), strict=True)
    ]
    factory = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=examples,
        telemetry_descriptors=_TELEMETRY,
        schema=schema,
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    sources = []
    adapter = None
    for place, (split, uri) in enumerate(_uris(examples, splits)):
        source = factory(io_utils.all_files_pattern(uri))
        sources.append(pipeline | f"Read[{split}][{place}]" >> source.BeamSource())
        if schema is not None:
            adapter = tensor_adapter.TensorAdapterConfig(
                arrow_schema=source.ArrowSchema(), tensor_representations=source.TensorRepresentations()
            )
    _ = (
        sources
        | "FlattenExamples" >> beam.Flatten(pipeline=pipeline)
        | "ExtractEvaluateAndWriteResults"
        >> tfma.ExtractEvaluateAndWriteResults(
            eval_shared_model=shared if len(shared) > 1 else shared[0],
            eval_config=config,
            output_path=output,
            tensor_adapter_config=adapter,
            random_seed_for_testing=_SEED,
        )
    )


def sample_examples(examples: Sequence[types.Artifact], splits: Sequence[str], count: int) -> list[bytes]:
    """The first serialized examples of the splits, at most `count`."""
    files = [file for _, uri in _uris(examples, splits) for file in sorted(tf.io.gfile.glob(f"{uri}/*"))]
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return [record.numpy() for record in itertools.islice(dataset, count)]


def _uris(examples: Sequence[types.Artifact], splits: Sequence[str]) -> list[tuple[str, str]]:
    return [(split, uri) for split in splits for uri in artifact_utils.get_split_uris(list(examples), split)]
