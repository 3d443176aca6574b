"""What a task is given in a rehearsal: order, parameters, placeholders, and the ExecutorInput of both modes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ExecutorInput
from small_pipeline import compiled, write

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.rehearsal.driver_input import Artifact, Produced, Run, executor_input
from gated_pipelines.kubeflow.rehearsal.placeholders import fill
from gated_pipelines.kubeflow.rehearsal.root_parameters import root_parameters
from gated_pipelines.kubeflow.rehearsal.task_graph import Task, in_order, read_tasks
from gated_pipelines.kubeflow.rehearsal.wire import as_text, local_path, to_json

SALT = 7
MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
METADATA = {"name": "m", "steps": 3.0, "good": True, "parts": ["a"], "more": {"b": 1.5}}
PRODUCED = {"A": Produced({"model": Artifact(5, "/root/a/model", MODEL, METADATA)}, {"best": 7.0})}


def read(tmp_path, tasks, parameters=None, **other):
    return read_tasks(write(tmp_path / "p.yaml", compiled(tasks, parameters, **other)))


def run(mode="open-source", **parameters):
    return Run(mode, "small", "run-1", "/root", parameters, "2026-11-23T03:00:00Z")


def given(tmp_path, task, mode="open-source", attempt=0, **parameters):
    """The ExecutorInput of the task B, which comes after A."""
    tasks = {"A": {"outputs": ["model"]}, "B": task}
    spec = read(tmp_path, tasks, parameters)
    return executor_input(run(mode, **parameters), spec.task("B"), SALT, PRODUCED, 6, attempt, "/scratch")


def task(name, *needs):
    return Task(name, {}, {}, {}, {}, frozenset(needs), 0)


@pytest.mark.parametrize(
    ("tasks", "order"),
    [
        pytest.param([task("B", "A"), task("A")], "AB", id="a producer comes first"),
        pytest.param([task("C"), task("A"), task("B")], "ABC", id="equals go by name"),
        pytest.param(
            [task("A"), task("B"), task("C", "B"), task("D", "C", "A")], "BACD", id="the longest chain begins first"
        ),
        pytest.param([task("D", "B", "C"), task("C", "A"), task("B", "A"), task("A")], "ABCD", id="a diamond"),
    ],
)
def test_order(tasks, order):
    assert "".join(one.name for one in in_order(Path("p.yaml"), tasks)) == order


def test_the_order_keeps_every_need_of_random_graphs():
    chance = random.Random(3)
    for size in range(1, 30):
        names = [f"t{i}" for i in range(size)]
        tasks = [task(n, *chance.sample(names[:i], min(i, chance.randint(0, 3)))) for i, n in enumerate(names)]
        chance.shuffle(tasks)
        order = in_order(Path("p.yaml"), tasks)
        assert sorted(t.name for t in order) == sorted(names)
        places = {one.name: place for place, one in enumerate(order)}
        assert all(places[need] < places[one.name] for one in order for need in one.needs)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        pytest.param([task("A", "B"), task("B", "A"), task("C")], "the tasks A, B wait for one another", id="a circle"),
        pytest.param([task("A", "Z")], "the task A needs the task Z, which is not in the file", id="nobody makes it"),
    ],
)
def test_no_order(tasks, words):
    with pytest.raises(ConfigError, match=words):
        in_order(Path("p.yaml"), tasks)


def test_what_lies_above_and_below_a_task(tmp_path):
    spec = read(tmp_path, {"A": {}, "B": {"after": ["A"]}, "C": {"after": ["B"]}, "D": {"after": ["A"]}, "E": {}})
    assert spec.below("B") == {"B", "C"}
    assert spec.above("C") == {"A", "B"}


def test_a_task_waits_for_who_makes_its_inputs_though_the_file_does_not_say_so(tmp_path):
    spec = compiled({"B": {"inputs": {"given": "Z.model"}}, "Z": {"outputs": ["model"]}})
    del spec["root"]["dag"]["tasks"]["B"]["dependentTasks"]
    assert [task.name for task in read_tasks(write(tmp_path / "p.yaml", spec)).tasks] == ["Z", "B"]


def change(path, value):
    """A change of the compiled file: the value at a path of keys, None to remove it."""

    def do(spec):
        *before, last = path
        for key in before:
            spec = spec[key]
        if value is None:
            del spec[last]
        else:
            spec[last] = value

    return do


@pytest.mark.parametrize(
    ("do", "words"),
    [
        pytest.param(change(["schemaVersion"], "2.0.0"), "must have schemaVersion 2.1.0. Received: '2.0.0'", id="old"),
        pytest.param(
            change(["pipelineSpec"], {}), "must be a bare pipeline spec, .* Received: a PipelineJob", id="a job"
        ),
        pytest.param(change(["root", "dag", "tasks"], {}), "has no tasks", id="empty"),
        pytest.param(
            change(["deploymentSpec", "executors", "A_executor"], {"resolver": {}}),
            "the task A must be executed by a container to be rehearsed. Received: resolver",
            id="a resolver",
        ),
        pytest.param(change(["components"], {}), "must be executed by a container.*no executor", id="no component"),
        pytest.param(
            change(["root", "dag", "tasks", "A", "triggerPolicy"], {"condition": "true"}),
            "the task A has a condition",
            id="a condition",
        ),
        pytest.param(
            change(["root", "dag", "tasks", "A", "parameterIterator"], {"itemInput": "x"}),
            "the task A is repeated by a parameterIterator",
            id="a loop",
        ),
        pytest.param(change(["root"], 3), "must have a name at pipelineInfo.name, and a root", id="another shape"),
    ],
)
def test_files_that_are_refused(tmp_path, do, words):
    spec = compiled({"A": {}})
    do(spec)
    with pytest.raises(ConfigError, match=words):
        read_tasks(write(tmp_path / "p.yaml", spec))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "must be YAML", id="no YAML"),
        pytest.param("- 1", "must hold one mapping. Received: list", id="a list"),
        pytest.param(None, "cannot be read: No such file", id="nothing"),
    ],
)
def test_what_is_no_compiled_file(tmp_path, text, words):
    if text is not None:
        (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_tasks(tmp_path / "p.yaml")


DEFAULTS = {"data": "data.csv", "epochs": 40, "rate": 0.5, "fast": False, "names": ["a"], "root": "gs://b/r"}


@pytest.mark.parametrize(
    ("texts", "changes"),
    [
        pytest.param([], {}, id="defaults"),
        pytest.param(["epochs=3"], {"epochs": 3}, id="a whole number"),
        pytest.param(["rate=3"], {"rate": 3}, id="a whole number is a number"),
        pytest.param(["fast=true"], {"fast": True}, id="a truth value"),
        pytest.param(['names=["b", "c"]'], {"names": ["b", "c"]}, id="a list"),
        pytest.param(["data=a=b"], {"data": "a=b"}, id="a text may hold an equals sign"),
        pytest.param(["data="], {"data": ""}, id="an empty text"),
        pytest.param(["data=3"], {"data": "3"}, id="a text stays a text"),
    ],
)
def test_parameters(tmp_path, texts, changes):
    spec = read(tmp_path, {"A": {}}, DEFAULTS)
    fixed = {"root": "/here", "not a parameter": 1}
    assert root_parameters(spec, texts, fixed) == DEFAULTS | {"root": "/here"} | changes


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        pytest.param(
            ["epoch=3"],
            r"has no parameter 'epoch' \(did you mean epochs\?\)",
            id="a slip of the pen",
        ),
        pytest.param(["epochs"], "must be given as NAME=VALUE. Received: 'epochs'", id="no value"),
        pytest.param(["epochs=many"], "epochs must be a whole number, .* Received: 'many'", id="no number"),
        pytest.param(["epochs=1.5"], "epochs must be a whole number, .* Received: '1.5'", id="a fraction"),
        pytest.param(["epochs=true"], "epochs must be a whole number", id="a truth value is no number"),
        pytest.param(["rate=fast"], "rate must be a finite number", id="a word"),
        pytest.param(["fast=1"], "fast must be true or false. Received", id="no truth value"),
        pytest.param(["names=a,b"], "names must be a JSON list", id="no list"),
        pytest.param([], "has no default for label: give each with -p NAME=VALUE", id="missing"),
    ],
)
def test_parameters_that_are_refused(tmp_path, texts, words):
    spec = read(tmp_path, {"A": {}}, DEFAULTS | {"label": None})
    with pytest.raises(ConfigError, match=words):
        root_parameters(spec, [*texts, "label=x"] if texts else texts, {})


def test_open_source_executor_input(tmp_path):
    task = {"inputs": {"trained": "A.model"}, "outputs": ["model"], "parameters": {"rules": "$rules", "n": "1"}}
    place = "/root/small/run-1/B/00000000-0000-0000-0000-000000000007"
    assert given(tmp_path, task, attempt=2, rules="{}") == {
        "inputs": {
            "artifacts": {
                "trained": {
                    "artifacts": [
                        {
                            "name": "5",
                            "uri": "/root/a/model",
                            "type": {"instanceSchema": ""},
                            "metadata": {
                                "display_name": "model",
                                "store_session_info": '{"Provider":"","Params":null}',
                                "name": "m",
                                "steps": 3.0,
                                "good": 1,
                                "parts": {"list": ["a"]},
                                "more": {"struct": {"b": 1.5}},
                            },
                        }
                    ]
                }
            },
            "parameterValues": {"n": "1", "rules": "{}"},
        },
        "outputs": {
            "artifacts": {
                "model": {"artifacts": [{"name": "model", "uri": f"{place}/model", "type": MODEL, "metadata": {}}]},
                "executor-logs": {
                    "artifacts": [
                        {
                            "name": "executor-logs",
                            "uri": f"{place}/executor-logs-2",
                            "type": {"schemaTitle": "system.Artifact"},
                        }
                    ]
                },
            },
            "outputFile": f"{place}/output_metadata.json",
        },
    }


def test_vertex_executor_input(tmp_path):
    task = {"inputs": {"trained": "A.model"}, "outputs": ["model"], "parameters": {"rules": "$rules"}}
    name = "projects/0/locations/local/metadataStores/default/artifacts/"
    trained = {"name": f"{name}5", "uri": "/root/a/model", "type": MODEL, "metadata": METADATA}
    place = "/root/0/small-run-1/B_7"
    model = {"name": f"{name}6", "uri": f"{place}/model", "type": MODEL, "metadata": {}}
    assert given(tmp_path, task, "vertex", rules="{}") == {
        "inputs": {"artifacts": {"trained": {"artifacts": [trained]}}, "parameterValues": {"rules": "{}"}},
        "outputs": {
            "artifacts": {"model": {"artifacts": [model]}},
            "outputFile": f"{place}/executor_output.json",
        },
    }


def test_truth_values_come_back_from_ml_metadata_as_numbers(tmp_path):
    task = {"inputs": {"trained": "A.model"}}
    assert '"good":1,' in to_json(given(tmp_path, task))
    assert '"good":true,' in to_json(given(tmp_path, task, "vertex"))


def test_each_output_has_a_name_of_its_own_on_vertex(tmp_path):
    outputs = given(tmp_path, {"outputs": ["model", "about"]}, "vertex")["outputs"]["artifacts"]
    names = {key: one["artifacts"][0]["name"].rpartition("/")[2] for key, one in outputs.items()}
    assert names == {"about": "6", "model": "7"}


@pytest.mark.parametrize("mode", ["open-source", "vertex"])
def test_protobuf_reads_what_is_given(tmp_path, mode):
    task = {"inputs": {"trained": "A.model"}, "outputs": ["model"], "parameters": {"rules": "$rules"}}
    value = given(tmp_path, task, mode, rules="{}")
    message = json_format.Parse(to_json(value), ExecutorInput())
    assert json_format.MessageToDict(message)["inputs"]["artifacts"] == value["inputs"]["artifacts"]


@pytest.mark.parametrize(
    ("task", "value"),
    [
        pytest.param({"parameters": {"x": "$own"}}, "of the pipeline", id="one of the pipeline's"),
        pytest.param({"parameters": {"x": "a text"}}, "a text", id="a constant"),
        pytest.param({"parameters": {"x": 3}}, "3", id="a number where a text is declared becomes one"),
        pytest.param({"parameters": {"x": [1]}}, "[1]", id="so does a list"),
        pytest.param({"parameters": {"x": "{{$.pipeline_job_uuid}}"}}, "run-1", id="the run's id"),
        pytest.param({"parameters": {"x": "{{$.pipeline_task_name}}"}}, "B", id="the task's name"),
        pytest.param(
            {"parameters": {"x": "{{$.pipeline_job_schedule_time_utc}}"}},
            "2026-11-23T03:00:00Z",
            id="the schedule's time",
        ),
        pytest.param(
            {"parameters": {"x": 3}, "definitions": {"x": {"parameterType": "NUMBER_INTEGER"}}}, 3, id="a number"
        ),
        pytest.param({"definitions": {"x": {"parameterType": "STRING", "defaultValue": "d"}}}, "d", id="a default"),
    ],
)
def test_values_of_parameters(tmp_path, task, value):
    assert given(tmp_path, task, own="of the pipeline")["inputs"]["parameterValues"] == {"x": value}


@pytest.mark.parametrize(
    ("task", "words"),
    [
        pytest.param({"parameters": {"x": "$gone"}}, "x of B is the pipeline's gone, which has no value", id="unknown"),
        pytest.param(
            {"parameters": {"x": "a"}, "definitions": {"x": {"parameterType": "NUMBER_INTEGER"}}},
            "The parameter x of B must be of type NUMBER_INTEGER. Received: 'a'",
            id="another type",
        ),
        pytest.param({"definitions": {"x": {"parameterType": "STRING"}}}, "x of B must have a value", id="no value"),
        pytest.param(
            {"inputs": {"m": "A.other"}}, "m must be an output of A, which has no output other", id="no output"
        ),
    ],
)
def test_inputs_that_are_missing(tmp_path, task, words):
    with pytest.raises(ConfigError, match=words):
        given(tmp_path, task)


def test_an_output_parameter_of_another_task(tmp_path):
    spec = compiled({"A": {}, "B": {"parameters": {"x": ""}, "after": ["A"]}})
    source = {"taskOutputParameter": {"producerTask": "A", "outputParameterKey": "best"}}
    spec["root"]["dag"]["tasks"]["B"]["inputs"]["parameters"]["x"] = source
    task = read_tasks(write(tmp_path / "p.yaml", spec)).task("B")
    value = executor_input(run(), task, SALT, PRODUCED, 6, 0, "/scratch")
    assert value["inputs"]["parameterValues"] == {"x": "7"}
    with pytest.raises(ConfigError, match="x of B is best of A, which has no such output"):
        executor_input(run(), task, SALT, {"A": Produced()}, 6, 0, "/scratch")


GIVEN = {
    "inputs": {
        "parameterValues": {"n": 3.0, "rate": 0.00001, "text": "a b; $(rm) 'q'", "fast": True, "names": ["a", 1.0]},
        "artifacts": {"m": {"artifacts": [{"uri": "minio://bucket/m"}]}},
    },
    "outputs": {
        "artifacts": {"o": {"artifacts": [{"uri": "/root/o"}]}},
        "parameters": {"best": {"outputFile": "/scratch/best"}},
    },
}


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        pytest.param("--plain", "--plain", id="no placeholder"),
        pytest.param("{{$}}", to_json(GIVEN), id="the whole"),
        pytest.param("--in={{$}}", f"--in={to_json(GIVEN)}", id="the whole within a word"),
        pytest.param("{{$.inputs.parameters['n']}}", "3", id="a whole number without a fraction"),
        pytest.param("{{$.inputs.parameters['rate']}}", "0.00001", id="a number without an exponent"),
        pytest.param("{{$.inputs.parameters['text']}}", "a b; $(rm) 'q'", id="a text stays one word, and unquoted"),
        pytest.param("{{$.inputs.parameters['fast']}}", "true", id="a truth value"),
        pytest.param("{{$.inputs.parameters['names']}}", '["a",1]', id="a list is JSON"),
        pytest.param("{{$.inputs.parameters['n']}}/{{$.inputs.parameters['n']}}", "3/3", id="twice in a word"),
        pytest.param("{{$.inputs.artifacts['m'].uri}}", "minio://bucket/m", id="an input's URI"),
        pytest.param("{{$.inputs.artifacts['m'].path}}", "/minio/bucket/m", id="its place on the pod's disk"),
        pytest.param("{{$.outputs.artifacts['o'].path}}", "/root/o", id="a folder is its own place"),
        pytest.param("{{$.outputs.parameters['best'].output_file}}", "/scratch/best", id="an output parameter's file"),
        pytest.param("{{$.inputs.parameters['gone']}}", "{{$.inputs.parameters['gone']}}", id="unknown ones stay"),
    ],
)
def test_placeholders(word, filled):
    assert fill([word], GIVEN) == [filled]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("a", "a"), (40.0, "40"), (1e20, "100000000000000000000"), (1e-7, "0.0000001"), (False, "false"),
     ({"b": 1.0, "a": "ä"}, '{"a":"ä","b":1}')],
)  # fmt: skip
def test_values_as_texts(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("uri", "path"),
    [("gs://b/x", "/gcs/b/x"), ("s3://b/x", "/s3/b/x"), ("minio://b/x", "/minio/b/x"), ("/here/x", "/here/x")],
)
def test_places_on_the_pods_disk(uri, path):
    assert local_path(uri) == path
