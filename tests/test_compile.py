"""The compiled file: what it says, that it is always the same, and that what it names does its work."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from checkpoint_gate.errors import ConfigError, RuleError, StoreError
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules
from checkpoint_gate.rules.filtering import PrunePolicy
from gated_pipelines.config.pipeline_config import load_config, parse_config
from gated_pipelines.kubeflow.compile.differences import without_effect
from gated_pipelines.kubeflow.compile.finishing import LOOK_OUTSIDE
from gated_pipelines.kubeflow.lint.linting import lint_data

HERE = Path(__file__).resolve().parents[1]
PENGUINS = HERE / "data" / "penguins" / "pipeline.yaml"
GOLDEN = HERE / "kubeflow" / "gated-penguins.yaml"
IMAGE, ROOT = "registry.example/checkpoint-gate:0.1.0", "gs://your-bucket/penguins"


@pytest.fixture(scope="module")
def compile_text():
    """Compiles the penguins with something added to their pipeline.yaml."""
    from gated_pipelines.kubeflow.compile.compiling import compile_pipeline

    def compiled(folder, more="", **options):
        file = folder / "pipeline.yaml"
        table = PENGUINS.parent / "penguins.csv"
        file.write_text(PENGUINS.read_text().replace("csv: penguins.csv", f"csv: {table}") + more)
        return compile_pipeline(file, options.get("image", IMAGE), options.get("root", ROOT), options.get("data"))

    return compiled


@pytest.fixture(scope="module")
def golden():
    return yaml.safe_load(GOLDEN.read_text())


def test_the_committed_file_is_what_compiles_now():
    from gated_pipelines.kubeflow.compile.compiling import compile_pipeline

    assert compile_pipeline(PENGUINS, IMAGE, ROOT).text == GOLDEN.read_text(), "run `make compile`"


def test_parameters_and_their_defaults(golden):
    parameters = dict(golden["root"]["inputDefinitions"]["parameters"])
    config = load_config(PENGUINS)
    rules = yaml.safe_load(parameters.pop("rules")["defaultValue"])
    assert parameters == {
        "data": {"parameterType": "STRING", "defaultValue": "data/penguins.csv"},
        "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": config.train.epochs},
        "push_folder": {"parameterType": "STRING", "defaultValue": "serving"},
        "root": {"parameterType": "STRING", "defaultValue": ROOT},
        "span": {"parameterType": "STRING", "defaultValue": ""},
    }
    assert {name: rules[name] for name in ("save", "keep", "filter")} == {
        name: config.located.data["rules"][name] for name in ("save", "keep", "filter")
    }


def test_nothing_that_open_source_kubeflow_cannot_do(golden):
    text = GOLDEN.read_text()
    assert golden["schemaVersion"] == "2.1.0"
    assert golden["defaultPipelineRoot"] == f"{ROOT}/artifacts"
    assert "preCacheCheck" not in text
    assert all(set(executor) == {"container"} for executor in golden["deploymentSpec"]["executors"].values())
    assert not re.search(r"(?<![\w:/.])/(home|work|tmp|root|usr)\b", text), "a path of the machine that compiled it"


@pytest.mark.parametrize(
    "python", [sys.executable, HERE / ".venv-peers/bin/python"], ids=["TFX's kfp", "the newest kfp"]
)
def test_the_sdk_loads_it(python, golden):
    assert Path(python).exists(), "There is no newer kfp: run `make test`, which makes .venv-peers."
    script = HERE / "tests/peers/kfp_load.py"
    done = subprocess.run([python, script, GOLDEN], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded["version"] == ("2.16.1" if python != sys.executable else importlib.metadata.version("kfp"))
    declared = golden["root"]["inputDefinitions"]["parameters"]
    kinds = {"STRING": "String", "NUMBER_INTEGER": "Integer"}
    assert loaded["inputs"] == {
        name: [kinds[given["parameterType"]], given["defaultValue"]] for name, given in declared.items()
    }


def test_every_executor_is_told_the_types_of_its_outputs(golden):
    for name, component in golden["components"].items():
        args = golden["deploymentSpec"]["executors"][f"{name}_executor"]["container"]["args"]
        told = args[args.index("--json_serialized_outputs_spec_args") + 1]
        assert json.loads(told) == component["outputDefinitions"]


def test_resources_environment_and_retries_by_component(compile_text, tmp_path):
    more = """
kubeflow:
  resources:
    default: {cpu: 1, memory: 2GiB}
    Trainer: {memory: 8GiB, gpu: {type: nvidia.com/gpu}}
  env:
    default: {AWS_ENDPOINT_URL: "http://minio:9000", WHO: all}
    Pusher: {WHO: pusher}
  retries: 2
"""
    spec = compile_text(tmp_path, more.replace("1, memory", "1.5, memory")).spec
    containers = {
        name: spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"] for name in spec["components"]
    }
    assert containers["Transform"]["resources"] == {"cpuLimit": 1.5, "memoryLimit": pytest.approx(2 * 1.073741824)}
    assert containers["Trainer"]["resources"] == {
        "cpuLimit": 1.5,
        "memoryLimit": pytest.approx(8 * 1.073741824),
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    assert containers["Pusher"]["env"] == [
        {"name": "AWS_ENDPOINT_URL", "value": "http://minio:9000"},
        {"name": "WHO", "value": "pusher"},
    ]
    tasks = spec["root"]["dag"]["tasks"]
    # Without the last one servers from 2.14 on give up at the first failure.
    policy = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "604800s"}
    assert [task["retryPolicy"] for task in tasks.values()] == [policy] * len(tasks)
    assert [finding.rule for finding in lint_data(spec)] == ["accelerator-name"]  # a GPU of one of the backends


def test_rules_given_without_prune_are_pruned_as_a_pipeline_without_it(golden):
    default = golden["root"]["dag"]["tasks"]["CheckpointFilter"]["inputs"]["parameters"]["default_prune"]
    assert parse_rules(default["runtimeValue"]["constant"]) == RuleSet(prune=PrunePolicy())


def test_caching_spares_what_looks_outside(compile_text, tmp_path, golden):
    assert {str(task["cachingOptions"]) for task in golden["root"]["dag"]["tasks"].values()} == {"{}"}
    cached = compile_text(tmp_path, "\nkubeflow: {cache: true}\n").spec["root"]["dag"]["tasks"]
    assert {name for name, task in cached.items() if not task["cachingOptions"]} == set(LOOK_OUTSIDE)
    assert cached["Trainer"]["cachingOptions"] == {"enableCache": True}


def test_lint_sees_what_must_not_be_cached(golden):
    spec = json.loads(json.dumps(golden))
    for task in spec["root"]["dag"]["tasks"].values():
        task["cachingOptions"] = {"enableCache": True}
    found = [finding.where.split(".")[3] for finding in lint_data(spec) if finding.rule == "looks-outside"]
    assert sorted(found) == sorted(LOOK_OUTSIDE)


def test_another_table_by_default(compile_text, tmp_path):
    spec = compile_text(tmp_path, data="s3://bucket/m-{SPAN}.csv").spec
    assert spec["root"]["inputDefinitions"]["parameters"]["data"]["defaultValue"] == "s3://bucket/m-{SPAN}.csv"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"image": ""}, "must be named as .* Received: ''", id="no image, of an unset variable"),
        pytest.param({"image": "https://r/x:1"}, "neither spaces nor https://. Received", id="a URL for an image"),
    ],
)
def test_a_wrong_option_is_refused(compile_text, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        compile_text(tmp_path, **options)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        pytest.param("resources: {Trainr: {cpu: 1}}", "Trainr", id="no such component"),
        pytest.param("resources: {Trainer: {memory: lots}}", "a size such as", id="no size"),
        pytest.param("resources: {Trainer: {cpu: 0.0}}", "cpu", id="no cores"),
        pytest.param("resources: {Trainer: {gpu: {count: 1}}}", "type", id="a gpu without a type"),
        pytest.param(
            "env: {default: {MY-VAR: x}}",
            r"kubeflow.env.default.MY-VAR must be named by letters, digits and _, not beginning with a digit, "
            "received 'MY-VAR'",
            id="no name of a variable",
        ),
        pytest.param("retries: 11", "retries", id="too many retries"),
        pytest.param("cash: true", "unknown key", id="a misspelt key"),
    ],
)
def test_a_wrong_section_is_told_with_its_line(section, words):
    with pytest.raises(ConfigError, match=words) as raised:
        parse_config(PENGUINS.read_text() + f"\nkubeflow:\n  {section}\n", PENGUINS)
    assert re.search(r"pipeline.yaml(:| line )\d+", str(raised.value))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param("folder: serving", "folder: serving", (), id="nothing"),
        pytest.param(
            "folder: serving",
            "folder: serving, keep: {last: 3}",
            (f"push.keep ({PENGUINS} line 56) has no effect in a compiled pipeline: every pushed version stays.",),
            id="keeping few versions",
        ),
        pytest.param(
            "on_no_survivors:",
            "disk: {keep_runs: 3}\non_no_survivors:",
            (
                f"disk ({PENGUINS} line 57) has no effect in a compiled pipeline: what its runs leave stays below the "
                "root until somebody removes it.",
            ),
            id="keeping few runs",
        ),
    ],
)
def test_what_has_no_effect_once_compiled_is_told_with_its_line(old, new, told):
    config = parse_config(PENGUINS.read_text().replace(old, new), PENGUINS)
    assert without_effect(config) == told


def test_the_command_tells_what_has_no_effect(tmp_path):
    from gated_pipelines.kubeflow.compile.command import compile_command

    table = PENGUINS.parent / "penguins.csv"
    file = tmp_path / "pipeline.yaml"
    text = PENGUINS.read_text().replace("csv: penguins.csv", f"csv: {table}")
    file.write_text(text.replace("folder: serving", "folder: serving, keep: {last: 3}"))
    command = [str(file), "--image", IMAGE, "--root", ROOT, "-o", str(tmp_path / "out.yaml")]
    done = CliRunner().invoke(compile_command, command, catch_exceptions=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("Warning: ")] == [
        f"Warning: {sentence}" for sentence in without_effect(load_config(file))
    ]
    assert "Warning" not in done.stdout
    assert "push.keep (" in done.stderr


def test_the_command_writes_and_checks(tmp_path):
    from gated_pipelines.kubeflow.compile.command import compile_command

    file = tmp_path / "sub" / "out.yaml"
    common = [str(PENGUINS), "--image", IMAGE, "--root", ROOT, "-o", str(file)]
    runner = CliRunner()
    assert "Wrote" in runner.invoke(compile_command, common, catch_exceptions=False).output
    assert file.read_bytes() == GOLDEN.read_bytes()
    assert "is what" in runner.invoke(compile_command, [*common, "--check"], catch_exceptions=False).output
    file.write_text(file.read_text().replace("defaultValue: 40", "defaultValue: 41"))
    with pytest.raises(ConfigError, match="compile it again without --check"):
        runner.invoke(compile_command, [*common, "--check"], catch_exceptions=False)
    assert "defaultValue: 41" in file.read_text(), "checking writes nothing"


@pytest.fixture
def example_gen(tmp_path):
    """Executes CsvExampleGen as a compiled pipeline does; gives its examples' folder and artifact."""
    from tfx.types import standard_artifacts

    from gated_pipelines.beam_args import BEAM_ARGS
    from gated_pipelines.pipeline import split_output
    from gated_pipelines.table_example_gen.component import CsvExampleGen
    from gated_pipelines.table_example_gen.executor import Executor
    from gated_pipelines.tables.staging import stage_table

    def execute(data, span="", root=str(tmp_path)):
        config = load_config(PENGUINS)
        component = CsvExampleGen(
            data=data, span=span, root=root, pipeline=PENGUINS.read_text(),
            table=stage_table(config, tmp_path / "known").spec, output_config=split_output(config),
        )  # fmt: skip
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        context = Executor.Context(beam_pipeline_args=list(BEAM_ARGS), tmp_dir=str(tmp_path / "tmp"), unique_id="1")
        Executor(context).Do({}, {"examples": [examples]}, dict(component.exec_properties))
        return examples

    return execute


def rows_of(folder):
    import tensorflow as tf

    return {
        split: sorted(
            tf.train.Example.FromString(example.numpy()).SerializeToString(deterministic=True)
            for file in Path(folder, f"Split-{split}").iterdir()
            for example in tf.data.TFRecordDataset(str(file), compression_type="GZIP")
        )
        for split in ("train", "eval", "test")
    }


def test_examples_are_those_of_a_local_run(example_gen, tmp_path):
    from tfx.components.example_gen.csv_example_gen.executor import Executor
    from tfx.types import standard_artifacts
    from tfx.v1 import components, proto

    from gated_pipelines.beam_args import BEAM_ARGS
    from gated_pipelines.pipeline import split_output
    from gated_pipelines.tables.staging import stage_table

    table = (PENGUINS.parent / "penguins.csv").read_text()
    (tmp_path / "month-3.csv").write_text(table.replace("Adelie", "Gentoo"))
    (tmp_path / "month-12.csv").write_text(table)
    made = example_gen("month-{SPAN}.csv")
    config = load_config(PENGUINS)
    staged = stage_table(config, tmp_path / "staged")
    stock = components.CsvExampleGen(
        input_base=str(staged.folder),
        input_config=proto.Input(splits=[proto.Input.Split(name="table", pattern=staged.file)]),
        output_config=split_output(config),
    )
    local = standard_artifacts.Examples()
    local.uri = str(tmp_path / "local")
    context = Executor.Context(beam_pipeline_args=list(BEAM_ARGS), tmp_dir=str(tmp_path / "tmp"), unique_id="2")
    Executor(context).Do({}, {"examples": [local]}, dict(stock.exec_properties))
    assert rows_of(made.uri) == rows_of(local.uri)
    assert made.span == 12
    assert json.loads(made.split_names) == ["train", "eval", "test"]
    note = json.loads(Path(made.uri, "data.json").read_text())
    told = {"table": staged.digest, "data": f"{tmp_path}/month-12.csv", "rows": staged.rows, "spans": [12]}
    assert note == told
    for name, month in (("newest.csv", table), ("previous.csv", table.replace("Adelie", "Gentoo"))):
        rows = csv.DictReader(Path(made.uri, name).read_text().splitlines())
        assert [row["species"] for row in rows] == [row["species"] for row in csv.DictReader(month.splitlines())]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda t: t.replace("Adelie", "Emperor"), "'Emperor'.*compiled for the classes", id="a new class"),
        pytest.param(
            lambda t: t.replace("island", "isle", 1), "names 'island', which is no column", id="a column gone"
        ),
        pytest.param(
            lambda t: re.sub(r"(Torgersen|Biscoe|Dream)", "", t), "no value of 'island'", id="a column without values"
        ),
        pytest.param(lambda t: "", "is empty", id="an empty file"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_its_own_name(example_gen, tmp_path, change, words):
    (tmp_path / "new.csv").write_text(change((PENGUINS.parent / "penguins.csv").read_text()))
    with pytest.raises(ConfigError, match=words) as raised:
        example_gen("new.csv")
    assert "/tmp/table-" not in str(raised.value)


def test_a_class_that_no_row_has_keeps_its_id(tmp_path):
    from gated_pipelines.tables.staging import stage_table

    config = load_config(PENGUINS)
    known = stage_table(config, tmp_path / "known")
    (tmp_path / "fewer.csv").write_text(
        "".join(line for line in config.csv.read_text().splitlines(True) if not line.startswith("Adelie"))
    )
    fewer = stage_table(config.with_csv(tmp_path / "fewer.csv"), tmp_path / "staged", known.spec)
    assert fewer.classes == known.classes
    assert fewer.spec == known.spec


def test_a_table_that_is_not_there(example_gen, tmp_path):
    with pytest.raises(ConfigError, match=r"There is no file .*/gone.csv"):
        example_gen("gone.csv")


def test_a_folder_that_may_not_be_listed_is_not_an_empty_one(example_gen, monkeypatch):
    def forbidden(folder):
        raise PermissionError(13, "Forbidden")

    monkeypatch.setattr("gated_pipelines.tables.spans.names_in", forbidden)
    with pytest.raises(StoreError, match=r"The table s3://b/m-\{SPAN\}.csv cannot be found: Forbidden."):
        example_gen("s3://b/m-{SPAN}.csv")


def test_a_table_that_may_not_be_read_is_one_sentence(example_gen, monkeypatch):
    def forbidden(path):
        raise PermissionError("Unable to locate credentials")

    monkeypatch.setattr("gated_pipelines.table_example_gen.executor.is_there", forbidden)
    with pytest.raises(StoreError, match=r"The table s3://b/m.csv cannot be read: Unable to locate credentials."):
        example_gen("s3://b/m.csv")


WHERE = {"root": "gs://b/x", "push_folder": "serving"}


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        pytest.param({"rules": "save: {metric: loss, at_mst: 1}"}, RuleError, "at_mst", id="rules with a misspelt key"),
        pytest.param(
            {"rules": "filter: {metric: loss, at_most: 1}"}, RuleError, "section `save`", id="nothing to save by"
        ),
        pytest.param(
            {"whole_rules": 1.0}, RuleError, "section `filter`; nothing was trained", id="nothing to filter by, later"
        ),
        pytest.param({"epochs": 0}, ConfigError, "epochs must be a whole number from 1", id="no epochs"),
    ],
)
def test_trainer_refuses_wrong_parameters_before_training(given, error, words):
    from gated_pipelines.gated_trainer.executor import Executor

    right = {"rules": "save: {metric: loss, at_most: 1}", "epochs": 1, **WHERE, "custom_config": "{}"}
    with pytest.raises(error, match=words):
        Executor().Do({}, {}, {**right, **given})


def test_trainer_hands_the_runs_parameters_to_training(monkeypatch):
    from tfx.components.trainer import executor as tfx_executor
    from tfx.utils import json_utils

    from gated_pipelines.gated_trainer.executor import Executor

    given = []
    monkeypatch.setattr(tfx_executor.GenericExecutor, "Do", lambda self, *arguments: given.append(arguments))
    rules = "save: {metric: val_loss, at_most: {champion: val_loss, times: 1.05}}"
    parameters = {"rules": rules, "epochs": 1, **WHERE, "custom_config": "{}"}
    Executor().Do({}, {}, parameters)
    config = json_utils.loads(given[0][2]["custom_config"])
    assert config["wait_for_lease"] == 720.0
    assert (config["store"], config["push_folder"]) == ("gs://b/x/store", "gs://b/x/serving")
    assert parse_rules(config["rules"]) == parse_rules(rules)  # looked up when the run begins, and remembered there
