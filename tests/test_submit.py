"""`gated-pipeline submit`, against a server on loopback that refuses what Kubeflow Pipelines would refuse."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import subprocess
import time
from datetime import date
from pathlib import Path

import pytest
import yaml
from compiled_sample import write_sample

pytest_plugins = ["kubeflow_fixtures"]
TOP = Path(__file__).parents[1]


@pytest.fixture
def submit(call, server, compiled):
    return lambda *more, file=compiled: call("submit", file, "--host", server.url, *more)


def test_it_uploads_once_and_begins_a_run(submit, server):
    code, out, err = submit()
    (run,) = server.runs.values()
    (version,) = server.versions.values()
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"penguins, version {version['display_name']}, uploaded.",
        f"Run {run['run_id']}: {server.url}/#/runs/details/{run['run_id']}",
    ]
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert run["runtime_config"] == {"parameters": {}, "pipeline_root": "gs://bucket/penguins/artifacts"}
    assert "which the server has already" in submit()[1]
    assert (len(server.pipelines), len(server.versions), len(server.experiments), len(server.runs)) == (1, 1, 1, 2)
    assert server.refusals == []


def test_a_changed_file_is_a_new_version(submit, server, tmp_path):
    submit()
    changed = write_sample(tmp_path / "b.yaml", lambda spec: spec.update(defaultPipelineRoot="gs://bucket/b"))
    assert submit(file=changed)[0] == 0
    assert (len(server.pipelines), len(server.versions)) == (1, 2)


def test_order_and_comments_make_no_new_version(submit, server, tmp_path, compiled):
    submit()
    turned = dict(reversed(yaml.safe_load(compiled.read_text()).items()))
    (tmp_path / "b.yaml").write_text("# for you\n" + yaml.safe_dump(turned, sort_keys=False))
    submit(file=tmp_path / "b.yaml")
    assert len(server.versions) == 1


def test_an_upload_that_failed_goes_on_the_next_time(submit, server):
    server.fault, server.fault_on = 500, "upload_version"
    assert submit()[0] == 1
    assert (len(server.pipelines), len(server.versions)) == (1, 0)
    server.fault = None
    assert submit()[0] == 0
    assert (len(server.pipelines), len(server.versions)) == (1, 1)


@pytest.mark.parametrize(
    ("options", "caching"),
    [
        pytest.param([], [False, False], id="nothing is skipped if nothing is said"),
        pytest.param(["--cache"], [True, None], id="--cache: as the file says, task by task"),
    ],
)
def test_caching(submit, server, options, caching):
    submit(*options)
    (version,) = server.versions.values()
    tasks = version["pipeline_spec"]["root"]["dag"]["tasks"]
    assert [tasks[name]["cachingOptions"].get("enableCache") for name in ("Trainer", "Pusher")] == caching


def test_what_is_given_reaches_the_run(submit, server):
    given = ["epochs=3", "rate=1e-3", "fresh=true", 'columns=["a", 1]', 'sizes={"a": 1}', "data=a=b, c"]
    more = [word for parameter in given for word in ("-p", parameter)]
    assert submit(*more, "--experiment", "tries", "--service-account", "me", "--root", "s3://mine/x/")[0] == 0
    (run,) = server.runs.values()
    assert run["runtime_config"] == {
        "parameters": {
            "epochs": 3,
            "rate": 0.001,
            "fresh": True,
            "columns": ["a", 1],
            "sizes": {"a": 1},
            "data": "a=b, c",
            "root": "s3://mine/x/",
        },
        "pipeline_root": "s3://mine/x/artifacts",
    }
    assert run["service_account"] == "me"
    assert server.experiments[run["experiment_id"]]["display_name"] == "tries"


def test_the_root_as_a_parameter_moves_the_artifacts_too(submit, server):
    submit("-p", "root=gs://mine")
    (run,) = server.runs.values()
    assert run["runtime_config"] == {"parameters": {"root": "gs://mine"}, "pipeline_root": "gs://mine/artifacts"}


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        pytest.param("epoch=3", "no parameter 'epoch' (did you mean epochs?)", id="a name spelt wrongly"),
        pytest.param("zzz=3", "It has: columns, data, epochs, fresh, rate, root, sizes.", id="a name like none"),
        pytest.param("epochs", "must be given as NAME=VALUE. Received: 'epochs'", id="no value"),
        pytest.param("epochs=3.5", "epochs must be a whole number", id="half an epoch"),
        pytest.param("epochs=many", "epochs must be a whole number", id="a word for a number"),
        pytest.param("epochs=9007199254740993", "at most 2^53", id="a number that the server could not keep"),
        pytest.param("rate=nan", "rate must be a finite number", id="not a number"),
        pytest.param("fresh=1", "fresh must be true or false", id="1 for true"),
        pytest.param("columns={}", "columns must be a JSON list", id="an object for a list"),
        pytest.param("columns=[NaN]", "columns must be a JSON list", id="a list with NaN, which is no JSON"),
        pytest.param("sizes=[", "sizes must be a JSON object", id="no JSON"),
    ],
)
def test_a_wrong_argument_is_refused_before_the_server_is_asked(submit, server, parameter, why):
    code, out, err = submit("-p", parameter)
    assert (code, out) == (1, "")
    assert why in err
    assert not server.requests


def test_an_argument_twice_is_refused(submit):
    assert "must be given once" in submit("-p", "epochs=1", "-p", "epochs=2")[2]


def test_a_root_twice_or_with_a_query_is_refused(submit):
    assert "no blank at the end, ?, #, *" in submit("--root", "s3://a/b?region=c")[2]
    assert "either by --root or by -p" in submit("-p", "root=gs://a", "--root", "gs://b")[2]


def test_a_parameter_without_a_default_must_be_given(submit, server, tmp_path):
    def change(spec):
        del spec["root"]["inputDefinitions"]["parameters"]["data"]["defaultValue"]

    file = write_sample(tmp_path / "b.yaml", change)
    assert "no default for data: give each with -p NAME=VALUE" in submit(file=file)[2]
    assert submit("-p", "data=x.csv", file=file)[0] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(
            {"schemaVersion": "2.0.0"}, "must have schemaVersion 2.1.0. Received: '2.0.0'", id="of schema 2.0"
        ),
        pytest.param({"pipelineSpec": {}}, "must be a bare pipeline spec", id="a PipelineJob"),
        pytest.param({"pipelineInfo": {}}, "must have a name", id="without a name"),
        pytest.param({"extra": 1}, "must be a pipeline spec: ", id="with an unknown field"),
        pytest.param({"root": {"dag": 7}}, "must be a pipeline spec: ", id="with a number for the tasks"),
        pytest.param({"root": {"dag": {}}, "sdkVersion": date(2026, 1, 1)}, "hold JSON values", id="with a date"),
        pytest.param({"defaultPipelineRoot": "/tmp/x"}, "one of gs://, s3://, minio://", id="with a local root"),
    ],
)
def test_a_file_that_no_server_runs_is_refused(submit, server, tmp_path, change, why):
    file = write_sample(tmp_path / "b.yaml", lambda spec: spec.update(change))
    code, _, err = submit(file=file)
    assert (code, why in err, server.requests) == (1, True, []), err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(None, "cannot be read: No such file", id="there is no file"),
        pytest.param("a: [", "must be YAML", id="no YAML"),
        pytest.param("- 1", "must hold one mapping. Received: list", id="a list"),
        pytest.param("a: 1\n---\nb: 1", "must hold one mapping. Received: 2 documents", id="two documents"),
        pytest.param("", "must hold one mapping", id="an empty file"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(submit, tmp_path, text, why):
    if text is not None:
        (tmp_path / "b.yaml").write_text(text)
    code, _, err = submit(file=tmp_path / "b.yaml")
    assert (code, why in err) == (1, True), err


def test_json(submit, server):
    code, out, err = submit("--json", "--wait")
    (run,) = server.runs.values()
    (version,) = server.versions.values()
    assert json.loads(out) == {
        "run_id": run["run_id"],
        "url": f"{server.url}/#/runs/details/{run['run_id']}",
        "pipeline": "penguins",
        "version": version["display_name"],
        "uploaded": True,
        "state": "succeeded",
    }
    assert (code, "the run: succeeded" in err) == (0, True)


def test_waiting_tells_each_task_and_ends_as_the_run_does(submit, server):
    server.states = [
        ("PENDING", {}),
        ("RUNNING", {"root-driver": "SUCCEEDED", "Trainer": "RUNNING"}),
        ("RUNNING", {"root-driver": "SUCCEEDED", "Trainer": "RUNNING"}),
        ("FAILED", {"Trainer": "FAILED"}),
    ]
    code, out, err = submit("--wait")
    (run,) = server.runs.values()
    assert code == 1
    assert out.splitlines()[2:] == [
        "the run: pending",
        "the run: running",
        "Trainer: running",
        "the run: failed",
        "Trainer: failed",
    ]
    assert err == f"Error: The run failed at Trainer; see {server.url}/#/runs/details/{run['run_id']}.\n"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        pytest.param("SUCCEEDED", 0, id="it succeeded"),
        pytest.param("FAILED", 1, id="it failed"),
        pytest.param("CANCELED", 1, id="somebody ended it, which the SDK's own waiting never notices"),
        pytest.param("SKIPPED", 1, id="it was skipped"),
    ],
)
def test_waiting_ends_with_the_run(submit, server, state, code):
    server.states = [("RUNNING", {}), (state, {})]
    assert submit("--wait")[0] == code


@pytest.mark.parametrize("fault", ["reset", 429, 502, 503])
def test_waiting_outlasts_a_server_that_is_away_for_a_while(submit, server, fault):
    server.fault, server.fault_on, server.faults_left = fault, "/runs/", 6
    server.states = [("RUNNING", {}), ("SUCCEEDED", {})]
    assert submit("--wait")[0] == 0
    assert server.faults_left == 0


def test_waiting_logs_in_again(submit, server):
    server.fault, server.fault_on, server.faults_left = 401, "GET .*/runs/", 3
    server.states = [("RUNNING", {}), ("SUCCEEDED", {})]
    assert submit("--wait")[0] == 0
    assert server.faults_left == 0


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        pytest.param(401, None, id="a login that does not help"),
        pytest.param(403, 1, id="403, at once"),
        pytest.param(404, 1, id="404, at once"),
        pytest.param(503, None, id="a failure that lasts"),
    ],
)
def test_waiting_where_the_server_refuses_ends(submit, server, fault, times):
    server.fault, server.fault_on, server.faults_left = fault, "GET .*/runs/", times
    code, _, err = submit("--wait")
    assert (code, f"({fault}: so it was ordered)." in err) == (1, True)


def test_another_api_there_is_named(submit, server):
    server.fault, server.fault_on = "json", "POST"
    assert "answers with something other than its API" in submit()[2]


def test_waiting_for_a_server_that_stays_away_ends(submit, server):
    server.fault, server.fault_on = "reset", "/runs/"
    code, _, err = submit("--wait")
    assert (code, "gives no answer" in err) == (1, True)


def test_a_dry_run_prints_what_would_be_sent_and_asks_nobody(submit, server):
    options = ["-p", "epochs=3", "--experiment", "tries", "--service-account", "me", "--namespace", "mine"]
    code, out, _ = submit(*options, "--dry-run")
    told = json.loads(out)
    assert (code, server.requests) == (0, [])
    submit(*options)
    sent = [
        (path.removeprefix("/apis/v2beta1"), yaml.safe_load(body) if "upload" in path else body)
        for method, path, _, body in server.requests
        if method == "POST"
    ]
    ids = {**next(iter(server.runs.values()))["pipeline_version_reference"]}
    ids["experiment_id"] = next(iter(server.experiments))
    known = json.dumps(told)
    for name, value in ids.items():
        known = known.replace(f"<{name}>", value)
    wanted = []
    for request in json.loads(known):
        assert request["method"] == "POST"
        body = request["body"].get("uploadfile", request["body"])
        wanted.append((request["path"].removeprefix("/apis/v2beta1").partition("?")[0], body))
    for (_, told_body), (_, sent_body) in zip(wanted[-1:], sent[-1:], strict=True):
        told_body.pop("display_name"), sent_body.pop("display_name")  # which tells the time
    assert wanted == sent
    upload = next(query for _, path, query, _ in server.requests if path.endswith("upload_version"))
    assert f"name={upload['name']}&pipelineid={upload['pipelineid']}" in known


def test_several_users(submit, server):
    server.multi_user = True
    assert submit("--namespace", "mine")[0] == 0
    assert [item["namespace"] for item in (*server.pipelines.values(), *server.experiments.values())] == ["mine"] * 2
    code, _, err = submit()
    assert (code, "Namespace is empty" in err) == (1, True)


def test_the_sdk_s_own_ways_find_the_server(call, server, compiled, monkeypatch, tmp_path):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url + "/")
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kfp.example/ui/")
    (tmp_path / "context.json").write_text(
        json.dumps(
            {
                "namespace": "mine",
                "client_authentication_header_name": "Authorization",
                "client_authentication_header_value": "Bearer secret",
            }
        )
    )
    server.multi_user, server.token = True, "secret"
    code, out, err = call("submit", compiled)
    assert (code, "https://kfp.example/ui/#/runs/details/" in out) == (0, True), err


def test_the_oldest_and_the_newest_sdk_send_the_same_requests():
    told = []
    for environment in (".venv", ".venv-peers"):
        python = TOP / environment / "bin/python"
        assert python.exists(), f"There is no {environment}: run `make test`, which makes it."
        paths = os.pathsep.join(str(TOP / name) for name in ("tests", "components", "pipelines"))
        done = subprocess.run(
            [python, TOP / "tests/peers/kfp_requests.py"],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": paths},
        )
        told.append(json.loads(done.stdout.splitlines()[-1]))
    oldest, newest = told
    assert oldest.pop("version") == importlib.metadata.version("kfp")
    assert newest.pop("version") == "2.16.1"
    assert oldest == newest
    assert oldest["codes"] == [0] * 10 + [1], "all succeed but the last, which meets a login page"
    assert oldest["refusals"] == []


def test_no_server_is_known(call, compiled):
    code, _, err = call("submit", compiled)
    assert (code, "No Kubeflow Pipelines server is known: give --host URL" in err) == (1, True), err


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param(400, "refuses the request (400: so it was ordered).", id="400"),
        pytest.param(401, "does not know you", id="401"),
        pytest.param(403, "does not allow this to you (403: so it was ordered).", id="403"),
        pytest.param(404, "404", id="404"),
        pytest.param(409, "has something of that name already (409: so it was ordered).", id="409"),
        pytest.param(500, "failed (500: so it was ordered).", id="500"),
        pytest.param((503, "<html>busy</html>"), "failed (503: SERVICE UNAVAILABLE).", id="503 as a web page"),
        pytest.param((403, b"n\xe9gatif"), "does not allow this to you (403", id="a text that is not UTF-8"),
        pytest.param("login", "answers with something other than its API, as a login page", id="a login page"),
        pytest.param("redirect", "answers with something other than its API, as a login page", id="a way to one"),
        pytest.param("slow", "gives no answer: none within 1.5 s.", id="too slow"),
        pytest.param("reset", "gives no answer", id="connections that end at once"),
    ],
)
@pytest.mark.parametrize("where", ["healthz", "v2beta1/pipelines$", "experiments", "v2beta1/runs"])
def test_a_refusal_is_one_sentence(submit, server, fault, why, where):
    server.fault, server.fault_on = fault, where
    begun = time.monotonic()
    code, out, err = submit()
    assert code == 1, out
    assert why in err
    assert err.startswith(f"Error: {server.url} ")
    assert (err.count("\n"), "Traceback" in err) == (1, False)
    assert time.monotonic() - begun < 20


def test_an_old_server_is_named(submit, server):
    server.fault = "v1"
    assert "is a server of Kubeflow Pipelines 1: compiled pipelines need 2.0 or later." in submit()[2]


def test_a_server_of_something_else_is_named(submit, server):
    server.fault = (404, "nothing here")
    assert "has no Kubeflow Pipelines API (404)" in submit()[2]


@pytest.mark.parametrize(
    ("host", "why"),
    [
        pytest.param("http://127.0.0.1:{port}", "Connection refused", id="nobody listens"),
        pytest.param("http://nobody.invalid", "gives no answer", id="a name that is none"),
        pytest.param("https://127.0.0.1:{server}", "no TLS connection", id="no TLS there"),
        pytest.param("http://[::1", "gives no answer: Failed to parse: ", id="no URL"),
    ],
)
def test_a_server_that_is_not_there(call, server, compiled, host, why):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = host.format(port=port, server=server.url.rpartition(":")[2])
    code, _, err = call("submit", compiled, "--host", host)
    assert (code, why in err, err.count("\n")) == (1, True, 1), err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param(["--vertex"], "--vertex needs --project and --location", id="Vertex AI without a project"),
        pytest.param(["--project", "p"], "--project and --location are for --vertex", id="a project without Vertex AI"),
        pytest.param(
            ["--vertex", "--project", "p", "--location", "l", "--experiment", "e"],
            "--experiment is for Kubeflow Pipelines",
            id="an experiment at Vertex AI",
        ),
    ],
)
def test_options_that_do_not_go_together(call, compiled, options, why):
    code, _, err = call("submit", compiled, *options)
    assert (code, why in err) == (2, True)
