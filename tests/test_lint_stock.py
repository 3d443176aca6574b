"""What stock TFX compiles is refused, for the reasons for which open-source Kubeflow refuses it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from gated_pipelines.kubeflow.lint.command import lint
from gated_pipelines.kubeflow.lint.linting import lint_file


def stock_pipeline(root, module):
    import tensorflow_model_analysis as tfma
    from tfx import v1 as tfx

    data = tfx.dsl.experimental.RuntimeParameter(name="data", ptype=str, default="gs://bucket/data")
    examples = tfx.components.CsvExampleGen(input_base=data)
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"])
    trainer = tfx.components.Trainer(
        module_file=str(module),
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(num_steps=1),
        eval_args=tfx.proto.EvalArgs(num_steps=1),
    )
    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed")
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        eval_config=tfma.EvalConfig(),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(root / "serving"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(root),
        components=[examples, statistics, schema, trainer, resolver, evaluator, pusher],
        enable_cache=True,
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The same pipeline three times: as TFX writes YAML of schema 2.1, JSON of 2.1, and by default JSON of 2.0."""
    from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

    folder = tmp_path_factory.mktemp("compiled")
    module = folder / "module.py"
    module.write_text("def run_fn(fn_args):\n    pass\n")
    paths = {}
    for name, newer in (("stock21.yaml", True), ("stock21.json", True), ("stock20.json", False)):
        config = KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=newer)
        runner = KubeflowV2DagRunner(config, output_dir=str(folder), output_filename=name)
        runner.run(stock_pipeline(folder / "root", module))
        paths[name] = folder / name
    return paths


BOTH = {
    ("no-default", "root.inputDefinitions.parameters.data"),
    ("module-file", "root.dag.tasks.Trainer.inputs.parameters.module_path"),
    ("local-path", "root.dag.tasks.Pusher.inputs.parameters.push_destination"),
    ("pre-cache-check", "deploymentSpec.executors.CsvExampleGen_executor.container.lifecycle.preCacheCheck"),
    ("executor-kind", "deploymentSpec.executors.latest_blessed-model-resolver_executor.resolver"),
    ("executor-kind", "deploymentSpec.executors.latest_blessed-model-blessing-resolver_executor.resolver"),
    ("task-name", "root.dag.tasks.latest_blessed-model-resolver"),
    ("task-name", "root.dag.tasks.latest_blessed-model-blessing-resolver"),
    ("stale-examples", "root.dag.tasks.CsvExampleGen.cachingOptions.enableCache"),
    ("missing-dependency", "root.dag.tasks.latest_blessed-model-resolver.inputs.artifacts.input"),
} | {
    ("stock-entrypoint", f"deploymentSpec.executors.{name}_executor.container.command[2]")
    for name in ("CsvExampleGen", "StatisticsGen", "SchemaGen", "Trainer", "Evaluator", "Pusher")
}


def reasons(findings):
    return {(finding.rule, finding.where.split(".runtimeValue")[0]) for finding in findings}


def test_yaml_of_schema_2_1(compiled):
    assert reasons(lint_file(compiled["stock21.yaml"], None)) == BOTH


def test_json_is_also_wrapped_for_vertex_ai(compiled):
    wrapped = {(rule, f"pipelineSpec.{where}") for rule, where in BOTH}
    assert reasons(lint_file(compiled["stock21.json"], None)) == wrapped | {("pipeline-job", "pipelineSpec")}


def test_schema_2_0_has_other_parameters(compiled):
    rules = {finding.rule for finding in lint_file(compiled["stock20.json"], None)}
    more = {"pipeline-job", "schema-version", "parameter-type", "runtime-value", "tfx-arguments"}
    assert rules == {rule for rule, _where in BOTH} | more


def test_the_command_finds_the_names_that_do_not_import_and_no_others(compiled, tmp_path):
    text = compiled["stock21.yaml"].read_text()
    text = text.replace("tfx.components.pusher.executor.Executor", "tfx.components.pusher.executor.Nobody")
    text = text.replace("tfx.components.schema_gen.executor.Executor", "tfx.types.standard_artifacts.Model")
    text = text.replace("title: tfx.PushedModel", "title: nowhere.Pushed")
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    result = CliRunner().invoke(lint, [str(path), "--json"])
    assert result.exit_code == 1
    findings = json.loads(result.stdout.strip().splitlines()[-1])
    names = ("executor-class", "function-name", "artifact-type", "entrypoint", "imports")
    pushed, nobody, model = sorted(finding["message"] for finding in findings if finding["rule"] in names)
    assert "executor.Nobody does not import: AttributeError" in nobody
    assert "standard_artifacts.Model does not import: it is no subclass" in model
    assert "nowhere.Pushed does not import: ModuleNotFoundError" in pushed
    assert "Importing the" in result.stderr
