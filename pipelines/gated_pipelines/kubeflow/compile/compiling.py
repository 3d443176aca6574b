"""A pipeline.yaml compiled to one file for open-source Kubeflow Pipelines v2 and Vertex AI."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as tfx_runner
from tfx.orchestration.pipeline import Pipeline

from checkpoint_gate.rule_text.rule_set import RuleSet, read_rules, write_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from gated_pipelines.beam_args import BEAM_ARGS
from gated_pipelines.config.pipeline_config import PipelineConfig, load_config
from gated_pipelines.config.spec import TabularSpec
from gated_pipelines.curated_schema import read_schema
from gated_pipelines.kubeflow.compile.differences import without_effect
from gated_pipelines.kubeflow.compile.finishing import finish
from gated_pipelines.kubeflow.images import require_image
from gated_pipelines.kubeflow.roots import require_root
from gated_pipelines.pipeline import Wiring, create_components, split_output
from gated_pipelines.table_example_gen import CsvExampleGen
from gated_pipelines.tables.staging import stage_table

COMMAND = ("python", "-m", "gated_pipelines.kubeflow.entrypoint")


@dataclass(frozen=True)
class Compilation:
    """A compiled pipeline.

    Attributes:
      spec: the pipeline spec, as plain data.
      text: the same as YAML; the same input gives the same bytes.
      without_effect: one sentence for each key of the pipeline.yaml that nothing came of.
    """

    spec: dict[str, Any]
    text: str
    without_effect: tuple[str, ...]


def compile_pipeline(pipeline_file: Path, image: str, root: str, data: str | None = None) -> Compilation:
    """Compiles a pipeline.yaml for the columns and classes that its table has now.

    Args:
      pipeline_file: the pipeline.yaml.
      image: the container image of every component, with a tag.
      root: the default of the parameter `root`, a URL such as gs://bucket/penguins; everything goes below it.
      data: the default of the parameter `data`; None for the table's name in the folder `data` below the root.

    Raises:
      ConfigError: the file, its table, the image's name or the root is wrong.
      RuleError: its rules are wrong.
    """
    require_image(image)
    require_root(root)
    config = load_config(pipeline_file)
    rules = read_rules(config.located, ("rules",))
    rules = replace(rules, prune=rules.prune or PrunePolicy())
    with tempfile.TemporaryDirectory(prefix="compile-") as folder:
        table = stage_table(config, Path(folder)).spec
    defaults: dict[str, str | int] = {
        "data": data or f"data/{config.csv.name}",
        "epochs": config.train.epochs,
        "push_folder": config.push.folder,
        "root": root.rstrip("/"),
        "rules": rules_text(rules),
        "span": "",
    }
    parameters = {name: RuntimeParameter(name, type(value)) for name, value in defaults.items()}
    job = _compile(config, table, read_schema(config, table), parameters, image)
    spec = finish(job["pipelineSpec"], config.kubeflow, defaults)
    return Compilation(spec, to_yaml(spec, config.name), without_effect(config))


def rules_text(rules: RuleSet) -> str:
    """Rules as a person would write them."""
    return _dumped(write_rules(rules))


def to_yaml(spec: dict[str, Any], name: str) -> str:
    """The compiled file: keys in order, texts of many lines as such."""
    parameters = ", ".join(sorted(spec["root"]["inputDefinitions"]["parameters"]))
    return (
        f"# The pipeline {name}, compiled by `gated-pipeline compile`; to change it, compile it again.\n"
        f"# May be set when a run is started: {parameters}.\n"
    ) + _dumped(_readable(spec))


def _compile(
    config: PipelineConfig,
    table: TabularSpec,
    schema: str | None,
    parameters: dict[str, RuntimeParameter],
    image: str,
) -> dict[str, Any]:
    examples = CsvExampleGen(
        data=parameters["data"],
        span=parameters["span"],
        root=parameters["root"],
        pipeline=config.path.read_text("utf-8-sig"),
        table=table,
        output_config=split_output(config),
    )
    wiring = Wiring(
        examples=examples,
        training_rules=parameters["rules"],
        filter_rules=parameters["rules"],
        whole_rules=True,
        default_prune=PrunePolicy(),
        epochs=parameters["epochs"],
        root=parameters["root"],
        push_folder=parameters["push_folder"],
        on_not_blessed=config.on_not_blessed,
        schema=schema,
    )
    pipeline = Pipeline(
        pipeline_name=config.name,
        pipeline_root="",  # the finished spec has it
        components=create_components(config, table, wiring),
        enable_cache=config.kubeflow.cache,
        beam_pipeline_args=list(BEAM_ARGS),
    )
    settings = tfx_runner.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
    )
    job: dict[str, Any] = tfx_runner.KubeflowV2DagRunner(settings).run(pipeline, write_out=False)
    return job


def _dumped(value: Any) -> str:
    yaml = YAML()
    yaml.width = 4096  # a fold would be one more thing that versions of the library may do differently
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue()


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
