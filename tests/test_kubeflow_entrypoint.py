"""The container entrypoint runs TFX executors as Vertex AI and open-source Kubeflow Pipelines start them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types

import fsspec
import pytest
from loopback_s3 import loopback_s3, new_bucket
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.dsl.components.base import base_executor

from checkpoint_gate.errors import NoSurvivors
from gated_pipelines.beam_args import BEAM_ARGS
from gated_pipelines.kubeflow import entrypoint

CHAMPION = "checkpoint_gate.champion.executor.Executor"
SCHEMA_GEN = "tfx.components.schema_gen.executor.Executor"
IMPORT_SCHEMA_GEN = "tfx.components.schema_gen.import_schema_gen.executor.Executor"


def declared(**titles: str) -> dict:
    """Artifacts as a compiled component declares them: key -> type."""
    return {
        "artifacts": {
            key: {"artifactType": {"instanceSchema": f"title: {title}\ntype: object\n"}}
            for key, title in titles.items()
        }
    }


def runtime(key: str, uri: str, **more: object) -> dict:
    return {"artifacts": [{"name": key, "uri": uri, **more}]}


class OpenSource:
    """What the driver and the launcher of Kubeflow Pipelines 2 do around a container."""

    def __init__(self, mirror: pathlib.Path, scheme: str = "minio", folder: str = "minio") -> None:
        self.mirror, self.scheme, self.folder = mirror, scheme, folder

    def local(self, uri: str) -> pathlib.Path:
        return self.mirror / self.folder / uri.partition("://")[2]

    def executor_input(self, inputs: dict, outputs: dict, parameters: dict) -> dict:
        """Of inputs (key -> uri) and outputs (key -> (uri, title))."""
        logs = runtime("executor-logs", f"{self.scheme}://b/run/task/logs", type={"schemaTitle": "system.Artifact"})
        for uri, _ in outputs.values():
            self.local(uri).parent.mkdir(parents=True, exist_ok=True)
        report = self.local(f"{self.scheme}://b/run/task/output_metadata.json")
        return {
            "inputs": {
                "parameterValues": parameters,
                "artifacts": {
                    key: runtime("7", uri, type={"instanceSchema": ""}, metadata={"display_name": key})
                    for key, uri in inputs.items()
                },
            },
            "outputs": {
                "artifacts": {
                    "executor-logs": logs,
                    **{
                        key: runtime(key, uri, type={"instanceSchema": f"title: {title}\ntype: object\n"})
                        for key, (uri, title) in outputs.items()
                    },
                },
                "outputFile": str(report),
            },
        }

    def report(self) -> dict:
        return json.loads(self.local(f"{self.scheme}://b/run/task/output_metadata.json").read_text())


class Vertex:
    """What Vertex AI does: a mount, types as it knows them, and the report in the bucket."""

    def __init__(self, mirror: pathlib.Path) -> None:
        self.mirror = mirror

    def local(self, uri: str) -> pathlib.Path:
        return self.mirror / "gcs" / uri.removeprefix("gs://")

    def executor_input(self, inputs: dict, outputs: dict, parameters: dict) -> dict:
        (self.mirror / "gcs" / "b").mkdir(parents=True, exist_ok=True)
        name = "projects/1/locations/eu/metadataStores/default/artifacts"
        return {
            "inputs": {
                "parameterValues": parameters,
                "artifacts": {
                    key: {"artifacts": [{"name": f"{name}/7", "uri": uri, "type": {"schemaTitle": "tfx.Model"}}]}
                    for key, uri in inputs.items()
                },
            },
            "outputs": {
                "artifacts": {
                    key: {"artifacts": [{"name": f"{name}/8", "uri": uri, "type": {"schemaTitle": title}}]}
                    for key, (uri, title) in outputs.items()
                },
                "outputFile": "gs://b/1/run/task_-12/executor_output.json",
            },
        }

    def report(self) -> dict:
        return json.loads(self.local("gs://b/1/run/task_-12/executor_output.json").read_text())


def arguments(executor: str, executor_input: dict, inputs: dict, outputs: dict | None = None) -> list[str]:
    return [
        "--executor_class_path", executor,
        "--json_serialized_invocation_args", json.dumps(executor_input),
        "--json_serialized_inputs_spec_args", json.dumps(inputs),
        *(("--json_serialized_outputs_spec_args", json.dumps(outputs)) if outputs is not None else ()),
        *BEAM_ARGS,
    ]  # fmt: skip


def texts(*names: str) -> dict:
    return {"parameters": {name: {"parameterType": "STRING"} for name in names}}


def push(folder: pathlib.Path, version: str) -> None:
    (folder / version / "variables").mkdir(parents=True)
    (folder / version / "variables" / "variables.index").write_bytes(b"index")
    (folder / version / "saved_model.pb").write_bytes(b"graph")


def as_subprocess(argv: list[str], mirror: pathlib.Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "gated_pipelines.kubeflow.entrypoint", *argv],
        env={**os.environ, "GATED_PIPELINE_MIRROR": str(mirror), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("GATED_PIPELINE_MIRROR", str(folder))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield folder
    assert list(scratch.iterdir()) == []  # nothing stays behind


def test_under_the_open_source_launcher_champion_brings_the_newest_version(tmp_path, mirror):
    push(tmp_path / "push", "17")
    launcher = OpenSource(mirror)
    uri = "minio://b/run/Champion/model"
    parameters = {"push_destination": str(tmp_path / "push"), "push_state": ""}
    given = launcher.executor_input({}, {"model": (uri, "tfx.Model")}, parameters)
    done = as_subprocess(arguments(CHAMPION, given, texts(*parameters)), mirror)
    assert done.returncode == 0, done.stderr
    report = launcher.report()["artifacts"]
    assert list(report) == ["model"]
    assert report["model"]["artifacts"][0]["uri"] == uri
    assert report["model"]["artifacts"][0]["metadata"]["pushed_version"] == "17"
    assert (launcher.local(uri) / "Format-Serving" / "saved_model.pb").read_bytes() == b"graph"
    assert "done: checkpoint_gate.champion.executor.Executor" in done.stderr


def test_under_vertex_a_stock_executor_runs(tmp_path, mirror):
    (tmp_path / "schema.pbtxt").write_text('feature { name: "x" type: FLOAT }')
    launcher = Vertex(mirror)
    uri = "gs://b/1/run/ImportSchemaGen_8/schema"
    parameters = {"schema_file": str(tmp_path / "schema.pbtxt")}
    given = launcher.executor_input({}, {"schema": (uri, "tfx.Schema")}, parameters)
    done = as_subprocess(arguments(IMPORT_SCHEMA_GEN, given, texts(*parameters)), mirror)
    assert done.returncode == 0, done.stderr
    [schema] = launcher.report()["artifacts"]["schema"]["artifacts"]
    assert schema["uri"] == uri
    assert schema["name"].endswith("/artifacts/8")
    assert 'name: "x"' in (launcher.local(uri) / "schema.pbtxt").read_text()


def statistics() -> bytes:
    """Statistics of one numeric feature, as StatisticsGen writes them."""
    value = statistics_pb2.DatasetFeatureStatisticsList()
    feature = value.datasets.add(num_examples=3).features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    feature.path.step.append("mass")
    common = feature.num_stats.common_stats
    common.num_non_missing, common.min_num_values, common.max_num_values = 3, 1, 1
    return value.SerializeToString()


@pytest.fixture(scope="module")
def server():
    with loopback_s3() as url:
        yield url


@pytest.fixture
def bucket(server, mirror, monkeypatch):
    """A bucket of an S3 server, without any mirror of it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    return new_bucket()


def schema_task(root: str, report: str) -> list[str]:
    """A task that infers a schema from statistics below `root`."""
    inputs = {"statistics": runtime("7", f"{root}/statistics", metadata={"split_names": '["train"]'})}
    given = {
        "inputs": {"artifacts": inputs, "parameterValues": {"infer_feature_shape": 0, "exclude_splits": "[]"}},
        "outputs": {"artifacts": {"schema": runtime("schema", f"{root}/schema")}, "outputFile": report},
    }
    specified = declared(statistics="tfx.ExampleStatistics")
    specified["parameters"] = {
        "infer_feature_shape": {"parameterType": "NUMBER_INTEGER"},
        "exclude_splits": {"parameterType": "STRING"},
    }
    return arguments(SCHEMA_GEN, given, specified, declared(schema="tfx.Schema"))


@pytest.mark.parametrize(
    ("scheme", "reported"),
    [
        pytest.param("s3", "in the bucket", id="s3, the report in the bucket"),
        pytest.param("minio", "in the bucket", id="minio, the report in the bucket"),
        pytest.param("minio", "on the disk", id="minio, the report where the launcher reads it"),
    ],
)
def test_without_a_mirror_inputs_are_downloaded_and_outputs_uploaded(bucket, tmp_path, scheme, reported):
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.pipe(f"{bucket}/run/statistics/Split-train/FeatureStats.pb", statistics())
    fs.pipe(f"{bucket}/run/schema/part-2", b"of an attempt that failed")
    root = f"{scheme}://{bucket}/run"
    on_disk = tmp_path / "kfp" / "task" / "output.json"
    report = str(on_disk) if reported == "on the disk" else f"{root}/task/executor_output.json"
    assert entrypoint.main(schema_task(root, report)) == 0
    assert fs.find(f"{bucket}/run/schema") == [f"{bucket}/run/schema/schema.pbtxt"]
    assert b'name: "mass"' in fs.cat(f"{bucket}/run/schema/schema.pbtxt")
    text = on_disk.read_bytes() if reported == "on the disk" else fs.cat(f"{bucket}/run/task/executor_output.json")
    assert json.loads(text)["artifacts"]["schema"]["artifacts"][0]["uri"] == f"{root}/schema"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_on_a_disk_artifacts_stay_where_they_are(mirror, tmp_path, scheme):
    (tmp_path / "run" / "statistics" / "Split-train").mkdir(parents=True)
    (tmp_path / "run" / "statistics" / "Split-train" / "FeatureStats.pb").write_bytes(statistics())
    root = f"{scheme}{tmp_path}/run"
    assert entrypoint.main(schema_task(root, f"{tmp_path}/run/task/out.json")) == 0
    assert (tmp_path / "run" / "schema" / "schema.pbtxt").is_file()
    report = json.loads((tmp_path / "run" / "task" / "out.json").read_text())
    assert report["artifacts"]["schema"]["artifacts"][0]["uri"] == f"{root}/schema"


@pytest.fixture
def executor(monkeypatch):
    """A class that can be imported as `recorder.Executor`, to be given what it does."""
    module = types.ModuleType("recorder")

    class Executor(base_executor.BaseExecutor):
        def Do(self, input_dict, output_dict, exec_properties):
            module.seen = input_dict, output_dict, exec_properties, self._context
            return module.do(input_dict, output_dict, exec_properties)

    module.Executor, module.do = Executor, lambda *_: None
    Executor.__module__ = "recorder"
    monkeypatch.setitem(sys.modules, "recorder", module)
    return module


def recorded(inputs: dict, outputs: dict, report: str, **parameters: object) -> list[str]:
    """A task for `executor` with models as inputs and outputs, key -> URI."""
    given = {
        "inputs": {
            "artifacts": {key: runtime("7", uri) for key, uri in inputs.items()},
            "parameterValues": parameters,
        },
        "outputs": {"artifacts": {key: runtime(key, uri) for key, uri in outputs.items()}, "outputFile": report},
    }
    models = declared(**dict.fromkeys(inputs, "tfx.Model"))
    return arguments(
        "recorder.Executor", given, models | texts(*parameters), declared(**dict.fromkeys(outputs, "tfx.Model"))
    )


def test_what_an_executor_tells_of_folders_is_told_by_their_uris(mirror, executor, tmp_path):
    for key in ("candidate", "other"):
        (mirror / "gcs" / "b" / key).mkdir(parents=True)

    def tell(inputs, outputs, properties):
        [candidate], [model] = inputs["candidate"], outputs["model"]
        assert candidate.uri == str(mirror / "gcs" / "b" / "candidate")
        model.set_string_custom_property("of", candidate.uri)
        model.set_string_custom_property("file", f"{model.uri}/saved_model.pb")
        model.set_string_custom_property("beside", f"{candidate.uri}-2")
        model.set_string_custom_property("words", f"made of {candidate.uri}")

    executor.do = tell
    report = tmp_path / "task" / "out.json"
    argv = recorded({"candidate": "gs://b/candidate"}, {"model": "gs://b/model"}, str(report))
    assert entrypoint.main(argv) == 0
    [model] = json.loads(report.read_text())["artifacts"]["model"]["artifacts"]
    assert model["metadata"]["of"] == "gs://b/candidate"
    assert model["metadata"]["file"] == "gs://b/model/saved_model.pb"
    assert model["metadata"]["beside"] == f"{mirror}/gcs/b/candidate-2"
    assert model["metadata"]["words"] == f"made of {mirror}/gcs/b/candidate"


@pytest.mark.parametrize(
    ("given", "received"),
    [
        pytest.param("minio://b/root", "s3://b/root", id="MinIO by the protocol of S3"),
        pytest.param("s3://b/root", "s3://b/root", id="S3 as it is"),
        pytest.param("in minio://b/root", "in minio://b/root", id="only where it begins so"),
    ],
)
def test_parameters_name_places_that_fsspec_knows(mirror, executor, tmp_path, monkeypatch, given, received):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert entrypoint.main(recorded({}, {}, str(tmp_path / "task" / "out.json"), root=given, other="x")) == 0
    assert executor.seen[2] == {"root": received, "other": "x"}


def test_the_report_of_a_driver_changes_parameters(mirror, executor, tmp_path):
    report = tmp_path / "task-9" / "out.json"
    report.parent.mkdir()
    report.write_text('{"parameterValues": {"span": "3"}}')
    assert entrypoint.main(recorded({}, {}, str(report), span="")) == 0
    assert executor.seen[2] == {"span": "3"}
    assert executor.seen[3]._unique_id == "task-9"


def test_an_input_of_which_the_mirror_has_nothing_is_an_empty_folder(mirror, executor, tmp_path):
    (mirror / "minio" / "b").mkdir(parents=True)
    listed = []
    executor.do = lambda inputs, outputs, properties: listed.append(os.listdir(inputs["pushed"][0].uri))
    assert entrypoint.main(recorded({"pushed": "minio://b/pushed"}, {}, str(tmp_path / "task" / "o.json"))) == 0
    assert listed == [[]]


@pytest.mark.parametrize("uri", ["gs://b/model", "{tmp_path}/model"])
def test_what_a_failed_attempt_left_in_an_output_goes_before_the_next(mirror, executor, tmp_path, uri):
    uri = uri.format(tmp_path=tmp_path)
    folder = mirror / "gcs" / "b" / "model" if uri.startswith("gs") else tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "shard-00001-of-00002").write_text("half")
    listed = []
    executor.do = lambda inputs, outputs, properties: listed.append(os.listdir(outputs["model"][0].uri))
    assert entrypoint.main(recorded({}, {"model": uri}, str(tmp_path / "task" / "o.json"))) == 0
    assert listed == [[]]


def test_what_an_executor_refuses_is_one_sentence_and_nothing_is_handed_over(bucket, executor, tmp_path, capsys):
    def refuse(inputs, outputs, properties):
        (pathlib.Path(outputs["model"][0].uri) / "half").write_text("half")
        raise NoSurvivors("No checkpoint survived: val_loss 0.61 is above 0.5.")

    executor.do = refuse
    report = tmp_path / "task" / "out.json"
    assert entrypoint.main(recorded({}, {"model": f"s3://{bucket}/model"}, str(report))) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1] == "NoSurvivors: No checkpoint survived: val_loss 0.61 is above 0.5."
    )
    assert fsspec.filesystem("s3", use_listings_cache=False).find(bucket) == []
    assert not report.exists()


def test_what_nobody_foresaw_shows_its_traceback(mirror, executor, tmp_path):
    def fail(inputs, outputs, properties):
        raise KeyError("a bug")

    executor.do = fail
    with pytest.raises(KeyError, match="a bug"):
        entrypoint.main(recorded({}, {}, str(tmp_path / "task" / "out.json")))


def task(**changes: object) -> list[str]:
    """Arguments that would run Champion, but for the changes."""
    given = {
        "inputs": {"artifacts": changes.get("inputs", {}), "parameterValues": changes.get("parameters", {})},
        "outputs": {
            "artifacts": {"model": runtime("model", changes.get("uri", "gs://b/model"))},
            "outputFile": "/tmp/never",
        },
    }
    outputs = declared(model=changes.get("title", "tfx.Model"))
    return arguments(changes.get("executor", CHAMPION), given, changes.get("spec", {}), changes.get("outputs", outputs))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(
            task(parameters={"root": "minio://b/x"}),
            "minio://b/x cannot be reached: AWS_ENDPOINT_URL must tell where the MinIO server is, for example "
            "http://minio-service.kubeflow:9000, in the environment of the container.",
            id="a minio parameter without an endpoint",
        ),
        pytest.param(
            task(uri="minio://b/model"),
            "minio://b/model cannot be reached: AWS_ENDPOINT_URL must tell where the MinIO server is, for example "
            "http://minio-service.kubeflow:9000, in the environment of the container.",
            id="a minio artifact without mirror and endpoint",
        ),
        pytest.param(
            task(outputs={}),
            "Neither the launcher nor --json_serialized_outputs_spec_args tells the type of the output model: compile "
            "the pipeline with `gated-pipeline compile`, which writes it there.",
            id="an output without a type",
        ),
        pytest.param(
            task(inputs={"run": runtime("1", "gs://b/run", type={"instanceSchema": ""})}),
            "Neither the launcher nor --json_serialized_inputs_spec_args tells the type of the input run: compile "
            "the pipeline with `gated-pipeline compile`, which writes it there.",
            id="an input without a type",
        ),
        pytest.param(
            task(title="no_such_package.Model"),
            "no_such_package.Model, the type of the output model, cannot be imported (No module named "
            "'no_such_package'): the image must hold the code that the pipeline was compiled with.",
            id="a type that the image lacks",
        ),
        pytest.param(
            task(executor="checkpoint_gate.champion.executor.NoSuch"),
            "checkpoint_gate.champion.executor.NoSuch, the executor, cannot be imported "
            "(checkpoint_gate.champion.executor has no NoSuch): the image must hold the code that the "
            "pipeline was compiled with.",
            id="an executor that the image lacks",
        ),
        pytest.param(
            task(uri="gs://b/../other/model"),
            "An artifact's URI must be a plain one, such as gs://bucket/key. Received: gs://b/../other/model.",
            id="a URI that climbs",
        ),
        pytest.param(
            ["--executor_class_path", CHAMPION, "--json_serialized_invocation_args", "{{$}}"],
            "--json_serialized_invocation_args must be JSON (Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)).",
            id="started without a launcher",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(mirror, capsys, argv, said):
    assert entrypoint.main(argv) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"ConfigError: {said}"


def test_a_driver_that_is_missing_is_one_sentence_that_names_the_extra(mirror, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    assert entrypoint.main(task(inputs={"run": runtime("1", "gs://b/run", type={"schemaTitle": "tfx.Model"})})) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("StoreError: gs://b/run needs a driver that is not installed: ")
    assert last.endswith("; it comes with checkpoint-gate[gs].")


def test_a_bucket_that_is_not_there_is_one_sentence(bucket, executor, tmp_path, capsys):
    executor.do = lambda inputs, outputs, properties: (pathlib.Path(outputs["model"][0].uri) / "file").write_text("x")
    argv = recorded({}, {"model": "s3://no-such-bucket/model"}, str(tmp_path / "task" / "out.json"))
    assert entrypoint.main(argv) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("StoreError: s3://no-such-bucket/model could not be uploaded: ")


def test_a_report_that_cannot_be_written_is_one_sentence(bucket, executor, capsys):
    assert entrypoint.main(recorded({}, {}, "s3://no-such-bucket/task/out.json")) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("StoreError: s3://no-such-bucket/task/out.json could not be written: ")
